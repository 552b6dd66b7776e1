"""Who may begin now, who waits in line, and who is told to come back later, with an honest guess of when."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.serving.keys import Key
from engine.serving.refusals import Refusal, busy

LONGEST_WAIT = 120  # seconds; the most that Retry-After ever says
MINUTE = 60.0


@dataclass
class Place:
    """A caller's place: in line until `turn` is set, then among those being answered, until `leave`."""

    rows: int
    key: Key | None
    turn: asyncio.Future[None]
    began: float
    inside: bool = False
    left: bool = False


@dataclass
class Gate:
    """At most `at_once` rows are answered and `in_line` more wait; used in the event loop's thread alone."""

    at_once: int = 64
    in_line: int = 64
    clock: Callable[[], float] = time.monotonic
    running: int = 0
    line: deque[Place] = field(default_factory=deque)
    usual_seconds: float = 2.0  # of a request, as they went lately
    _by_key: dict[str, int] = field(default_factory=dict)
    _minutes: dict[str, deque[float]] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """Rows in line."""
        return sum(place.rows for place in self.line)

    async def enter(self, rows: int, key: Key | None) -> Place:
        """Wait for one's turn. Raises Refusal (429) where the line is full or the key's own limits are reached."""
        if rows > self.at_once:
            raise Refusal(400, f"This server answers {self.at_once} replies at once; the request asks for {rows}.")
        self._check_key(key)
        place = Place(rows, key, asyncio.get_running_loop().create_future(), self.clock())
        if self.line or self.running + rows > self.at_once:
            if self.waiting + rows > self.in_line:
                wait = self.wait(rows)
                what = f"{self.running} replies are running and {self.waiting} wait, which is all this server takes"
                raise busy(f"{what}. Please try again in {wait} seconds.", wait)
            self.line.append(place)
        else:
            self._admit(place)
        self._count(key, 1)
        try:
            await place.turn
        except BaseException:
            self.leave(place)
            raise
        return place

    def leave(self, place: Place) -> None:
        """Give one's place up; a second call does nothing."""
        if place.left:
            return
        place.left = True
        self._count(place.key, -1)
        if place.inside:
            self.running -= place.rows
            took = self.clock() - place.began
            self.usual_seconds += 0.2 * (took - self.usual_seconds)
            place.inside = False
        elif place in self.line:
            self.line.remove(place)
        while self.line and self.running + self.line[0].rows <= self.at_once:
            self._admit(self.line.popleft())

    def close(self, error: Exception) -> None:
        """Send everybody in line away with this error."""
        for place in tuple(self.line):
            if not place.turn.done():
                place.turn.set_exception(error)

    def wait(self, rows: int) -> int:
        """Whole seconds until this many rows may get in, if requests take as long as they did lately."""
        rounds = (self.waiting + rows) / self.at_once
        return max(1, min(LONGEST_WAIT, math.ceil(rounds * self.usual_seconds)))

    def _admit(self, place: Place) -> None:
        place.inside = True
        place.began = self.clock()
        self.running += place.rows
        if not place.turn.done():
            place.turn.set_result(None)

    def _check_key(self, key: Key | None) -> None:
        if key is None:
            return
        if self._by_key.get(key.id, 0) >= key.at_once:
            wait = max(1, math.ceil(self.usual_seconds))
            raise busy(f"This key may have {key.at_once} requests at once, and has them. Wait for one to end.", wait)
        now, times = self.clock(), self._minutes.setdefault(key.id, deque())
        while times and now - times[0] >= MINUTE:
            times.popleft()
        if len(times) >= key.per_minute:
            wait = max(1, math.ceil(times[0] + MINUTE - now))
            raise busy(f"This key may send {key.per_minute} requests a minute. Try again in {wait} seconds.", wait)
        times.append(now)

    def _count(self, key: Key | None, change: int) -> None:
        if key is not None:
            self._by_key[key.id] = self._by_key.get(key.id, 0) + change
