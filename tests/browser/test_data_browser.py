"""The Data tab in a real Chromium: upload, complaints, tokens that carry loss, columns by hand, keeping, phone."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from engine.datasets import read, saved
from pages import data_pairs
from tests.engine.test_pairs import Scripted
from tests.pages.papers import pdf

TABS = ("Data",)


def open_sample(tab: Page, name: str) -> None:
    tab.get_by_role("tab", name="Data").click()
    tab.get_by_label("Open a sample or a saved dataset").click()
    tab.get_by_role("option", name=f"Sample: {name}").click()
    expect(tab.locator("#data-row .tokens")).to_be_visible()


def test_sample_is_looked_at_row_by_row(tab: Page):
    open_sample(tab, "shawgpt")
    expect(tab.locator("#data-headline")).to_contain_text("199 rows")
    loss = tab.locator("#data-row .tokens .loss").first
    assert "underline" in loss.evaluate("e => getComputedStyle(e).textDecorationLine"), "told by colour alone"
    expect(tab.locator("#data-row .stats")).to_contain_text("the stop token <|endoftext|> is trained")
    expect(tab.locator("#data-statistics svg")).to_have_count(5)
    tab.get_by_role("button", name="Next page").click()
    expect(tab.locator("#data-table caption")).to_have_text("Rows 11 to 20 of 199")
    tab.locator("#data-table button").get_by_text("13", exact=True).click()
    expect(tab.locator("#data-row h3")).to_have_text("Row 13 as the model reads it")
    tab.locator("#data-limit input").fill("30")
    tab.locator("#data-limit input").press("Enter")
    expect(tab.locator("#data-complaints")).to_contain_text("longer than 30 tokens: the start is cut off")
    expect(tab.locator("#data-row .stats")).to_contain_text("cut off")


def test_upload_choose_columns_and_keep(tab: Page, tmp_path: Path):
    path = tmp_path / "mine.csv"
    rows = "".join(f"{n},Frage {n} <b>?</b>,Antwort {n}\n" for n in range(1, 15))
    path.write_text(f"id,frage,antwort\n{rows}15,ohne,\n", encoding="utf-8")
    tab.get_by_role("tab", name="Data").click()
    with tab.expect_file_chooser() as chooser:
        tab.get_by_role("button", name="Upload a file").click()
    chooser.value.set_files(path)
    expect(tab.locator("#data-complaints")).to_contain_text("do not say which is the prompt")
    for part, column in (("prompt", "frage"), ("response", "antwort")):
        tab.locator(f"#data-part-{part} input").click()
        tab.get_by_role("option", name=column, exact=True).click()
        expect(tab.get_by_role("option")).to_have_count(0)
    tab.get_by_role("button", name="Use these columns").click()
    expect(tab.locator("#data-complaints")).to_contain_text("Row 15 left out: its response is empty.")
    expect(tab.locator("#data-row .tokens")).to_contain_text("Antwort 1")
    tab.locator("#data-name textarea, #data-name input").fill("Meine Zeilen")
    tab.get_by_role("button", name="Use for fine-tuning").click()
    expect(tab.locator("#data-told")).to_contain_text("Saved: Meine Zeilen (14 rows).")
    kept = next(each for each in saved() if each.name == "Meine Zeilen")
    assert read(kept.path).examples[0].prompt == "Frage 1 <b>?</b>"
    with tab.expect_download() as caught:
        tab.get_by_role("button", name="Export chat jsonl").click()
    caught.value.save_as(tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 14 and json.loads(lines[0])["messages"][1]["content"] == "Antwort 1"


def test_pairs_are_made_ticked_off_and_used(tab: Page, monkeypatch: pytest.MonkeyPatch):
    answer = "\n".join(f"Q: Question {n}?\nA: Answer {n}." for n in range(12))
    monkeypatch.setattr(data_pairs, "responder_for", lambda model, key: Scripted(answer))
    monkeypatch.setattr(data_pairs, "toy", lambda model: False)
    tab.get_by_role("tab", name="Data").click()
    tab.get_by_role("button", name="Make pairs from documents or a text").click()
    tab.get_by_placeholder("Paste a text").fill("A passage about diptychs.")
    tab.get_by_role("button", name="Make pairs", exact=True).click()
    expect(tab.locator("#data-pairs-told")).to_contain_text("12 pairs after 1 of 1 passage.")
    tab.locator("#data-pairs-review [type=checkbox]").nth(1).click()
    tab.get_by_role("button", name="Use the pairs that are ticked").click()
    expect(tab.locator("#data-headline")).to_contain_text("11 rows")
    expect(tab.locator("#data-row .tokens")).to_contain_text("Question 1?")


def test_pairs_of_documents_show_file_and_page_and_can_be_unticked(tab: Page, tmp_path: Path):
    (tmp_path / "good.pdf").write_bytes(pdf(["Overfitting is learning by heart."], ["A token is a piece of a word."]))
    (tmp_path / "scan.pdf").write_bytes(pdf([]))
    tab.get_by_role("tab", name="Data").click()
    tab.get_by_role("button", name="Make pairs from documents or a text").click()
    tab.locator("#data-pairs-way").get_by_text("Files", exact=True).click()
    with tab.expect_file_chooser() as chooser:
        tab.get_by_role("button", name="Choose documents").click()
    chooser.value.set_files([tmp_path / "good.pdf", tmp_path / "scan.pdf"])
    expect(tab.locator("#data-pairs-read")).to_contain_text("good.pdf: 2 pages, 2 passages.")
    expect(tab.locator("#data-pairs-read")).to_contain_text("pictures (a scan)")
    tab.get_by_role("button", name="Make pairs", exact=True).click()
    expect(tab.locator("#data-pairs-told")).to_contain_text("2 pairs after 2 of 2 passages. These are simple pairs")
    expect(tab.locator("#data-pairs-review")).to_contain_text("What is a token?")
    second = tab.locator("#data-pairs-review [type=checkbox]").nth(1)
    untick(second)
    tab.wait_for_timeout(500)  # the table hands its cells over a moment after it shows them
    tab.get_by_role("button", name="Use the pairs that are ticked").click()
    expect(tab.locator("#data-headline")).to_contain_text("pairs made from documents")
    expect(tab.locator("#data-headline")).to_contain_text("1 row ·")
    expect(tab.locator("#data-row .tokens")).to_contain_text("What is a token?")


def untick(box: Locator) -> None:
    """Click until it is so: a table that is still being drawn anew forgets a click."""
    for _ in range(5):
        box.click()
        with contextlib.suppress(AssertionError):
            expect(box).not_to_be_checked(timeout=3000)
            return
    raise AssertionError("the row stayed ticked")


def test_refusal_is_told_in_words(tab: Page):
    tab.get_by_role("tab", name="Data").click()
    tab.get_by_role("button", name="Paste rows").click()
    tab.get_by_role("button", name="Load what is pasted").click()
    expect(tab.get_by_text("Paste some rows first; the box is empty.")).to_be_visible()


def test_phone_holds_the_tab(tab: Page):
    tab.set_viewport_size({"width": 390, "height": 844})
    open_sample(tab, "pirate")
    expect(tab.locator("#data-statistics svg")).to_have_count(5)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    table, row = tab.locator("#data-table").bounding_box(), tab.locator("#data-row").bounding_box()
    assert row["y"] > table["y"] + table["height"] - 1 and row["width"] > 330
