"""A company's web site in, a brochure out: links found, relevant ones chosen, their pages read, Markdown written."""

from __future__ import annotations

import copy
import functools
import logging
import re
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from engine.acting.company import company_site
from engine.acting.html_links import Link, links_of, same_site
from engine.acting.html_text import title_of
from engine.acting.listen import fits
from engine.acting.shapes import Shape, Unfit, shapes
from engine.acting.steps import Done, Ending, Limits, Words
from engine.acting.within import Stopped
from engine.agent import added, converse
from engine.errors import Problem
from engine.messages import Message, Sampling, Usage
from engine.net import Allowance, fetch
from engine.respond import Responder
from engine.settings import ASSETS
from engine.structured import Shaped, Try, shaped

log = logging.getLogger(__name__)
LEAST_PAGES, MOST_PAGES = 3, 5  # read besides the front page
PAGE_CHARACTERS = 5_000  # of one page, as the course takes them
LEAST_PARAGRAPH = 60  # characters; shorter lines are menus and captions
SCANT = 150  # characters; what is shorter is no brochure
LEAST_CHARACTERS = 300  # of one page, below which none is shortened further
SECONDS = 300.0  # for the model, both times together
SAMPLING = Sampling(temperature=0.0, max_tokens=700)
# what the plain rule looks for in the address or on the link, best first, and what it leaves out
WANTED = ("about", "company", "who we", "product", "service", "customer", "career", "job", "team", "story", "contact")
UNWANTED = re.compile(r"privacy|terms|legal|log-?in|sign-?in|sign-?up|cart|cookie|imprint|\.(pdf|zip|jpe?g|png)$", re.I)


@dataclass(frozen=True)
class Read:
    """A page was read; `characters` of its text came."""

    url: str
    title: str
    characters: int


@dataclass(frozen=True)
class Unread:
    """A page could not be read, and why."""

    url: str
    why: str


@dataclass(frozen=True)
class Found:
    """The links on the front page that lead to pages of the same site."""

    links: tuple[Link, ...]


@dataclass(frozen=True)
class Chosen:
    """What is read besides the front page. `by_rule` says why the model's choice could not be taken; None: it was."""

    links: tuple[Link, ...]
    by_rule: str | None
    tries: tuple[Try, ...] = ()


@dataclass(frozen=True)
class Written:
    """The end: the brochure as Markdown, how the writing ended, and a sentence where it failed.

    `by_rule`: the model wrote next to nothing, so the pages' own first sentences are the brochure.
    """

    markdown: str
    reason: Ending
    usage: Usage
    problem: str | None = None
    by_rule: bool = False


BrochureEvent = Read | Unread | Found | Chosen | Words | Written


def brochure(
    responder: Responder,
    url: str = "",
    sampling: Sampling = SAMPLING,
    stop: threading.Event | None = None,
) -> Generator[BrochureEvent]:
    """Write a brochure of the site at an address; without one, of the invented company that ships with the app.

    Words stream; Written comes last. Where the model gives no usable list of links a plain rule chooses them.
    Raises Problem when the front page cannot be read.
    """
    stop = stop or threading.Event()
    with ExitStack() as stack:
        allow = None
        if not url.strip():
            url, allow = stack.enter_context(company_site())
        try:
            yield from steps(responder, url.strip(), sampling, stop, allow)
        except Stopped:
            yield Written("", "stopped", Usage())


def steps(
    responder: Responder, url: str, sampling: Sampling, stop: threading.Event, allow: Allowance | None
) -> Generator[BrochureEvent]:
    """The events of one brochure. Raises Problem and Stopped."""
    until = time.monotonic() + SECONDS
    front = fetch(url, stop, allow)
    first = Read(front.url, title_of(front.source) or front.url, len(front.text))
    yield first
    links = tuple(each for each in links_of(front.source, front.url) if same_site(each.url, front.url))
    yield Found(links)
    choice, usage = choose(responder, first.title, links, stop, until - time.monotonic())
    yield choice
    pages = [(first.title, front.text)]
    for link in choice.links:
        try:
            page = fetch(link.url, stop, allow)
        except Problem as problem:
            yield Unread(link.url, str(problem))
            continue
        title = title_of(page.source) or link.words or link.url
        pages.append((title, page.text))
        yield Read(page.url, title, len(page.text))
    limits = Limits(rounds=1, seconds=max(1.0, until - time.monotonic()))
    written = ""
    for step in converse(responder, fitted(responder, pages, sampling), (), sampling, limits, stop=stop):
        if isinstance(step, Words):
            written += step.text
            yield step
        elif isinstance(step, Done):
            text, scant = unfenced(written), step.reason == "stop" and len(written.strip()) < SCANT
            made = put_together(pages) if scant else text
            yield Written(made, step.reason, added(usage, step.usage), step.problem, by_rule=scant)


def choose(
    responder: Responder, title: str, links: Sequence[Link], stop: threading.Event, seconds: float
) -> tuple[Chosen, Usage]:
    """The links to read, by the model's structured answer or else by the rule; and what that took."""
    if not links:
        return Chosen((), "The front page has no links to other pages of its site."), Usage()
    known = {link.url: link for link in links}

    def check(value: Any) -> None:
        if strange := [each["url"] for each in value["links"] if each["url"] not in known]:
            raise Unfit(f"'{strange[0][:100]}' is not in the list of links.")
        if not value["links"]:
            raise Unfit("The list of links is empty; choose at least one.")
        if len({each["url"] for each in value["links"]}) < len(value["links"]):
            raise Unfit("An address comes twice; give each once.")

    listed = "\n".join(f"{link.url} ({link.words or 'no words'})" for link in links)
    asked = [Message("system", told("choose")), Message("user", f"The links of {title}:\n{listed}")]
    shape = among(links)
    *_, last = shaped(responder, asked, shape, check=check, stop=stop, seconds=max(1.0, seconds))
    if not isinstance(last, Shaped) or stop.is_set():
        raise Stopped
    if last.reason != "stop":
        why = last.problem or "The model did not choose in time."
        return Chosen(by_rule(links), why, last.tries), last.usage
    urls = dict.fromkeys(each["url"] for each in last.value["links"])
    return Chosen(tuple(known[url] for url in urls)[:MOST_PAGES], None, last.tries), last.usage


def among(links: Sequence[Link]) -> Shape:
    """The shape of a choice: LEAST_PAGES to MOST_PAGES of these links, each with a few words on what it is."""
    shape = shapes()["links"][0]
    narrowed = copy.deepcopy(shape.schema)
    array = narrowed["properties"]["links"]
    addresses = [link.url for link in wanted(links) or links]
    array |= {"minItems": min(LEAST_PAGES, len(addresses)), "maxItems": MOST_PAGES}
    array["items"]["properties"]["url"] |= {"enum": addresses}
    array["items"]["properties"]["type"] |= {"pattern": "^[^\n]{1,40}$"}
    return replace(shape, narrowed=narrowed)


def by_rule(links: Sequence[Link]) -> tuple[Link, ...]:
    """The links whose address or words tell of the company, best first."""

    def rank(link: Link) -> int:
        said = f"{urlsplit(link.url).path} {link.words}".casefold()
        return next((at for at, word in enumerate(WANTED) if word in said), len(WANTED))

    return tuple(sorted(wanted(links), key=rank)[:MOST_PAGES])


def wanted(links: Sequence[Link]) -> list[Link]:
    """The links without those that are no part of any brochure."""
    return [link for link in links if not UNWANTED.search(f"{urlsplit(link.url).path} {link.words}")]


def fitted(responder: Responder, pages: Sequence[tuple[str, str]], sampling: Sampling) -> list[Message]:
    """What the model is asked, with as much of each page as it can read."""
    longest = PAGE_CHARACTERS
    while True:
        shown = "\n\n".join(f"## Page: {title}\n{text[:longest]}" for title, text in pages)
        asked = [Message("system", told("write")), Message("user", f"The pages:\n\n{shown}\n\nWrite the brochure.")]
        if longest <= LEAST_CHARACTERS or fits(responder, asked, sampling, ()):
            return asked
        longest //= 2


def put_together(pages: Sequence[tuple[str, str]]) -> str:
    """The pages' titles and first paragraphs as Markdown: a brochure by plain rule."""
    parts = [f"# {pages[0][0]}"]
    for title, text in pages:
        lines = [line for line in text.splitlines() if len(line) > LEAST_PARAGRAPH and not line.startswith(("#", "-"))]
        if lines:
            parts += [*([f"## {title}"] if len(parts) > 1 else []), lines[0]]
    return "\n\n".join(parts)


def unfenced(markdown: str) -> str:
    """The brochure without the fence that models like to put around Markdown."""
    inside = re.fullmatch(r"\s*```(?:markdown|md)?[ \t]*\n(.*?)\n?```\s*", markdown, re.DOTALL)
    return (inside[1] if inside else markdown).strip()


@functools.cache
def told(name: str) -> str:
    """A text for the model, out of assets/brochure."""
    return (ASSETS / "brochure" / f"{name}.txt").read_text(encoding="utf-8").strip()
