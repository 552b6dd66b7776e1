"""Ordinary documents that look a little like a printed web page keep every line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from rag.cleaning import cleaned
from rag.documents import Reader
from rag.types import Page
from tests.rag.papers import pdf

BULLETS = """# How to teach a small model
· Step 1 load the base model
· Step 2 freeze it
· Step 3 add the adapter
· May 7, 2024 first run
· Chapter one, 5 min read

What you need
a laptop
a warm drink
two evenings"""

TABLE = """# Ranks that were tried

Jo Writer · 7 min read · Dec 7, 2023

| method | rank |
| --- | --- |
| LoRA | 8 |
| DoRA | 16 |

Method | Rank
LoRA | 8
Full: all | None

Links: Paper | Code | Data
The rest of the page is short
and has no full stop"""

RECIPE = """# Flat bread

7 min read

Flour, two cups
Water, one cup
Salt | Pepper | Oil
bread.com

Mix and rest for 20 min
read the oven's manual
Bake 5 minutes
Serve warm"""

POEM = """The Road · 3 min read

The road went on
and so did we
200 8
with nothing but
a song for three

Written by nobody
More from the sea
than from the land
came back to me"""

DATES = """# Release notes

## Jan 5, 2024 · version 2
faster start
smaller files

## Dec 7, 2023 · version 1
first words"""

BOOKS = """Sources

Anders, A. · On tails · Jan 5, 2001
Berg, B. · On heads · March 12, 1999
[1] Journal of Tails 3, 1–10
example.org
Related articles
Carl, C., The middle | Its ends | Its sides"""

ORDINARY = {
    "bullets": BULLETS, "table": TABLE, "recipe": RECIPE, "poem": POEM, "dates": DATES, "books": BOOKS,
}  # fmt: skip

HEAD = """Open in app

Member-only story


How Tails Grow Fat

Jo Writer
Published in Some Journal · 11 min read · Dec 7, 2023
200 8
"""

PROSE = "\n\n".join(
    f"Paragraph {at} of the article tells of rare events and what follows from them." for at in range(9)
)


def left(text: str, kind: str = "md") -> list[str]:
    """The lines with text that cleaning leaves of a file of one page."""
    made = cleaned([Page(0, "1", text, text)], kind)
    return [line for line in made.text.split("\n") if line.strip()]


def filled(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.strip()]


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_document_of_short_lines_loses_none_of_them(name: str) -> None:
    text = ORDINARY[name]
    assert left(text) == left(text, "txt") == filled(text)
    assert not cleaned([Page(0, "1", text, text)], "pdf").removed


def test_an_ordinary_document_of_short_lines_loses_none_as_pdf(tmp_path: Path) -> None:
    with Reader() as reader:
        for name, text in ORDINARY.items():
            document = reader.read(pdf(tmp_path / f"{name}.pdf", [text.replace("–", "-").split("\n")]))
            made = cleaned(document.pages, "pdf")
            assert not made.removed and all(word in made.text for word in text.replace("–", "-").split()), name


@pytest.mark.parametrize(
    "part",
    [
        ["| method | rank |", "| --- | --- |", "| LoRA | 8 |"],
        ["Method | Rank | Notes", "LoRA | Eight | Small", "DoRA | Sixteen | Larger"],
        ["- Links: Paper | Code", "· Chapter one, 5 min read", "1. somewhere.com"],
        ["```", "Socials: One | Two | Three", "somewhere.com", "```"],
        ["names: first | second | third", "value = Left | Right"],
        ["The road went on", "and so did we"],
        ["google.com", "example.org"],
    ],
)  # fmt: skip
def test_tables_lists_code_and_verses_stay_inside_and_behind_a_printed_article(part: Sequence[str]) -> None:
    block = "\n".join(part)
    for text in (f"{HEAD}\n{PROSE}\n\n{block}\n\n{PROSE}", f"{HEAD}\n{PROSE}\n\n{block}"):
        lines = left(text, "txt")
        assert not {"Member-only story", "200 8"} & set(lines), "it is a printed article"
        assert [line for line in lines if line in part] == list(part)
        assert [line for line in lines if line.startswith("Paragraph")] == filled(PROSE) * text.count("Paragraph 3")


def test_a_byline_alone_does_not_make_a_printed_article() -> None:
    for more in ("", "\n\nSocials: VideoSite | LinkSite | Chirper", "\n\nAn Older Article\nsomejournal.com"):
        text = f"How Tails Grow Fat\n\nJo · 11 min read · Dec 7, 2023\n\n{PROSE}{more}"
        assert left(text) == filled(text)


def test_other_articles_go_only_from_the_words_that_begin_their_list() -> None:
    text = f"{HEAD}\n{PROSE}\n\nWhat to remember\ntails are fat\n\nMore from Jo Writer\nOlder Thoughts\n· 6 min read"
    assert left(text, "txt")[-2:] == ["What to remember", "tails are fat"]


def test_other_articles_are_known_by_their_bylines_where_no_words_begin_them() -> None:
    cards = "Ein anderer Text\nvon jemand · 6 min read\n\nNoch ein Text\nvon jemand · 9 min read"
    text = f"{HEAD}\n{PROSE}\n\nWhat to remember\ntails are fat\n\n{cards}"
    assert left(text)[-1] == "tails are fat"
    assert left(text.rpartition("\n\n")[0])[-1] == "Ein anderer Text", "one alone may be the article's own"


def test_what_looks_like_furniture_but_fills_the_file_stays() -> None:
    cards = "\n\n".join(f"The Story of Number {at}\nWhat happened to it\nsomejournal.com" for at in range(30))
    tail = "Written by the sea\n" + "\n".join(f"a verse about wave {at}" for at in range(60))
    lines = left(f"{HEAD}\n{PROSE}\n\n{cards}\n\n{PROSE}\n\n{tail}", "txt")
    assert lines.count("somejournal.com") == 30 and "a verse about wave 59" in lines
    assert "Member-only story" not in lines


def test_a_title_with_a_short_name_in_brackets_goes_with_its_link_and_a_paragraph_before_stays() -> None:
    card = "Large Models of Language (LML)\nA short introduction\n\nsomejournal.com"
    lines = left(f"{HEAD}\n{PROSE}\n\nThis is told elsewhere in more words (see there).\n\n{card}\n\n{PROSE}", "txt")
    assert "Large Models of Language (LML)" not in lines and "somejournal.com" not in lines
    assert "This is told elsewhere in more words (see there)." in lines
