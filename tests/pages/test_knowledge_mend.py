"""Mending on the Knowledge tab: whose documents are looked at, and an index that breaks while the app is up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import gradio as gr
import httpx
import numpy as np
import pytest
from gradio_client import Client

from engine.settings import settings
from pages import knowledge_mend as mending
from pages import knowledge_shelf as shelves
from pages.knowledge_study import Study
from rag import index, sample
from rag.opened import forgotten, opened
from rag.store import Store
from rag.storing import place
from tests.pages.test_knowledge_page import DEMO, request
from tests.rag.putting import Hashed, added
from tests.rag.shelves import filled
from tests.rag.test_index import flipped, graph_file, half, zeros

MANY = "many passages"


def test_documents_that_got_the_samples_name_are_shown_to_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(place, "settings", lambda: replace(settings(), home=tmp_path))
    (tmp_path / "diary").mkdir()
    (tmp_path / "diary" / "monday.md").write_text("Nobody may read this.")
    with Store.create(sample.NAME, built_in=True) as store:  # as once anybody could
        added(store, tmp_path / "diary", Hashed(), tags=["secret"])
    nothing = mending.look_at(request(DEMO), Study(), None)
    assert mending.look_at(request(DEMO), Study(), "monday.md") == nothing and nothing[0] == ""


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A collection whose graph lies on the disk, with vectors of the default model's length."""
    monkeypatch.setattr(index, "SAVE_AFTER", (100, 100))  # so that few passages suffice
    vectors = np.random.default_rng(0).normal(size=(250, 384)).astype("float32")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with filled(Store.create(MANY), {"herd.md": ((), [f"passage {at}" for at in range(250)])}, vectors) as store:
        yield store
        forgotten(MANY)
        Store.open(MANY).delete()


@pytest.mark.parametrize(
    ("when", "name", "damage"),
    [
        ("while it is open", "data_level0.bin", zeros),
        ("while it is open", "chroma.sqlite3", half),
        ("before it is opened", "header.bin", flipped),  # a process that opens it ends
    ],
)
def test_app_survives_a_damaged_index_says_so_and_finds_as_before(
    many: Store, page: tuple[str, gr.Blocks], when: str, name: str, damage: Callable[[Path], None]
):
    client, study = Client(page[0], verbose=False), Study(MANY)

    def found() -> list[int]:
        hits = client.predict("What does a yak cost?", MANY, 10, "vector", -1, api_name="/search")
        return [each["page"] for each in hits]

    before = found()
    assert len(before) == 10 and "250 passages in both" in mending.check(request(), study)
    if when == "before it is opened":
        forgotten(MANY)
    damage(graph_file(many, name))
    looked = mending.check(request(), study)
    assert f"The index of &#x27;{MANY}&#x27; is damaged" in looked and "rebuilding the index" in looked
    assert found() == before
    if when == "while it is open":
        assert "250 passages" in mending.remake(request(), study)
    else:
        assert "is damaged" in shelves.arrive(request(), study)[1]
    assert found() == before and "is sound" in mending.check(request(), study)
    assert opened(MANY).index is not None and httpx.get(page[0]).status_code == 200
    with pytest.raises(gr.Error, match="Visitors of an open demo may not"):
        mending.remake(request(DEMO), study)
