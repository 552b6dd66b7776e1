"""Measuring at other passage lengths on the Knowledge tab, and the use of a row of another length."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest

from pages import knowledge_measure as measuring
from pages.knowledge_map_form import AS_IT_IS
from pages.knowledge_mend import DOCUMENTS
from pages.knowledge_study import Study
from rag import sample
from rag.store import Store
from tests.pages.adding import hands  # noqa: F401 - fixture
from tests.pages.test_knowledge_page import DEMO, done, herd, put, request  # noqa: F401 - fixture
from tests.rag.papers import prose

QUESTION = '{"question": "What does a shaved yak cost?", "file": "yaks/notes.md"}'


@pytest.fixture
def study(herd: Path) -> Study:  # noqa: F811
    """The herd with a text that is longer than a passage."""
    (herd / "long.md").write_text(prose("alpine wool", 40))
    return put(herd)


def test_other_passage_lengths_are_rows_of_the_table_up_to_what_the_model_reads(study: Study):
    assert measuring.lengths(request(), study).choices == [("As it is: 256", AS_IT_IS), ("128", "128")]
    first, *_, (html, choice) = measuring.run(
        request(), study, None, QUESTION, ["both", "vector"], "1, 3", [AS_IT_IS, "128"]
    )
    assert "Asking 1 question" in first[0] and "Still measuring" not in html
    assert html.count("<td>256 tokens</td>") == html.count("<td>128 tokens</td>") == 4 and " ms</td>" in html
    assert "searched on a copy" in html and choice.value == "both/1/256"
    assert ("Meaning alone, k = 3, passages of 128 tokens", "vector/3/128") in choice.choices
    with Store.open("herd") as store:
        assert store.settings.chunk_tokens == 256, "measuring changed the collection"
    for wrong in ([], ["512"], ["128", "x"]):
        with pytest.raises(gr.Error, match="at least one passage length out of: as it is, 128"):
            list(measuring.run(request(), study, None, QUESTION, ["both"], "1", wrong))


def test_row_of_another_length_is_used_by_indexing_anew(study: Study):
    mode, k, told, bar, clock, tabs = measuring.use(request(), study, "keyword/5/256")
    assert (mode, k) == ("keyword", 5) and "re-indexed" not in told and bar == clock == tabs == gr.skip()
    mode, k, told, bar, clock, tabs = measuring.use(request(), study, "vector/3/128")
    assert (mode, k) == ("vector", 3) and "Questions are searched by meaning alone now, 3 passages each." in told
    assert "&#x27;herd&#x27; is re-indexed with passages of 128 tokens." in told
    assert "job-bar" in bar and clock is not None and tabs.selected == DOCUMENTS
    assert done(study).done["states"] == {"reindexed": 3}
    with Store.open("herd") as store:
        assert (store.settings.chunk_tokens, store.settings.overlap) == (128, 12)
    assert measuring.lengths(request(), study).choices == [("As it is: 128", AS_IT_IS), ("256", "256")]
    for launch, sentence in ((request(), "stays as it is"), (request(DEMO), "Visitors of an open demo may not")):
        with pytest.raises(gr.Error, match=sentence):
            measuring.use(launch, Study(sample.NAME), "vector/3/128")
    with pytest.raises(gr.Error, match="Measure first"):
        measuring.use(request(), study, "vector/3")


def test_stopped_measuring_keeps_its_rows(study: Study):
    shown = []
    for html, _ in measuring.run(request(), study, None, QUESTION, ["both", "vector"], "1", [AS_IT_IS, "128"]):
        shown.append(html)
        if "<table" in html:
            measuring.stop(request(), study)
    assert shown[-1].count("<tr><td>") == 1 and "Still measuring" not in shown[-1] and "copy" not in shown[-1]
