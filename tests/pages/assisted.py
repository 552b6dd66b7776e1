"""The Assistant tab on stage: a scripted model for it, and tools that a test can watch."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from engine.acting.shipped_tools import TOOLS
from engine.tools import Tool
from pages import asking, leaflet, shaping
from tests.engine.scripted_model import Line, ScriptedModel, call


@dataclass
class Actor:
    """What the page's model says, and what its tools did."""

    model: ScriptedModel = field(default_factory=lambda: ScriptedModel(["Hello."]))
    mails: list[str] = field(default_factory=list)
    begun: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    def says(self, *replies: Sequence[Line]) -> ScriptedModel:
        self.model = ScriptedModel(*replies)
        return self.model

    def tools(self, mode: str = "local") -> tuple[Tool, ...]:
        def send_mail(to: str) -> str:
            """Send a mail.

            Args:
                to: The address
            """
            self.mails.append(to)
            return "sent"

        def hang(*, stop: threading.Event) -> str:
            """Take very long."""
            self.begun.set()
            if stop.wait(60):
                self.ended.set()
            return "late"

        return (*TOOLS, Tool.from_function(send_mail, side_effect=True), Tool.from_function(hang))


@pytest.fixture
def actor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Actor]:
    made = Actor()
    for module in (asking, leaflet, shaping):
        monkeypatch.setattr(module, "respond", lambda *_: made.model)
    monkeypatch.setattr(asking, "offered", made.tools)
    yield made
    made.model.stop()


PRICE = call("get_ticket_price", '{"origin": "Delhi", "destination": "Mumbai"}')
