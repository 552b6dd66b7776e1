"""The named endpoint /add_documents: what it unpacks, and which collections it leaves alone."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

from engine import jobs
from pages import knowledge_add as add
from pages import knowledge_api as api
from pages import knowledge_shelf as shelves
from pages.knowledge_study import Study
from pages.launch import Launch
from pages.upload import uploads
from rag.store import Store
from tests.pages.adding import Hands, hands  # noqa: F401 - fixture

NAMES = ("Yaks from a zip", "Zebras from a zip")


def request() -> gr.Request:
    return gr.Request(SimpleNamespace(scope={"diptych.launch": Launch()}), session_hash="session")


def zipped(path: Path, text: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.md", text)
    return path


def lying() -> set[str]:
    """What lies among the uploads."""
    return {path.name for path in uploads().glob("*")}


@pytest.fixture
def none_left() -> Iterator[None]:
    """Afterwards the collections of NAMES are gone."""
    yield
    for name in NAMES:
        if Store.folder_of(name):
            Store.open(name).delete()


def test_two_zips_at_once_are_unpacked_apart_and_leave_nothing(
    tmp_path: Path,
    hands: Hands,  # noqa: F811
    none_left: None,
):
    before = lying()
    hands.gate.clear()
    runs = [
        api.add_documents(request(), name, str(zipped(tmp_path / f"{name}.zip", f"All of it: {name}.")), wait=False)
        for name in NAMES
    ]
    assert len(lying() - before) == 2
    hands.gate.set()
    assert [jobs.wait(jobs.find_job(run["run"]), 60).state for run in runs] == ["done", "done"]
    for name in NAMES:
        with Store.open(name) as store:
            assert store.text("notes.md") == f"All of it: {name}."
    assert lying() == before


def test_a_zip_that_is_refused_leaves_nothing(tmp_path: Path):
    before = lying()
    (tmp_path / "torn.zip").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(gr.Error, match="no whole zip"):
        api.add_documents(request(), NAMES[0], str(tmp_path / "torn.zip"))
    assert lying() == before and Store.folder_of(NAMES[0]) is None


def test_nobody_elses_collection_gets_the_samples_name(tmp_path: Path, none_left: None):
    assert (add.free_name("Sample"), add.free_name("sample")) == ("Sample 2", "sample 2")
    with pytest.raises(gr.Error, match="kept for the collection that comes along"):
        api.add_documents(request(), "SAMPLE", str(zipped(tmp_path / "notes.zip", "Mine.")))
    Store.create(NAMES[0]).close()
    study = Study(NAMES[0])
    with pytest.raises(gr.Error, match="kept for the collection that comes along"):
        shelves.rename(request(), study, "Sample!")
    assert study.collection == NAMES[0] and Store.folder_of(NAMES[0])
