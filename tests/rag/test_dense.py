"""A model with a Dense module behind its pooling is added with, searched and opened again, at its own length."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.errors import Problem
from rag.collection import Collection
from rag.embedders import DEFAULT, Embedder
from rag.retrieve import retrieve
from rag.store import Store
from rag.types import CollectionSettings
from tests.rag.putting import added

IN, OUT = 16, 8


def built(folder: Path, seed: int) -> Path:
    """A sentence-transformers model of random weights: one layer of BERT, the mean, and a Dense module."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    base = folder / "base"
    shape = BertConfig(hidden_size=IN, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    BertModel(shape).save_pretrained(base)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        shutil.copy(Embedder().folder / name, base)
    modules = [Transformer(str(base)), Pooling(IN, "mean"), Dense(IN, OUT)]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder / "model"))
    return folder / "model"


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("dense"), seed=1)


def test_a_model_with_a_dense_module_is_added_searched_and_opened_again(dense: Path, papers_folder: Path) -> None:
    name = "Shelf of a dense model"
    with Store.create(name, CollectionSettings(name, embedder=str(dense))) as store:
        added(store, papers_folder, Embedder(str(dense)))
        assert store.settings.dimension == OUT and store.vectors()[1].shape == (store.count(), OUT)
    with Store.open(name) as store:
        model = Embedder(str(dense))
        store.check_embedder(model)
        found = retrieve(Collection(store, model=model), "low-rank adaptation", mode="vector", cutoff=-1.0)
        assert len(found.hits) == 3
        ids, vectors = store.vectors()
        assert np.allclose(vectors, model.embed_passages([one.text for one in store.chunks(ids)]), atol=1e-5)
        store.delete()


def test_the_weights_of_a_dense_module_are_part_of_the_fingerprint(dense: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    other = shutil.copytree(dense, tmp_path / "other")
    assert Embedder(str(other)).fingerprint == Embedder(str(dense)).fingerprint
    weights = load_file(other / "2_Dense/model.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, other / "2_Dense/model.safetensors")
    assert Embedder(str(other)).fingerprint != Embedder(str(dense)).fingerprint
    with Store.create("Shelf of the first", CollectionSettings("Shelf of the first", embedder=str(dense))) as store:
        with pytest.raises(Problem, match="cannot search it"):
            store.check_embedder(Embedder(str(other)))
        store.delete()


def test_a_model_without_such_weights_keeps_its_fingerprint() -> None:
    assert Embedder(DEFAULT).fingerprint == "d5c71b3829253ad20d8cec3bbd395ccf"
    assert Embedder(DEFAULT).dimension == 384
