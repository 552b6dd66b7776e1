"""Datasets that are kept, exported and taken from the Hub."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.data import hub_data, shelf
from engine.data.exports import as_chat_jsonl, as_csv, as_jsonl
from engine.data.hub_data import hub_table, push
from engine.datasets import Dataset, Example, read, saved
from engine.errors import Problem
from engine.messages import Message
from engine.settings import settings
from tests.engine.test_datasets import pair, pairs


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(shelf, "settings", lambda: replace(settings(), home=tmp_path))
    return tmp_path


def test_what_is_saved_reads_back_the_same_and_is_listed(home: Path):
    rows = Dataset("x", (pair("p\u2028q", "r\n", 1, kind="a"), Example((Message("assistant", "text"),), 2)))
    kept = shelf.save(rows, "My émigré rows!", "me", {"turn": "{prompt}{response}"})
    assert kept.path == home / "datasets" / "my-emigre-rows.jsonl"
    assert read(kept.path).fingerprint == rows.fingerprint == kept.fingerprint
    assert saved() == [kept] and (kept.owner, kept.rows, kept.name) == ("me", 2, "My émigré rows!")
    described = json.loads(kept.path.with_suffix(".json").read_text())
    assert described["format"] == shelf.FORMAT and described["owner"] == "me" and "path" not in described
    assert not list(kept.path.parent.glob("*.part"))


def test_saving_under_the_same_name_replaces(home: Path):
    shelf.save(pairs(3), "a", "")
    shelf.save(pairs(5), "A", "")
    assert [(each.name, each.rows) for each in saved()] == [("A", 5)]


def test_another_name_never_replaces_what_is_kept(home: Path):
    names = ["данные 1", "Вопросы 1", "1", "x" * 60 + " one", "x" * 60 + " two"]
    for count, name in enumerate(names, 3):
        shelf.save(pairs(count), name, "")
    for count, name in enumerate(names, 10):
        shelf.save(pairs(count), name, "")
    assert {each.name: each.rows for each in saved()} == dict(zip(names, range(10, 15), strict=True))
    assert len({each.path for each in saved()}) == len(names)
    (home / "datasets" / "mine.json").write_text("damaged")
    assert shelf.save(pairs(3), "mine", "").path.stem == "mine-2"


@pytest.mark.parametrize("name", ["", "   ", "../..", "日本"])
def test_name_without_a_letter_is_refused(name: str):
    with pytest.raises(Problem, match="at least one letter"):
        shelf.save(pairs(3), name, "")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a\x00b", "con.jsonl", "x" * 500])
def test_hostile_names_stay_in_the_folder(home: Path, name: str):
    path = shelf.save(pairs(3), name, "").path
    assert path.parent == home / "datasets" and path.is_file() and len(path.name) < 80


def test_empty_dataset_is_not_saved():
    with pytest.raises(Problem, match="no row to save"):
        shelf.save(pairs(0), "a", "")


def test_broken_and_later_descriptions_are_passed_over(home: Path):
    kept = shelf.save(pairs(3), "good", "")
    (kept.path.parent / "torn.json").write_text("{")
    (kept.path.parent / "alone.json").write_text(json.dumps({"format": 1, "name": "x", "rows": 1}))
    later = kept.path.parent / "later"
    later.with_suffix(".json").write_text(json.dumps({"format": 99}))
    later.with_suffix(".jsonl").write_text("{}")
    assert [each.name for each in saved()] == ["good"]


def test_full_disk_is_told_and_leaves_the_old_rows(home: Path, monkeypatch: pytest.MonkeyPatch):
    kept = shelf.save(pairs(3), "a", "")

    def full(self: Path, *args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(Problem, match="No space left on device"):
        shelf.save(pairs(5), "a", "")
    assert len(read(kept.path)) == 3


def test_chat_jsonl_holds_nothing_but_messages():
    rows = [json.loads(line) for line in as_chat_jsonl(Dataset("d", (pair("p", "r", 1, kind="a"),))).splitlines()]
    assert rows == [{"messages": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "r"}]}]
    with pytest.raises(Problem, match="needs a prompt in every row"):
        as_chat_jsonl(Dataset("d", (Example((Message("assistant", "text"),)),)))


def test_jsonl_keeps_letters_as_they_are():
    assert "é" in as_jsonl(Dataset("d", (pair("é", "r"),)))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =cmd|' /C calc'!A0", "＝1"])
def test_csv_is_never_run_as_a_formula(text: str):
    found = list(
        csv.DictReader(io.StringIO(as_csv(Dataset("d", (pair(text, text, 1, **{"=head": text}),))), newline=""))
    )
    assert found[0]["prompt"] == found[0]["response"] == found[0]["'=head"] == f"'{text}"


def test_csv_reads_back(tmp_path: Path):
    rows = Dataset("d", (pair('a, "b"', "one\ntwo", 1, kind="x"), pair("c", "d", 2)))
    path = tmp_path / "a.csv"
    path.write_text(as_csv(rows), newline="")
    assert [e.messages for e in read(path).examples] == [e.messages for e in rows.examples]


def test_csv_keeps_columns_that_are_called_as_its_own():
    fields = (("prompt", "the column"), ("system", "S"), ("kind", "k"))
    rows = Dataset("d", (replace(pair("made prompt", "r", 1), fields=fields),))
    (row,) = csv.DictReader(io.StringIO(as_csv(rows)))
    assert row == {
        "system": "", "prompt": "made prompt", "response": "r",
        "prompt (column)": "the column", "system (column)": "S", "kind": "k",
    }  # fmt: skip


def test_csv_of_long_talks_keeps_every_turn(tmp_path: Path):
    talk = (*pair("a", "b").messages, *pair("c", "d").messages)
    path = tmp_path / "a.csv"
    path.write_text(as_csv(Dataset("d", (Example(talk, 1),))), newline="")
    assert read(path).examples[0].messages == talk


@pytest.mark.parametrize("name", ["", "json", "squad", "../up", "/etc", "assets/samples", "a/b/c", "C:\\x"])
def test_hub_names_that_are_paths_or_readers_are_refused(name: str, monkeypatch: pytest.MonkeyPatch):
    from engine.settings import ROOT

    monkeypatch.chdir(ROOT)
    with pytest.raises(Problem, match="is not a dataset on the Hub"):
        hub_table(name)


def test_hub_without_a_network_says_so():
    with pytest.raises(Problem, match=r"huggingface\.co cannot be reached from here"):
        hub_table("HuggingFaceH4/no_robots")


def test_push_without_a_token_says_so():
    with pytest.raises(Problem, match="needs a token that may write"):
        push(pairs(3), "me/rows")


def test_push_is_private_by_default(monkeypatch: pytest.MonkeyPatch):
    calls: list[tuple[str, dict]] = []

    class Api:
        def __init__(self, token: str):
            assert token == "hf_x"

        def create_repo(self, name: str, **options: object) -> None:
            calls.append((name, options))

        def upload_file(self, **options: object) -> None:
            calls.append(("upload", options))

    monkeypatch.setattr(hub_data, "settings", lambda: replace(settings(), hub_token="hf_x"))
    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    assert push(pairs(3), "me/rows") == "https://huggingface.co/datasets/me/rows"
    assert calls[0][1]["private"] is True and calls[1][1]["path_or_fileobj"] == as_jsonl(pairs(3)).encode()


def test_hub_rows_are_streamed_and_limited(monkeypatch: pytest.MonkeyPatch):
    import datasets

    asked: dict = {}

    def endless(name: str, config: object, **options: object):
        asked.update(options, name=name, config=config)
        return ({"question": f"q{n}", "answer": f"a{n}"} for n in iter(int, 1))

    monkeypatch.setattr(datasets, "load_dataset", endless)
    table = hub_table("https://huggingface.co/datasets/me/rows", "", "test", 25)
    assert (
        len(table.rows) == 25 and asked["streaming"] is True and asked["split"] == "test" and asked["name"] == "me/rows"
    )
    assert table.notes == ("The first 25 rows of me/rows, test.",)
