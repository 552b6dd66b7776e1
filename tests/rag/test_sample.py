"""The collection that comes along: read on first use wherever it is asked, and nobody else's documents in its name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import Problem
from engine.settings import settings
from rag import sample
from rag.headless import main
from rag.langchain import CollectionRetriever
from rag.store import Store, list_collections
from rag.storing import place
from rag.types import CollectionSettings
from tests.rag.putting import Hashed, added

QUESTION = "What is a fat tail?"


@pytest.fixture(autouse=True)
def fresh_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without any collection."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setattr(place, "settings", lambda: replace(settings(), home=home))
    return home


def names() -> list[str]:
    return [made.name for made in list_collections()]


def a_diary(tmp_path: Path) -> Path:
    folder = tmp_path / "diary"
    folder.mkdir(parents=True)
    (folder / "monday.md").write_text("Nobody may read this.")
    return folder


def test_commands_read_the_sample_on_first_use_and_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", QUESTION, "--collection", "sample", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)[0]["file"] == "statistics/fat-tails.pdf"
    assert told.err.splitlines() == ["Reading the sample documents that come along, which takes some seconds."]
    assert main(["search", QUESTION, "--collection", "sample", "--json"]) == 0
    assert capsys.readouterr().err == ""
    for model in ("starter", "starter-shawgpt"):
        assert main(["ask", "What is fat-tailedness?", "--collection", "sample", "--model", model, "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        cited = answer["citations"][0]
        assert (cited["file"], cited["page"]) == ("statistics/fat-tails.pdf", 1), answer["answer"]


def test_langchain_retriever_reads_the_sample_on_first_use() -> None:
    found = CollectionRetriever.open("sample", k=1).invoke(QUESTION)
    assert [document.metadata["source"] for document in found] == ["statistics/fat-tails.pdf"]


@pytest.mark.parametrize("name", ["sample", "Sample", " SAMPLE! ", "sa\u200bmple"])
def test_nobody_makes_or_renames_a_collection_to_the_samples_name(name: str) -> None:
    with pytest.raises(Problem, match="kept for the collection that comes along"):
        Store.create(name)
    with Store.create("A diary") as store, pytest.raises(Problem, match="kept for the collection that comes along"):
        store.rename(name)
    assert names() == ["A diary"]


def test_an_import_under_the_samples_name_gets_another(tmp_path: Path) -> None:
    with Store.create("Sample", built_in=True) as store:
        store.export_to(tmp_path / "export.zip")
        store.delete()
    with Store.import_from(tmp_path / "export.zip") as brought:
        assert brought.settings.name == "Sample 2"
    with Store.import_from(tmp_path / "export.zip", "sample") as brought:
        assert brought.settings.name == "sample 2"


def test_commands_add_nothing_to_the_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("sample", "Sample"):
        for more in ([], ["--plan"]):
            assert main(["add", str(a_diary(tmp_path / name / str(len(more)))), "--collection", name, *more]) == 2
            assert "kept for the collection that comes along" in capsys.readouterr().err
    assert names() == []


def test_a_folder_called_sample_is_not_the_sample() -> None:
    with Store.create("Sample", built_in=True) as store:  # as once anybody could
        store.rename("A diary")
        assert store.folder.name == "sample" and Store.folder_of("sample") is None and not sample.there()
    with Store.create("sample", CollectionSettings("sample"), built_in=True) as store:
        assert store.folder.name == "sample-2"
        assert Store.folder_of("sample") == store.folder and Store.folder_of("sample-2") is None


def test_documents_that_got_the_samples_name_are_put_aside(tmp_path: Path) -> None:
    with Store.create("sample", built_in=True) as store:  # as once `add --collection sample` could
        added(store, a_diary(tmp_path))
    assert not sample.there()
    sample.built(Hashed())
    assert names() == ["sample", "sample 2"] and sample.there()
    with Store.open("sample") as store:
        assert "monday.md" not in [record.path for record in store.files()]
    with Store.open("sample 2") as store:
        assert [record.path for record in store.files()] == ["monday.md"]
