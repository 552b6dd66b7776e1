"""Searching: three ways, a cutoff from the collection itself, duplicates collapsed, follow-ups made to stand alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import Problem
from engine.messages import Message
from engine.respond import Passage
from rag.collection import Collection, How
from rag.followup import leans, stand_alone, topic
from rag.index import Index
from rag.retrieve import fused, retrieve
from rag.store import Store
from tests.rag.shelves import BLACKBERRY, TOWN, Scripted, filled, made_up, tiny_cross_encoder

pytestmark = pytest.mark.timeout(900)  # the first test of a run loads the embedding model, which a busy machine delays


def files(collection: Collection, question: str, **how: object) -> list[str]:
    return [hit.chunk.file for hit in retrieve(collection, question, **how).hits]  # type: ignore[arg-type]


def test_every_way_finds_the_passage_that_answers(town: Collection) -> None:
    for mode in ("both", "vector", "keyword"):
        found = retrieve(town, "What does a card for the library cost?", mode=mode)
        assert found.hits[0].chunk.file == "town/library.md"
        assert found.hits[0].chunk.page == 0
        assert [hit.rank for hit in found.hits] == list(range(1, len(found.hits) + 1))
        assert all(hit.cosine >= found.cutoff for hit in found.hits)


def test_fused_rank_is_the_sum_of_reciprocal_ranks(town: Collection) -> None:
    assert fused(["a", "b"], ["b", "c"]) == pytest.approx({"b": 1 / 62 + 1 / 61, "a": 1 / 61, "c": 1 / 62})
    found = retrieve(town, "When does the reading room open?", mode="both", cutoff=-1, k=8)
    for hit in found.hits:
        ranks = [rank for rank in (hit.vector_rank, hit.keyword_rank) if rank]
        assert hit.score == pytest.approx(sum(1 / (60 + rank) for rank in ranks))
    assert [hit.score for hit in found.hits] == sorted((hit.score for hit in found.hits), reverse=True)
    assert {"reading", "room", "open"} & set(found.hits[0].matched) or "opens" in found.hits[0].matched


def test_question_about_something_else_has_no_hit_and_a_nearest_passage(town: Collection) -> None:
    found = retrieve(town, "Who was the first man on the moon?")
    assert found.hits == ()
    assert found.nearest is not None and found.nearest.cosine < found.cutoff
    assert found.below[0].cosine < found.cutoff
    assert files(town, "Who was the first man on the moon?", cutoff=-1, k=4)


def test_cutoff_comes_from_the_collection_and_its_histogram_counts_every_passage(town: Collection) -> None:
    found = retrieve(town, "When was the mill built?")
    shown, chunks = found.distribution, town.store.count()
    assert 0.1 < found.cutoff == found.own_cutoff < 0.6
    assert sum(shown.question) == chunks
    assert sum(shown.background) == chunks * len(town.calibration()[0].best)
    assert len(shown.edges) == len(shown.question) + 1 == len(shown.background) + 1
    assert shown.hits == tuple(hit.cosine for hit in found.hits)
    assert retrieve(town, "When was the mill built?", cutoff=0.99).hits == ()


def test_code_that_no_embedding_knows_is_found_by_its_letters(town: Collection) -> None:
    found = retrieve(town, "QX-7714", k=1)
    assert "QX-7714" in found.hits[0].chunk.text
    assert found.hits[0].keyword_rank == 1


def test_filter_by_tag_and_file(town: Collection) -> None:
    assert set(files(town, "What is there to see?", k=20, cutoff=-1, where={"tag": "events"})) == {
        "events/festival.md",
        "events/market.md",
    }
    assert set(files(town, "What is it?", k=9, cutoff=-1, where={"file": "town/mill.md"})) == {"town/mill.md"}
    with pytest.raises(Problem, match="no filter 'colour'"):
        retrieve(town, "What is it?", where={"colour": "green"})


def test_copies_are_one_hit_with_all_their_sources_unless_a_number_differs(town: Collection) -> None:
    found = retrieve(town, "When was the blackberry festival founded?", k=10)
    first = found.hits[0]
    places = {first.chunk.file, *(chunk.file for chunk in first.also)}
    assert places == {"events/festival.md", "copies/festival again.md"}
    assert [hit.chunk.file for hit in found.hits].count("copies/festival next year.md") == 1
    assert first.chunk.text == BLACKBERRY


def test_wrong_requests_are_refused_in_words(town: Collection) -> None:
    for how, told in (
        ({"question": "  "}, "it is empty"),
        ({"k": 0}, "1 to 50"),
        ({"k": 51}, "1 to 50"),
        ({"mode": "magic"}, "'magic'"),
        ({"question": "x" * 4001}, "at most 4,000"),
        ({"rerank": "no-such/cross-encoder"}, "is not on this machine"),
    ):
        with pytest.raises(Problem, match=told):
            retrieve(town, **{"question": "What is it?", **how})  # type: ignore[arg-type]


def test_k_goes_to_fifty_and_lone_surrogates_do_no_harm(town: Collection) -> None:
    assert len(retrieve(town, "everything \ud800 there is", k=50, cutoff=-1).hits) <= town.store.count()


def test_collection_of_another_model_is_refused_with_the_offer_to_re_index() -> None:
    store = made_up("of another model", 3)
    try:
        with pytest.raises(Problem, match="re-index"):
            retrieve(Collection(store), "What is it?")
    finally:
        store.delete()


def test_chroma_and_the_store_give_the_page_and_the_command_line_the_same_ten() -> None:
    store = filled(Store.create("held to the same"), TOWN)
    try:
        with Index(store) as index:
            indexed, exact = Collection(store, index), Collection(store)
            for question in ("When was the mill built?", "What is free?", "Where do trains go?", "QX-7714"):
                for mode in ("both", "vector", "keyword"):
                    ours, theirs = (retrieve(each, question, 10, mode, cutoff=-1) for each in (indexed, exact))
                    assert [h.chunk.id for h in ours.hits] == [h.chunk.id for h in theirs.hits]
                    assert [h.cosine for h in ours.hits] == [h.cosine for h in theirs.hits]
            filled(store, {"late.md": ((), ["The lighthouse keeper plays the cello at night."])})
            for each in (indexed, exact):
                assert files(each, "Who plays the cello?", k=1) == ["late.md"]
            store.remove_file("late.md")
            assert "late.md" not in files(indexed, "Who plays the cello?", k=10, cutoff=-1)
    finally:
        store.delete()


def test_collection_is_what_engine_knows_as_passages(town: Collection) -> None:
    first = town.search("When was the mill built?", 2)[0]
    assert isinstance(first, Passage)
    assert (first.source, first.page) == ("town/mill.md", 1)
    assert town.search("Who was the first man on the moon?", 3) == []
    assert town.nearest("Who was the first man on the moon?") is not None
    only = town.asked(How(k=1, where={"tag": "events"}))
    assert [passage.source for passage in only.search("When is the market?", 3)] == ["events/market.md"]


# -- follow-ups ----

TALK = [Message("user", "What is the blackberry festival?"), Message("assistant", "A feast.")]


def test_whole_question_is_left_as_it_is() -> None:
    assert not leans("When was the mill built?")
    assert stand_alone("When was the mill built?", TALK).how == ""
    assert stand_alone("When was it founded?").how == ""


def test_topic_is_carried_where_no_model_rewrites(town: Collection) -> None:
    carried = stand_alone("When was it founded?", TALK)
    assert (carried.question, carried.how) == ("When was blackberry festival founded?", "topic")
    assert stand_alone("And why?", TALK).question == "And why? (blackberry festival)"
    assert stand_alone("Who are its visitors?", TALK).question == "Who are blackberry festival's visitors?"
    assert topic("Tell me about the water mill.") == "water mill"
    found = retrieve(town, "When was it founded?", k=1, history=TALK)
    assert found.hits[0].chunk.text == BLACKBERRY
    assert found.question_used == "When was blackberry festival founded?"


def test_topic_of_the_last_question_that_stands_alone_is_carried() -> None:
    talk = [*TALK, Message("user", "And when is it?"), Message("assistant", "In September.")]
    assert stand_alone("What does it cost?", talk).question == "What does blackberry festival cost?"


def test_able_model_rewrites_and_a_failing_one_is_replaced_by_the_topic() -> None:
    able = Scripted('"When was the blackberry', ' festival of Harrow founded?"\n', "More words.")
    said = stand_alone("When was it founded?", TALK, able)
    assert (said.question, said.how) == ("When was the blackberry festival of Harrow founded?", "model")
    assert "Follow-up: When was it founded?" in able.asked[0][0].content
    assert "user: What is the blackberry festival?" in able.asked[0][0].content
    assert stand_alone("When was it founded?", TALK, Scripted("")).how == "topic"


# -- reranking ----


def test_cross_encoder_gives_the_order_and_its_scores_are_told(town: Collection, tmp_path: Path) -> None:
    place = str(tiny_cross_encoder(tmp_path / "cross"))
    found = retrieve(town, "What does a card cost?", k=6, cutoff=-1, rerank=place)
    scores = [hit.rerank for hit in found.hits]
    assert None not in scores and scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores if score is not None)
    assert found.milliseconds["rerank"] > 0
