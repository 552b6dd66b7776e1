"""The tabs: one list, in the order in which they stand on the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pages import assistant, compare, data, finetune, knowledge, models, serve
from pages.launch import Launch


class Room(NamedTuple):
    """A tab's title and what lays it out inside the current Blocks."""

    title: str
    build: Callable[[Launch], None]


ROOMS: tuple[Room, ...] = (
    Room(compare.TITLE, compare.build),
    Room(data.TITLE, data.build),
    Room(finetune.TITLE, finetune.build),
    Room(knowledge.TITLE, knowledge.build),
    Room(assistant.TITLE, assistant.build),
    Room(models.TITLE, models.build),
    Room(serve.TITLE, serve.build),
)
