"""A comparison that follows a script, for the page's own logic: words at a pace, failures, hangs."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import gradio as gr

from engine.compare import (
    CompareEvent,
    Lane,
    LaneBegan,
    LaneEnded,
    LaneGrounded,
    LanePiece,
    LaneResult,
    LaneWaits,
    Note,
)
from engine.errors import Problem
from engine.lanes import check, notes
from engine.messages import Message
from engine.respond import FollowsUp
from pages.launch import Launch
from pages.rooms import ROOMS
from pages.site import serve, site


@dataclass(frozen=True)
class Script:
    """How a lane behaves: its words, seconds between them, and after how many words it fails or hangs."""

    words: str = "one two three four five"
    pace: float = 0.01
    wait: float = 0.0
    fails_after: int | None = None
    hangs_after: int | None = None
    bug: Exception | None = None


class Scripted:
    """Has the public face of engine.compare.Comparison; events come when their time has come."""

    def __init__(self, lanes: Sequence[Lane], prompt: str, histories, scripts: dict[str, Script]):
        check(lanes, prompt)
        self.lanes, self.prompt, self.histories = tuple(lanes), prompt, [list(h) for h in histories]
        self.notes = notes(self.lanes)
        self.scripts = [scripts.get(lane.model.name, Script()) for lane in lanes]
        self.began = time.perf_counter()
        self.text = ["" for _ in lanes]
        self.said = [0 for _ in lanes]
        self.begun: set[int] = set()
        self.open = set(range(len(lanes)))
        self.stopping: set[int] = set()
        self.ready: list[CompareEvent] = [Note(text) for text in self.notes]
        self.stopped_at: float | None = None

    @property
    def done(self) -> bool:
        return not self.open and not self.ready

    def take(self, seconds: float) -> list[CompareEvent]:
        deadline = time.perf_counter() + seconds
        while True:
            events, self.ready = self.ready, []
            for i in sorted(self.open):
                events += self.due(i)
            if events or time.perf_counter() >= deadline:
                return events
            time.sleep(0.005)

    def stop(self, lane: int | None = None) -> None:
        self.stopping |= self.open if lane is None else {lane} & self.open
        if lane is None and self.stopped_at is None:
            self.stopped_at = time.perf_counter()

    def due(self, i: int) -> list[CompareEvent]:
        script, elapsed = self.scripts[i], time.perf_counter() - self.began
        events: list[CompareEvent] = []
        if i in self.stopping:
            return [self.end(i, "stopped")]
        if script.fails_after == 0:
            return [self.end(i, "error", str(Problem("The scripted server answered 401.")))]
        if elapsed < script.wait:
            return [] if i in self.begun else [LaneWaits(i, "loading the weights")]
        if i not in self.begun:
            self.begun.add(i)
            try:
                events += self.grounded(i)
            except Problem as problem:
                return [self.end(i, "error", str(problem))]
            events.append(LaneBegan(i, self.rendered(i), 7, 0))
        words = script.words.split(" ")
        while self.said[i] < len(words) and (elapsed - script.wait) >= script.pace * (self.said[i] + 1):
            if script.hangs_after is not None and self.said[i] >= script.hangs_after:
                return events
            if script.fails_after is not None and self.said[i] >= script.fails_after:
                return [*events, self.end(i, "error", "The scripted server broke off.")]
            word = (" " if self.said[i] else "") + words[self.said[i]]
            self.said[i] += 1
            self.text[i] += word
            events.append(LanePiece(i, word, self.said[i]))
        if self.said[i] == len(words):
            events.append(self.end(i, "stop"))
        return events

    def grounded(self, i: int) -> list[CompareEvent]:
        """What the engine tells of a lane that reads documents."""
        lane = self.lanes[i]
        if lane.passages is None:
            return []
        found, history = tuple(lane.passages.search(self.prompt, 3)), self.histories[i]
        assert isinstance(lane.passages, FollowsUp) and lane.passages.stand_alone(self.prompt, history, None)
        return [LaneGrounded(i, found, question=self.prompt)]

    def rendered(self, i: int) -> str:
        """The exact prompt of a lane."""
        return f"<{self.lanes[i].style}>{' passages' * (self.lanes[i].passages is not None)} {self.prompt}"

    def end(self, i: int, reason: str, error: str | None = None) -> LaneEnded:
        self.open.discard(i)
        lane = self.lanes[i]
        tuned = lane.model.adapter is not None and error is None
        result = LaneResult(
            model=lane.model.name,
            text=self.text[i],
            tokens=self.said[i],
            seconds=time.perf_counter() - self.began,
            first_token_seconds=0.05 if self.said[i] else None,
            end=reason,
            adapter="0123456789ab" if tuned else None,
            logit_difference=3.25 if tuned else None,
            prompt=self.rendered(i),
            prompt_tokens=7,
            seed=lane.sampling.seed,
            error=error,
        )
        return LaneEnded(i, result)


@dataclass
class Stage:
    """Stands in for pages.desk.start: scripts by model name, and every comparison that was started."""

    scripts: dict[str, Script] = field(default_factory=dict)
    started: list[Scripted] = field(default_factory=list)

    def start(self, lanes: Sequence[Lane], prompt: str, histories: Sequence[Sequence[Message]]) -> Scripted:
        self.started.append(Scripted(lanes, prompt, histories, self.scripts))
        return self.started[-1]


@contextmanager
def serving(
    *flags: str, env: dict[str, str] | None = None, tabs: Sequence[str] = ()
) -> Iterator[tuple[str, gr.Blocks]]:
    """The app, or these tabs of it alone, on a free port of this machine, as (address, blocks)."""
    launch = Launch.decide(["--port", str(free_port()), *flags], env or {})
    blocks = site(launch, [room for room in ROOMS if not tabs or room.title in tabs])
    try:
        yield serve(blocks, launch).rstrip("/"), blocks
    finally:
        blocks.close()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
