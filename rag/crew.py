"""Several small computations at once, each by one thread: threads that share one product wait for one another."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
AHEAD = 2  # computations that wait for each thread, so that none is idle


def each(work: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result]:
    """work(item) in the order of the items, as many at a time as torch may use threads here.

    What was not begun when the generator is closed is left out; what was begun is waited for.
    """
    import torch

    count = torch.get_num_threads()
    if count < 2:
        yield from map(work, items)
        return
    running: collections.deque[Future[Result]] = collections.deque()
    with crew(count) as threads:
        try:
            for item in items:
                running.append(threads.submit(work, item))
                if len(running) > AHEAD * count:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for one in running:
                one.cancel()


def crew(count: int) -> ThreadPoolExecutor:
    """That many threads, in each of which torch computes alone.

    torch's setting holds for the thread that sets it and for all that are begun later, so it is set back at once.
    """
    import torch

    usual, ready = torch.get_num_threads(), threading.Barrier(count + 1)
    threads = ThreadPoolExecutor(count, "embedding", initializer=torch.set_num_threads, initargs=(1,))
    for _ in range(count):
        threads.submit(ready.wait)
    ready.wait()
    torch.set_num_threads(usual)
    return threads
