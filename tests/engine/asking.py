"""How the tests of hosted models ask a scripted server, and what they read from the reply."""

from __future__ import annotations

from collections.abc import Iterator

from engine.catalog import Model
from engine.errors import Problem
from engine.hosted import HostedResponder
from engine.messages import Message, Piece, Sampling
from engine.respond import Event
from tests.fake_openai import FakeOpenAI, Script

KEY = "sk-canary-0123456789abcdefWXYZ"
ASK = (Message("user", "Hi"),)


def at(url: str, key_name: str | None = None) -> Model:
    return Model(name="m", base="tiny-model", endpoint=url, key_name=key_name)


def ask(script: Script) -> tuple[list[Event], Problem | None]:
    """All events of one reply to "Hi", and the Problem that ended it, if one did."""
    with FakeOpenAI(script) as server:
        return collect(HostedResponder(at(server.url), key=KEY).reply(ASK, Sampling()))


def collect(reply: Iterator[Event]) -> tuple[list[Event], Problem | None]:
    events: list[Event] = []
    try:
        for item in reply:
            events.append(item)
    except Problem as problem:
        assert "\n" not in str(problem) and "Traceback" not in str(problem)
        assert KEY not in str(problem)
        return events, problem
    return events, None


def text(events: list[Event]) -> str:
    return "".join(e.text for e in events if isinstance(e, Piece))


def complaint(script: Script) -> str:
    """The sentence of a reply that must fail."""
    _, problem = ask(script)
    assert problem is not None
    return str(problem)
