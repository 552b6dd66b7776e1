"""What the Assistant tab does when a button is pressed; every handler asks access.TABLE first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr

from engine.acting.assistants import assistants
from engine.acting.steps import Verdict
from engine.catalog import all_models
from engine.errors import Problem
from engine.messages import Usage
from engine.models.prices import dollars
from pages import shelf
from pages.asking import chosen, question
from pages.bubbles import Said, bubble
from pages.hosted import endpoint
from pages.parts import asks, visitor
from pages.talk import BEAT, Run, Talk, Turn
from pages.transcript import record

RETRY_TEMPERATURE = 0.7  # a retry at temperature 0 would say the same again
LEAD = "For example: "  # before an assistant's example in the empty box
FEW = 3  # tools among which a small model still finds its way
LONGEST_ASKED = 500  # characters of a call's arguments beside the buttons
View = list[Any]


def show(talk: Talk, keep: bool = True) -> View:
    """What stands on stage: the conversation, the line under it, the buttons for a call that waits, the question about
    it, its id, and what the browser is to keep (only where something is to be kept anew).
    """
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
    kept = record(talk) if keep else gr.skip()
    return [[bubble(step) for step in talk.shown], status(talk), gr.update(visible=waits), asked, id, kept]


def status(talk: Talk) -> str:
    """What is going on, or what the last turn took."""
    if talk.run is not None:
        words = "waiting for your answer" if talk.run.waiting else "answering…"
        return f'<p class="stats live"><span class="pulse" aria-hidden="true"></span>{words}</p>'
    if not talk.turns:
        return '<p class="stats">Nothing asked yet.</p>'
    last, whole = talk.turns[-1], talk.turns
    unanswered = all(isinstance(step, Said) and step.role == "user" for step in last.shown)  # as after a reload
    parts = ["this question has no answer; Retry asks it again"] if unanswered else []
    parts += counted(last.usage, last.cost)
    if last.seconds:
        parts.append(f"{last.seconds:.1f} s")
    if last.retries:
        parts.append(f"retried {last.retries}×, at temperature {RETRY_TEMPERATURE} or more")
    if sum(1 for turn in whole if turn.usage != Usage()) > 1:
        parts.append(f"in all {', '.join(counted(*together(whole)))}")
    return f'<p class="stats">{" · ".join(parts)}</p>'


def counted(usage: Usage, cost: float | None) -> list[str]:
    """Tokens, and dollars where they are known."""
    parts = []
    if usage.prompt_tokens is not None:
        parts.append(f"{usage.prompt_tokens:,} tokens read")
    if usage.completion_tokens is not None:
        parts.append(f"{usage.completion_tokens:,} written")
    return parts if cost is None else [*parts, dollars(cost)]


def together(turns: Sequence[Turn]) -> tuple[Usage, float | None]:
    """The counts of all turns that told them, and what they cost where each of those has a price."""
    told = [turn for turn in turns if turn.usage != Usage()]
    usage = Usage(*(sum(getattr(t.usage, name) or 0 for t in told) for name in ("prompt_tokens", "completion_tokens")))
    costs = [turn.cost for turn in told]
    return usage, None if None in costs else sum(cost or 0.0 for cost in costs)


@asks("chat")
def send(request: gr.Request, talk: Talk, prompt: str, *values: Any) -> Iterator[View]:
    """Ask, and stream the turn; the box is emptied once the question is accepted."""
    run = talk.ask(question(talk, visitor(request), prompt, values))
    talk.chosen = chosen(values)
    yield from stream(talk, run, gr.update(value=""))


@asks("chat")
def edit(request: gr.Request, talk: Talk, event: gr.EditData, *values: Any) -> Iterator[View]:
    """Ask an earlier question anew in other words; what followed it is gone."""
    talk.check_idle()
    turn = talk.turn_at(event.index if isinstance(event.index, int) else event.index[0])
    words = said(event.value)
    asked = question(talk, visitor(request), words, values)
    if not words.strip():
        raise Problem("The question is empty now. Write something, or take the turn off with Undo.")
    talk.rewind(turn)
    talk.chosen = chosen(values)
    yield from stream(talk, talk.ask(asked), gr.update())


def said(value: Any) -> str:
    """The text of an edited message, in whichever shape the Chatbot hands it over."""
    if isinstance(value, dict):
        value = value.get("text", value.get("content", ""))
    if isinstance(value, list):
        return "".join(said(each) for each in value)
    return value if isinstance(value, str) else ""


@asks("look")
def look(request: gr.Request, talk: Talk) -> View:
    """The conversation as it is, asked for when a stream has ended.

    A stream's last view may reach the page after that of a button pressed meanwhile, such as New conversation; and
    after an edit that was refused the page shows the new words.
    """
    return show(talk)


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
            yield [gr.update(), *show(talk, keep=False)]
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
    """Begin another conversation; this one stays in the list."""
    talk.clear()
    return ["", *show(talk)]


@asks("look")
def preset(request: gr.Request, name: str) -> View:
    """Fill in system prompt, tools and documents of a ready-made assistant, and show its example."""
    found = assistants().get(name)
    if found is None:
        return [gr.update()] * 4
    there = shelf.collections(visitor(request))
    documents = gr.update(choices=with_none(there), value=there[0][1] if found.documents and there else "")
    return [found.system, list(found.tools), documents, gr.update(placeholder=LEAD + found.example)]


@asks("look")
def documents(request: gr.Request) -> Any:
    """The collections there are now."""
    there = shelf.collections(visitor(request))
    return gr.update(choices=with_none(there), visible=bool(there))


def with_none(there: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Collections as choices, after none."""
    return [("None", ""), *there]


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
