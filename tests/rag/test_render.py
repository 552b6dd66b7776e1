"""A cited passage marked on its page: found again though it was cleaned, drawn in a child that may die."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from engine.errors import Problem
from rag.render import MARK, lines, picture, spans
from tests.pages.papers import pdf

PAGE = [
    "Running head of the paper",
    "A fat-tailed quantity is one in which rare events decide the",
    "sum. The aver-",
    "age of a sample says little about what is to come, and no",
    "number of calm years can prove that the next one is calm.",
    "Something else stands here, which nobody cites at all.",
]
PASSAGE = "The average of a sample says little about what is to come, and no number of calm years can prove"


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("papers") / "tails.pdf"
    path.write_bytes(pdf(["Cover"], PAGE))
    return path


def marked(text: str, passage: str) -> list[str]:
    return [text[start:end] for start, end in spans(text, passage)]


def test_passage_is_found_over_hyphens_ligatures_and_line_ends():
    page = "Head\nThe o\ufb03ce is closed. The aver-\nage of a sample says li\u00adttle about it.\nEnd"
    assert marked(page, "The office is closed. The average of a sample says little") == [
        "The o\ufb03ce is closed. The aver-\nage of a sample says li\u00adttle"
    ]


def test_line_that_cleaning_took_away_is_not_marked():
    page = "The first half of a passage ends here\n7 | Journal of Examples\nand its second half goes on there for long."
    passage = "The first half of a passage ends here and its second half goes on there for long."
    assert marked(page, passage) == [
        "The first half of a passage ends here",
        "and its second half goes on there for long",
    ]


def test_only_the_part_that_stands_on_this_page_is_marked():
    page = "which continues from the page before it and ends. Another paragraph."
    assert marked(page, "A sentence that began elsewhere, which continues from the page before it and ends.") == [
        "which continues from the page before it and ends"
    ]


@pytest.mark.parametrize(("page", "passage"), [("", "x"), ("abc", ""), ("...", "!!!"), ("one two", "three four five")])
def test_what_is_not_there_is_not_marked(page: str, passage: str):
    assert spans(page, passage) == []


def test_short_passages_and_repeated_lines():
    assert marked("Yes. No. Yes.", "No") == ["No"]
    twice = "the very same line of text here. " * 2
    assert marked(twice, twice) == [twice.strip()[:-1]]


def test_boxes_of_letters_become_lines():
    assert lines([(0, 0, 5, 10), (6, 1, 12, 10), (14, 0, 20, 9), (0, 20, 9, 30)]) == [(0, 0, 20, 10), (0, 20, 9, 30)]


def test_drawn_page_has_the_passage_in_yellow_and_nothing_else(paper: Path):
    drawn = picture(paper, 1, PASSAGE)
    image = Image.open(BytesIO(drawn.png)).convert("RGB")
    assert image.size == (drawn.width, drawn.height) and len(drawn.boxes) == 3
    yellow = {y for y in range(image.height) for x in range(0, image.width, 4) if image.getpixel((x, y)) == MARK}
    inside = {y for _, top, _, bottom in drawn.boxes for y in range(top - 3, bottom + 4)}
    assert yellow and yellow <= inside
    first, last = drawn.boxes[0][1], drawn.boxes[-1][3]
    assert 90 < first < last < 230, "the marks lie elsewhere than lines three to five of the page"


def test_passage_of_another_page_leaves_the_page_unmarked(paper: Path):
    assert picture(paper, 0, PASSAGE).boxes == ()


@pytest.mark.parametrize("damage", [b"", b"%PDF-1.4 nothing", b"<html>no pdf</html>"])
def test_file_that_cannot_be_drawn_is_told_in_a_sentence(tmp_path: Path, damage: bytes):
    path = tmp_path / "broken.pdf"
    path.write_bytes(damage)
    with pytest.raises(Problem, match="shown as text"):
        picture(path, 0, "x")


def test_page_that_is_not_there_and_file_that_went_away(paper: Path, tmp_path: Path):
    with pytest.raises(Problem, match="shown as text"):
        picture(paper, 7, "x")
    with pytest.raises(Problem, match="no longer there"):
        picture(tmp_path / "gone.pdf", 0, "x")
