"""One visitor's piece of work that streams: it runs in a thread of its own, and Stop reaches it from outside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from engine.errors import Problem

BEAT = 1 / 12  # seconds between two updates of the page
Work = Callable[[threading.Event], Iterable[Any]]


class Going:
    """The work in progress: its events so far, its stop flag, whether it is over, and what it failed of."""

    def __init__(self, work: Work):
        self.stop, self.over = threading.Event(), threading.Event()
        self.events: list[Any] = []
        self.error: Exception | None = None
        threading.Thread(target=self._run, args=(work,), daemon=True, name="errand").start()

    def _run(self, work: Work) -> None:
        try:
            for event in work(self.stop):
                self.events.append(event)
        except Exception as error:
            self.error = error
        finally:
            self.over.set()


class Errand:
    """Lives in gr.State, by reference."""

    def __init__(self) -> None:
        self.going: Going | None = None
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict) -> Errand:
        """A fresh one: Gradio copies the first for every visitor."""
        return Errand()

    def events(self, work: Work) -> Iterator[list[Any]]:
        """Do the work; yields all events so far at every beat, and once more at its end. Whoever goes away stops it.

        Raises Problem when such work is running, and what the work raises.
        """
        with self._lock:
            if self.going is not None and not self.going.over.is_set():
                raise Problem("This is still running. Wait for it, or press Stop first.")
            self.going = going = Going(work)
        try:
            while not going.over.wait(BEAT):
                yield list(going.events)
            yield list(going.events)
            if going.error is not None:
                raise going.error
        finally:
            going.stop.set()

    def stop(self) -> None:
        """End the work in progress."""
        going = self.going
        if going is not None:
            going.stop.set()
