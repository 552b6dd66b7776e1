"""Furniture goes, the text stays, and everything that went can be seen and put back."""

from __future__ import annotations

from collections.abc import Sequence

from rag.cleaning import cleaned
from rag.types import PAGE_BREAK, Page

ARTICLE = [
    """Member-only story


How Tails Grow Fat


A gentle overview

Jo Writer
Published in Some Journal · 11 min read · Dec 7, 2023
200 8

Rare events carry the total. This is the third article of a series about tails, and it says so at length.""",
    """It ends with a claim that everybody can check for themselves.

An Older Article of Mine
What nobody told you about tails
somejournal.com

Read on, since the text goes on after the preview of a link.


Resources

Connect: My website | Book a call | Ask me anything
Socials: VideoSite | LinkSite | Chirper""",
    """[1] A. Author (2001). On tails. Journal of Tails, 3, 1–10.

More from the list: "Tails"
Curated by Jo Writer
View list
Five Things Every Reader
Should…
· 6 min read · Dec 21, 2023
Tails and Statistics""",
]


def pages(texts: Sequence[str]) -> list[Page]:
    return [Page(at, str(at + 1), text, text) for at, text in enumerate(texts)]


def gone(texts: Sequence[str], kind: str = "pdf", **options: object) -> set[str]:
    return {one.line for one in cleaned(pages(texts), kind, **options).removed}  # type: ignore[arg-type]


def test_what_a_site_prints_around_an_article_goes_and_the_article_stays() -> None:
    made = cleaned(pages(ARTICLE), "pdf")
    for furniture in (
        "Member-only", "min read", "200 8", "somejournal.com", "Book a call", "More from", "View list", "Should…",
        "Tails and Statistics", "What nobody told you",
    ):  # fmt: skip
        assert furniture not in made.text, furniture
    for text in ("How Tails Grow Fat", "Rare events carry", "everybody can check", "Read on, since", "[1] A. Author"):
        assert text in made.text, text


def test_every_removed_line_is_told_with_its_reason_and_pages() -> None:
    removed = {one.line: one for one in cleaned(pages(ARTICLE), "pdf").removed}
    assert (removed["Member-only story"].why, removed["Member-only story"].pages) == ("masthead", (0,))
    assert removed["View list"].why == "recommended" and removed["View list"].pages == (2,)
    assert removed["somejournal.com"].why == "link preview"


def test_a_removed_line_can_be_put_back_and_all_of_them() -> None:
    assert "Member-only story" in cleaned(pages(ARTICLE), "pdf", kept=["Member-only story"]).text
    whole = cleaned(pages(ARTICLE), "pdf", furniture=False)
    assert not whole.removed and "View list" in whole.text


def test_running_heads_and_page_numbers_go_whatever_their_numbers() -> None:
    texts = [
        f"Annual report 2023, part {at}\nParagraph {chr(97 + at)} tells something of its own.\nmore {chr(99 + at)}\n"
        f"Page {at} of 4"
        for at in range(1, 5)
    ]
    made = cleaned(pages(texts), "pdf")
    assert "Annual report" not in made.text and "Page" not in made.text
    assert all(f"Paragraph {chr(97 + at)} tells" in made.text for at in range(1, 5))
    assert {one.why for one in made.removed} == {"repeats", "page number"}


def test_rows_of_numbers_and_points_of_a_list_are_no_running_heads() -> None:
    rows = [f"{at} {at * 3} {at * 7}.5" for at in range(10, 50)]
    points = [f"· Step {at} load the model" for at in range(10, 50)]
    for lines in (rows, points):
        texts = ["\n".join(lines[at : at + 10]) for at in range(0, 40, 10)]
        assert not gone(texts)
        with_foot = [f"{text}\nAnnual report, page {at}" for at, text in enumerate(texts)]
        assert gone(with_foot) == {"Annual report, page 0"}


def test_pages_on_which_everything_repeats_keep_their_text() -> None:
    made = cleaned(pages([f"Label {at}\nHandle with care" for at in range(5)]), "pdf")
    assert made.text.count("Handle with care") == 5 and "Label 4" in made.text


def test_a_letter_with_a_web_address_loses_nothing() -> None:
    letter = "Acme Ltd\n12 Main Street\nwww.acme.com\n\nDear reader,\nthank you for your order | invoice | and so on."
    assert not gone([letter])


def test_headings_and_code_are_not_taken_for_furniture() -> None:
    texts = [f"Chapter {word}\n\nSome text about {word}.\n\nx = a | b" for word in ("one", "two", "three")]
    assert not gone(texts, "md")


def test_phrases_of_a_person_go_in_any_kind_of_file() -> None:
    assert gone(["Keep this.\nConfidential – do NOT  share.\nAnd this."], "md", phrases=["do not share"]) == {
        "Confidential – do NOT  share."
    }


def test_ligatures_invisible_marks_and_odd_blanks_are_mended() -> None:
    made = cleaned(pages(["The e\ufb03cient ﬂow of\u00a0cash\u200b and cafe\u0301 x\u00b2\x07"]), "txt")
    assert made.text == "The efficient flow of cash and café x²"


def test_words_cut_by_a_line_end_are_joined_and_real_hyphens_stay() -> None:
    text = (
        "This view of fat-tailed data and its con-\nsequences is about useless fat\ufffetailed series and "
        "adip\ufffeiscing words.\n"
        "The Gaussian case and others like it are Gaussian\ufffelike."
    )
    made = cleaned(pages([text]), "pdf").text
    assert "consequences" in made and "fat-tailed series" in made and "adipiscing" in made and "Gaussian-like" in made


def test_wrapped_lines_become_paragraphs_but_code_and_lists_keep_their_lines() -> None:
    text = (
        "A paragraph that was wrapped at the end of\nits lines because the page was narrow.\n\n"
        "- first of a list that is long enough to be full\n- second of a list\n\nfor x in y:\nprint(x)"
    )
    made = cleaned(pages([text]), "pdf").text
    assert "the end of its lines" in made and "\n- second" in made and "for x in y:\nprint(x)" in made


def test_pages_know_where_they_begin_in_the_whole() -> None:
    made = cleaned(pages(["One.", "", "Three."]), "pdf")
    assert made.text == PAGE_BREAK.join(["One.", "", "Three."])
    assert all(made.text[page.start : page.start + len(page.text)] == page.text for page in made.pages)
