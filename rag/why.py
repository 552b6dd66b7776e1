"""Why this passage, and why not that one: every part of a rank, and what stood before a page that was expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.errors import Problem
from rag.collection import Collection, Mode
from rag.rerank import reranked
from rag.retrieve import POOL, Retrieved, candidates, fused
from rag.storing.filters import Where
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
    where: Where | None = None,
    rerank: str = "",
    k: int = 3,
) -> Standing:
    """Where a page (from 0; None is the whole file) stands for a question. Raises Problem where it has no chunk.

    Every chunk that the filter leaves is ranked, so that the rank is told however far down it is: first the candidates
    as `retrieve` orders them with the same arguments, then the others.
    """
    vector, count = collection.vector_of(question), collection.store.count()
    near = collection.exact.search(vector, count, where)
    worded = dict(collection.by_words(question, count, where))
    ids = [one for one, _ in near]
    wanted = chunks_on(collection, file, page, set(ids), where)
    ranked, _ = candidates(collection, question, mode, max(POOL, 4 * k), where, {})
    if rerank:
        ranked = reranked(rerank, question, ranked)
    rest = fused(ids if mode != "keyword" else [], list(worded) if mode != "vector" else [])
    order = list(dict.fromkeys([*(hit.chunk.id for hit in ranked), *rest, *ids]))
    places = {one: place for place, one in enumerate(order)}
    best = min(wanted, key=lambda chunk: places[chunk.id])
    cosines, rank = dict(near), places[best.id]
    limit = collection.calibration()[0].cutoff if cutoff is None else cutoff
    before = collection.store.chunks(order[: min(rank, BEATEN_BY)])
    return Standing(
        best,
        cosines[best.id],
        ids.index(best.id) + 1,
        rank_of(list(worded), best.id),
        rank + 1,
        len(ids),
        worded.get(best.id, ()),
        cosines[best.id] < limit,
        tuple((chunk, cosines[chunk.id]) for chunk in before),
    )


def chunks_on(collection: Collection, file: str, page: int | None, left: set[str], where: Where | None) -> list[Chunk]:
    """The chunks of a page, of those that the filter leaves. Raises Problem where there is none."""
    wanted = [c for c in collection.store.chunks_of(file) if page is None or c.page <= page <= c.last_page]
    place = f"page {page + 1} of {file}" if page is not None else file
    if not wanted:
        raise Problem(f"There is no passage of {place} in '{collection.name}'. It may be empty or not added.")
    found = [chunk for chunk in wanted if chunk.id in left]
    if not found:
        raise Problem(f"The search left {place} out: it was for {wished(where)} alone. Ask again without that filter.")
    return found


def wished(where: Where | None) -> str:
    """The values of a filter, as words with commas."""
    values = (where or {}).values()
    return ", ".join(one for value in values for one in ([value] if isinstance(value, str) else value))


def rank_of(order: Sequence[str], one: str) -> int | None:
    """The place in an order, from 1."""
    return order.index(one) + 1 if one in order else None
