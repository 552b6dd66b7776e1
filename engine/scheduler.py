"""Decode loops take turns in one thread, so that all bases together keep one team of torch's threads awake."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

import torch

from engine.settings import settings

log = logging.getLogger(__name__)


class Task(Protocol):
    """Something that is done in turns."""

    def ready(self) -> bool:
        """Whether there is anything to do; asked while the scheduler's `changed` is held."""

    def turn(self) -> bool:
        """Do a part of it; false when there will never be anything to do again."""

    def broken(self, error: Exception) -> None:
        """Hear what `turn` raised, and be ready only for what comes after it."""


class Scheduler:
    """A thread that gives each task that is ready a turn, round and round. `changed` guards what makes them ready."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._tasks: list[Task] = []
        self._thread: threading.Thread | None = None

    def add(self, task: Task) -> None:
        """Give a task turns from now on; `changed` is held. The thread starts with the first."""
        self._tasks.append(task)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True, name="decode")
            self._thread.start()

    def _run(self) -> None:
        torch.set_num_threads(settings().threads)  # a thread that begins within on_threads(1) would keep that one
        while True:
            with self.changed:
                while not (ready := [task for task in self._tasks if task.ready()]):
                    self.changed.wait()
            for task in ready:
                if not turn(task):
                    with self.changed:
                        self._tasks.remove(task)


def turn(task: Task) -> bool:
    """One turn of a task; false when it was the last. What it raises is its own affair."""
    try:
        return task.turn()
    except Exception as error:
        log.error("a turn failed", exc_info=error)
        task.broken(error)
        return True


SCHEDULER = Scheduler()
