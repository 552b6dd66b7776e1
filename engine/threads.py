"""How many of torch's threads compute, and where.

libgomp, torch's OpenMP on Linux, lets the threads that share a product stay awake for a moment (engine.settings), so
that the next product finds them ready; but only while the teams of all threads of a process together are no more than
the processors. So whatever computes beside the decode loops does it in a thread that ends: its team ends with it.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")
AGAIN = 64  # steps after which both numbers of threads are compared again
SOON = 20  # the same after a choice that is new, for it may have been chance
TRIES = 3  # steps of each, by turns; the median counts
WORTH = 1.15  # how many times as fast all threads must be, which take the processors from everybody else


class ThreadChoice:
    """How many threads a loop's steps take: all where that was clearly faster for about so many rows of late, else one.

    Sharing a step pays where a processor is free; beside a job or another program threads wait for each other.
    """

    def __init__(self, most: int):
        self.most = most
        self._usual: dict[int, int] = {}  # bits of the number of rows -> threads
        self._left: dict[int, int] = {}  # bits -> steps until the next choice; the last of them are tries
        self._tried: dict[tuple[int, int], list[float]] = {}  # (bits, threads) -> seconds of each step

    def threads(self, rows: int) -> int:
        """For the next step of so many rows."""
        bits = rows.bit_length()
        left = self._left.setdefault(bits, 2 * TRIES)
        if left > 2 * TRIES:
            return self._usual[bits]
        return 1 if left % 2 else self.most

    def took(self, rows: int, seconds: float) -> None:
        """Hear how long that step took."""
        if self.most == 1:
            return
        bits, threads = rows.bit_length(), self.threads(rows)
        if self._left[bits] <= 2 * TRIES:
            self._tried.setdefault((bits, threads), []).append(seconds)
        self._left[bits] -= 1
        if not self._left[bits]:
            most, one = (statistics.median(self._tried.pop((bits, threads))) for threads in (self.most, 1))
            usual = self.most if one > WORTH * most else 1
            self._left[bits] = AGAIN if usual == self._usual.get(bits) else SOON
            self._usual[bits] = usual


@contextlib.contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Compute with so many of torch's threads."""
    import torch

    usual = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


def aside(work: Callable[[], Result]) -> Result:
    """What `work` returns, done in a thread of its own while this one waits; raises what it raises."""
    with ThreadPoolExecutor(1, "aside") as thread:
        return thread.submit(work).result()
