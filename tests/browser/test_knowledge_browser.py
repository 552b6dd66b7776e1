"""The Knowledge tab in a real Chromium: a dropped folder, the bar, an answer, its cited page, the board, the map."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, TimeoutError, expect

from engine.messages import Begin, End, Message, Piece, Sampling
from rag import answer
from rag.opened import forgotten
from rag.store import Store
from tests.pages.adding import Hands, hands  # noqa: F401 - fixture
from tests.pages.papers import pdf
from tests.rag.papers import pdf as locked

TABS = ("Knowledge",)
PATIENCE = 150_000  # milliseconds for what loads a model or starts a process on a busy machine
SAID = "Ada Quill wrote the zebra crossing protocol in 1911 [1]. See also [9]."
LINES = ["The zebra crossing protocol", "Ada Quill wrote the zebra crossing protocol in 1911.",
         "It says that the striped horse always goes first."]  # fmt: skip


class Quill:
    """A model that always says SAID, word by word."""

    def reply(
        self, messages: Sequence[Message], sampling: Sampling, tools: Sequence[dict] = ()
    ) -> Generator[Begin | Piece | End]:
        yield Begin(messages[-1].content)
        for word in SAID.split(" "):
            yield Piece(f"{word} ")
        yield End("stop")


@pytest.fixture
def folder(tmp_path: Path, hands: Hands) -> Iterator[Path]:  # noqa: F811
    """A folder with two files of one name in different sub-folders, and a PDF; its collection goes afterwards."""
    made = tmp_path / "striped papers"
    (made / "horses").mkdir(parents=True)
    (made / "yaks").mkdir()
    (made / "horses" / "notes.md").write_text("# Horses\n\nA horse with stripes is called a zebra by most people.")
    (made / "yaks" / "notes.md").write_text("# Yaks\n\nA shaved yak costs seventeen crowns in winter.")
    (made / "horses" / "protocol.pdf").write_bytes(pdf(["A cover without much on it"], LINES))
    (made / "yaks" / "empty.pdf").write_bytes(b"")
    yield made
    if Store.folder_of(made.name):
        forgotten(made.name)
        Store.open(made.name).delete()


def drop(tab: Page, folder: Path) -> None:
    """Let go of a folder over the drop zone, as a person's mouse does."""
    box, before = tab.locator("#knowledge-drop .dropzone").bounding_box(), None
    while box != before:  # the fold has just been opened, and what is above the zone may still move it
        tab.wait_for_timeout(300)
        box, before = tab.locator("#knowledge-drop .dropzone").bounding_box(), box
    assert box
    where = {"x": box["x"] + 60, "y": box["y"] + 30}
    what = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
    session = tab.context.new_cdp_session(tab)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, **where, "data": what})


def choose(tab: Page, name: str) -> None:
    """Pick a collection; a list that was opened before the server had sent the new names is closed and opened again."""
    option = tab.get_by_role("option", name=name)
    for _ in range(20):
        tab.locator("#knowledge-choice input").click()
        try:
            option.click(timeout=5_000)
            break
        except TimeoutError:
            tab.keyboard.press("Escape")
    expect(tab.locator("#knowledge-choice input")).to_have_value(name)


def to_documents(tab: Page) -> None:
    tab.get_by_role("tab", name="Knowledge").click()
    expect(tab.locator("#knowledge-choice input")).to_have_value("Sample: fat tails, LoRA, causality")
    tab.get_by_role("tab", name="Documents").click()
    expect(tab.locator("#knowledge-drop .dropzone")).to_be_visible()


def test_folder_is_dropped_asked_cited_compared_and_mapped(tab: Page, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(answer, "responder_for", lambda model, key=None: Quill())
    tab.set_default_timeout(PATIENCE)
    to_documents(tab)
    drop(tab, folder)
    plan = tab.locator("#knowledge-plan")
    expect(plan).to_contain_text("4 files: 3 new, 1 refused.", timeout=PATIENCE)
    expect(plan).to_contain_text("horses/notes.md")
    expect(plan).to_contain_text("yaks/notes.md")
    expect(plan).to_contain_text("new collection, “striped papers”")

    tab.locator("#knowledge-apply").click()
    job = tab.locator("#knowledge-progress .job-bar")
    expect(job).to_be_visible(timeout=PATIENCE)
    tab.reload()  # the job is no part of the page
    to_documents(tab)
    choose(tab, "striped papers")
    expect(job).to_have_attribute("data-state", "done", timeout=PATIENCE)
    report = tab.locator("#knowledge-progress table.report")
    expect(report.locator("tr[data-state=added]")).to_have_count(3)
    expect(report).to_contain_text("The file is empty")
    expect(tab.locator("#knowledge-files tbody tr")).to_have_count(3)
    expect(tab.locator("#knowledge-files")).to_contain_text("yaks/notes.md")

    tab.get_by_role("tab", name="Ask").click()
    tab.get_by_label("Your question to the documents").fill("Who wrote the zebra crossing protocol?")
    tab.get_by_label("Your question to the documents").press("Enter")
    turn = tab.locator("#knowledge-talk .turn")
    expect(turn).to_have_attribute("data-state", "ended", timeout=PATIENCE)
    expect(turn.locator(".reply")).to_contain_text("Ada Quill wrote the zebra crossing protocol in 1911")
    expect(turn).to_contain_text("1 mark that pointed to no passage was taken out.")
    first = tab.locator("#knowledge-sources .sources > li").first
    expect(first).to_contain_text("horses/protocol.pdf, page")
    expect(tab.locator("#knowledge-sources .cosines path.hit").first).to_be_attached()

    turn.locator(".cite").click()
    picture = tab.locator("#knowledge-sources .page-picture")
    expect(picture).to_be_visible()
    assert int(picture.get_attribute("data-boxes") or 0) >= 2, "the cited lines are not marked on the page"
    assert picture.evaluate("image => image.complete && image.naturalWidth > 500")
    expect(tab.locator("#knowledge-sources .passage")).to_contain_text("page 2, which holds most of it, is shown")

    tab.get_by_label("Base and tuned, with and without (2 × 2)").check()
    tab.get_by_label("Your question to the documents").fill("Who wrote the zebra crossing protocol?")
    tab.locator("#knowledge-send").click()
    expect(tab.locator(".quarter[data-state=ended]")).to_have_count(4, timeout=PATIENCE)
    expect(tab.locator(".quarter.grounded")).to_have_count(2)
    assert all(tab.locator(".quarter .reply").nth(place).inner_text().strip() for place in range(4))

    tab.get_by_role("tab", name="Map").click()
    tab.locator("#knowledge-draw").click()
    expect(tab.locator(".map [data-id]")).to_have_count(3, timeout=PATIENCE)
    expect(tab.locator(".map .star")).to_be_attached()
    tab.locator(".map .found .ring").first.hover()
    expect(tab.locator(".map-card")).to_contain_text("page")
    tab.locator(".map .found .ring").first.click()
    expect(tab.locator("#knowledge-map-passage .passage")).to_be_visible()

    tab.get_by_role("tab", name="Ask").click()
    expect(tab.locator(".quarter").first).to_be_visible()
    tab.locator("#knowledge-manage button").first.click()
    tab.locator("#knowledge-delete").click()
    tab.locator("#knowledge-really").click()
    expect(tab.locator("#knowledge-choice input")).to_have_value("Sample: fat tails, LoRA, causality")
    expect(tab.locator("#knowledge-talk .knowledge-empty")).to_be_visible()
    expect(tab.locator(".quarter")).to_have_count(0)


def test_files_are_chosen_and_a_plan_is_discarded(tab: Page, folder: Path):
    to_documents(tab)
    picked = [str(folder / "horses" / "notes.md"), str(folder / "yaks" / "empty.pdf")]
    tab.locator("#knowledge-drop input[name=files]").set_input_files(picked)
    expect(tab.locator("#knowledge-plan")).to_contain_text("2 files: 1 new, 1 refused.", timeout=PATIENCE)
    tab.locator("#knowledge-discard").click()
    expect(tab.locator("#knowledge-plan .plan-line")).to_have_count(0)
    expect(tab.locator("#knowledge-apply")).to_be_hidden()
    assert Store.folder_of("My documents") is None, "a discarded plan left its collection behind"


def test_cleaned_line_is_put_back_and_collection_of_another_model_is_mended(tab: Page, folder: Path):
    for name in ("horses", "yaks"):
        pages = [[f"Annual report, page {at}", f"Fact {chr(65 + at)} of {name}."] for at in range(4)]
        (folder / name / "report.pdf").write_bytes(pdf(*pages))
    tab.set_default_timeout(PATIENCE)
    to_documents(tab)
    drop(tab, folder)
    expect(tab.locator("#knowledge-plan")).to_contain_text("5 new", timeout=PATIENCE)
    tab.locator("#knowledge-apply").click()
    job = tab.locator("#knowledge-progress .job-bar")
    expect(job).to_have_attribute("data-state", "done", timeout=PATIENCE)
    expect(tab.locator("#knowledge-offer")).to_be_hidden()

    tab.get_by_role("button", name="One file: tags, removal").click()
    tab.locator("#knowledge-chosen input").click()
    tab.get_by_role("option", name="horses/report.pdf").click()
    taken = tab.locator("#knowledge-cleaned table.removed")
    expect(taken).to_contain_text("Annual report, page 0")
    taken.get_by_role("button", name="Put back").click()
    expect(tab.locator("#knowledge-told")).to_contain_text("stays in horses/report.pdf")
    expect(tab.locator("#knowledge-cleaned table.put-back")).to_contain_text("in this file", timeout=PATIENCE)
    expect(taken).to_have_count(0)
    expect(job).to_contain_text("cleaning anew done in")
    with Store.open("striped papers") as store:
        assert store.text("horses/report.pdf").count("Annual report") == 4
        store.save_settings(replace(store.settings, fingerprint="0" * 32))

    tab.reload()
    to_documents(tab)
    choose(tab, "striped papers")
    expect(tab.locator("#knowledge-offer")).to_contain_text("was made with another all-MiniLM-L6-v2")
    tab.get_by_role("tab", name="Ask").click()
    tab.locator("#knowledge-accept").click()
    expect(job).to_be_visible()  # Documents came to the front
    expect(job).to_contain_text("re-indexing done in", timeout=PATIENCE)
    expect(tab.locator("#knowledge-offer")).to_be_hidden(timeout=PATIENCE)


def test_phone_has_no_sideways_scroll_and_empty_question_is_told(tab: Page):
    to_documents(tab)
    tab.set_viewport_size({"width": 390, "height": 844})  # opened before: on a phone Gradio puts tabs into a menu
    for name in ("Documents", "Map", "Measure", "Ask"):
        tab.get_by_role("tab", name=name).click()
        width = tab.evaluate("document.documentElement.scrollWidth")
        assert width <= 391, f"{name} is {width} pixels wide"
    tab.locator("#knowledge-send").click()
    expect(tab.get_by_text("Write a question first; the box is empty.")).to_be_visible()


def test_locked_file_is_told_and_opened_before_it_is_added(tab: Page, folder: Path):
    locked(folder / "yaks" / "secret.pdf", [["The secret of the yaks is a warm bath in winter."]], password="steam")
    tab.set_default_timeout(PATIENCE)
    to_documents(tab)
    drop(tab, folder)
    plan = tab.locator("#knowledge-plan")
    expect(plan).to_contain_text("1 file is locked with a password.", timeout=PATIENCE)
    locks = tab.locator("#knowledge-locks")
    expect(locks).to_contain_text("needs its password")
    tab.locator("#knowledge-apply").click()
    expect(tab.get_by_text("yaks/secret.pdf is locked. Give the password below the plan")).to_be_visible()
    expect(plan).to_contain_text("locked with a password")
    tab.locator("#knowledge-its-password input").fill("steam")
    tab.locator("#knowledge-give").click()
    expect(locks).to_contain_text("opens with its password")
    tab.locator("#knowledge-apply").click()
    expect(locks).to_be_hidden()
    expect(tab.locator("#knowledge-progress .job-bar")).to_have_attribute("data-state", "done", timeout=PATIENCE)
    expect(tab.locator("#knowledge-files")).to_contain_text("yaks/secret.pdf")

    tab.get_by_role("button", name="One file: tags, removal").click()
    tab.locator("#knowledge-phrases textarea").fill("shaved yak")
    tab.locator("#knowledge-clean").click()
    expect(tab.locator("#knowledge-progress")).to_contain_text("cleaning anew done in", timeout=PATIENCE)
    tab.reload()
    to_documents(tab)
    choose(tab, "striped papers")
    tab.get_by_role("button", name="One file: tags, removal").click()
    expect(tab.locator("#knowledge-phrases textarea")).to_have_value("shaved yak")
    tab.get_by_role("tab", name="Measure").click()
    expect(tab.locator("#knowledge-lengths")).to_contain_text("As it is: 256")
    expect(tab.locator("#knowledge-lengths input")).to_have_count(2)
