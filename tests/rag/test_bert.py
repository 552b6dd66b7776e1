"""The plain encoder gives the vectors of sentence-transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine import embed
from rag.bert import fits
from rag.embedders import Embedder
from tests.rag.papers import prose


def test_its_vectors_are_those_of_sentence_transformers() -> None:
    model = Embedder()
    texts = ["Fat tails.", prose("wavelets", 3), prose("LoRA", 60), "", "naïve café 分布 🙂", "one two three"]
    assert model._plain is not None
    assert np.abs(model.embed_passages(texts, batch=4) - embed.embed(texts)).max() < 1e-5


def test_a_model_it_does_not_know_is_left_to_sentence_transformers(tmp_path: Path) -> None:
    assert fits(Embedder().folder)
    assert not fits(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "mpnet"}')
    assert not fits(tmp_path)
