"""The rows of one request: put into the decode loop's thread, their events read in the server's event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

from engine.errors import Problem
from engine.messages import Begin, End
from engine.respond import Event
from engine.serving.refusals import refusal_of, stopped

if TYPE_CHECKING:
    from engine.decode import DecodeLoop
    from engine.rows import Request, Row

Said = tuple[int, "Event | Exception"]


class Bell:
    """Wakes readers in an event loop from other threads, all that rang meanwhile at once.

    A wake-up costs a system call and a switch of threads; a decoding step with 32 rows needs one, not 32.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self._rung: deque[Callable[[], None]] = deque()
        self._called = False

    def ring(self, answer: Callable[[], None]) -> None:
        """Have `answer` called in the event loop's thread, soon; any thread may ring."""
        self._rung.append(answer)
        if not self._called:
            self._called = True
            try:
                self._loop.call_soon_threadsafe(self._answer)
            except RuntimeError:  # the event loop is closed, and nobody is there to be woken
                self._rung.clear()

    def _answer(self) -> None:
        self._called = False
        while self._rung:
            self._rung.popleft()()


class Flow:
    """Events of rows by their number in the request. `over` is called once, when the last row has left its loop.

    With `whole` the reader is woken at the ends of rows alone, for replies that are sent in one piece.
    """

    def __init__(self, bell: Bell, over: Callable[[], None], whole: bool = False):
        self._bell, self._over, self._whole = bell, over, whole
        self._said: deque[Said] = deque()
        self._news = asyncio.Event()
        self._rows: list[Row] = []
        self._open = 0
        self._stopping = False

    def submit(self, loop: DecodeLoop, requests: Sequence[Request]) -> None:
        """Put the rows into their loop. Raises a Refusal when it takes no more."""
        self._open = len(requests)
        try:
            self._rows = loop.submit(requests, [self._sink(i) for i in range(len(requests))])
        except Exception as error:
            self._open = 0
            self._over()
            raise stopped() if isinstance(error, Problem) else refusal_of(error) from error

    def stop(self) -> None:
        """Take the rows out before the next step; any thread may call."""
        self._stopping = True
        for row in self._rows:
            row.stop()

    def fail(self, error: Exception) -> None:
        """Break the reply off with an error; to be called in the event loop's thread."""
        self._said.append((0, error))
        self._news.set()
        self.stop()

    async def batches(self) -> AsyncIterator[list[tuple[int, Event]]]:
        """All events since the last look, until every row ended. Raises what a row failed with."""
        left = len(self._rows)
        try:
            while left:
                await self._news.wait()
                self._news.clear()
                batch = self._taken()
                left -= sum(isinstance(event, End) for _, event in batch)
                yield batch
        finally:
            self.stop()

    def _taken(self) -> list[tuple[int, Event]]:
        batch: list[tuple[int, Event]] = []
        while self._said:
            number, event = self._said.popleft()
            if isinstance(event, Exception):
                raise refusal_of(event)
            if isinstance(event, End) and event.reason == "stopped" and not self._stopping:
                raise stopped()
            batch.append((number, event))
        return batch

    def _sink(self, number: int) -> Callable[[Event | Exception], None]:
        """What the decode loop calls with the events of a row; it must not wait, and does not."""

        def sink(event: Event | Exception) -> None:
            self._said.append((number, event))
            if isinstance(event, End | Exception):
                self._bell.ring(self._ended)
            elif not self._whole and not isinstance(event, Begin):
                self._bell.ring(self._news.set)

        return sink

    def _ended(self) -> None:
        self._open -= 1
        self._news.set()
        if self._open == 0:
            self._over()
