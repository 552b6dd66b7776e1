"""What is shown of a search on the Knowledge tab: its reasons, ranks, map and board; and what a collection keeps."""

from __future__ import annotations

import re
from pathlib import Path

import gradio as gr
import pytest

from engine.compare import CompareEvent, LaneGrounded
from pages import knowledge_ask as asking
from pages import knowledge_board as boards
from pages import knowledge_map as maps
from pages import knowledge_mend as mending
from pages import knowledge_shelf as shelves
from pages.knowledge_study import Study
from rag import lane, rerank, sample
from rag.adding import alone
from rag.store import Store
from tests.pages.adding import Hands, hands  # noqa: F401 - fixture
from tests.pages.scripted import Script, Scripted
from tests.pages.test_knowledge_page import DEMO, done, herd, put, request, speaking  # noqa: F401 - fixture

YAK, HORSE = "What does a shaved yak cost?", "Which horse is a zebra?"


def form(way: str = "with", mode: str = "both", tags: tuple[str, ...] = (), reranked: bool = False) -> list:
    """The fields of a question, without a cutoff."""
    return [way, "starter", "", "strict", mode, 3, False, -1.0, list(tags), reranked]


class Board(Scripted):
    """A comparison whose lanes say what they are told to, after they have searched."""

    def grounded(self, i: int) -> list[CompareEvent]:
        documents = self.lanes[i].passages
        return [LaneGrounded(i, tuple(documents.search(self.prompt, 3)))] if documents else []


def boarding(monkeypatch: pytest.MonkeyPatch, words: str = "It is so [1].") -> None:
    """Let the board's lanes say these words."""

    def made(lanes: list, question: str) -> Board:
        return Board(lanes, question, [()] * len(lanes), {"starter": Script(words, pace=0)})

    monkeypatch.setattr(boards, "Comparison", made)


class Backwards:
    """A cross-encoder that likes the last candidate best."""

    def predict(self, pairs: list, show_progress_bar: bool) -> list[float]:
        return [at / len(pairs) for at in range(len(pairs))]


def facts(pane: str) -> list[dict[str, str]]:
    """Why each of the passages beside an answer is there."""
    return [dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", part)) for part in pane.split("Why this passage")[1:]]


def test_reasons_tell_the_fused_rank_and_what_reranking_changed(herd: Path, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    speaking(monkeypatch, "17 crowns [1].")
    monkeypatch.setattr(rerank, "model", lambda name: Backwards())
    study = put(herd)
    *_, (_, _, _, pane) = asking.send(request(), study, YAK, *form())
    assert [each["Rank after fusing both"] for each in facts(pane)] == ["1", "2"]
    assert not any("Change by reranking" in each for each in facts(pane)), "nothing was reranked"
    *_, (_, _, _, pane) = asking.send(request(), study, YAK, *form(reranked=True))
    assert [each["Rank after fusing both"] for each in facts(pane)] == ["2", "1"]
    assert [each["Change by reranking"] for each in facts(pane)] == ["1 place up", "1 place down"]
    *_, (_, _, _, pane) = asking.send(request(), study, YAK, *form(mode="vector"))
    assert [each["Rank of the search"] for each in facts(pane)] == ["1", "2"]


def test_rank_of_a_page_is_that_of_the_search_that_is_shown(herd: Path, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    speaking(monkeypatch, "17 crowns [1].")
    boarding(monkeypatch)
    monkeypatch.setattr(rerank, "model", lambda name: Backwards())
    study = put(herd)
    with pytest.raises(gr.Error, match="Ask a question with the documents first"):
        asking.explain(request(), study, "horses/notes.md", 1, *form())
    list(asking.send(request(), study, HORSE, *form("both", "keyword", ("yaks",))))
    told = asking.explain(request(), study, "yaks/notes.md", 1, *form())
    assert f"For “{HORSE}”, searched by words alone among passages tagged yaks," in told and "number 1 of 1" in told
    with pytest.raises(gr.Error, match=r"left page 1 of horses/notes\.md out: it was for yaks alone"):
        asking.explain(request(), study, "horses/notes.md", 1, *form())

    list(asking.send(request(), study, YAK, *form()))
    assert "number 2 of 2" in asking.explain(request(), study, "horses/notes.md", 1, *form("with", "keyword"))
    list(asking.send(request(), study, YAK, *form(reranked=True)))
    told = asking.explain(request(), study, "horses/notes.md", 1, *form())
    assert "searched by meaning and words, reranked," in told and "number 1 of 2" in told
    asking.open_passage(request(), study, gr.EventData(None, {"cite": 1, "turn": 0}))
    assert "number 2 of 2" in asking.explain(request(), study, "horses/notes.md", 1, *form())


def test_star_and_rings_of_the_map_belong_to_the_question_that_was_asked_last(
    herd: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
):
    speaking(monkeypatch, "17 crowns [1].")
    boarding(monkeypatch)
    (herd / "moss.md").write_text("Moss grows on the north side of an old wall.")
    study = put(herd)

    def drawn() -> tuple[bool, bool, int]:
        picture, _ = maps.draw(request(), study, "pca", "file", False)
        return YAK in picture, HORSE in picture, picture.count('class="found"')

    assert drawn() == (False, False, 0)
    list(asking.send(request(), study, YAK, *form()))
    assert drawn() == (True, False, 3)
    list(asking.send(request(), study, HORSE, *form("both", tags=("horses",))))
    assert drawn() == (False, True, 1), "the star of one question stands among the hits of another"
    list(asking.send(request(), study, YAK, *form(tags=("yaks",))))
    assert drawn() == (True, False, 1)


def test_question_without_the_documents_has_no_sources_of_an_earlier_one(
    herd: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
):
    speaking(monkeypatch, "17 crowns [1].")
    study = put(herd)
    list(asking.send(request(), study, YAK, *form()))
    *_, (_, talk, _, pane) = asking.send(request(), study, HORSE, *form("without"))
    assert "Nothing reaches the cutoff" not in pane and "<ol" not in pane and YAK in talk


def test_board_tells_doubtful_marks_and_quotations_that_no_page_holds(
    herd: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
):
    boarding(monkeypatch, "Elephants trumpet “never sold in any summer” loudly [1]. See also [7].")
    monkeypatch.setattr(lane, "toy", lambda model: False)
    study = put(herd)
    *_, (_, board, *_) = asking.send(request(), study, YAK, *form("both"))
    without, grounded = board.split("<section")[1:]
    assert "Passage 1 shares few words with what it is cited for" in grounded and 'data-cite="1"' in grounded
    assert "No cited page holds this quotation: “never sold in any summer”" in grounded
    assert "1 mark that pointed to no passage was taken out." in grounded and "[7]" not in grounded
    assert "Passage 1" not in without and "quotation" not in without


def test_board_strikes_a_toys_mark_behind_nothing_but_the_question(
    herd: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
):
    boarding(monkeypatch, "A shaved yak [1].")
    study = put(herd)
    *_, (_, board, *_) = asking.send(request(), study, YAK, *form("both"))
    assert "1 mark was set or struck by where the words stand" in board and 'data-cite="1"' not in board


def test_lines_in_force_stand_in_their_box_and_adding_one_keeps_the_others(
    herd: Path,  # noqa: F811
    page: tuple[str, gr.Blocks],
):
    study = put(herd)
    assert mending.in_force(request(), study) == ""
    mending.keep_out(request(), study, "shaved yak")
    done(study)
    shelves.choose(request(), study, sample.NAME)
    assert mending.in_force(request(), study) == ""
    shelves.choose(request(), study, "herd")
    box = mending.in_force(request(), study)
    assert box == "shaved yak" and mending.in_force(request(DEMO), Study()) == ""
    mending.keep_out(request(), study, f"{box}\nwith stripes\n")
    done(study)
    with Store.open("herd") as store:
        assert store.settings.phrases == ("shaved yak", "with stripes") and not store.count()
    assert "No line is kept out any more" in mending.keep_out(request(), study, " ")[0]
    done(study)
    fills = [each for each in page[1].fns.values() if each.fn is mending.in_force]
    assert {each.outputs[0].elem_id for each in fills} == {"knowledge-phrases"} and len(fills) >= 6


def test_collection_is_not_deleted_while_something_works_on_it(herd: Path, hands: Hands):  # noqa: F811
    study = put(herd)
    hands.gate.clear()
    mending.keep_out(request(), study, "shaved yak")
    with pytest.raises(gr.Error, match=r"is being changed just now\. Wait until that is done"):
        shelves.delete(request(), study)
    hands.gate.set()
    done(study)
    with Store.open("herd") as store, alone(store), pytest.raises(gr.Error, match="being added to 'herd' just now"):
        shelves.delete(request(), study)
    with Store.open("herd") as store:
        assert len(store.files()) == 2
    shelves.delete(request(), study)
    assert Store.folder_of("herd") is None
