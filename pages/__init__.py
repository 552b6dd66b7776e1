"""The tabs: one list, in the order in which they stand on the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pages import assistant, compare, data, finetune, knowledge, models, serve
from pages.launch import Launch


class Page(NamedTuple):
    """A tab's title and what lays it out inside the current Blocks."""

    title: str
    build: Callable[[Launch], None]


PAGES: tuple[Page, ...] = (
    Page(compare.TITLE, compare.build),
    Page(data.TITLE, data.build),
    Page(finetune.TITLE, finetune.build),
    Page(knowledge.TITLE, knowledge.build),
    Page(assistant.TITLE, assistant.build),
    Page(models.TITLE, models.build),
    Page(serve.TITLE, serve.build),
)
