"""Cross-encoders from the Models tab: seen for what they are, found by Knowledge, gone when they are deleted."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest

from engine.catalog import all_models
from engine.errors import Problem
from engine.headless_models import main
from engine.models import kept
from engine.models.look import look
from pages import models_moves as moves
from pages.knowledge_rerank import offered
from rag import rerank
from rag.collection import Collection
from rag.retrieve import retrieve
from tests.engine.models.test_download import wait_for
from tests.pages.test_models_page import DEMO, request
from tests.rag.shelves import tiny_cross_encoder
from tests.scripted_hub import Hub, Repo

QUESTION = "What does a card cost?"


@pytest.fixture(scope="module")
def cross(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cross_encoder(tmp_path_factory.mktemp("cross") / "tiny-cross")


def test_cross_encoder_that_was_downloaded_is_found_and_offered(hub: Hub, cross: Path, town: Collection) -> None:
    hub.repos["o/tiny-cross"] = Repo.of(cross)
    box = offered(request())
    assert not box.interactive and not box.value and f"Add one on the Models tab, such as {rerank.DEFAULT}" in box.info
    assert offered(request(DEMO)).info == "None is on this machine."
    entry = kept.keep(look("o/tiny-cross"))
    assert "tiny-cross" not in [model.name for model in all_models()], "it cannot answer prompts"
    wait_for(entry.store, "done")
    assert rerank.place("o/tiny-cross") == rerank.place("tiny-cross") == entry.folder
    assert rerank.at_hand() == "tiny-cross" and "tiny-cross" not in [model.name for model in all_models()]
    box = offered(request(DEMO))
    assert box.interactive and box.info == "tiny-cross reads the first 20 again"
    by_name, by_id, by_folder = (
        [(hit.chunk.id, hit.rerank) for hit in retrieve(town, QUESTION, 6, cutoff=-1, rerank=name).hits]
        for name in ("tiny-cross", "o/tiny-cross", str(cross))
    )
    assert by_name == by_id == by_folder and all(score for _, score in by_name)
    kept.delete(entry)
    assert rerank.at_hand() == ""
    with pytest.raises(Problem, match="is not on this machine"):
        retrieve(town, QUESTION, rerank="tiny-cross")


def test_models_says_what_a_cross_encoder_is_good_for(
    no_models: Path, cross: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["look", str(cross)]) == 0
    assert "good for reranking: it puts the passages that Knowledge has found in a better" in capsys.readouterr().out
    found, html, _, _, form, _, precision, *_ = list(moves.look_at(request(), str(cross), "", None))[-1]
    assert found.usable and form.visible and not precision.visible and html.count("<tr") == 1
    told, choice, *_ = moves.add(request(), found, "", "auto")
    assert "Knowledge offers it under How to search" in told
    view = moves.glance(request(), choice, None, {})[0]
    assert "reranks passages in Knowledge" in view["shelf"] and not view["load"]
    assert rerank.at_hand() == "tiny-cross" and rerank.place("tiny-cross") == cross
    with pytest.raises(gr.Error, match="answers no prompts"):
        list(moves.load(request(), choice))
    with pytest.raises(gr.Error, match="always computed in 32 bits"):
        moves.set_precision(request(), choice, "nf4")


@pytest.mark.parametrize("change", ['"LABEL_0"', '"auto_map": {"AutoModel": "x.Y"}, "id2label"'])
def test_classifiers_of_several_labels_and_own_code_are_no_cross_encoders(
    cross: Path, tmp_path: Path, change: str
) -> None:
    for path in cross.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = (cross / "config.json").read_text()
    changed = config.replace('"LABEL_0"', '"good", "1": "bad"', 1) if "LABEL" in change else config.replace(
        '"id2label"', change, 1
    )  # fmt: skip
    assert changed != config
    (tmp_path / "config.json").write_text(changed)
    assert not look(str(tmp_path)).usable
