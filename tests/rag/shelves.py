"""Small collections for tests: a town's papers with real vectors, and many chunks with made-up ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.messages import Begin, End, Message, Piece, Sampling
from rag.store import Store
from rag.types import Chunk, CollectionSettings, FileRecord, Page

BLACKBERRY = (
    "The blackberry festival of Harrow takes place on the second Sunday in September. "
    "It was founded in 1921 by the baker Edith Lowe."
)
TOWN: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "events/festival.md": (
        ("events",),
        [
            BLACKBERRY,
            "Visitors of the blackberry festival pay four euros; children enter free. The gates close at nine.",
        ],
    ),
    "events/market.md": (
        ("events",),
        ["The weekly market on the green sells cheese, honey and cut flowers every Thursday morning."],
    ),
    "town/library.md": (
        ("town",),
        [
            "The library lends books for four weeks. A reader's card costs ten euros a year and is free for students.",
            "The reading room of the library opens at eight and closes at six. Dogs must stay outside.",
        ],
    ),
    "town/mill.md": (
        ("town",),
        [
            "The old water mill was built in 1742. Its wheel is made of oak and turns whenever the sluice is open.",
            "Part number QX-7714 is the bronze bearing of the mill wheel; it must be greased in spring.",
        ],
    ),
    "copies/festival again.md": (("copies",), [BLACKBERRY]),
    "copies/festival next year.md": (("copies",), [BLACKBERRY.replace("1921", "1934")]),
    "town/railway.md": (
        ("town",),
        [
            "Trains from Harrow to the coast leave every hour. The journey takes fifty minutes and passes two tunnels.",
            "The railway museum keeps a steam engine that was rescued from a scrapyard and painted green again.",
        ],
    ),
}


def filled(store: Store, files: Mapping[str, tuple[Sequence[str], Sequence[str]]], vectors: Any = None) -> Store:
    """Put files of (tags, passages) into a store, a page for each passage; without vectors, with real ones."""
    texts = [text for _, passages in files.values() for text in passages]
    if vectors is None:
        from rag.embedders import embedder

        vectors = embedder().embed_passages(texts)
    store.put_vectors(texts, vectors)
    for path, (tags, passages) in files.items():
        digest = hashlib.sha256("\n".join((path, *passages)).encode()).hexdigest()
        record = FileRecord(0, path, digest, 1, "md", len(passages), len(passages), tuple(tags))
        pages, chunks, at = [], [], 0
        for number, text in enumerate(passages):
            pages.append(Page(number, str(number + 1), text, text, at))
            chunks.append(Chunk("", path, 0, tuple(tags), number, str(number + 1), number, at, at + len(text), text))
            at += len(text) + 1
        store.put_file(record, pages, chunks)
    return store


def made_up(name: str, count: int, seed: int = 0) -> Store:
    """A store of `count` chunks with clustered random vectors of 64 numbers, a hundred in a file."""
    store = Store.create(name, CollectionSettings(name, fingerprint="made-up", dimension=64))
    vectors = directions(count, seed)
    for start in range(0, count, 100):
        texts = [f"passage {number}" for number in range(start, min(start + 100, count))]
        tag = ("even",) if start % 200 == 0 else ("odd",)
        filled(store, {f"file {start:06}.md": (tag, texts)}, vectors[start : start + 100])
    return store


def directions(count: int, seed: int = 0) -> Any:
    """Clustered random unit vectors, float32 of shape (count, 64)."""
    import numpy as np

    random = np.random.default_rng(seed)
    middles = np.random.default_rng(99).normal(size=(30, 64))
    made = middles[random.integers(0, 30, count)] + 0.8 * random.normal(size=(count, 64))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype("float32")


def tiny_cross_encoder(folder: Path) -> Path:
    """A random cross-encoder of one layer with MiniLM's vocabulary."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    from rag.embedders import embedder

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = BertConfig(
            hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, num_labels=1
        )
        BertForSequenceClassification(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(embedder().folder).save_pretrained(folder)
    return folder


class Scripted:
    """A responder that says what it is told to, in pieces, and keeps what it was asked."""

    def __init__(self, *words: str):
        self.words, self.asked = words, []  # type: tuple[str, ...], list[list[Message]]

    def reply(self, messages: Sequence[Message], sampling: Sampling, tools: Sequence[dict] = ()) -> Iterator[Any]:
        self.asked.append(list(messages))
        yield Begin("\n".join(message.content for message in messages))
        for number, word in enumerate(self.words):
            yield Piece(word, (number,), (0.0,))
        yield End("stop")
