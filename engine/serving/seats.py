"""A request's seat: its place at the gate and its base in memory, taken together and given back once."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from engine.catalog import Model
from engine.serving.gate import Gate
from engine.serving.keys import Key
from engine.serving.refusals import refusal_of

if TYPE_CHECKING:
    from engine.adapters import Adapter
    from engine.decode import DecodeLoop
    from engine.pool import Base, Pool


class Seat:
    """Where a request's rows run, until `leave`; what is still in the decode loop then keeps it that long."""

    def __init__(self, base: Base, loop: DecodeLoop, adapter: Adapter | None, leave: Callable[[], None]):
        self.base, self.loop, self.adapter = base, loop, adapter
        self._leave: Callable[[], None] | None = leave
        self._flows, self._leaving = 0, False

    def begin(self) -> None:
        """Rows go into the loop."""
        self._flows += 1

    def over(self) -> None:
        """The rows of one `begin` are out of the loop."""
        self._flows -= 1
        if self._leaving:
            self.leave()

    def leave(self) -> None:
        """Let others in, and the base out of memory, once no rows are left; a second call does nothing."""
        self._leaving = True
        if self._flows == 0 and self._leave:
            leave, self._leave = self._leave, None
            leave()


class Seats:
    """Gives seats. Loading takes a thread for each base, and callers of the same base wait without one."""

    def __init__(self, gate: Gate, pool: Callable[[], Pool] | None = None):
        self.gate, self._pool = gate, pool
        self._loading: defaultdict[tuple, asyncio.Lock] = defaultdict(asyncio.Lock)

    @contextlib.asynccontextmanager
    async def take(self, model: Model, rows: int, key: Key | None) -> AsyncIterator[Seat]:
        """A seat for so many rows of a model. Raises Refusal when there is none to be had."""
        place = await self.gate.enter(rows, key)
        try:
            async with self._loading[model.base, model.revision, model.precision]:
                held = await self._held(model)
        except BaseException:
            self.gate.leave(place)
            raise

        def leave() -> None:
            held[3].close()
            self.gate.leave(place)

        base, loop, adapter, _ = held
        seat = Seat(base, loop, adapter, leave)
        try:
            yield seat
        finally:
            seat.leave()

    async def _held(self, model: Model) -> Any:
        """What `hold` gives, from a thread; given up, or given back at once, where nobody waits for it any more."""
        left = threading.Event()
        task = asyncio.get_running_loop().run_in_executor(None, hold, model, self._pool, left.is_set)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            left.set()
            task.add_done_callback(let_go)
            raise
        except Exception as error:
            raise refusal_of(error) from error


def hold(
    model: Model, pool: Callable[[], Pool] | None, left: Callable[[], bool]
) -> tuple[Base, DecodeLoop, Adapter | None, contextlib.ExitStack]:
    """The base of a model held in memory, where the model's rows run, and what lets go of it. Raises Problem.

    Raises engine.pool.Stopped once the client has `left` while its files were fetched.
    """
    with contextlib.ExitStack() as until_placed:
        base = until_placed.enter_context((pool or own_pool)().hold(model, stopped=left))
        loop, adapter = base.place(model)
        return base, loop, adapter, until_placed.pop_all()


def own_pool() -> Pool:
    """The one pool of this server."""
    from engine.pool import pool  # torch comes with it

    return pool()


def let_go(done: asyncio.Future[Any]) -> None:
    """Let go of a base that was held for a client who has left meanwhile."""
    if not done.cancelled() and done.exception() is None:
        done.result()[3].close()
