"""Every model with every collection behind OpenAI's API: `model="starter@my documents"`; `python -m rag serve`."""

from __future__ import annotations

from typing import Any

from engine.respond import Passages
from engine.serve import Service, create


def collections() -> list[str]:
    """The names that may stand behind the @."""
    from rag.store import list_collections

    return [one.name for one in list_collections()]


def passages_for(name: str) -> Passages:
    """The collection of that name, searched as its owner set it up. Raises Problem where it is gone."""
    from rag.opened import opened

    return opened(name)


def service(key_needed: bool = False) -> Service:
    """The server for the app's own port."""
    return create(key_needed, passages_for=passages_for, collections=collections)


def register(commands: Any) -> None:
    """Make `serve` a command of `python -m rag`; see `main`."""
    from engine.headless_serve import add_options

    made = commands.add_parser("serve", help="answer OpenAI's API with every model, also from collections")
    add_options(made)
    made.set_defaults(run=run)


def run(args: Any) -> int:
    """The command, once its options are read."""
    from engine.headless_serve import served

    return served(args, "rag serve", passages_for, collections)
