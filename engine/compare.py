"""One prompt through several lanes at once: typed events, one lane's trouble staying its own."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from engine.errors import sentence
from engine.grounding import Grounding, refused
from engine.lanes import (
    MOST_LANES,
    CompareEvent,
    Lane,
    LaneBegan,
    LaneEnded,
    LaneGrounded,
    LanePiece,
    LaneResult,
    LaneWaits,
    Note,
    by_base,
    check,
    notes,
    system,
)
from engine.messages import Begin, End, Message, Piece, encodable
from engine.respond import Event, Generation

__all__ = [
    "MOST_LANES",
    "CompareEvent",
    "Comparison",
    "Lane",
    "LaneBegan",
    "LaneEnded",
    "LaneGrounded",
    "LanePiece",
    "LaneResult",
    "LaneWaits",
    "Note",
]  # fmt: skip

log = logging.getLogger(__name__)

Told = Event | Exception | LaneGrounded | Note | str  # a string is what a lane waits for


class Stoppable(Protocol):
    """A row of a decode loop or a hosted responder: something that any thread may end."""

    def stop(self) -> None: ...


class Comparison:
    """A running comparison. Iterate it, or `take()` what has come; `stop()` one lane or all of them.

    `histories[i]` are the earlier turns of lane i, without system prompts, which come from the lane. Raises
    Problem at once, before anything runs, when the request as a whole cannot be served.
    """

    def __init__(self, lanes: Sequence[Lane], prompt: str, histories: Sequence[Sequence[Message]] | None = None):
        check(lanes, prompt)
        self.lanes = tuple(lanes)
        self.notes = notes(self.lanes)
        self._generations = [Generation(iter(())) for _ in lanes]
        self._inbox: queue.SimpleQueue[tuple[int, Told, float]] = queue.SimpleQueue()
        self._stops = [threading.Event() for _ in lanes]
        self._working: dict[int, Stoppable] = {}
        self._open = set(range(len(lanes)))
        self._ready: list[CompareEvent] = [Note(text) for text in self.notes]
        self._started = time.perf_counter()
        earlier = histories or [()] * len(lanes)
        asked = Message("user", encodable(prompt))
        self.messages = [(*system(lane), *earlier[i], asked) for i, lane in enumerate(lanes)]
        self._grounding = Grounding()
        for group in by_base(self.lanes):
            threading.Thread(target=self._start, args=(group,), daemon=True, name="compare").start()

    @property
    def done(self) -> bool:
        """Whether every lane has ended and every event was taken."""
        return not self._open and not self._ready

    def __iter__(self) -> Iterator[CompareEvent]:
        try:
            while not self.done:
                yield from self.take(1.0)
        finally:
            self.stop()

    def take(self, seconds: float) -> list[CompareEvent]:
        """The events so far, waiting up to `seconds` for a first one; an empty list when none came."""
        events, self._ready = self._ready, []
        wait = 0.0 if events else seconds
        while self._open:
            try:
                lane, event, seconds = self._inbox.get(timeout=wait) if wait else self._inbox.get_nowait()
            except queue.Empty:
                break
            wait = 0.0
            if lane in self._open:
                events += self._digest(lane, event, seconds)
        return events

    def stop(self, lane: int | None = None) -> None:
        """End one lane, or all that still run; each keeps its words and ends with reason "stopped"."""
        for i in range(len(self.lanes)) if lane is None else (lane,):
            if not self._stops[i].is_set():
                self._stops[i].set()
                if i in self._working:
                    self._working[i].stop()
                self._tell(i, End("stopped"))

    def _digest(self, lane: int, event: Told, seconds: float) -> list[CompareEvent]:
        """Turn a responder's event into the comparison's; it happened `seconds` after Send."""
        generation = self._generations[lane]
        if isinstance(event, Note | LaneGrounded):
            return [event]
        if isinstance(event, str):
            return [LaneWaits(lane, event)]
        if isinstance(event, Exception):
            self._open.discard(lane)
            return [LaneEnded(lane, self._result(lane, "error", seconds, sentence(event, log, "lane failed")))]
        generation.take(event, seconds)
        match event:
            case Begin():
                return [LaneBegan(lane, event.prompt, event.prompt_tokens, event.cut_tokens)]
            case Piece():
                return [LanePiece(lane, event.text, generation.tokens)]
            case End():
                self._open.discard(lane)
                return [LaneEnded(lane, self._result(lane, event.reason, seconds))]
        return []

    def _result(self, lane: int, end: str, seconds: float, error: str | None = None) -> LaneResult:
        generation, model = self._generations[lane], self.lanes[lane].model
        begin = generation.begin or Begin("")
        return LaneResult(
            model=model.name,
            text=generation.text,
            tokens=None if generation.text and not generation.tokens else generation.tokens,
            seconds=seconds,
            first_token_seconds=generation.first_token_seconds,
            end=end,
            adapter=model.adapter_hash if error is None else None,
            logit_difference=generation.end.logit_difference if generation.end else None,
            prompt=begin.prompt,
            prompt_tokens=counted(begin, generation.end),
            cut_tokens=begin.cut_tokens,
            seed=self.lanes[lane].sampling.seed,
            error=error,
        )

    def _start(self, group: Sequence[int]) -> None:
        """Answer the lanes of one base in this thread: all rows in one go, so that they share every step."""
        try:
            group = [lane for lane in group if self._grounded(lane)]
            if not group:
                return
            if self.lanes[group[0]].model.endpoint:
                self._follow(group[0])
                return
            from engine.local import run_lanes

            lanes = {i: self.lanes[i] for i in group}
            asked = {i: self.messages[i] for i in group}
            run_lanes(lanes, asked, self._tell, self._works, lambda lane: self._stops[lane].is_set())
        except Exception as error:
            for lane in group:
                self._tell(lane, error)

    def _grounded(self, lane: int) -> bool:
        """Put a lane's passages into its prompt; False where it has nothing to answer from, which is told."""
        if self.lanes[lane].passages is None:
            return True
        self._tell(lane, "looking into the documents")
        try:
            self.messages[lane], found = self._grounding.place(lane, self.lanes[lane], self.messages[lane])
        except Exception as error:
            self._tell(lane, error)
            return False
        self._tell(lane, found)
        for event in refused(found):
            self._tell(lane, event)
        return not found.refusal

    def _works(self, lane: int, working: Stoppable) -> None:
        """Remember what to stop for a lane, and stop it if the lane was stopped before it began."""
        self._working[lane] = working
        if self._stops[lane].is_set():
            working.stop()

    def _follow(self, lane: int) -> None:
        """Drain a hosted lane in this thread."""
        from engine.hosted import HostedResponder

        asked = self.lanes[lane]
        responder = HostedResponder(asked.model, key=asked.key, style=asked.style)
        self._works(lane, responder)
        with contextlib.closing(responder.reply(self.messages[lane], asked.sampling)) as events:
            for event in events:
                if isinstance(event, End) and responder.left_out:
                    options = ", ".join(sorted(responder.left_out))
                    self._tell(lane, Note(f"Lane {lane + 1}: the server of {asked.model.name} takes no {options}."))
                self._tell(lane, event)

    def _tell(self, lane: int, event: Told) -> None:
        """Put an event of a lane where `take` finds it; any thread may call.

        The clock is read here, where the event happens: a page takes all events of a beat at once.
        """
        self._inbox.put((lane, event, time.perf_counter() - self._started))


def counted(begin: Begin, end: End | None) -> int | None:
    """Tokens of the prompt: our own count, or at the end the server's."""
    return end.usage.prompt_tokens if begin.prompt_tokens is None and end else begin.prompt_tokens


if __name__ == "__main__":
    from engine.headless_command import command

    command("engine.headless")
