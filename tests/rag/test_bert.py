"""The plain encoder gives the vectors of sentence-transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine import embed
from engine.errors import Problem
from rag.bert import fits
from rag.embedders import BATCH, DEFAULT, TOKENS, Embedder
from tests.rag.papers import prose


def test_its_vectors_are_those_of_sentence_transformers() -> None:
    model = Embedder()
    texts = ["Fat tails.", prose("wavelets", 3), prose("LoRA", 60), "", "naïve café 分布 🙂", "one two three"]
    assert model._plain is not None
    assert np.abs(model.embed_passages(texts) - embed.embed(texts)).max() < 1e-5


def test_tokens_counted_by_words_are_those_of_the_whole_text() -> None:
    model = Embedder()
    odd = [
        "",
        " ",
        "a\u00a0b",
        "a\x1cb",
        "x\ty\r\nz",
        "naïve café 分布 🙂",
        "e\u0301 \u0301e",
        "a\u2028b",
        "don't [1]. " * 9,
    ]
    odd += [prose("wavelets", 40), "a" * 150 + " b", "\ud800 lone".encode("utf-8", "replace").decode()]
    assert model._by_words
    for text in odd:
        assert model.count_tokens(text) == len(model._tokenizer.encode(text, add_special_tokens=False).ids), text


def test_batches_hold_neighbours_within_their_limits() -> None:
    model = Embedder()
    texts = ["word " * 250] * 9 + ["word " * 20] * 100 + [""]
    spans = list(model._batches(texts))
    assert [start for start, _ in spans[1:]] == [end for _, end in spans[:-1]] and spans[-1][1] == len(texts)
    assert max(end - start for start, end in spans) == BATCH and spans[0] == (0, TOKENS // 252)


@pytest.mark.parametrize(("precision", "least"), [("bf16", 0.999), ("int8", 0.9)])
def test_another_precision_gives_nearly_the_same_vectors_under_a_fingerprint_of_its_own(
    precision: str, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.weights.fast_bf16", lambda: True)
    model, other = Embedder(), Embedder(f"{DEFAULT}:{precision}")
    texts = ["Fat tails.", prose("wavelets", 3), prose("LoRA", 60), "naïve café 分布 🙂", "one two three"]
    cosines = (model.embed_passages(texts) * other.embed_passages(texts)).sum(1)
    assert least < cosines.min() < 1 - 1e-6, "close to fp32, and not it"
    assert other.fingerprint != model.fingerprint and other.dimension == model.dimension
    assert other.count_tokens("one two three") == 3 and other.here()


def test_a_precision_that_cannot_be_computed_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.weights.fast_bf16", lambda: False)
    with pytest.raises(Problem, match="has no bf16"):
        Embedder(f"{DEFAULT}:bf16").embed_query("x")
    assert Embedder(f"{DEFAULT}:fp64").model == f"{DEFAULT}:fp64", "a colon may be part of a folder's name"


def test_a_model_it_does_not_know_is_left_to_sentence_transformers(tmp_path: Path) -> None:
    assert fits(Embedder().folder)
    assert not fits(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "mpnet"}')
    assert not fits(tmp_path)
