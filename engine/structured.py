"""An answer as validated JSON: what does not fit is told to the model, which may try again, at most twice."""

from __future__ import annotations

import functools
import json
import logging
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from engine.acting.listen import listen
from engine.acting.local_tools import with_system
from engine.acting.shapes import FOLDER, Shape, Unfit, json_in
from engine.acting.steps import Clock, Ending, Reply, Words
from engine.agent import GREEDY, added, ending
from engine.errors import Problem, sentence
from engine.messages import Message, Sampling, Usage
from engine.respond import Responder

log = logging.getLogger(__name__)
REPAIRS = 2  # how often a wrong answer is sent back
SECONDS = 120.0  # for all tries together
CUT_OFF = "The answer reached the limit of tokens before its end. Make it shorter."


@dataclass(frozen=True)
class Try:
    """One answer of the model, and what was wrong with it; None where it fits."""

    text: str
    complaint: str | None


@dataclass(frozen=True)
class Shaped:
    """The end: the value (None unless reason is "stop"), every try, the counts of all, and a sentence on failure.

    `loose` says why a local model was not held to the schema while it wrote.
    """

    value: Any
    tries: tuple[Try, ...]
    usage: Usage
    reason: Ending
    problem: str | None = None
    loose: str | None = None


ShapedEvent = Words | Try | Shaped
Check = Callable[[Any], None]  # raises Unfit for what a schema cannot say


def shaped(
    responder: Responder,
    messages: Sequence[Message],
    shape: Shape,
    sampling: Sampling = GREEDY,
    check: Check | None = None,
    stop: threading.Event | None = None,
    seconds: float = SECONDS,
) -> Generator[ShapedEvent]:
    """Answer the last message in the given shape; words as they come, a Try after each reply, Shaped at last.

    The schema is written into the prompt. A responder that can be held to it while it writes (its method `shaped`
    says so) is: local models by a grammar, endpoints by their strict mode; one that cannot goes on with the prompt
    alone. What is read is checked in any case.
    """
    clock = Clock(time.monotonic() + seconds, stop or threading.Event())
    held = responder.shaped(shape.response_format) if hasattr(responder, "shaped") else responder
    asked = with_system(messages, instructions(shape))
    tries: list[Try] = []
    usage = Usage()
    for _ in range(1 + REPAIRS):
        reply = yield from listen(held, asked, sampling, (), clock)
        usage = added(usage, reply.usage)
        if reply.error is not None:
            problem = sentence(reply.error, log, "a structured reply failed")
            yield Shaped(None, tuple(tries), usage, "error", problem)
            return
        loose = getattr(held, "loose", None)
        if clock.ended:
            yield Shaped(None, tuple(tries), usage, clock.ended)
            return
        value, complaint = judged(reply, shape, check)
        tries.append(Try(reply.text, complaint))
        yield tries[-1]
        if complaint is None:
            yield Shaped(value, tuple(tries), usage, "stop", loose=loose)
            return
        asked = [*asked, Message("assistant", reply.text or "(nothing)"), Message("user", again(complaint))]
    problem = f"The model did not manage it in {len(tries)} tries. The last complaint: {tries[-1].complaint}"
    yield Shaped(None, tuple(tries), usage, "error", problem, loose)


def judged(reply: Reply, shape: Shape, check: Check | None) -> tuple[Any, str | None]:
    """(the value, None) of a reply that fits; else (None, what is wrong with it)."""
    try:
        value = shape.read(json_in(reply.text))
        if check is not None:
            check(value)
    except Unfit as unfit:
        return None, CUT_OFF if ending(reply) == "length" else str(unfit)
    return value, None


def ask(responder: Responder, prompt: str, shape: Shape, system: str = "", **options: Any) -> Any:
    """The validated value of one answer; `options` as in shaped. Raises Problem when there is none."""
    messages = [*([Message("system", system)] if system.strip() else []), Message("user", prompt)]
    *_, last = shaped(responder, messages, shape, **options)
    if not isinstance(last, Shaped) or last.reason != "stop":
        raise Problem((isinstance(last, Shaped) and last.problem) or "The model gave no answer in time.")
    return last.value


def instructions(shape: Shape) -> str:
    """What the model is told about the form of its answer."""
    return text("in_prompt").replace("{schema}", json.dumps(shape.schema, ensure_ascii=False))


def again(complaint: str) -> str:
    """What the model is told about an answer that does not fit."""
    return text("again").replace("{complaint}", complaint)


@functools.cache
def text(name: str) -> str:
    """A text for the model, out of assets/shapes/prompts."""
    return (FOLDER / "prompts" / f"{name}.txt").read_text(encoding="utf-8").strip()
