"""Who may do what: one table, asked by every handler on the server side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engine.errors import Problem

Mode = Literal["local", "owner", "visitor"]

EVERYBODY: frozenset[Mode] = frozenset({"local", "owner", "visitor"})
OWNERS: frozenset[Mode] = frozenset({"local", "owner"})

# action: (who may, what it is called in a refusal)
TABLE: dict[str, tuple[frozenset[Mode], str]] = {
    "look": (EVERYBODY, "look at this page"),
    "compare": (EVERYBODY, "compare models"),
    "stop own": (EVERYBODY, "stop one's own run"),
    "export own": (EVERYBODY, "export one's own results"),
    "load data": (OWNERS, "bring data of their own"),
    "save dataset": (OWNERS, "save a dataset on this server"),
    "push dataset": (OWNERS, "put a dataset on the Hub"),
    "add model": (OWNERS, "use a model that is not in the list"),
    "see models": (EVERYBODY, "see the models"),
    "change models": (OWNERS, "change or delete a model"),
    "load models": (OWNERS, "load or unload a model"),
    "see jobs": (EVERYBODY, "see the runs"),
    "train": (OWNERS, "start a job that teaches a model"),
    "stop job": (OWNERS, "stop a job"),
    "share run": (OWNERS, "put a run on the Hub or fetch one from there"),
    "delete run": (OWNERS, "change or delete a run"),
    "chat": (EVERYBODY, "chat with a model"),
    "call tools": (EVERYBODY, "let a model call tools"),
    "read web pages": (OWNERS, "let a model read web pages"),
    "ask documents": (EVERYBODY, "ask the documents"),
    "add documents": (OWNERS, "add documents"),
    "change collections": (OWNERS, "make, change or delete collections"),
    "export collection": (OWNERS, "take a collection away as a file"),
    "measure retrieval": (OWNERS, "measure retrieval with questions of their own"),
    "see server": (OWNERS, "see what the server does for programs"),
    "see keys": (OWNERS, "see the keys of programs"),
    "make key": (OWNERS, "make keys for programs"),
    "revoke key": (OWNERS, "revoke keys of programs"),
    "use endpoint": (OWNERS, "send requests to an address of one's own"),
}


@dataclass(frozen=True)
class Visitor:
    """The person behind one request. Local: on this machine, no login asked. Owner: logged in."""

    mode: Mode
    name: str = ""


def may(visitor: Visitor, action: str) -> bool:
    """Whether this person may do it. Raises KeyError for an action that is not in the table (a bug)."""
    return visitor.mode in TABLE[action][0]


def require(visitor: Visitor, action: str) -> None:
    """Raise Problem unless this person may do it."""
    if not may(visitor, action):
        raise Problem(
            f"Visitors of an open demo may not {TABLE[action][1]}. The owner can, after starting the app with --auth."
        )
