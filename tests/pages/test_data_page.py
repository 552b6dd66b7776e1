"""The Data tab without a browser: what its handlers do, whom they refuse, and what they draw."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import numpy as np
import pytest
from pypdf import PdfWriter

from engine.data import shelf
from engine.data.columns import PARTS
from engine.data.prepare import CUSTOM
from engine.datasets import read, saved
from engine.settings import settings
from pages import bench as benches
from pages import data_moves as moves
from pages import data_pairs as pairs
from pages import data_render as render
from pages import data_sources as sources
from pages.bench import Bench
from pages.data_keep import export, keep, push_rows
from pages.histogram import histogram
from rag.store import Store
from rag.types import CollectionSettings, FileRecord
from rag.types import Page as RagPage
from tests.engine.test_pairs import Scripted
from tests.pages.papers import pdf
from tests.pages.test_access import DEMO, LOCAL, OWNED, demo, request  # noqa: F401 - demo is a fixture

ME = request(LOCAL)
LOOK = ("starter", "shawgpt", "", "completion", 512, "left")
ROWS = "".join(json.dumps({"question": f"What is {n}?", "answer": f"It is {n}."}) + "\n" for n in range(25))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(shelf, "settings", lambda: replace(settings(), home=tmp_path))
    return tmp_path


@pytest.fixture
def bench() -> Bench:
    """The ShawGPT sample, loaded and measured."""
    made = Bench()
    moves.open_named(ME, made, "sample/shawgpt")
    moves.measure(ME, made, *LOOK)
    return made


def pasted(text: str, kind: str = "JSON or JSON lines") -> Bench:
    made = Bench()
    moves.paste(ME, made, text, kind)
    return made


def text_of(html: str) -> str:
    return re.sub(r"<[^>]+>", "", html)


def test_sample_is_laid_out_with_a_style_that_suits_it():
    style, name, head, body, columns, *rest = moves.open_named(ME, Bench(), "sample/shawgpt")
    assert style == "shawgpt" and name == "shawgpt" and body["visible"] and not columns["open"]
    parts = dict(zip(PARTS, rest, strict=False))
    assert parts["prompt"]["value"] == "comment" and parts["response"]["choices"] == ["", "comment", "response"]
    assert "199 rows · prompt: comment, response: response" in text_of(head)


def test_leaving_the_list_of_datasets_empty_changes_nothing(bench: Bench):
    before, rows = bench.table, len(moves.open_named(ME, Bench(), "sample/shawgpt"))
    assert moves.open_named(ME, bench, "") == [gr.skip()] * rows
    assert bench.table is before


def test_row_shows_its_loss_by_more_than_colour(bench: Bench):
    html = render.row(bench)
    learned = "".join(re.findall(r'<span class="token \w+ loss">(.*?)</span>', html))
    assert text_of(learned) == " You are welcome! –ShawGPT&lt;|endoftext|&gt;"
    assert "underlined" in render.LEGEND and "✓ the stop token <code>&lt;|endoftext|&gt;</code> is trained" in html
    assert f"{bench.tokens().trained} of 80 tokens carry loss" in text_of(html)


def test_cut_stop_token_and_empty_row_are_told(bench: Bench):
    *_, row = moves.measure(ME, bench, "starter", "shawgpt", "", "completion", 20, "right")
    assert (
        "no stop token is trained here" in row
        and "nothing is learned from this row" in row
        and "60 tokens cut off" in row
    )
    assert "To" not in render.complaints(bench).split("<h4>")[0]
    assert "Only 0 rows have a token that carries loss" in render.complaints(bench)


def test_limit_is_drawn_into_the_histogram():
    inside, beyond = histogram("t", [10, 20, 300], 300, 100), histogram("t", [10], 10, 512)
    assert 'class="limit"' in inside and "limit 100" in inside and "1 rows above the limit" in inside
    assert "limit 512 →" in beyond and histogram("t", [0], 0, 5)


def test_every_complaint_stands_at_once():
    lines = ROWS.splitlines()[:8]
    lines[1] = '{"question": "no answer"}'
    lines[3] = "{broken"
    html = text_of(render.complaints(pasted("\n".join(lines))))
    assert "at least 10 rows; this one has 6" in html and "Row 2 left out: its response is empty." in html
    assert "Row 4 left out: it is not JSON" in html


def test_columns_that_say_nothing_open_the_form_and_can_be_chosen():
    made = Bench()
    head, columns = moves.paste(ME, made, "a,b,c\n1,2,3\n", "CSV")[2:5:2]
    assert made.dataset is None and columns["open"] and "1 row" in text_of(head)
    assert "do not say which is the prompt" in render.complaints(made)
    chosen = {"prompt": "{a} and {b}", "response": "c"}
    moves.remap(ME, made, *(chosen.get(part) for part in PARTS))
    assert made.dataset.examples[0].prompt == "1 and 2"
    with pytest.raises(gr.Error, match="no column 'x'"):
        moves.remap(ME, made, *({"prompt": "x", "response": "c"}.get(part) for part in PARTS))
    assert made.dataset.examples[0].prompt == "1 and 2", "a wrong choice changed the rows"


def test_pages_and_rows_are_walked(bench: Bench):
    table, _ = moves.move(10)(ME, bench)
    assert bench.at == 10 and "Rows 11 to 20 of 199" in text_of(table)
    moves.move(1)(ME, bench)
    moves.move(-10)(ME, bench)
    assert bench.at == 0
    moves.move(-1)(ME, bench)
    assert bench.at == 0
    event = gr.EventData(None, {"place": 198})
    assert "Row 199 as" in moves.pick(ME, bench, event)[1]
    moves.move(10)(ME, bench)
    assert bench.at == 198
    for odd in ({"place": 10**9}, {"place": -5}, {"place": "x"}, {}, "x", None):
        moves.pick(ME, bench, gr.EventData(None, odd))
        assert 0 <= bench.at < 199


def test_style_of_ones_own_is_rendered(bench: Bench):
    assert moves.show_turn(ME, CUSTOM)["visible"] and not moves.show_turn(ME, "plain")["visible"]
    turn = "###HUMAN### {prompt} ###BOT### {response} ###STOP###"
    *_, row = moves.measure(ME, bench, "starter", CUSTOM, turn, "completion", 512, "left")
    assert "###HUMAN### Thank you, this was great! ###BOT### You are welcome! –ShawGPT ###STOP###" in text_of(row)
    with pytest.raises(gr.Error, match="exactly once"):
        moves.measure(ME, bench, "starter", CUSTOM, "{prompt}", "completion", 512, "left")


def test_rows_that_a_style_cannot_write_are_told_and_not_waited_for():
    talk = [{"role": "user", "content": "q"}, {"role": "assistant", "content": None, "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}]  # fmt: skip
    made = pasted(json.dumps({"messages": talk}))
    told, _, figures, row = moves.measure(ME, made, "starter", "plain", "", "completion", 512, "left")
    assert "has no place for tool calls" in told and "counting" not in figures + row
    told, *_ = moves.measure(ME, made, "starter", "chat", "", "completion", 512, "left")
    assert "has no place for tool calls" not in told


@pytest.mark.parametrize("limit", [0, None, -1, 10**9])
def test_limit_out_of_range_is_refused(bench: Bench, limit: Any):
    with pytest.raises(gr.Error, match="The limit must lie between"):
        moves.measure(ME, bench, "starter", "plain", "", "completion", limit, "left")


def test_text_of_a_file_is_never_markup():
    evil = '<img src=x onerror="hit()">'
    made = pasted("".join(json.dumps({"question": evil, "answer": evil + str(n), evil: "x"}) + "\n" for n in range(12)))
    made.table = replace(made.table, name=evil)
    moves.measure(ME, made, *LOOK)
    drawn = render.headline(made) + "".join(moves.shown(made))
    assert "<img" not in drawn and "&lt;" in drawn


def test_upload_is_read_and_removed(tmp_path: Path):
    path = tmp_path / "mine.jsonl"
    path.write_text(ROWS)
    made = Bench()
    moves.upload(ME, made, str(path))
    assert len(made.dataset) == 25 and not path.exists()
    path.write_bytes(b"MZ")
    with pytest.raises(gr.Error):
        moves.upload(ME, made, str(path.rename(tmp_path / "a.exe")))
    assert not list(tmp_path.iterdir()) and len(made.dataset) == 25


def test_preparing_changes_the_rows_and_can_be_undone(bench: Bench):
    *_, (told, head, *_) = moves.prepare(ME, bench, 0, 90, True, 0, "", 0, *LOOK)
    assert "rows by length, 0 exact repeats." in told
    assert len(bench.dataset) < 199 and "after preparing" in text_of(head)
    assert all(length <= 90 for length in bench.survey.lengths)
    moves.undo(ME, bench, *LOOK)
    assert len(bench.dataset) == 199
    with pytest.raises(gr.Error, match="Choose at least one step"):
        list(moves.prepare(ME, bench, 0, 0, False, 0, "", 0, *LOOK))


def test_meaning_is_read_once_and_tells_how_far_it_is(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []

    def embed(texts: list[str]) -> np.ndarray:
        asked.extend(texts)
        return np.array([[float("Thank" in text), float("Thank" not in text)] for text in texts])

    monkeypatch.setattr(benches, "embed", embed)
    steps = list(moves.prepare(ME, bench, 0, 0, False, 0.9, "", 0, *LOOK))
    assert "Reading what the rows say: 0 of 199…" in steps[0][0] and "64 of 199" in steps[1][0]
    assert len(bench.dataset) == 2 and len(asked) == 199
    moves.undo(ME, bench, *LOOK)
    list(moves.prepare(ME, bench, 0, 0, False, 0.8, "", 0, *LOOK))
    assert len(asked) == 199, "rows were embedded again"


def test_kept_rows_are_listed_and_open_again(bench: Bench):
    told, picker = keep(ME, bench, "My rows", 0, 0, 0, *LOOK)
    assert "Saved: My rows (199 rows)." in told
    assert ("My rows, 199 rows", "saved/my-rows") in picker["choices"]
    assert read(saved()[0].path).fingerprint == bench.dataset.fingerprint
    again = Bench()
    moves.open_named(ME, again, "saved/my-rows")
    assert again.dataset.fingerprint == bench.dataset.fingerprint


def test_kept_rows_can_be_split_and_carry_a_style_of_ones_own(bench: Bench):
    turn = "###HUMAN### {prompt} ###BOT### {response}"
    keep(ME, bench, "rows", 0.1, 0.2, 5, "starter", CUSTOM, turn, "completion", 512, "left")
    kept = {each.name: each for each in saved()}
    assert {name: each.rows for name, each in kept.items()} == {"rows": 139, "rows validation": 20, "rows test": 40}
    assert kept["rows"].style["turn"] == turn


def test_parts_of_an_earlier_split_are_told(bench: Bench):
    keep(ME, bench, "rows", 0.1, 0.2, 5, *LOOK)
    assert "earlier" not in keep(ME, bench, "rows", 0.1, 0.2, 6, *LOOK)[0]
    assert "there is still rows test: rows of it may" in keep(ME, bench, "rows", 0.1, 0, 7, *LOOK)[0]
    told = keep(ME, bench, "rows", 0, 0, 0, *LOOK)[0]
    assert "rows validation" in told and "rows test" in told


def test_rows_that_cannot_be_trained_on_are_not_kept():
    few = pasted(ROWS.splitlines()[0])
    with pytest.raises(gr.Error, match="at least 10 rows"):
        keep(ME, few, "few", 0, 0, 0, *LOOK)
    with pytest.raises(gr.Error, match="Load some rows first"):
        keep(ME, Bench(), "none", 0, 0, 0, *LOOK)


def test_pairs_are_made_looked_through_and_used(monkeypatch: pytest.MonkeyPatch):
    model = Scripted("Q: One?\nA: First.\nQ: Two?\nA: Second.\nQ: one\nA: Again.")
    monkeypatch.setattr(pairs, "responder_for", lambda chosen, key: model)
    monkeypatch.setattr(pairs, "toy", lambda chosen: False)
    *_, (told, rows) = pairs.make(ME, sources.TEXT, "A passage.", sources.Material(), None, "starter", 2, 50)
    assert "2 pairs after 1 of 1 passage; 1 empty or repeated pair dropped." in told
    assert rows[0] == [True, "One?", "First.", "", ""]
    made = Bench()
    pairs.use(ME, made, [[True, "One?", "Corrected.", "", ""], [False, *rows[1][1:]]])
    assert [(e.prompt, e.response, e.fields) for e in made.dataset.examples] == [("One?", "Corrected.", ())]
    with pytest.raises(gr.Error, match="No pair is ticked"):
        pairs.use(ME, made, [[False, "a", "b", "", ""]])


TOLD = "Overfitting is learning by heart. A token is a piece of a word."


def documents(folder: Path) -> list[Path]:
    """A good PDF of two pages, a scan, a broken one, a locked one and a page of Markdown."""
    locked = PdfWriter()
    locked.add_blank_page(200, 200)
    locked.encrypt("secret")
    locked.write(folder / "locked.pdf")
    (folder / "good.pdf").write_bytes(pdf(["Overfitting is learning by heart."], ["A token is a piece of a word."]))
    (folder / "scan.pdf").write_bytes(pdf([]))
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nothing more")
    (folder / "notes.md").write_text("# Loss\n\nThe loss is what training makes small.")
    return [folder / name for name in ("good.pdf", "scan.pdf", "broken.pdf", "locked.pdf", "notes.md")]


def test_pairs_of_documents_keep_file_and_page_and_a_bad_file_costs_a_sentence(tmp_path: Path):
    files = documents(tmp_path)
    *_, (told, material) = sources.read_files(ME, [str(path) for path in files])
    assert [(each.file, each.page) for each in material.sections] == [
        ("good.pdf", "1"),
        ("good.pdf", "2"),
        ("notes.md", "1"),
    ]
    for name, why in (("scan", "OCR"), ("broken", "cannot be"), ("locked", "password")):
        assert why in told.split(f"<strong>{name}.pdf</strong>")[1].split("</p>")[0]
    assert "2 pages, 2 passages." in told and not any(path.exists() for path in files)
    *_, (told, rows) = pairs.make(ME, sources.FILES, None, material, None, "starter", 3, 2)
    assert "2 of 3 passages are read, spread evenly. These are simple pairs" in told and "starter is too small" in told
    *_, (told, rows) = pairs.make(ME, sources.FILES, None, material, None, "starter", 3, 50)
    assert [True, "What is a token?", "A token is a piece of a word.", "good.pdf", "2"] in rows
    made = Bench()
    pairs.use(ME, made, rows)
    assert dict(made.dataset.examples[0].fields) == {"file": "good.pdf", "page": "1"}
    assert made.table.name == "pairs made from documents"
    with pytest.raises(gr.Error, match="Choose documents first"):
        next(pairs.make(ME, sources.FILES, None, sources.Material(), None, "starter", 3, 50))
    with pytest.raises(gr.Error, match="Choose 1 to 50 documents"):
        list(sources.read_files(ME, []))


def test_pairs_of_a_collection_are_made_of_its_cleaned_pages():
    name = "papers for pairs"  # other tests of this process may keep collections of their own
    page = RagPage(0, "vii", TOLD, TOLD)
    record = FileRecord(0, "notes/a.pdf", "0" * 64, 10, "pdf", 1, 0)
    made = CollectionSettings(name, fingerprint="none")
    with pytest.raises(gr.Error, match="There is no collection yet"):
        next(pairs.make(ME, sources.COLLECTION, None, sources.Material(), None, "starter", 3, 50))
    with Store.create(name, made) as store:
        with pytest.raises(gr.Error, match="holds no text"):
            next(pairs.make(ME, sources.COLLECTION, None, sources.Material(), name, "starter", 3, 50))
        store.put_file(record, [page], [])
    assert name in sources.choose(ME, sources.COLLECTION)[-1]["choices"]
    *_, (_, rows) = pairs.make(ME, sources.COLLECTION, None, sources.Material(), name, "starter", 3, 50)
    assert rows[1] == [True, "What is a token?", "A token is a piece of a word.", "notes/a.pdf", "vii"]
    Store.open(name).delete()


def test_push_without_a_token_says_what_to_do(bench: Bench):
    with pytest.raises(gr.Error, match="set HF_TOKEN"):
        push_rows(ME, bench, "me/rows", True)


@pytest.mark.parametrize(("name", "ending"), [("jsonl", "jsonl"), ("chat jsonl", "chat.jsonl"), ("CSV", "csv")])
def test_exports_carry_a_name_and_the_rows(bench: Bench, name: str, ending: str):
    file = json.loads(export(name)(ME, bench))
    assert file["name"] == f"shawgpt.{ending}" and file["text"].count("ShawGPT") >= 100


def test_visitors_look_at_samples_and_nothing_else(bench: Bench, tmp_path: Path):
    keep(ME, bench, "secret", 0, 0, 0, *LOOK)
    path = tmp_path / "kept.jsonl"
    path.write_text(ROWS)
    for stranger in (request(DEMO), request(OWNED), request(None)):
        mine = Bench()
        assert all(value.startswith("sample/") for _, value in moves.choices(stranger)["choices"])
        moves.open_named(stranger, mine, "sample/pirate")
        moves.measure(stranger, mine, *LOOK)
        json.loads(export("jsonl")(stranger, mine))
        for refused in (
            lambda who=stranger, b=mine: moves.open_named(who, b, "saved/secret"),
            lambda who=stranger, b=mine: moves.upload(who, b, str(path)),
            lambda who=stranger, b=mine: moves.paste(who, b, ROWS, "CSV"),
            lambda who=stranger, b=mine: moves.load_hub(who, b, "a/b", "", "train", 5),
            lambda who=stranger, b=mine: list(moves.prepare(who, b, 0, 9, True, 0.9, "", 0, *LOOK)),
            lambda who=stranger, b=mine: keep(who, b, "x", 0, 0, 0, *LOOK),
            lambda who=stranger: list(pairs.make(who, sources.TEXT, "text", sources.Material(), None, "starter", 2, 9)),
            lambda who=stranger, b=mine: pairs.use(who, b, [[True, "a", "b", "", ""]]),
            lambda who=stranger: sources.choose(who, sources.COLLECTION),
            lambda who=stranger: list(sources.read_files(who, [str(path)])),
            lambda who=stranger, b=mine: push_rows(who, b, "a/b", True),
            lambda who=stranger, b=mine: moves.measure(who, b, "/etc", *LOOK[1:]),
        ):
            with pytest.raises(gr.Error, match="Visitors of an open demo may not"):
                refused()
    assert path.exists(), "a stranger's call removed a file"


@pytest.mark.parametrize("value", ["sample/../../etc", "saved/../x", "other/shawgpt", "shawgpt"])
def test_choices_that_do_not_exist_are_refused(value: str):
    with pytest.raises(gr.Error, match="There is no dataset"):
        moves.open_named(ME, Bench(), value)


def test_every_visitor_has_a_bench_of_their_own(bench: Bench):
    assert copy.deepcopy(bench).table is None


def test_events_of_the_tab_are_private(page, demo):  # noqa: F811
    for address in (page[0], demo[0]):
        named = httpx.get(f"{address}/gradio_api/info").json()["named_endpoints"]
        assert not [name for name in named if name.strip("/") in dir(moves)]
