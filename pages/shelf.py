"""The collections of documents that an assistant can search. rag is asked late: the page is up before it."""

from __future__ import annotations

import importlib
import logging
from typing import Any, NamedTuple

from engine.access import Visitor, may
from engine.errors import Problem
from engine.tools import Tool

log = logging.getLogger(__name__)


class Librarian(NamedTuple):
    """What is used of rag: rag.tool, which makes tools of collections, and rag.sample, which everybody may search."""

    tool: Any
    sample: Any


def librarian() -> Librarian | None:
    """rag's modules; None where there is no rag. Tests put theirs here."""
    try:
        return Librarian(importlib.import_module("rag.tool"), importlib.import_module("rag.sample"))
    except ModuleNotFoundError as error:
        log.info("there are no documents: %s", error)
        return None


def collections(who: Visitor) -> list[tuple[str, str]]:
    """The collections that this person may search, as (label, name): the sample, and for owners all others.

    None where they cannot be listed, which is logged: an assistant works without them.
    """
    rag = librarian()
    if rag is None or not may(who, "ask documents"):
        return []
    try:
        sample = [(rag.sample.TITLE, rag.sample.NAME)] if rag.sample.digest() else []
        others = rag.tool.collections() if may(who, "add documents") else []
        return [*sample, *((name, name) for name in others if name != rag.sample.NAME)]
    except Exception:
        log.exception("the collections could not be listed")
        return []


def search_tool(collection: str, who: Visitor) -> Tool:
    """The tool that searches this collection; the sample is read first where that has not been done. Raises Problem."""
    rag = librarian()
    if rag is None or collection not in [name for _, name in collections(who)]:
        raise Problem(f"There is no collection '{collection}' (any more). Choose another, or none.")
    if collection == rag.sample.NAME:
        rag.sample.built()
    tool: Tool = rag.tool.search_tool(collection)
    return tool
