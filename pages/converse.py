"""What the Assistant tab does when a button is pressed; every handler asks access.TABLE first."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr

from engine.access import Mode, Visitor, require
from engine.acting.assistants import assistants
from engine.acting.own_tools import own_tools
from engine.acting.shipped_tools import TOOLS, WEB
from engine.acting.steps import Verdict
from engine.catalog import Model, all_models
from engine.errors import Problem
from engine.messages import Sampling
from engine.respond import Responder, responder_for
from engine.settings import settings
from engine.tools import Tool
from pages.bubbles import bubble
from pages.form import resolve
from pages.hosted import endpoint
from pages.parts import asks, visitor
from pages.talk import BEAT, Question, Run, Talk
from pages.transcript import as_json, read

RETRY_TEMPERATURE = 0.7  # a retry at temperature 0 would say the same again
FEW = 3  # tools among which a small model still finds its way
LONGEST_ASKED = 500  # characters of a call's arguments beside the buttons
View = list[Any]


def offered(mode: Mode) -> tuple[Tool, ...]:
    """The tools there are: those that ship, and on one's own machine the owner's. Tests put theirs here."""
    return (*TOOLS, *own_tools(settings().tools)[0]) if mode == "local" else TOOLS


def respond(model: Model, key: str | None, describe: bool) -> Responder:
    """Whoever answers. The one place where the page meets models; tests put a scripted one here."""
    return responder_for(model, key, describe)


def show(talk: Talk) -> View:
    """The conversation, the line under it, the buttons for a call that waits, the question about it, and its id."""
    run = talk.run
    call = run.waiting if run is not None else None
    asked = ""
    if call is not None:
        more = "… (all of it stands above)" if len(call.arguments) > LONGEST_ASKED else ""
        asked = (
            f'<p class="ask" role="alert">Let the assistant run <strong>{escape(call.name)}</strong> with '
            f"<code>{escape(call.arguments[:LONGEST_ASKED])}</code>{more}?</p>"
        )
    waits = call is not None
    id = call.id if call is not None else ""
    return [[bubble(step) for step in talk.shown], status(talk), gr.update(visible=waits), asked, id]


def status(talk: Talk) -> str:
    """What is going on, or what the last turn took."""
    if talk.run is not None:
        words = "waiting for your answer" if talk.run.waiting else "answering…"
        return f'<p class="stats live"><span class="pulse" aria-hidden="true"></span>{words}</p>'
    if not talk.turns:
        return '<p class="stats">Nothing asked yet.</p>'
    last, parts = talk.turns[-1], []
    if last.usage.prompt_tokens is not None:
        parts.append(f"{last.usage.prompt_tokens:,} tokens read")
    if last.usage.completion_tokens is not None:
        parts.append(f"{last.usage.completion_tokens:,} written")
    if last.seconds:
        parts.append(f"{last.seconds:.1f} s")
    if last.retries:
        parts.append(f"retried {last.retries}×, at temperature {RETRY_TEMPERATURE} or more")
    return f'<p class="stats">{" · ".join(parts)}</p>'


def question(talk: Talk, who: Visitor, prompt: str, values: Sequence[Any]) -> Question:
    """The form as a question. Raises Problem."""
    name, preset, system, names, describe, temperature, most = values
    model, key = resolve(name, "the assistant", talk.desk, who)
    tools = chosen(names, who)
    chosen_preset = assistants().get(preset)
    facts = chosen_preset.facts_for(prompt) if chosen_preset else []
    sampling = Sampling(temperature=float(temperature or 0), max_tokens=int(most or 0))
    if wrong := sampling.problems():
        raise Problem(" ".join(wrong))
    text = "\n".join([system or "", *facts]).strip()
    return Question(prompt, respond(model, key, bool(describe)), text, tools, sampling)


def chosen(names: Sequence[str] | None, who: Visitor) -> tuple[Tool, ...]:
    """The tools of those names, if this person may use them. Raises Problem."""
    names = names or ()
    found = {tool.name: tool for tool in offered(who.mode)}
    if unknown := [name for name in names if name not in found]:
        raise Problem(f"There is no tool '{unknown[0]}'. The tools are: {', '.join(found)}.")
    if names:
        require(who, "call tools")
    if WEB & set(names):
        require(who, "read web pages")
    return tuple(found[name] for name in found if name in names)


@asks("chat")
def send(request: gr.Request, talk: Talk, prompt: str, *values: Any) -> Iterator[View]:
    """Ask, and stream the turn; the box is emptied once the question is accepted."""
    run = talk.ask(question(talk, visitor(request), prompt, values))
    yield from stream(talk, run, gr.update(value=""))


@asks("chat")
def retry(request: gr.Request, talk: Talk, prompt: str, *values: Any) -> Iterator[View]:
    """Ask the last question again, for another answer."""
    talk.check_idle()
    if not talk.turns:
        raise Problem("There is nothing to try again yet. Ask something first.")
    asked = question(talk, visitor(request), talk.turns[-1].prompt, values)
    last = talk.undo()
    drawn = replace(
        asked.sampling, seed=last.retries + 1, temperature=max(asked.sampling.temperature, RETRY_TEMPERATURE)
    )
    run = talk.ask(replace(asked, sampling=drawn), last.retries + 1)
    yield from stream(talk, run, gr.update())


def stream(talk: Talk, run: Run, box: Any) -> Iterator[View]:
    """Show a turn until it is over; whoever goes away stops it."""
    try:
        yield [box, *show(talk)]
        while not run.over.wait(0):
            time.sleep(BEAT)
            yield [gr.update(), *show(talk)]
        yield [gr.update(), *show(talk)]
    finally:
        run.stop.set()


@asks("stop own")
def stop(request: gr.Request, talk: Talk) -> None:
    """End the turn in progress."""
    talk.stop()


def answer(verdict: Verdict) -> Callable:
    """A handler for one of the person's answers, which counts for the call that they saw and for no later one."""

    @asks("chat")
    def answer_call(request: gr.Request, talk: Talk, id: str) -> None:
        talk.answer(verdict, id)

    return answer_call


@asks("chat")
def undo(request: gr.Request, talk: Talk) -> View:
    """Take the last turn off, and put its question back into the box."""
    last = talk.undo()
    return [last.prompt, *show(talk)]


@asks("chat")
def clear(request: gr.Request, talk: Talk) -> View:
    """Begin anew."""
    talk.clear()
    return ["", *show(talk)]


@asks("export own")
def export(request: gr.Request, talk: Talk, model: str, system: str) -> str:
    """The conversation for the page's script, which saves it."""
    talk.check_idle()
    text = as_json(talk.messages, model or "", system or "")
    return json.dumps({"name": "conversation.json", "type": "application/json", "text": text}, ensure_ascii=False)


@asks("chat")
def take_in(request: gr.Request, talk: Talk, data: bytes | None) -> View:
    """Go on with an exported conversation; its system prompt comes along."""
    if not data:
        raise Problem("Choose a conversation that was exported here.")
    turns, system = read(data)
    talk.take_over(turns)
    return [system or gr.update(), *show(talk)]


@asks("look")
def preset(request: gr.Request, name: str) -> View:
    """Fill in system prompt and tools of a ready-made assistant, and show its example."""
    found = assistants().get(name)
    if found is None:
        return [gr.update(), gr.update(), gr.update()]
    return [found.system, list(found.tools), gr.update(placeholder=f"For example: {found.example}")]


@asks("look")
def warn(request: gr.Request, talk: Talk, model: str, names: list[str]) -> str:
    """A friendly word where a small model is given many tools."""
    endpoints = {m.name for m in all_models() if m.endpoint} | set(talk.desk.endpoints)
    if len(names or ()) <= FEW or model in endpoints:
        return ""
    return (
        f'<p class="note" role="note">Small models lose their way among more than {FEW} tools, and the starter is a '
        "toy. If it calls the wrong one, switch some off.</p>"
    )


@asks("use endpoint")
def add_endpoint(request: gr.Request, talk: Talk, name: str, address: str, model: str, key: str) -> View:
    """Keep an endpoint for this visitor and choose it."""
    found = endpoint(name, address, model)
    talk.desk.endpoints[found.name] = (found, key.strip() or None)
    names = [each.name for each in all_models()] + list(talk.desk.endpoints)
    told = '<p class="hint" role="status">Added and chosen.</p>'
    return [told, "", gr.update(choices=names, value=found.name)]
