"""Runs a function in a thread of its own and waits for it no longer than allowed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

Made = TypeVar("Made")
BEAT = 0.05  # seconds between two looks at the stop flag


class Stopped(Exception):
    """Somebody raised the stop flag while the function was running."""


def within(work: Callable[[], Made], seconds: float, stop: threading.Event) -> Made:
    """What `work` returns, or the exception that it raised. Raises TimeoutError and Stopped.

    Python cannot end a thread: after either of these the function may run on, and what it makes is dropped. A
    function that can end early looks at a flag of its own.
    """
    made: list[Any] = []
    failed: list[BaseException] = []
    over = threading.Event()

    def run() -> None:
        try:
            made.append(work())
        except BaseException as error:  # SystemExit of a tool must not pass as "no answer"
            failed.append(error)
        finally:
            over.set()

    deadline = time.monotonic() + seconds
    threading.Thread(target=run, daemon=True, name="within").start()
    while not over.wait(min(BEAT, max(0.0, deadline - time.monotonic()))):
        if stop.is_set():
            raise Stopped
        if time.monotonic() >= deadline:
            raise TimeoutError
    if failed:
        raise failed[0]
    return made[0]
