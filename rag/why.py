"""Why this passage, and why not that one: every part of a rank, and what stood before a page that was expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.errors import Problem
from rag.collection import Collection, Mode
from rag.retrieve import Retrieved, fused
from rag.types import Chunk, Hit

BEATEN_BY = 10  # passages that are named


@dataclass(frozen=True)
class Reasons:
    """A hit's way to its place: ranks count from 1, None where a way did not have it among its candidates."""

    cosine: float
    vector_rank: int | None
    keyword_rank: int | None
    matched: tuple[str, ...]
    fused_rank: int | None
    fused_score: float
    rerank: float | None
    final_rank: int

    @property
    def rerank_change(self) -> int | None:
        """How many places up the cross-encoder, or what was collapsed and cut off before it, brought the hit."""
        return self.fused_rank - self.final_rank if self.fused_rank else None


@dataclass(frozen=True)
class Standing:
    """Where the best chunk of a named page stands among all chunks, and what stands before it."""

    chunk: Chunk
    cosine: float
    vector_rank: int
    keyword_rank: int | None
    rank: int
    of: int
    matched: tuple[str, ...]
    below_cutoff: bool
    beaten_by: tuple[tuple[Chunk, float], ...]


def why(retrieved: Retrieved, hit: Hit) -> Reasons:
    """How a hit came to its place."""
    order = retrieved.fused
    place = order.index(hit.chunk.id) + 1 if hit.chunk.id in order else None
    return Reasons(
        hit.cosine, hit.vector_rank, hit.keyword_rank, hit.matched, place, hit.score, hit.rerank, hit.rank
    )  # fmt: skip


def standing(
    collection: Collection,
    question: str,
    file: str,
    page: int | None = None,
    mode: Mode = "both",
    cutoff: float | None = None,
) -> Standing:
    """Where a page (from 0; None is the whole file) stands for a question. Raises Problem where it has no chunk.

    Every chunk is ranked, by both ways, so that the rank is told however far down it is.
    """
    wanted = [c for c in collection.store.chunks_of(file) if page is None or c.page <= page <= c.last_page]
    if not wanted:
        where = f"page {page + 1} of {file}" if page is not None else file
        raise Problem(f"There is no passage of {where} in '{collection.name}'. It may be empty or not added.")
    vector = collection.vector_of(question)
    count = collection.store.count()
    near = collection.exact.search(vector, count)
    worded = dict(collection.by_words(question, count))
    ids = [one for one, _ in near]
    order = list(fused(ids if mode != "keyword" else [], list(worded) if mode != "vector" else []))
    order += [one for one in ids if mode == "keyword" and one not in worded]
    best = min(wanted, key=lambda chunk: order.index(chunk.id))
    cosines, rank = dict(near), order.index(best.id)
    limit = collection.calibration()[0].cutoff if cutoff is None else cutoff
    before = collection.store.chunks(order[: min(rank, BEATEN_BY)])
    return Standing(
        best,
        cosines[best.id],
        ids.index(best.id) + 1,
        rank_of(list(worded), best.id),
        rank + 1,
        count,
        worded.get(best.id, ()),
        cosines[best.id] < limit,
        tuple((chunk, cosines[chunk.id]) for chunk in before),
    )


def rank_of(order: Sequence[str], one: str) -> int | None:
    """The place in an order, from 1."""
    return order.index(one) + 1 if one in order else None
