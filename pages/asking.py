"""The Assistant's form as a question: who answers, with which words, tools and documents, and who may ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.access import Mode, Visitor, may, require
from engine.acting.assistants import assistants
from engine.acting.own_tools import own_tools
from engine.acting.shipped_tools import TOOLS, WEB
from engine.catalog import Model
from engine.errors import Problem
from engine.messages import Sampling
from engine.respond import Responder, responder_for
from engine.settings import settings
from engine.tools import Tool
from pages import shelf
from pages.form import resolve
from pages.talk import Chosen, Question, Talk


def offered(mode: Mode) -> tuple[Tool, ...]:
    """The tools there are: those that ship, and on one's own machine the owner's. Tests put theirs here."""
    return (*TOOLS, *own_tools(settings().tools)[0]) if mode == "local" else TOOLS


def respond(model: Model, key: str | None, describe: bool) -> Responder:
    """Whoever answers. The one place where the page meets models; tests put a scripted one here."""
    return responder_for(model, key, describe)


def may_read_pages(who: Visitor) -> bool:
    """Whether a model may read web pages for this person: owners always, others where the owner allowed it."""
    return may(who, "read web pages") or settings().visitors_read


def require_pages(who: Visitor) -> None:
    """Raise Problem unless a model may read web pages for this person."""
    if not may_read_pages(who):
        require(who, "read web pages")


def question(talk: Talk, who: Visitor, prompt: str, values: Sequence[Any]) -> Question:
    """The form as a question; `values` are those of assistant.Setup. Raises Problem."""
    name, preset, system, names, collection, describe, temperature, most = values
    model, key = resolve(name, "the assistant", talk.desk, who)
    tools = chosen_tools(names, collection, who)
    ready_made = assistants().get(preset)
    facts = ready_made.facts_for(prompt) if ready_made else []
    drawn = sampling(temperature, most)
    text = "\n".join([system or "", *facts]).strip()
    return Question(prompt, respond(model, key, bool(describe)), text, tools, drawn, model)


def chosen(values: Sequence[Any]) -> Chosen:
    """What of the form is kept with the conversation."""
    name, preset, system, names = values[:4]
    return Chosen(name or "", preset or "", system or "", tuple(names or ()))


def sampling(temperature: Any, most: Any) -> Sampling:
    """Temperature and token limit of the form. Raises Problem."""
    made = Sampling(temperature=float(temperature or 0), max_tokens=int(most or 0))
    if wrong := made.problems():
        raise Problem(" ".join(wrong))
    return made


def chosen_tools(names: Sequence[str] | None, collection: str | None, who: Visitor) -> tuple[Tool, ...]:
    """The tools of those names and the search of a collection, if this person may use them. Raises Problem."""
    names = names or ()
    found = {tool.name: tool for tool in offered(who.mode)}
    if unknown := [name for name in names if name not in found]:
        raise Problem(f"There is no tool '{unknown[0]}'. The tools are: {', '.join(found)}.")
    if names or collection:
        require(who, "call tools")
    if WEB & set(names):
        require_pages(who)
    if collection:
        require(who, "ask documents")
    search = (shelf.search_tool(collection, who),) if collection else ()
    return (*(found[name] for name in found if name in names), *search)
