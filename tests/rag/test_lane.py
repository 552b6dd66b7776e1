"""A collection as a lane's documents: found when it is searched, its trouble in one sentence, marks checked."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from engine.catalog import Model, find
from engine.compare import Comparison, Lane, LaneEnded, LaneGrounded
from engine.errors import Problem
from engine.messages import Message, Sampling
from engine.respond import FollowsUp
from rag.collection import Collection
from rag.headless import main
from rag.lane import Documents, checked, parted
from rag.opened import forgotten
from rag.store import Store
from tests.rag.shelves import Scripted

FEW = Sampling(temperature=0, max_tokens=4)
ASKED = "When was the mill built?"
TALK = [Message("user", "What is the blackberry festival?"), Message("assistant", "A feast.")]


def exactly(name: str) -> Collection:
    return Collection(Store.open(name))


def test_documents_are_searched_by_name_and_keep_the_hits(town: Collection) -> None:
    documents = Documents(town.name, opening=exactly)
    assert isinstance(documents, FollowsUp) and documents.hits(ASKED) == ()
    found = documents.search(ASKED, 3)
    assert found[0].source == "town/mill.md" and found[0].page == 1 and "1742" in found[0].text
    assert [hit.chunk.text for hit in documents.hits(ASKED)] == [passage.text for passage in found]
    near = documents.nearest("What does quantum chromodynamics say of gluons?")
    assert near is not None and near.score is not None and near.score < 0.5


def test_missing_and_empty_collections_say_so_when_they_are_searched(store: Store) -> None:
    with pytest.raises(Problem, match=r"There is no collection 'nowhere'\. Those there are:"):
        Documents("nowhere").search(ASKED, 3)
    with pytest.raises(Problem, match=r"is empty\. Add documents on the Knowledge tab"):
        Documents(store.settings.name, opening=exactly).search(ASKED, 3)
    with pytest.raises(Problem, match="Not for you"):
        Documents(store.settings.name, problem="Not for you.").search(ASKED, 3)


def test_collection_of_another_embedding_model_costs_its_lane_alone(town: Collection, tmp_path: Path) -> None:
    name = "made by another"
    with Store.import_from(town.store.export_to(tmp_path / "town.zip"), name) as store:
        store.save_settings(dataclasses.replace(store.settings, fingerprint="0" * 32))
    try:
        model = find("starter")
        lanes = [Lane(model, sampling=FEW), Lane(model, sampling=FEW, passages=Documents(name))]
        lanes.append(Lane(model, sampling=FEW, passages=Documents(town.name, opening=exactly)))
        ended = {event.lane: event.result for event in Comparison(lanes, ASKED) if isinstance(event, LaneEnded)}
        assert "re-index the collection" in (ended[1].error or "") and ended[0].error is None
        assert ended[2].error is None and "1742" in ended[2].prompt
    finally:
        forgotten(name)
        Store.open(name).delete()


def test_follow_up_is_made_to_stand_alone_before_it_is_searched_for(town: Collection) -> None:
    lane = Lane(find("starter"), sampling=FEW, passages=Documents(town.name, opening=exactly))
    events = list(Comparison([lane], "Who founded it?", [TALK]))
    told = next(event for event in events if isinstance(event, LaneGrounded))
    assert told.question == "Who founded blackberry festival?" and "Edith Lowe" in told.passages[0].text
    prompt = next(event.result.prompt for event in events if isinstance(event, LaneEnded))
    assert told.question in prompt and "A feast." not in prompt, "a toy reads the question that stands alone"


def test_model_that_is_able_rewrites_the_follow_up() -> None:
    able = Scripted("Who founded the blackberry festival of Harrow?")
    asked = Documents("any").stand_alone("Who founded it?", TALK, able)
    assert asked == "Who founded the blackberry festival of Harrow?" and able.asked


def test_marks_that_point_nowhere_go_and_those_of_a_toy_are_held_against_the_words(town: Collection) -> None:
    documents = Documents(town.name, opening=exactly)
    documents.search(ASKED, 3)
    hits = documents.hits(ASKED)
    other = Lane(Model("able", "some/model"), passages=documents)
    found = checked(other, "The mill was built in 1742 [1]. Cows fly to distant planets [1]. See [9].", hits)
    assert found.text == "The mill was built in 1742 [1]. Cows fly to distant planets [1]. See."
    assert (found.cited, found.doubtful, found.removed_marks, found.mended_marks) == ((1,), (1,), 1, 0)
    small = Lane(find("starter"), passages=documents)
    mended = checked(small, "Cows fly to distant planets [1].", hits, ASKED)
    assert mended.text == "Cows fly to distant planets." and mended.mended_marks == 1 and mended.cited == ()


def test_lane_names_part_at_the_last_at() -> None:
    assert parted("starter@my papers", ["my papers"]) == ("starter", "my papers")
    assert parted("starter@gone", []) == ("starter", "gone")
    assert parted("/models/a@b", []) == ("/models/a@b", "")
    assert parted("/models/a@b@c", ["c"]) == ("/models/a@b", "c")
    assert parted("starter", ["starter"]) == ("starter", "")


def test_headless_comparison_prints_sources_and_a_lanes_own_trouble(town: Collection, capsys) -> None:
    lanes = ["--lane", "starter", "--lane", f"starter@{town.name}", "--lane", "starter@gone"]
    options = ["--style", "chat", "--temperature", "0", "--max-new-tokens", "4", "--json"]
    assert main(["compare", "--prompt", ASKED, *lanes, *options]) == 1
    bare, read, gone = json.loads(capsys.readouterr().out)
    assert "sources" not in bare and "There is no collection 'gone'" in gone["error"]
    assert read["collection"] == town.name and read["sources"][0]["file"] == "town/mill.md"
    assert read["sources"][0]["number"] == 1 and set(read["sources"][0]) >= {"page", "cosine", "cited"}
