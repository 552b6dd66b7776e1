"""Reads a reply as fast as it comes, so that a slow reader neither holds it up nor is taken for a slow server."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable

from engine.respond import Event


def ahead(events: Iterable[Event]) -> Generator[Event]:
    """The same events, taken in a thread of its own, where they get their times; what they raise is raised here.

    Who leaves early must see to it that the events end: the thread reads on until they do.
    """
    inbox: queue.SimpleQueue[Event | Exception | None] = queue.SimpleQueue()

    def read() -> None:
        try:
            for event in events:
                inbox.put(event)
        except Exception as error:
            inbox.put(error)
        inbox.put(None)

    reader = threading.Thread(target=read, daemon=True, name="hosted")
    reader.start()
    while (event := inbox.get()) is not None:
        if isinstance(event, Exception):
            raise event
        yield event
    reader.join()
