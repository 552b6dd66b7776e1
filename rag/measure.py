"""How well a collection is searched: hit@k, MRR and nDCG over questions with labels, with bootstrap intervals.

A question for which nothing is found counts as zero. The ideal of nDCG (Järvelin and Kekäläinen 2002) is made from the
labels: from all chunks of the collection that are right, whether found or not.
"""

from __future__ import annotations

import math
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.teaching.turns import Stopped
from rag.collection import MODES, Collection, Mode
from rag.questions import Question
from rag.retrieve import retrieve
from rag.store import Store
from rag.storing.schema import FILE
from rag.types import Chunk

RESAMPLES = 2000
LEVEL = 0.95
SCORES = ("hit", "mrr", "ndcg")


@dataclass(frozen=True)
class Interval:
    """A mean with a percentile bootstrap interval at LEVEL."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Outcome:
    """One question: its scores at k in [0, 1], the rank of the first right chunk, milliseconds, and what was found."""

    question: Question
    hit: float
    mrr: float
    ndcg: float
    rank: int | None
    milliseconds: float
    found: tuple[Chunk, ...] = ()


@dataclass(frozen=True)
class Measured:
    """One way to search, over all questions."""

    mode: Mode
    k: int
    outcomes: tuple[Outcome, ...]
    chunk_tokens: int = 0
    overlap: int = 0

    def score(self, name: str) -> Interval:
        """The mean of "hit", "mrr" or "ndcg" with its interval."""
        return interval([getattr(outcome, name) for outcome in self.outcomes])

    @property
    def milliseconds(self) -> tuple[float, float]:
        """Median and 95th percentile of a search, in milliseconds."""
        times = [outcome.milliseconds for outcome in self.outcomes]
        return percentile(times, 0.5), percentile(times, 0.95)

    def row(self) -> dict[str, object]:
        """The figures as plain data."""
        scores = {name: [round(x, 4) for x in (i.mean, i.low, i.high)] for name in SCORES for i in (self.score(name),)}
        p50, p95 = self.milliseconds
        return {
            "mode": self.mode, "k": self.k, "chunk_tokens": self.chunk_tokens, "overlap": self.overlap,
            "questions": len(self.outcomes), **scores, "p50_ms": round(p50, 1), "p95_ms": round(p95, 1),
        }  # fmt: skip


def measure(
    collection: Collection, questions: Sequence[Question], mode: Mode = "both", k: int = 5, rerank: str = ""
) -> Measured:
    """Ask every question, without a cutoff. Raises Problem."""
    chunks = collection.store.chunks()
    settings = collection.store.settings
    return Measured(
        mode,
        k,
        tuple(outcomes(collection, questions, chunks, mode, k, rerank)),
        settings.chunk_tokens,
        settings.overlap,
    )


def outcomes(
    collection: Collection, questions: Sequence[Question], chunks: Sequence[Chunk], mode: Mode, k: int, rerank: str
) -> Iterable[Outcome]:
    """The outcome of one question after the other."""
    for asked in questions:
        began = time.perf_counter()
        found = retrieve(collection, asked.question, k, mode, cutoff=-1, rerank=rerank)
        passed = 1000 * (time.perf_counter() - began) - found.milliseconds["calibrate"]
        yield judged(asked, [hit.chunk for hit in found.hits], chunks, k, passed)


def judged(
    asked: Question, found: Sequence[Chunk], chunks: Iterable[Chunk], k: int, milliseconds: float = 0
) -> Outcome:
    """What a ranking is worth for a question; `chunks` is everything that could have been found.

    A question with several keywords gets the mean over them, each looked for by itself.
    """
    facets = asked.facets()
    everything = list(chunks)
    firsts, gains = [], []
    for facet in facets:
        right = [facet(chunk) for chunk in found[:k]]
        firsts.append(right.index(True) + 1 if True in right else None)
        gains.append(ndcg(right, sum(map(facet, everything)), k))
    ranks = [rank for rank in firsts if rank]
    return Outcome(
        asked,
        len(ranks) / len(facets),
        sum(1 / rank for rank in ranks) / len(facets),
        sum(gains) / len(facets),
        min(ranks, default=None),
        milliseconds,
        tuple(found[:k]),
    )


def ndcg(right: Sequence[bool], ideal: int, k: int) -> float:
    """Discounted gain of a ranking over the best there could be, with `ideal` right chunks in all; 0 without any."""
    best = sum(1 / math.log2(rank + 1) for rank in range(1, min(ideal, k) + 1))
    return sum(1 / math.log2(rank + 1) for rank, good in enumerate(right, 1) if good) / best if best else 0.0


def interval(values: Sequence[float], seed: int = 0) -> Interval:
    """The mean and its percentile bootstrap interval: Efron 1979, RESAMPLES resamples of the questions."""
    import numpy as np

    if not values:
        return Interval(0.0, 0.0, 0.0)
    drawn = np.random.default_rng(seed).choice(np.asarray(values, dtype=float), (RESAMPLES, len(values)))
    low, high = np.quantile(drawn.mean(axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(np.mean(values)), float(low), float(high))


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """The mean difference over the same questions, with its interval; it is outside of chance where 0 is not in it."""
    return interval([a - b for a, b in zip(ours, theirs, strict=True)])


@contextmanager
def at_size(
    store: Store, chunk_tokens: int, overlap: int | None = None, stop: Callable[[], bool] = lambda: False
) -> Iterator[Collection]:
    """A copy of a collection, cut and embedded anew at another chunk size, in a folder that goes afterwards.

    `stop` is asked between batches. Raises Stopped once it says yes, Problem for a size that makes no sense.
    """
    from rag.rebuilding import rebuild

    with tempfile.TemporaryDirectory(prefix="diptych-measure-") as folder:
        with (
            closing(sqlite3.connect(store.folder / FILE)) as here,
            closing(sqlite3.connect(Path(folder) / FILE)) as copy,
        ):
            here.backup(copy)
        with Store(Path(folder)) as made:
            apart = made.settings.overlap * chunk_tokens // made.settings.chunk_tokens if overlap is None else overlap
            if not rebuild(made, chunk_tokens=chunk_tokens, overlap=apart, stop=stop):
                raise Stopped
            yield Collection(made)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which a share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def table(
    collections: Iterable[Collection],
    questions: Sequence[Question],
    modes: Sequence[Mode] = MODES,
    ks: Sequence[int] = (3, 5, 10),
    tell: Callable[[Measured], None] = lambda row: None,
) -> list[Measured]:
    """Every collection (one for each chunk size) in every mode at every k; a ranking at the largest k serves all."""
    rows = []
    for collection in collections:
        chunks, settings = collection.store.chunks(), collection.store.settings
        for mode in modes:
            largest = list(outcomes(collection, questions, chunks, mode, max(ks), ""))
            for k in ks:
                at_k = tuple(judged(o.question, o.found, chunks, k, o.milliseconds) for o in largest)
                rows.append(Measured(mode, k, at_k, settings.chunk_tokens, settings.overlap))
                tell(rows[-1])
    return rows
