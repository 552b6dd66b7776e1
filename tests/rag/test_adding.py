"""Adding documents: twice changes nothing, a move costs nothing, a fault costs one row, a kill costs no promise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.errors import Problem
from engine.settings import ROOT
from rag.adding import FileDone, Progress, alone, apply, plan
from rag.embedders import embedder
from rag.rebuilding import rebuild, reclean, set_phrases
from rag.sources import from_files, from_folder
from rag.store import Store
from tests.rag.papers import pdf, prose, scanned
from tests.rag.putting import Hashed, added, states


def test_adding_twice_changes_nothing_and_embeds_nothing(store: Store, papers_folder: Path) -> None:
    assert set(states(added(store, papers_folder)).values()) == {"added"}
    version, model = store.version(), Hashed()
    assert set(states(added(store, papers_folder, model)).values()) == {"same"}
    assert store.version() == version and model.texts == []


def test_two_files_of_one_name_in_different_folders_both_stay(store: Store, papers_folder: Path) -> None:
    added(store, papers_folder)
    assert {"tails/notes.pdf", "models/notes.md"} <= {record.path for record in store.files()}


def test_a_moved_file_costs_no_embedding_and_takes_its_new_place(store: Store, papers_folder: Path) -> None:
    added(store, papers_folder)
    (papers_folder / "old").mkdir()
    (papers_folder / "models/notes.md").rename(papers_folder / "old/renamed.md")
    wanted = plan(store, [papers_folder])
    assert ("moved", "models/notes.md") in [(one.state, one.moved_from) for one in wanted.reports]
    assert wanted.count("gone") == 0 and wanted.seconds == 0
    model = Hashed()
    apply(store, wanted, model=model)
    assert model.texts == [] and store.file("models/notes.md") is None
    assert {chunk.tags for chunk in store.chunks_of("old/renamed.md")} == {("old",)} and not store.faults()


def test_a_changed_file_replaces_its_own_chunks_and_keeps_the_vectors_of_the_rest(
    store: Store, papers_folder: Path
) -> None:
    added(store, papers_folder)
    others = {chunk.id for chunk in store.chunks() if chunk.file != "models/notes.md"}
    path = papers_folder / "models/notes.md"
    path.write_text(f"{path.read_text()}\n\n# An end\n\n{prose('an addition', 12)}")
    model = Hashed()
    assert states(added(store, papers_folder, model))["models/notes.md"] == "changed"
    assert others < {chunk.id for chunk in store.chunks()}
    assert 0 < len(model.texts) < len(store.chunks_of("models/notes.md"))
    assert "an addition" in store.text("models/notes.md")


def test_a_file_that_went_is_told_and_removed_only_when_wanted(store: Store, papers_folder: Path) -> None:
    added(store, papers_folder)
    (papers_folder / "models/extra.txt").unlink()
    assert states(added(store, papers_folder))["models/extra.txt"] == "gone" and store.file("models/extra.txt")
    assert states(added(store, papers_folder, remove_gone=True))["models/extra.txt"] == "removed"
    assert store.file("models/extra.txt") is None


def test_another_folder_with_a_file_of_the_same_path_takes_nothing_away(store: Store, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "readme.md").write_text(f"The readme of the {name} folder.")
        added(store, tmp_path / name)
    assert {record.path for record in store.files()} == {"readme.md", "second/readme.md"}
    assert plan(store, [tmp_path / "first"]).count("gone") == 0
    assert set(states(plan(store, [tmp_path / "second"]).reports).values()) == {"same"}


def written(folder: Path, **files: str) -> Path:
    """A folder of Markdown files by their names without the ending."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.md").write_text(text)
    return folder


def paths(store: Store) -> set[str]:
    return {record.path for record in store.files()}


def test_a_file_that_two_folders_share_stays_in_both(store: Store, tmp_path: Path) -> None:
    first = written(tmp_path / "first", notes="What both folders hold.")
    second = written(tmp_path / "second", copy="What both folders hold.")
    added(store, first)
    assert states(added(store, second)) == {"copy.md": "added"}
    assert paths(store) == {"notes.md", "copy.md"} and not store.faults()
    for folder in (first, second):
        assert set(states(added(store, folder)).values()) == {"same"}


def test_a_folder_takes_no_single_file_of_the_same_bytes(store: Store, tmp_path: Path) -> None:
    folder = written(tmp_path / "folder", inside="The same words.")
    single = written(tmp_path / "loose", alone="The same words.") / "alone.md"
    added(store, single)
    assert states(added(store, folder)) == {"inside.md": "added"} and paths(store) == {"alone.md", "inside.md"}
    assert states(added(store, single.rename(single.with_name("renamed.md")))) == {"renamed.md": "moved"}
    assert paths(store) == {"renamed.md", "inside.md"}


def test_a_file_that_was_renamed_and_copied_is_moved_once_and_new_once(store: Store, tmp_path: Path) -> None:
    folder = written(tmp_path / "folder", a="One note.")
    added(store, folder)
    (folder / "a.md").rename(folder / "b.md")
    written(folder, d="One note.")
    assert sorted(states(added(store, folder)).items()) == [("b.md", "moved"), ("d.md", "added")]
    assert paths(store) == {"b.md", "d.md"} and not store.faults()


def test_several_folders_at_once_keep_their_names_and_tell_what_is_gone_of_each(store: Store, tmp_path: Path) -> None:
    both = [written(tmp_path / name, intro=f"On {name}.", more=f"More {name}.") for name in ("employees", "products")]
    apply(store, plan(store, both), model=Hashed())
    assert paths(store) == {f"{name}/{file}.md" for name in ("employees", "products") for file in ("intro", "more")}
    assert store.tags() == ["employees", "products"]
    assert set(states(plan(store, both).reports).values()) == {"same"}
    (both[0] / "more.md").unlink()
    assert states(plan(store, both).reports)["employees/more.md"] == "gone"
    (both[1] / "more.md").unlink()
    other = written(tmp_path / "others", else_="Something else.")
    assert states(plan(store, [both[0], other]).reports) == {
        "employees/intro.md": "same", "employees/more.md": "gone", "others/else_.md": "new",
    }  # fmt: skip


def test_a_folder_is_known_again_whether_it_comes_alone_or_with_others(store: Store, tmp_path: Path) -> None:
    first, second = (written(tmp_path / name, intro=f"On {name}.") for name in ("first", "second"))
    added(store, first)
    apply(store, plan(store, [first, second]), model=Hashed())
    assert paths(store) == {"intro.md", "second/intro.md"}
    written(first, intro="Changed.")
    written(second, intro="Changed as well.")
    assert states(plan(store, [first, second]).reports) == {"intro.md": "changed", "second/intro.md": "changed"}
    assert states(plan(store, [second]).reports) == {"second/intro.md": "changed"}


def test_a_folder_with_a_folder_of_its_own_name_loses_no_file(store: Store, tmp_path: Path) -> None:
    first, second = (written(tmp_path / name, readme=f"On {name}.") for name in ("first", "second"))
    written(second / "second", readme="Further down.")
    added(store, first)
    assert set(states(added(store, second)).values()) == {"added"} and len(paths(store)) == 3
    assert set(states(plan(store, [second]).reports).values()) == {"same"}


def test_tags_by_hand_stay_when_a_file_changes_or_moves(store: Store, tmp_path: Path) -> None:
    written(tmp_path / "docs" / "people", ann="Ann is a baker.")
    added(store, tmp_path / "docs")
    store.set_tags(store.files()[0].id, ["people", "important"])
    written(tmp_path / "docs" / "people", ann="Ann is a painter.")
    assert states(added(store, tmp_path / "docs")) == {"people/ann.md": "changed"}
    assert store.files()[0].tags == ("people", "important")
    (tmp_path / "docs" / "people").rename(tmp_path / "docs" / "friends")
    added(store, tmp_path / "docs")
    assert store.files()[0].tags == ("friends", "important")


def test_one_bad_file_costs_one_row(store: Store, papers_folder: Path) -> None:
    pdf(papers_folder / "locked.pdf", [["Secret."]], password="sesame")
    scanned(papers_folder / "scan.pdf")
    (papers_folder / "zero.pdf").write_bytes(b"")
    (papers_folder / "torn.pdf").write_bytes(b"%PDF-1.7 torn")
    reports = added(store, papers_folder)
    told = states(reports)
    assert told["locked.pdf"] == "encrypted" and told["scan.pdf"] == "empty" and told["zero.pdf"] == "refused"
    assert told["torn.pdf"] == "failed" and "OCR" in reports["scan.pdf"].reason
    assert all(report.reason for report in reports.values() if report.state != "added")
    assert list(told.values()).count("added") == 3
    again = added(store, papers_folder, passwords=["sesame"])
    assert again["locked.pdf"].state == "added" and again["scan.pdf"].state == "same"
    original = store.original("locked.pdf")
    assert original and b"/Encrypt" not in original.read_bytes()


def test_single_files_and_tags_by_hand(store: Store, papers_folder: Path) -> None:
    found = plan(store, from_files([papers_folder / "models/extra.txt"]))
    apply(store, found, model=Hashed(), tags=["by hand"])
    assert store.files()[0].path == "extra.txt" and store.tags() == ["by hand"]
    assert plan(store, from_files([papers_folder / "models/notes.md"])).count("gone") == 0


def test_the_plan_counts_pages_and_reckons_the_time(store: Store, papers_folder: Path) -> None:
    wanted = plan(store, from_folder(papers_folder))
    pages = {report.file: report.pages for report in wanted.reports}
    assert pages["tails/notes.pdf"] == 3 and wanted.seconds > 0 and wanted.changes
    assert store.version() == 0


def test_progress_grows_to_the_end(store: Store, papers_folder: Path) -> None:
    events: list = []
    added(store, papers_folder, on_event=events.append)
    shares = [event.share for event in events if isinstance(event, Progress)]
    assert shares[-1] == 1.0 and all(0 <= share <= 1 for share in shares)
    assert [event.report.state for event in events if isinstance(event, FileDone)] == ["added"] * 3


def test_a_stop_keeps_what_is_done_and_adding_again_completes_it(store: Store, tmp_path: Path) -> None:
    for at in range(30):
        (tmp_path / f"{at:02d}.md").write_text(prose(f"subject {at}", 10))
    model, stopping = Hashed(), []
    reports = added(store, tmp_path, model, stop=lambda: len(model.texts) >= 16 or bool(stopping))
    told = list(states(reports).values())
    assert set(told) <= {"added", "cancelled"} and "cancelled" in told
    assert store.count() == sum(report.chunks for report in reports.values() if report.state == "added")
    second = Hashed()
    assert set(states(added(store, tmp_path, second)).values()) <= {"added", "same"}
    assert len(store.files()) == 30 and not set(second.texts) & set(model.texts) and not store.faults()


def test_two_at_once_are_refused_with_a_sentence(store: Store, papers_folder: Path) -> None:
    with alone(store), pytest.raises(Problem, match="being added to"):
        added(store, papers_folder)


def test_real_vectors_are_unit_and_equal_however_they_were_batched(store: Store, papers_folder: Path) -> None:
    added(store, papers_folder, embedder())
    ids, vectors = store.vectors()
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    one_by_one = np.stack([embedder().embed_passages([store.chunk(one).text])[0] for one in ids])  # type: ignore[union-attr]
    assert np.allclose(vectors, one_by_one, atol=1e-5)
    question = embedder().embed_query("What does low-rank adaptation speak about?")
    assert store.chunk(ids[int(np.argmax(vectors @ question))]).file == "models/notes.md"  # type: ignore[union-attr]


def test_removed_lines_are_shown_put_back_and_taken_by_phrase(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.rebuilding.embedder", lambda *_: Hashed())
    pdf(tmp_path / "report.pdf", [[f"Annual report, page {at}", f"Fact {chr(65 + at)} of it."] for at in range(4)])
    report = added(store, tmp_path)["report.pdf"]
    removed = store.files()[0].removed
    assert report.removed == 4 and removed[0].why == "repeats" and "Annual report" not in store.text("report.pdf")
    reclean(store, ["report.pdf"], kept=[removed[0].line])
    assert store.text("report.pdf").count("Annual report") == 4 and store.files()[0].kept == (removed[0].line,)
    set_phrases(store, ["fact b"])
    assert "Fact B" not in store.text("report.pdf") and "Fact C" in store.text("report.pdf")
    reclean(store, cleaned=False)
    assert "Fact A" in store.text("report.pdf") and not store.faults()


def test_a_rebuild_cuts_anew_and_keeps_files_pages_and_the_file_numbers(
    store: Store, papers_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.rebuilding.embedder", lambda *_: Hashed())
    added(store, papers_folder)
    before, version = store.count(), store.version()
    ids = [record.id for record in store.files()]
    assert rebuild(store, chunk_tokens=64, overlap=8)
    assert store.count() > before and store.version() > version and [one.id for one in store.files()] == ids
    assert store.settings.chunk_tokens == 64 and not store.faults()
    assert not rebuild(store, chunk_tokens=128, stop=lambda: True) and store.settings.chunk_tokens == 64
    with pytest.raises(Problem, match="no sense"):
        rebuild(store, chunk_tokens=3)


def killed_while_adding(store: Store, folder: Path, after: int, *real: str) -> set[str]:
    """Start a process that adds, kill it after so many events, and return the files it told to be done."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.rag.killed", store.settings.name, str(folder), *real],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    told: set[str] = set()
    assert process.stdout
    for number, line in enumerate(process.stdout, start=1):
        if line.startswith("done "):
            told.add(line.removeprefix("done ").strip())
        if number == after:
            process.send_signal(signal.SIGKILL)
            break
    process.stdout.close()
    process.wait()
    return told


def check_kills(store: Store, folder: Path, kills: list[int], *real: str) -> None:
    """After each kill all that was told is there, whole; at the end adding completes."""
    for after in kills:
        told = killed_while_adding(store, folder, after, *real)
        there = {record.path: record for record in store.files()}
        assert told <= set(there) and not store.faults()
        for chunk in store.chunks():
            assert store.text(chunk.file)[chunk.start : chunk.end] == chunk.text
    added(store, folder, embedder() if real else Hashed())
    assert {record.path for record in store.files()} == {path.name for path in folder.iterdir()}
    assert set(states(added(store, folder)).values()) == {"same"} and not store.faults()


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A folder of forty small documents."""
    folder = tmp_path / "many"
    folder.mkdir()
    for at in range(40):
        (folder / f"{at:02d}.md").write_text(prose(f"subject {at}", 12))
    return folder


def test_killed_in_the_middle_of_adding_nothing_that_was_told_is_lost(store: Store, many: Path) -> None:
    check_kills(store, many, [9, 31, 14])


@pytest.mark.slow
def test_killed_ten_times_in_the_middle_of_adding_with_the_real_model(store: Store, many: Path) -> None:
    check_kills(store, many, [5, 12, 20, 9, 33, 17, 41, 8, 26, 15], "real")
