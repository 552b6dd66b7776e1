"""A collection made anew: what is told of its model, lines that stay, and stopping."""

from __future__ import annotations

import dataclasses
import socket
from pathlib import Path

import pytest

from engine import hub, jobs
from engine.errors import Problem
from rag import job
from rag.embedders import Embedder, fetched
from rag.progress import Progress
from rag.rebuilding import rebuild, set_kept, set_phrases, trouble
from rag.store import Store
from tests.engine.models.shelf import at_hub
from tests.rag.papers import pdf
from tests.rag.putting import Hashed, added

LINE = "Annual report, page 0"


@pytest.fixture
def reports(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store with two reports whose running head was cleaned away."""
    monkeypatch.setattr("rag.rebuilding.embedder", lambda *_: Hashed())
    for name in ("a", "b"):
        pages = [[f"Annual report, page {at}", f"Fact {chr(65 + at)} of {name}."] for at in range(4)]
        pdf(tmp_path / f"{name}.pdf", pages)
    added(store, tmp_path)
    return store


def heads(store: Store) -> list[int]:
    """How often the running head stands in each file."""
    return [store.text(record.path).count("Annual report") for record in store.files()]


def test_lines_stay_in_one_file_or_in_all_and_go_again(reports: Store) -> None:
    assert heads(reports) == [0, 0]
    assert set_kept(reports, [LINE], "a.pdf") and heads(reports) == [4, 0]
    assert reports.files()[0].removed == () and reports.files()[1].removed[0].line == LINE
    assert set_kept(reports, [LINE, " "]) and heads(reports) == [4, 4] and reports.settings.kept == (LINE,)
    set_kept(reports, [], "a.pdf")
    assert heads(reports) == [4, 4], "what stays in all files went from one"
    set_kept(reports, [])
    assert heads(reports) == [0, 0] and not reports.faults()
    with pytest.raises(Problem, match=r"gone\.pdf is not in the collection any more"):
        set_kept(reports, [LINE], "gone.pdf")


def test_line_that_stays_wins_over_a_phrase(reports: Store) -> None:
    set_kept(reports, ["Fact B of a."])
    set_phrases(reports, ["fact"])
    assert reports.text("a.pdf").strip() == "Fact B of a." and not reports.text("b.pdf").strip()


def test_progress_of_cleaning_anew_and_a_stop_before_it(reports: Store) -> None:
    told: list[Progress] = []
    assert set_kept(reports, [LINE], on_event=told.append)  # type: ignore[arg-type]
    assert told[-1].files_done == told[-1].files == 2 and told[-1].share == 1
    assert [each.share for each in told] == sorted(each.share for each in told)
    assert not set_phrases(reports, ["fact"], stop=lambda: True)


def test_kept_lines_travel_with_an_export(reports: Store, tmp_path: Path) -> None:
    set_kept(reports, [LINE])
    with Store.import_from(reports.export_to(tmp_path / "made.zip"), "came back") as again:
        assert again.settings.kept == (LINE,)
        again.delete()


def test_trouble_names_a_model_that_changed_or_is_not_here(store: Store) -> None:
    assert trouble(store) is None
    made = store.settings
    store.save_settings(dataclasses.replace(made, fingerprint="0" * 32))
    told = trouble(store)
    assert told is not None and told.embedder == made.embedder and "Re-index it" in told.sentence
    store.save_settings(dataclasses.replace(made, embedder="somebody/far-away"))
    told = trouble(store)
    assert told is not None and told.embedder == "all-MiniLM-L6-v2" and "is not on this machine" in told.sentence


def test_model_is_here_as_a_folder_and_not_by_a_name_nobody_fetched() -> None:
    here = Embedder()
    assert here.here() and Embedder(str(here.folder)).here()
    assert not Embedder("somebody/far-away").here() and not Embedder("no such name!").here()


@pytest.mark.timeout(30)
def test_an_embedding_model_from_a_hub_that_is_silent_is_refused_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        at_hub(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path, monkeypatch)
        with pytest.raises(Problem, match="cannot be fetched from the Hub"):
            fetched("somebody/far-away")


def test_reindexing_as_a_job_and_a_stop_that_changes_nothing(store: Store, papers_folder: Path) -> None:
    added(store, papers_folder)
    before = store.count()
    started = job.start_reindex(store.settings.name, "jo", chunk_tokens=64)
    done = jobs.wait(started, 240)
    assert done.state == "done", done.reason + done.log
    assert done.done["states"] == {"reindexed": 3} and done.record["work"] == "reindex"
    assert store.count() > before and store.settings.chunk_tokens == 64 and store.settings.overlap == 6
    with pytest.raises(Problem, match="makes no sense"):
        rebuild(store, chunk_tokens=5)
    version = store.version()
    assert not rebuild(store, chunk_tokens=128, stop=lambda: True) and store.version() == version
    jobs.delete(done)
