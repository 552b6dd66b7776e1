"""Makes simple pairs without a model: what something is, how and when, and what stands below a heading."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
SAYS = re.compile(r"(?P<what>(?:(?:A|An|The) )?[\w'][\w' -]{1,59}?) (?P<verb>is|are|was|were|means) (?P<rest>\w.*[.!])")
PASSIVE = re.compile(r"(?P<done>\w+ed) (?P<link>when|by|with|from|through)\b")
HEADING = re.compile(r"#+\s+(?P<title>\w.{2,80})")
MOST_WORDS = 6  # of what is asked about
SHORTEST = 4  # words of an answer
ARTICLES = frozenset({"a", "an", "the"})
# first words that make no subject of their own: they point elsewhere, or begin another kind of sentence
POINTING = frozenset(
    re.findall(
        r"\w+",
        "it its this that these those there here he she they we you i his her their our your my one some many most all "
        "each every both what which who if when where while as in on at for by with and but or so then such nothing "
        "because after before although not no",
    )
)


def plain_pairs(passage: str, count: int) -> str:
    """Up to `count` pairs about a passage, written as models write them: Q: and A: on lines of their own."""
    pairs = [*below_headings(passage), *sentences(passage)]
    return "\n".join(f"Q: {asked}\nA: {answer}" for asked, answer in pairs[:count])


def below_headings(passage: str) -> Iterator[tuple[str, str]]:
    """What the first sentences below each heading say of it."""
    for title, below in pairwise(passage.split("\n\n")):
        if (head := HEADING.fullmatch(title)) and below[0].isalpha():
            about = lowered(head["title"].rstrip(" ?!.:"), passage)
            yield f"What does the text say about {about}?", " ".join(SENTENCE.split(below)[:2])


def sentences(passage: str) -> Iterator[tuple[str, str]]:
    """The sentences that answer a question of their own, each behind it."""
    for paragraph in passage.split("\n\n"):
        for sentence in SENTENCE.split(paragraph):
            if asked := question(sentence.strip(), passage):
                yield asked, sentence.strip()


def question(sentence: str, passage: str) -> str:
    """The question that a sentence answers; empty where it says of nothing what it is."""
    said = SAYS.fullmatch(sentence)
    if not said or len(sentence.split()) < SHORTEST:
        return ""
    words = said["what"].lower().split()
    if words[0] in POINTING or words[-1] in ARTICLES or len(words) > MOST_WORDS:
        return ""
    what, verb = lowered(said["what"], passage), said["verb"]
    if passive := PASSIVE.match(said["rest"]):
        return f"{'When' if passive['link'] == 'when' else 'How'} {verb} {what} {passive['done']}?"
    return f"What does {what} mean?" if verb == "means" else f"What {verb} {what}?"


def lowered(subject: str, passage: str) -> str:
    """A subject as it stands within a sentence: a name, which stands nowhere without its capital, keeps it."""
    first, *others = subject.split()
    common = (
        first.lower() in ARTICLES
        or bool(re.search(rf"\b{re.escape(first.lower())}\b", passage))
        or (first[1:].islower() and not others and f"# {first}" in passage)  # a heading of one plain word
    )
    return " ".join([first.lower() if common else first, *others])
