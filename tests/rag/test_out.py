"""What stands around search and answers: reasons, the map, boards, the tool, LangChain, the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.agent import converse
from engine.catalog import find
from engine.compare import Comparison, LaneEnded, LaneGrounded
from engine.errors import Problem
from engine.messages import End, Message, Sampling, ToolCall, ToolResult
from engine.settings import ROOT
from rag import tool
from rag.boards import four_lanes, with_and_without
from rag.collection import Collection, How
from rag.headless import main
from rag.langchain import CollectionRetriever
from rag.mapping import chunk_map
from rag.retrieve import retrieve
from rag.why import standing, why
from tests.rag.shelves import Scripted, made_up

pytestmark = pytest.mark.timeout(900)  # the first test of a run loads the embedding model, which a busy machine delays

MILL = "When was the water mill built?"
FEW = Sampling(temperature=0, max_tokens=12)


# -- why ----


def test_every_part_of_a_rank_is_told(town: Collection) -> None:
    found = retrieve(town, MILL, k=5, cutoff=-1)
    first = why(found, found.hits[0])
    assert (first.final_rank, first.fused_rank, first.vector_rank, first.keyword_rank) == (1, 1, 1, 1)
    assert {"mill", "built"} <= set(first.matched)
    assert first.rerank is None and first.rerank_change == 0


def test_named_page_is_told_its_rank_and_what_beat_it(town: Collection) -> None:
    told = standing(town, MILL, "events/market.md", 0)
    assert told.chunk.file == "events/market.md" and told.of == town.store.count()
    assert 1 < told.rank <= told.of and len(told.beaten_by) == min(told.rank - 1, 10)
    assert told.beaten_by[0][0].file == "town/mill.md" and told.below_cutoff
    best = standing(town, MILL, "town/mill.md")
    assert (best.rank, best.beaten_by, best.below_cutoff, best.keyword_rank) == (1, (), False, 1)
    for mode in ("vector", "keyword"):
        assert standing(town, MILL, "town/mill.md", mode=mode).rank == 1
        assert standing(town, MILL, "town/railway.md", mode=mode).rank > 1
    with pytest.raises(Problem, match=r"no passage of page 9 of town/mill\.md"):
        standing(town, MILL, "town/mill.md", 8)


# -- the map ----


@pytest.mark.parametrize("way", ["pca", "tsne"])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_map_holds_every_passage_and_the_question(town: Collection, way: str, dimensions: int) -> None:
    made = chunk_map(town, way, dimensions, MILL)  # type: ignore[arg-type]
    assert len(made.points) == made.total == town.store.count()
    assert made.question is not None
    assert (len({point.z for point in made.points}) == 1) == (dimensions == 2)
    assert {point.cluster for point in made.points} == set(range(len(made.clusters)))
    assert all(made.clusters)
    assert made.points == chunk_map(town, way, dimensions, MILL).points  # type: ignore[arg-type]


def test_map_lists_copies_but_not_those_with_another_number(town: Collection) -> None:
    pairs = [{a.file, b.file} for a, b, _ in chunk_map(town).duplicates]
    assert pairs == [{"events/festival.md", "copies/festival again.md"}]


def test_map_of_a_small_or_empty_collection_is_refused_in_words_or_drawn(town: Collection) -> None:
    for count in (0, 2, 3, 4):
        store = made_up(f"map of {count}", count)
        try:
            if count < 3:
                with pytest.raises(Problem, match="A map needs three"):
                    chunk_map(Collection(store))
            else:
                assert len(chunk_map(Collection(store), "tsne", 3).points) == count
        finally:
            store.delete()
    with pytest.raises(Problem, match="'pca' or 'tsne'"):
        chunk_map(town, "umap")  # type: ignore[arg-type]


# -- boards ----


def run(lanes: list, prompt: str) -> tuple[dict, dict]:
    """What each lane was grounded on, and its result."""
    events = list(Comparison(lanes, prompt))
    grounded = {event.lane: event for event in events if isinstance(event, LaneGrounded)}
    return grounded, {event.lane: event.result for event in events if isinstance(event, LaneEnded)}


def test_board_shows_four_answers_of_which_two_read_the_same_passages(town: Collection) -> None:
    lanes = four_lanes(town, find("starter"), find("starter-shawgpt"), sampling=FEW)
    grounded, results = run(lanes, MILL)
    assert sorted(results) == [0, 1, 2, 3] and sorted(grounded) == [1, 3]
    assert not any(result.error for result in results.values())
    assert grounded[1].passages == grounded[3].passages
    assert grounded[1].passages[0].source == "town/mill.md"
    assert results[0].prompt == results[2].prompt and results[1].prompt == results[3].prompt
    assert grounded[1].passages[0].text in results[1].prompt and "[1]" not in results[0].prompt
    assert [result.adapter is not None for _, result in sorted(results.items())] == [False, False, True, True]
    documents = lanes[1].passages
    assert next(hit.chunk.file for hit in documents.found) == "town/mill.md"  # type: ignore[union-attr]


def test_lane_without_anything_near_refuses_and_the_bare_one_answers(town: Collection) -> None:
    grounded, results = run(with_and_without(town, find("starter"), sampling=FEW), "Who walked on the moon?")
    assert results[1].text == grounded[1].refusal and results[1].text.startswith("The documents do not say.")
    assert (results[1].tokens or 0) == 0 and results[0].tokens


# -- the tool ----


def test_tool_gives_numbered_passages_with_their_places(town: Collection) -> None:
    made = tool.search_documents(town)
    assert made.name == "search_documents" and not made.side_effect
    assert made.spec["function"]["parameters"]["required"] == ["question"]
    found = json.loads(made.run({"question": MILL}))["passages"]
    assert (found[0]["number"], found[0]["file"], found[0]["page"]) == (1, "town/mill.md", "1")
    assert "1742" in found[0]["text"] and found[0]["similarity"] > 0.4
    assert json.loads(made.run({"question": "Who walked on the moon?"}))["passages"] == []


class Caller(Scripted):
    """Calls the tool first, then says what it was told to."""

    def reply(self, messages, sampling, tools=()):  # type: ignore[no-untyped-def]
        if not self.asked:
            self.asked.append(list(messages))
            yield ToolCall("call_1", "search_documents", json.dumps({"question": MILL}))
            yield End("tool_calls")
        else:
            yield from super().reply(messages, sampling, tools)


def test_assistant_answers_from_the_documents(town: Collection) -> None:
    model = Caller("In 1742 [1].")
    steps = list(converse(model, [Message("user", MILL)], [tool.search_documents(town)], FEW))
    result = next(step for step in steps if isinstance(step, ToolResult))
    assert not result.error and "town/mill.md" in result.content
    assert any("1742" in message.content for message in model.asked[1] if message.role == "tool")


def test_collections_are_offered_to_the_assistant_by_name(town: Collection) -> None:
    assert town.name in tool.collections()


# -- LangChain ----


def test_collection_is_a_langchain_retriever(town: Collection) -> None:
    documents = CollectionRetriever.open(town.name, k=2).invoke(MILL)
    assert documents[0].metadata["source"] == "town/mill.md" and documents[0].metadata["page"] == 1
    assert "1742" in documents[0].page_content and len(documents) <= 2
    chain = CollectionRetriever(collection=town, how=How(k=1)) | (lambda found: found[0].metadata["source"])
    assert chain.invoke("When is the market?") == "events/market.md"


# -- the command line ----


def test_search_prints_file_page_score_and_text(town: Collection, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", MILL, "--collection", town.name, "--k", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"file", "page", "score", "text"} <= set(found[0])
    assert (found[0]["file"], found[0]["page"], found[0]["rank"]) == ("town/mill.md", 1, 1)
    assert main(["search", MILL, "--collection", town.name, "--mode", "keyword", "--tag", "events", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["search", "Who walked on the moon?", "--collection", town.name]) == 0
    assert "No passage reaches the cutoff" in capsys.readouterr().err
    assert main(["search", MILL, "--collection", "no such"]) == 2
    assert "no collection 'no such'" in capsys.readouterr().err
    assert main(["search", MILL, "--collection", town.name, "--k", "99"]) == 2


def test_ask_prints_an_answer_with_its_citations(town: Collection, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["ask", MILL, "--collection", town.name, "--model", "starter-shawgpt", "--max-new-tokens", "24"]
    assert main([*asked, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["citations"] and answer["citations"][0]["file"] == "town/mill.md"
    assert answer["hits"][0]["file"] == "town/mill.md" and not answer["refused"]
    assert main([*asked, "--json", "--no-context"]) == 0
    bare = json.loads(capsys.readouterr().out)
    assert bare["hits"] == [] and bare["prompt"].count(MILL) == 1 and "[1]" not in bare["prompt"]
    assert main(asked) == 0
    assert "[1] town/mill.md, page 1" in capsys.readouterr().out
    asked[1] = "Who walked on the moon?"
    assert main([*asked, "--json"]) == 0
    refused = json.loads(capsys.readouterr().out)
    assert refused["refused"] and refused["nearest"]["file"] in refused["answer"]


def test_measure_prints_a_row_for_each_way(
    town: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps({"question": MILL, "keywords": ["1742"]}), encoding="utf-8")
    asked = ["measure", str(path), "--collection", town.name, "--k", "1", "--k", "3"]
    assert main([*asked, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["mode"], row["k"], row["hit"][0]) for row in rows[:2]] == [("both", 1, 1.0), ("both", 3, 1.0)]
    assert main([*asked, "--mode", "keyword"]) == 0
    assert len(capsys.readouterr().out.strip().splitlines()) == 3


def test_commands_run_as_a_program_beside_an_open_index(town: Collection) -> None:
    from rag.index import Index

    with Index(town.store):
        command = [sys.executable, "-m", "rag", "search", "QX-7714", "--collection", town.name, "--json"]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=600, env={**os.environ}
        )
    assert "QX-7714" in json.loads(done.stdout)[0]["text"]
