"""Ready-made assistants: a system prompt, its tools, and facts that a word in the question adds. Data in assets."""

from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import dataclass

from engine.settings import ASSETS


@dataclass(frozen=True)
class Fact:
    """A sentence that is added to the system prompt of a turn whose question holds one of the words."""

    words: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Assistant:
    """What a preset of the Assistant tab fills in; `documents`: it searches a collection where there is one."""

    name: str
    title: str
    system: str
    tools: tuple[str, ...]
    example: str
    facts: tuple[Fact, ...] = ()
    documents: bool = False

    def facts_for(self, question: str) -> list[str]:
        """The facts that the question calls for."""
        asked = set(re.findall(r"\w+", question.casefold()))
        return [fact.text for fact in self.facts if asked & set(fact.words)]


@functools.cache
def assistants() -> dict[str, Assistant]:
    """Every assistant by name, in the order of the `order` key of its file in assets/assistants."""
    found = []
    for path in (ASSETS / "assistants").glob("*.toml"):
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        facts = tuple(Fact(tuple(fact["words"]), fact["text"]) for fact in data.pop("fact", []))
        order, tools = data.pop("order"), tuple(data.pop("tools"))
        found.append((order, Assistant(name=path.stem, tools=tools, facts=facts, **data)))
    return {each.name: each for _, each in sorted(found, key=lambda pair: pair[0])}
