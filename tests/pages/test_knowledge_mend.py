"""Mending on the Knowledge tab: whose documents are looked at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.settings import settings
from pages import knowledge_mend as mending
from pages.knowledge_study import Study
from rag import sample
from rag.store import Store
from rag.storing import place
from tests.pages.test_knowledge_page import DEMO, request
from tests.rag.putting import Hashed, added


def test_documents_that_got_the_samples_name_are_shown_to_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(place, "settings", lambda: replace(settings(), home=tmp_path))
    (tmp_path / "diary").mkdir()
    (tmp_path / "diary" / "monday.md").write_text("Nobody may read this.")
    with Store.create(sample.NAME, built_in=True) as store:  # as once anybody could
        added(store, tmp_path / "diary", Hashed(), tags=["secret"])
    nothing = mending.look_at(request(DEMO), Study(), None)
    assert mending.look_at(request(DEMO), Study(), "monday.md") == nothing and nothing[0] == ""
