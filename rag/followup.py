"""A follow-up question made to stand alone: rewritten by a model that is able, else with the topic carried over."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from engine.errors import Problem
from engine.grounding import filled
from engine.messages import Message, Piece, Sampling
from engine.respond import Responder
from engine.settings import ASSETS
from rag.storing.filters import COMMON

# words that stand for something said before
POINTERS = re.compile(
    r"\b(?:it|its|they|them|their|theirs|this|that|these|those|he|she|him|his|her|hers|there)\b", re.I
)
REPLACED = re.compile(
    r"\b(?:it|they|them|this|that|these|those|he|she|him|her)\b(?!\s+(?:is|was)\s+(?:said|true)\b)", re.I
)
OWNED = re.compile(r"\b(?:its|their|his)\b", re.I)
OPENINGS = re.compile(r"^(?:and|but|so|or|also|what about|how about|why|how so|really|more|else|ok|okay)\b", re.I)
ASKING = re.compile(
    r"^(?:please\s+)?(?:what|who|whom|whose|which|when|where|why|how|is|are|was|were|do|does|did|can|could|tell me|"
    r"explain|define|describe)\b(?:\s+(?:is|are|was|were|does|do|did|much|many|about|me|the|a|an|mean by))*\s*",
    re.I,
)
WORD = re.compile(r"[^\W_][\w’'-]*")
SHORT = 3  # telling words: a question with fewer after an opening word leans on the one before
LONGEST = 300  # characters of a rewritten question
TURNS = 6  # messages of the history that are looked at
REWRITING = Sampling(temperature=0, max_tokens=80)


@dataclass(frozen=True)
class Standing:
    """The question that is searched for, and how it came about: "" (as asked), "topic" or "model"."""

    question: str
    how: str = ""
    topic: str = ""


def stand_alone(question: str, history: Sequence[Message] = (), responder: Responder | None = None) -> Standing:
    """The question so that it can be understood without what was said before."""
    earlier = [message for message in history if message.role in ("user", "assistant")][-TURNS:]
    if not earlier or not leans(question):
        return Standing(question)
    if responder is not None and (said := rewritten(question, earlier, responder)):
        return Standing(said, "model")
    subject = next((found for m in reversed(earlier) if m.role == "user" and (found := topic(m.content))), "")
    return Standing(carried(question, subject), "topic", subject) if subject else Standing(question)


def leans(question: str) -> bool:
    """Whether a question leans on one before: by a pronoun, or by opening as a continuation with little of its own."""
    if POINTERS.search(question):
        return True
    return bool(OPENINGS.match(question.strip())) and len(telling(question)) < SHORT


def telling(text: str) -> list[str]:
    """The words of a text that carry its meaning."""
    return [word for word in WORD.findall(text) if word.casefold() not in COMMON.split() and len(word) > 2]


def topic(question: str) -> str:
    """What an earlier question was about: what is left behind its asking words; empty where it leans itself."""
    if leans(question):
        return ""
    rest = ASKING.sub("", question.strip(), count=1).strip(" ?!.,:;")
    return rest if telling(rest) and len(rest.split()) <= 8 else " ".join(telling(question)[:6])


def carried(question: str, subject: str) -> str:
    """The question with its first pronoun replaced by the topic; without a pronoun, with the topic behind it."""
    for pattern, put in ((OWNED, f"{subject}'s"), (REPLACED, subject)):
        if pattern.search(question):
            return pattern.sub(lambda found, put=put: put, question, count=1)  # type: ignore[misc]
    return f"{question.rstrip()} ({subject})"


def rewritten(question: str, history: Sequence[Message], responder: Responder) -> str:
    """What a model makes of the question; empty where it fails, or makes none of it."""
    told = "\n".join(f"{message.role}: {message.content[:600]}" for message in history)
    form = (ASSETS / "grounding" / "follow_up.txt").read_text(encoding="utf-8").strip()
    prompt = filled(form, history=told, question=question)
    try:
        with closing(responder.reply([Message("user", prompt)], REWRITING)) as events:
            text = "".join(event.text for event in events if isinstance(event, Piece))
    except Problem:
        return ""
    line = next((line.strip(' "') for line in text.splitlines() if line.strip()), "")
    return line if 3 < len(line) <= LONGEST and telling(line) else ""
