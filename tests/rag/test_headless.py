"""Documents in from the command line, with the fields that scripts read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.settings import ROOT
from rag.headless import main
from rag.index import Index
from rag.rebuilding import index_of
from rag.store import list_collections
from tests.rag.papers import pdf
from tests.rag.shelves import directions, made_up

NAME = "From the command line"


def printed(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> Any:
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_add_list_rebuild_check_export_import_and_remove(
    papers_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (papers_folder / "zero.pdf").write_bytes(b"")
    rows = printed(capsys, "add", papers_folder, "--collection", NAME, code=1)
    assert all({"file", "state", "pages", "chunks", "reason"} <= set(row) for row in rows)
    assert {row["file"]: row["state"] for row in rows}["zero.pdf"] == "refused"
    (papers_folder / "zero.pdf").unlink()
    assert {row["state"] for row in printed(capsys, "add", papers_folder, "--collection", NAME)} == {"same"}
    assert [row["file"] for row in printed(capsys, "list", "--collection", NAME)] == [
        "models/extra.txt", "models/notes.md", "tails/notes.pdf",
    ]  # fmt: skip
    listed = next(row for row in printed(capsys, "list") if row["name"] == NAME)
    assert listed["files"] == 3 and listed["chunk_tokens"] == 256
    rebuilt = printed(capsys, "rebuild", "--collection", NAME, "--chunk-tokens", 64, "--overlap", 8)
    assert rebuilt[0]["chunks"] > listed["chunks"] and rebuilt[0]["chunk_tokens"] == 64
    count, checked = rebuilt[0]["chunks"], printed(capsys, "check", "--collection", NAME)[0]
    assert rebuilt[0]["index"].endswith(f"made anew from the store: {count} passages.") and not checked["faults"]
    assert checked["index"].endswith(f"opens and agrees with the store: {count} passages in both.")
    printed(capsys, "export", tmp_path / "shelf.zip", "--collection", NAME)
    assert printed(capsys, "import", tmp_path / "shelf.zip", "--collection", "A copy")[0]["files"] == 3
    assert printed(capsys, "remove", "models/notes.md", "--collection", NAME)[0]["state"] == "removed"
    assert printed(capsys, "remove", "models/notes.md", "--collection", NAME, code=1)[0]["state"] == "not there"
    for name in (NAME, "A copy"):
        printed(capsys, "remove", "--all", "--collection", name)
    assert not {NAME, "A copy"} & {one.name for one in list_collections()}


def test_index_is_checked_and_made_anew_unless_another_process_holds_it(capsys: pytest.CaptureFixture[str]) -> None:
    with made_up(NAME, 150) as store:
        try:
            check, rebuild = ["check", "--collection", NAME], ["rebuild", "--index", "--collection", NAME]
            assert "has no index yet" in index_of(store.folder).sentence
            with Index(store) as index:
                before = [index.search(vector, 10) for vector in directions(3, seed=5)]
                assert main(rebuild) == 2
                assert "is in use by another Diptych" in (told := capsys.readouterr().err) and told.count("\n") == 1
                main(check)
                assert f"'{NAME}' is in use by another Diptych (process {os.getpid()})" in capsys.readouterr().out
                assert index.look().sentence.endswith("150 passages in both.")
            (store.folder / "chroma" / "state.json").write_text("{")
            assert main(check) == 1
            assert "cannot be read. It is made anew" in capsys.readouterr().out
            assert printed(capsys, *rebuild)[0]["index"].endswith("made anew from the store: 150 passages.")
            assert "agrees with the store" in index_of(store.folder).sentence
            with Index(store) as index:
                assert [index.search(vector, 10) for vector in directions(3, seed=5)] == before and not index.told
            assert main([*rebuild, "--overlap", "8"]) == 2
        finally:
            store.delete()


def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["add", str(tmp_path / "nowhere"), "--collection", NAME], "nothing at"),
        (["list", "--collection", "not there"], "There is no collection"),
        (["import", str(tmp_path / "nothing.zip")], "cannot be read"),
    ):
        assert main(arguments) == 2
        told = capsys.readouterr().err
        assert words in told and told.count("\n") == 1


def test_a_plan_needs_no_torch_and_makes_no_collection(papers_folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from rag.headless import main; "
        f"main(['add', {str(papers_folder)!r}, '--collection', 'A typo', '--plan']); "
        "print('torch' in sys.modules)"
    )
    env = {**os.environ, "DIPTYCH_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip().endswith("False") and done.stdout.count("new ") == 3, done.stderr
    assert [path.name for path in (tmp_path / "home").rglob("*")] == []


def test_a_plan_names_what_is_locked_unless_a_password_opens_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pdf(tmp_path / "papers/shut.pdf", [["A red fox."]], password="scarlet")
    (tmp_path / "papers/open.txt").write_text("An open door.")
    planned = ["add", tmp_path / "papers", "--collection", "Never made", "--plan"]
    rows = {row["file"]: row for row in printed(capsys, *planned)}
    assert rows["shut.pdf"]["encrypted"] and rows["shut.pdf"]["state"] == "new" and "encrypted" not in rows["open.txt"]
    assert not any("encrypted" in row for row in printed(capsys, *planned, "--password", "x", "--password", "scarlet"))
    assert main([*map(str, planned), "--password", "wrong"]) == 0
    shut, opened = sorted(capsys.readouterr().out.splitlines(), key=lambda line: "open.txt" in line)
    assert shut.endswith("shut.pdf  It is locked; give its password with --password.") and "locked" not in opened


def test_an_unchanged_folder_needs_no_torch(papers_folder: Path) -> None:
    arguments = ["add", str(papers_folder), "--collection", "Unchanged"]
    assert main(arguments) == 0
    code = f"import sys; from rag.headless import main; main({arguments!r}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False") and done.stdout.count("same ") == 3, done.stderr
    assert main(["remove", "--all", "--collection", "Unchanged"]) == 0
