"""One decode loop per loaded base: a step is one forward pass for all rows, which join and leave at any step."""

from __future__ import annotations

import functools
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from engine.adapters import sizes
from engine.attention import switch_on
from engine.cache import RowCache
from engine.errors import Problem
from engine.grammar import Grammars
from engine.lean import lean
from engine.messages import Likely
from engine.passes import LeanPasses, Passes, PlainPasses, plain
from engine.proof import References
from engine.reading import Prompt, Queue
from engine.rows import Request, Row, Sink
from engine.sample import choose, likeliest
from engine.scheduler import SCHEDULER
from engine.settings import settings
from engine.stacked import AdapterBatch
from engine.threads import ThreadChoice, on_threads

log = logging.getLogger(__name__)
MOST_ROWS = 64
MOST_TOKENS = 4096  # prompt tokens of one forward pass
LEAST_TOKENS = 640  # the same where none streams: shorter passes cost more for each token
LONGEST_PASS = 0.5  # seconds to read prompts in one go while nothing streams, so that a stop is soon heard
HOLD_UP = 1.5  # how many steps' time the reading of prompts may take between two steps of rows that stream
ONE_THREAD = 2**25  # multiplications of a linear layer up to which one thread is faster: waking others takes longer
READING = 16  # tokens whose multiplications take as long as reading a layer's weights from memory
COMPUTE = threading.Lock()  # no pass begins while somebody changes the layout of its weights
Result = TypeVar("Result")
Drawn = tuple[list[int], list[float], list[Likely]]  # for each row: token, its log probability, the likeliest tokens


class DecodeLoop:
    """Owns a network and its cache; `submit` from any thread. From its first row on it is one of the scheduler's tasks.

    `alone` says that the network is itself a PEFT model with its adapter switched on, in a batch of its own.
    """

    def __init__(self, network: Any, tokenizer: Any, context: int, alone: bool = False):
        self.network, self.tokenizer, self.context, self.alone = network, tokenizer, context, alone
        self.stored = switch_on(plain(network))
        self.adapters = AdapterBatch(network) if not alone else None
        self.layer_size = layer_size(network)
        self.threads = ThreadChoice(settings().threads)
        self.lean = lean(network, self.adapters)
        self.plain = PlainPasses(network, self.adapters, self.stored)
        self.passes: Passes = LeanPasses(self.lean, self.stored) if self.lean else self.plain
        if self.lean:
            self.lean.pack()
        self.dtype = self.lean.dtype if self.lean else network.dtype
        self.stop_tokens = stop_tokens(network, tokenizer)
        self.grammars = Grammars(tokenizer, self.stop_tokens)
        self.rows: list[Row] = []
        self.cache = RowCache(self.stored)
        self.reading = Queue(self.passes.start)
        self.steps = self.turns = 0
        self.step_seconds = self.token_seconds = 0.0  # of late: one step, and one token of a prompt
        self.references = References()
        self._waiting: list[Row] = []
        self._scheduler = SCHEDULER
        self._changed = self._scheduler.changed
        self._begun = self._closed = False
        self._ended = threading.Event()

    def submit(self, requests: Sequence[Request], sinks: Sequence[Sink]) -> list[Row]:
        """Queue rows that begin together. Each sink gets a Begin, pieces and one End, or an exception."""
        rows = [Row(request, sink, self) for request, sink in zip(requests, sinks, strict=True)]
        for row in rows:
            row.sink(row.request.begin)
        with self._changed:
            if self._closed:
                raise Problem("This model was just unloaded. Please send the prompt again.")
            self._waiting += rows
            if not self._begun:
                self._begun = True
                self._scheduler.add(self)
            self._changed.notify()
        return rows

    def wake(self) -> None:
        """Let an idle loop look at its rows."""
        with self._changed:
            self._changed.notify()

    def close(self) -> None:
        """Wait until no turn is taken any more; rows that are still there end as stopped."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._begun:
            self._ended.wait()

    def give_back_weights(self) -> bool:
        """Let the network's own modules be used by others too; steps are slower from then on.

        False where others could use them already.
        """
        with COMPUTE:
            packed = bool(self.packed_bytes)
            if self.lean:
                self.lean.unpack()
            return packed

    def take_weights(self) -> None:
        """Take back what `give_back_weights` gave, once nobody else uses it; steps are fast again."""
        with COMPUTE:
            if self.lean:
                self.lean.pack()

    @property
    def packed_bytes(self) -> int:
        """Bytes of weights in a layout that is this loop's alone."""
        return self.lean.packed_bytes if self.lean else 0

    def ready(self) -> bool:
        """Whether a turn would do anything."""
        return bool(self._waiting or self.rows or self.reading.prompts or self._closed)

    def turn(self) -> bool:
        """Rows that were stopped leave, all others take a step, then prompts are read on with; false once closed."""
        with self._changed:
            if self._closed:
                for row in self._all_rows():
                    row.finish("stopped")
                self._ended.set()
                return False
            self._admit()
        self._turn()
        return True

    def broken(self, error: Exception) -> None:
        """Fail whatever is there, and begin anew with what comes."""
        with self._changed:
            for row in self._all_rows():
                row.fail(error)
            self.rows, self._waiting, self.cache = [], [], RowCache(self.stored)
            self.reading.prompts.clear()

    def _all_rows(self) -> list[Row]:
        joining = [prompt.row for prompt in self.reading.prompts if prompt.row]
        return [*self.rows, *joining, *self._waiting]

    def _admit(self) -> None:
        """Begin to read the prompts of waiting rows, within the row limit; the base's own come first."""
        for row in self._waiting:
            if row.stopping:
                row.finish("stopped")
            elif not row.request.ids:
                row.fail(Problem("The prompt is empty. Please write something first."))
        waiting = [row for row in self._waiting if not row.over.is_set()]
        room = MOST_ROWS - len(self.rows) - sum(prompt.row is not None for prompt in self.reading.prompts)
        joining, self._waiting = waiting[:room], waiting[room:]
        if joining:
            prompts = [Prompt(row.request.ids, row.request.adapter, row) for row in joining]
            prompts += [] if self.alone else self.references.missing(joining)
            for prompt in prompts:
                prompt.born = self.turns
            self.reading.prompts += sorted(prompts, key=lambda prompt: prompt.adapter is not None)

    @torch.inference_mode()
    def _turn(self) -> None:
        self.turns += 1
        self._keep_stacked()
        try:
            self._drop([i for i, row in enumerate(self.rows) if row.stopping and row.finish("stopped")])
            if self.rows:
                self._step()
        except Exception as error:
            self._failed(self.rows, error)
            self.rows, self.cache = [], RowCache(self.stored)
        if self.reading.prompts:
            try:
                self._read()
            except Exception as error:
                self._failed([prompt.row for prompt in self.reading.prompts if prompt.row], error)
                self.reading.prompts.clear()
        self._keep_stacked()

    def _keep_stacked(self) -> None:
        """Steps and prompts take turns: the adapters of both stay in place."""
        if self.adapters is not None:
            prompts = self.reading.prompts
            both = {row.request.adapter for row in self.rows} | {prompt.adapter for prompt in prompts}
            self.adapters.beside = {adapter for adapter in both if adapter}

    def _failed(self, rows: list[Row], error: Exception) -> None:
        log.error("a forward pass failed", exc_info=error)
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            error = Problem("The machine ran out of memory. Use fewer lanes, a shorter prompt or a smaller model.")
        for row in rows:
            row.fail(error)

    def _computed(self, run: Callable[[], Result], threads: int) -> tuple[Result, float]:
        """The result of a computation by so many threads, and the seconds that it took."""
        with COMPUTE, on_threads(threads):
            started = time.perf_counter()
            result = run()
            return result, time.perf_counter() - started

    def _little(self, tokens: int) -> bool:
        """Whether one thread alone computes a pass of so many tokens; in a small network any step is one."""
        return self.layer_size * (max(tokens, MOST_ROWS) + READING) <= ONE_THREAD

    def _reading_threads(self, tokens: int) -> int:
        return 1 if self._little(tokens) else settings().threads

    def _step(self) -> None:
        """One token for every row."""
        rows, little = self.rows, self._little(len(self.rows))
        threads = 1 if little else self.threads.threads(len(rows))
        drawn, seconds = self._computed(lambda: self._drawn(rows, self.passes.step(rows, self.cache)), threads)
        if not little:
            self.threads.took(len(rows), seconds)
        self.step_seconds = of_late(self.step_seconds, seconds)
        self.steps += 1
        self._advance(rows, drawn)
        self._drop([i for i, row in enumerate(rows) if row.over.is_set()])

    def _read(self) -> None:
        """Read prompts on, for about the time that streaming rows can spare; rows whose prompts are through join."""
        for prompt in [prompt for prompt in self.reading.prompts if prompt.unwanted]:
            self.reading.prompts.remove(prompt)
            if prompt.row:
                prompt.row.finish("stopped")
        if not self.reading.prompts:
            return
        pieces = self.reading.pieces(self._spare_tokens())
        tokens = sum(count for _, count in pieces)
        logits, seconds = self._computed(lambda: self.passes.read(pieces), self._reading_threads(tokens))
        self.token_seconds = of_late(self.token_seconds, seconds / tokens)
        through = [prompt for prompt, _ in pieces if not prompt.left]
        for prompt, one in zip(through, logits, strict=True):
            self.reading.finished(prompt)
            if prompt.adapter is None and not self.alone:
                self.references.keep(prompt.ids, one)
        joining = [(prompt, one) for prompt, one in zip(through, logits, strict=True) if prompt.row]
        try:
            self._join(joining)
        except Exception as error:  # these are no longer among the prompts, nor among the rows yet
            self._failed([prompt.row for prompt, _ in joining if prompt.row], error)

    def _spare_tokens(self) -> int:
        """How many prompt tokens the next pass may read; few if a row streams that was there before a prompt came.

        The more prompts wait for each row that streams, the longer it may be held up.
        """
        newest = max(prompt.born for prompt in self.reading.prompts)
        held_up = sum(row.begun <= newest for row in self.rows)
        seconds, least = LONGEST_PASS, LEAST_TOKENS
        if held_up:
            waiting = sum(prompt.row is not None for prompt in self.reading.prompts)
            seconds, least = min(LONGEST_PASS, HOLD_UP * self.step_seconds * max(1.0, waiting / held_up)), 16
        return max(least, min(MOST_TOKENS, int(seconds / self.token_seconds) if self.token_seconds else LEAST_TOKENS))

    def _join(self, through: list[tuple[Prompt, torch.Tensor]]) -> None:
        """Draw the first tokens of rows whose prompts were read; those that go on join the others."""
        rows = [prompt.row for prompt, _ in through if prompt.row]
        if not rows:
            return
        for row, (prompt, logits) in zip(rows, through, strict=True):
            if prompt.scored:
                row.tell(prompt.scores)
            if row.request.prove:
                of_base = functools.partial(self._of_base, row.request.ids)
                row.logit_difference = self.references.difference(row.request.ids, logits, of_base)
        first = torch.stack([logits for _, logits in through])
        self._advance(rows, self._computed(lambda: self._drawn(rows, first), self._reading_threads(len(rows)))[0])
        going = [(row, prompt) for row, (prompt, _) in zip(rows, through, strict=True) if not row.over.is_set()]
        if going:
            self.cache.take([prompt.kept for _, prompt in going])
            self.rows += [row for row, _ in going]
            for row, _ in going:
                row.begun = self.turns

    def _of_base(self, ids: tuple[int, ...]) -> torch.Tensor:
        """First-step logits [vocabulary] of the base for a prompt that it has not read yet."""
        threads = self._reading_threads(len(ids))
        if self.alone:
            return self._computed(lambda: self.plain.without_adapter(ids), threads)[0]
        prompt = Prompt(ids, None, None)
        self.passes.start(prompt, [], 0)
        return self._computed(lambda: self.passes.read([(prompt, len(ids))]), threads)[0][0]

    def _drawn(self, rows: Sequence[Row], logits: torch.Tensor) -> Drawn:
        """A token for each row from its logits."""
        most = max(row.request.likeliest for row in rows)
        none: list[Likely] = [()] * len(rows)
        likely = likeliest(logits, most) if most else none  # before masks are laid over the logits
        told = any(row.request.logprobs for row in rows)
        tokens, logprobs = choose(logits, [row.draw for row in rows], told)
        return tokens, logprobs, likely

    def _advance(self, rows: Sequence[Row], drawn: Drawn) -> None:
        """Give each row the token that was drawn for it.

        A row whose logits are not numbers, or whose own part in this raises, fails alone.
        """
        for row, token, logprob, others in zip(rows, *drawn, strict=True):
            if math.isnan(logprob):
                row.fail(Problem("The model's output is not a number (NaN): its weights are damaged or overflow."))
            elif not row.over.is_set():  # its mask may have failed
                try:
                    row.accept(token, logprob, others)
                except Exception as error:
                    row.fail(error)

    def _drop(self, indices: Sequence[int]) -> None:
        """Take rows out; the cache moves its last row into each gap, and so does the list."""
        for i in sorted(indices, reverse=True):
            self.cache.leave(i)
            self.rows[i] = self.rows[-1]
            self.rows.pop()


def layer_size(network: Any) -> float:
    """Weights of a linear layer of a network, on average and without its head; without end on another device."""
    head = network.get_output_embeddings()
    found = [math.prod(shape) for m in network.modules() if m is not head and (shape := sizes(m))]
    on_processor = all(one.device.type == "cpu" for one in network.parameters())
    return sum(found) / len(found) if found and on_processor else math.inf


def of_late(average: float, seconds: float) -> float:
    """A running average that follows within a few passes."""
    return seconds if not average else 0.7 * average + 0.3 * seconds


def stop_tokens(network: Any, tokenizer: Any) -> frozenset[int]:
    """Ids that end a reply: the generation config's, and the tokenizer's end-of-sequence."""
    named = plain(network).generation_config.eos_token_id
    ids = named if isinstance(named, list) else [named]
    return frozenset(i for i in (*ids, tokenizer.eos_token_id) if i is not None)
