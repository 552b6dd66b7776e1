"""One reply being decoded: the request, the tokens drawn so far, and the events that they become."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from engine.detokenize import TextStream
from engine.errors import Problem
from engine.messages import Begin, End, Likely, Piece, Reason, Sampling, Usage
from engine.respond import Event
from engine.sample import Draw

if TYPE_CHECKING:
    from engine.adapters import Adapter
    from engine.decode import DecodeLoop
    from engine.grammar import Grammar

log = logging.getLogger(__name__)
TOO_COMPLEX = "The schema became too complex to follow in the middle of the reply. Make it simpler."
Sink = Callable[[Event | Exception], None]


@dataclass(frozen=True)
class Request:
    """What one row is to do: prompt token ids, sampling, its adapter (None: the base itself).

    `prove` asks for the largest difference of first-step logits between the row and the base; `marks` are special
    tokens that stay in the text; with a `grammar` only what it allows is written. `logprobs` asks for the tokens' log
    probabilities, `likeliest` for so many of the most probable ones at each place; with `score` those of the prompt are
    told, too, and the token that ends it all.
    """

    ids: tuple[int, ...]
    sampling: Sampling
    adapter: Adapter | None
    begin: Begin
    prove: bool = False
    marks: frozenset[int] = frozenset()
    grammar: Grammar | None = None
    logprobs: bool = False
    likeliest: int = 0
    score: bool = False


class Row:
    """One reply being decoded. Events go to `sink`, called in the loop's thread; it must not block.

    What is a row's own (grammar, text, stop strings, sink) and raises ends that row, and nothing that decodes beside
    it: the loop hands what `accept` raises to `fail`, and nothing else here raises.
    """

    def __init__(self, request: Request, sink: Sink, loop: DecodeLoop):
        self.request, self.sink, self.loop = request, sink, loop
        self.held = request.grammar.begin() if request.grammar else None
        self.draw = Draw(request.sampling, mask=self._mask if self.held else None)
        if request.sampling.repetition_penalty != 1:
            self.draw.seen.update(request.ids)
        self.stream = TextStream(loop.tokenizer, request.ids, request.sampling.stop, request.marks)
        self.last = self.begun = 0  # the last token; the loop's turn in which the row joined
        self.ended = 0  # tokens that ended the reply and are no part of it
        self.logit_difference: float | None = None
        self.stopping = False
        self.over = threading.Event()
        self._ids: list[int] = []
        self._logprobs: list[float] = []
        self._likeliest: list[Likely] = []

    def stop(self) -> None:
        """Ask the row to end before the next step; any thread may call, at any time."""
        self.stopping = True
        self.loop.wake()

    def accept(self, token: int, logprob: float, likeliest: Likely = ()) -> bool:
        """Take the token drawn for this row; true when the row is over."""
        self.draw.position += 1
        if self.held and not self.held.take(token):
            return self.fail(Problem(TOO_COMPLEX))
        if token in self.loop.stop_tokens:
            self.ended = 1
            if self.request.score:
                self._told(token, logprob, likeliest)
            return self.finish("stop")
        self.last = token
        if self.request.sampling.repetition_penalty != 1:
            self.draw.seen.add(token)
        self._told(token, logprob, likeliest)
        self._send(self.stream.push(token))
        if self.stream.stopped or (self.held and self.held.complete):
            return self.finish("stop")
        used = len(self.request.ids) + self.draw.position
        if self.draw.position >= self.request.sampling.max_tokens or used >= self.loop.context:
            return self.finish("length")
        return False

    def tell(self, event: Event) -> None:
        """Hand an event to the row's reader."""
        try:
            self.sink(event)
        except Exception as error:
            self.fail(error)

    def finish(self, reason: Reason) -> bool:
        """Send what is left and the End; always true."""
        if not self.over.is_set():
            try:
                self._send(self.stream.flush(), last=True)
                usage = Usage(len(self.request.ids), self.draw.position - self.ended)
                self.sink(End(reason, usage, self.logit_difference))
            except Exception as error:
                return self.fail(error)
            self.over.set()
        return True

    def fail(self, error: Exception) -> bool:
        """End the row with an error instead of an End; always true."""
        if not self.over.is_set():
            try:
                self.sink(error)
            except Exception:  # then nobody hears of it but the log
                log.exception("a row ended with an error that its sink did not take: %s", error)
            self.over.set()
        return True

    def _mask(self) -> torch.Tensor:
        """What the grammar allows next; all tokens once it failed, and the row with it."""
        try:
            return self.held.mask()  # type: ignore[union-attr]
        except Exception as error:
            self.fail(error)
            return torch.zeros(len(self.loop.tokenizer))

    def _told(self, token: int, logprob: float, likeliest: Likely) -> None:
        self._ids.append(token)
        if self.request.logprobs:
            self._logprobs.append(logprob)
        if self.request.likeliest:
            self._likeliest.append(likeliest[: self.request.likeliest])

    def _send(self, text: str, last: bool = False) -> None:
        if text or (last and self._ids):
            self.sink(Piece(text, tuple(self._ids), tuple(self._logprobs), tuple(self._likeliest)))
            self._ids, self._logprobs, self._likeliest = [], [], []
