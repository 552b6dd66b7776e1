"""Adding as a job: it outlives the tab, can be stopped and resumed, and leaves no password behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import jobs
from engine.teaching.runs import all_jobs
from rag import job
from rag.sources import from_folder
from rag.store import Store
from tests.rag.papers import pdf

PATIENCE = 240  # seconds; the machine may be busy
pytestmark = pytest.mark.timeout(3 * PATIENCE)


def test_a_job_adds_a_folder_and_tells_each_file(store: Store, papers_folder: Path) -> None:
    pdf(papers_folder / "locked.pdf", [["A secret page about vaults."]], password="sesame")
    started = job.start(store.settings.name, from_folder(papers_folder), "jo", ["by hand"], ["sesame"])
    assert started.id not in [one.id for one in all_jobs()]  # the runs that teach are listed apart
    assert [one.id for one in job.jobs_of(store.folder.name)] == [started.id]
    done = jobs.wait(started, PATIENCE)
    assert done.state == "done", done.reason + done.log
    assert done.done["states"] == {"added": 4} and done.record["owner"] == "jo" and done.model is None
    assert {report.file: report.state for report in job.reports(done)} == dict.fromkeys(
        ["locked.pdf", "models/extra.txt", "models/notes.md", "tails/notes.pdf"], "added"
    )
    progress = job.progress(done)
    assert progress and progress.files == 4
    assert store.count() and "by hand" in store.tags()
    assert not any(b"sesame" in path.read_bytes() for path in done.folder.rglob("*") if path.is_file())
    jobs.delete(done)


def test_a_stopped_job_says_so_and_goes_on_when_resumed(
    store: Store, papers_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def launched_with_a_wish_to_stop(folder: Path) -> None:
        (folder / "stop").touch()
        launch(folder)

    launch = jobs.launched
    monkeypatch.setattr(jobs, "launched", launched_with_a_wish_to_stop)
    stopped = jobs.wait(job.start(store.settings.name, from_folder(papers_folder)), PATIENCE)
    monkeypatch.undo()
    assert stopped.state == "stopped", stopped.reason + stopped.log
    assert {report.state for report in job.reports(stopped)} == {"cancelled"} and store.count() == 0
    done = jobs.wait(jobs.resume(stopped), PATIENCE)
    assert done.state == "done" and {report.state for report in job.reports(done)} == {"added"}, done.log
    jobs.delete(done)


def test_a_job_whose_collection_went_fails_in_words(papers_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "launched", lambda folder: None)
    with Store.create("Short-lived") as gone:
        started = job.start("Short-lived", from_folder(papers_folder))
        gone.delete()
    assert job.main(started.folder) == 1
    ended = jobs.find_job(started.id)
    assert ended.state == "failed" and "may have been deleted" in ended.reason
    jobs.delete(ended)
