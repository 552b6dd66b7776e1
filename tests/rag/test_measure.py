"""Measuring retrieval: scores by hand, labels of every kind, misses as zero, and the table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import Problem
from engine.teaching.turns import Stopped
from rag.collection import Collection
from rag.measure import at_size, interval, judged, measure, ndcg, paired, table
from rag.questions import Question, read_questions
from rag.store import Store
from rag.types import Chunk
from tests.rag.papers import prose
from tests.rag.shelves import filled

pytestmark = pytest.mark.timeout(900)  # the first test of a run loads the embedding model, which a busy machine delays


def chunk(number: int, text: str = "", file: str = "a.md", page: int = 0) -> Chunk:
    return Chunk(str(number), file, 1, (), page, "iv" if page == 3 else str(page + 1), page, 0, len(text), text, number)


CHUNKS = [chunk(0, "apples and pears"), chunk(1, "pears", page=1), chunk(2, "plums", "sub/b.md", 3), chunk(3, "apples")]


def test_ndcg_by_hand() -> None:
    assert ndcg([True, False, True], 2, 3) == pytest.approx((1 + 0.5) / (1 + 1 / 1.5849625))
    assert ndcg([False], 0, 5) == 0
    assert ndcg([True], 4, 1) == 1


def test_ideal_counts_right_chunks_that_were_not_found() -> None:
    one = judged(Question("?", keywords=("apples",)), [CHUNKS[1], CHUNKS[0]], CHUNKS, 2)
    assert (one.hit, one.mrr, one.rank) == (1, 0.5, 2)
    assert one.ndcg == pytest.approx((1 / 1.5849625) / (1 + 1 / 1.5849625))


def test_question_without_any_hit_counts_as_zero() -> None:
    for found in ([], [CHUNKS[2]]):
        one = judged(Question("?", keywords=("pears",)), found, CHUNKS, 5)
        assert (one.hit, one.mrr, one.ndcg, one.rank) == (0, 0, 0, None)


def test_several_keywords_are_looked_for_one_by_one() -> None:
    one = judged(Question("?", keywords=("PEARS", "plums", "kiwis")), [CHUNKS[1], CHUNKS[2]], CHUNKS, 5)
    assert (one.hit, one.mrr) == (pytest.approx(2 / 3), pytest.approx((1 + 0.5) / 3))


def test_labels_by_file_page_and_passage() -> None:
    def right(**labels: str) -> list[int]:
        facet = Question("?", **labels).facets()[0]  # type: ignore[arg-type]
        return [number for number, each in enumerate(CHUNKS) if facet(each)]

    assert right(file="a.md") == [0, 1, 3]
    assert right(file="b.md") == [2]
    assert right(file="a.md", page="2") == [1]
    assert right(page="iv") == [2] == right(page="4")
    assert right(passage="Apples, and some pears!") == [0, 1, 3]


def test_intervals_hold_the_mean_and_pairs_are_narrower() -> None:
    ours, theirs = [0.1 * (n % 10) + 0.05 for n in range(60)], [0.1 * (n % 10) for n in range(60)]
    one = interval(ours)
    assert one.low < one.mean < one.high and one == interval(ours)
    both = paired(ours, theirs)
    assert both.low == pytest.approx(0.05) == both.high
    assert interval([]).mean == 0


def test_question_files_are_read_and_bad_rows_named(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    rows = [{"question": "When?", "keywords": ["1742"]}, {"question": "Where?", "file": "b.md", "page": 4}]
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    assert read_questions(path) == [Question("When?", keywords=("1742",)), Question("Where?", "b.md", "4")]
    path.write_text(json.dumps(rows), encoding="utf-8")
    assert len(read_questions(path)) == 2
    for bad, told in (
        ('{"question": ""}', "Row 1 has no 'question'"),
        ('{"question": "?"}', "Row 1 says nothing"),
        ('{"question": "?", "keywords": "one"}', "must be a list"),
        ("no json", "neither a JSON list"),
        ("", "no question"),
    ):
        path.write_text(bad, encoding="utf-8")
        with pytest.raises(Problem, match=told):
            read_questions(path)
    with pytest.raises(Problem, match="cannot be read"):
        read_questions(tmp_path / "missing.jsonl")


QUESTIONS = [
    Question("When was the mill built?", keywords=("1742",)),
    Question("How long does the library lend books?", file="town/library.md", page="1"),
    Question("Who walked on the moon?", keywords=("Armstrong",)),
]


def test_collection_is_measured_in_every_mode_at_every_k(town: Collection) -> None:
    rows = table([town], QUESTIONS, ks=(1, 3))
    assert [(row.mode, row.k) for row in rows] == [(m, k) for m in ("both", "vector", "keyword") for k in (1, 3)]
    for row in rows:
        assert row.score("hit").mean == pytest.approx(2 / 3)
        assert row.outcomes[2].mrr == 0
        assert 0 < row.milliseconds[0] <= row.milliseconds[1]
        assert row.row()["questions"] == 3
    alone = measure(town, QUESTIONS, "both", 3)
    assert [each.mrr for each in alone.outcomes] == [each.mrr for each in rows[1].outcomes]


def test_other_chunk_size_is_measured_on_a_copy(town: Collection) -> None:
    before = town.store.version(), town.store.count()
    with at_size(town.store, 32) as small:
        assert all(small.model.count_tokens(chunk.text) <= 32 for chunk in small.store.chunks())
        assert small.store.settings == replace(town.store.settings, chunk_tokens=32, overlap=25 * 32 // 256)
        assert measure(small, QUESTIONS[:1], "both", 1).outcomes[0].hit == 1
    assert (town.store.version(), town.store.count()) == before


def test_cutting_a_copy_ends_when_it_is_asked_to() -> None:
    store = filled(Store.create("one long page"), {"oak.md": ((), [prose("oak")])})
    with pytest.raises(Stopped), at_size(store, 32, stop=lambda: True):
        pass
    store.delete()
