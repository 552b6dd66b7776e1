"""What a collection holds on a question: by vectors, by words or both; reranked, cut off, duplicates collapsed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from engine.errors import Problem
from engine.messages import Message, encodable
from engine.respond import Responder
from rag import rerank as reranking
from rag.collection import MODES, Asked, Collection, How, Mode
from rag.cutoff import Distribution, distribution
from rag.duplicates import groups
from rag.followup import Standing, stand_alone
from rag.storing.filters import COMMON, Where
from rag.types import Chunk, Hit

__all__ = ["MODES", "Asked", "Collection", "How", "Mode", "Retrieved", "retrieve"]

LEAST, MOST = 1, 50  # hits that may be asked for
POOL = 50  # candidates of each way at least; four for every hit asked for where that is more
FUSION = 60  # the constant of reciprocal rank fusion: Cormack, Clarke, Büttcher 2009
SHOWN_BELOW = 10  # candidates under the cutoff that are told
LONGEST = 4000  # characters of a question


@dataclass(frozen=True)
class Retrieved:
    """What a search gave. `hits` lie above the cutoff, best first; `below` are the next ones that do not.

    `nearest` is the candidate with the highest cosine, wherever it lies. `fused` are all candidates by their fused
    rank. `milliseconds` tells what each part took.
    """

    question: str
    standing: Standing
    hits: tuple[Hit, ...]
    below: tuple[Hit, ...]
    nearest: Hit | None
    cutoff: float
    own_cutoff: float
    mode: Mode
    k: int
    distribution: Distribution
    fused: tuple[str, ...] = ()
    milliseconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def question_used(self) -> str:
        """The question that was searched for."""
        return self.standing.question


def retrieve(
    collection: Collection,
    question: str,
    k: int = 3,
    mode: Mode = "both",
    cutoff: float | None = None,
    where: Where | None = None,
    history: Sequence[Message] = (),
    rerank: str = "",
    responder: Responder | None = None,
) -> Retrieved:
    """Search a collection. `cutoff` is a cosine, None the collection's own; `responder` may rewrite a follow-up.

    Raises Problem for an empty question, a k outside 1 to 50, an unknown mode or filter, or the wrong embedder.
    """
    question = checked(question, k, mode)
    times: dict[str, float] = {}
    with timed(times, "rewrite"):
        standing = stand_alone(question, history, responder)
    with timed(times, "calibrate"):
        made, sample = collection.calibration()
    with timed(times, "embed"):
        vector = collection.vector_of(standing.question)
    ranked, nearest = candidates(collection, standing.question, mode, max(POOL, 4 * k), where, times)
    order = tuple(hit.chunk.id for hit in ranked)
    if rerank:
        with timed(times, "rerank"):
            ranked = reranking.reranked(rerank, standing.question, ranked)
    limit = made.cutoff if cutoff is None else cutoff
    letters = standing.question if cutoff is None and mode != "vector" else ""
    hits, below = parted(collapsed(ranked), limit, letters)
    hits = [replace(hit, rank=rank) for rank, hit in enumerate(hits[:k], 1)]
    return Retrieved(
        question=question,
        standing=standing,
        hits=tuple(hits),
        below=tuple(below[:SHOWN_BELOW]),
        nearest=nearest,
        cutoff=limit,
        own_cutoff=made.cutoff,
        mode=mode,
        k=k,
        distribution=distribution(made, limit, vector, sample, [hit.cosine for hit in hits]),
        fused=order,
        milliseconds=times,
    )


def candidates(
    collection: Collection, question: str, mode: Mode, pool: int, where: Where | None, times: dict[str, float]
) -> tuple[list[Hit], Hit | None]:
    """(candidates by their fused rank, the one with the highest cosine); each with both of its ranks."""
    vector = collection.vector_of(question)
    with timed(times, "vector"):
        near = [one for one, _ in collection.by_vector(vector, pool, where)]
    with timed(times, "keyword"):
        worded = dict(collection.by_words(question, pool, where))
    with timed(times, "fuse"):
        scores = fused(near if mode != "keyword" else [], list(worded) if mode != "vector" else [])
        ids = list(dict.fromkeys([*scores, *near[:1]]))
        cosines = collection.cosines(vector, ids)
        ranks = [{one: rank for rank, one in enumerate(each, 1)} for each in (near, worded)]
        found = []
        for chunk in collection.store.chunks(ids):
            one = chunk.id
            if one not in cosines:  # it was removed between the two readings
                continue
            score = cosines[one] if mode == "vector" else scores.get(one, 0.0)
            places = ranks[0].get(one), ranks[1].get(one)
            found.append(Hit(chunk, score, 0, *places, worded.get(one, ()), cosines[one]))
    ranked = [hit for hit in found if hit.chunk.id in scores]
    if mode == "vector":
        ranked.sort(key=lambda hit: (-hit.cosine, hit.chunk.number))
    return ranked, max(found, key=lambda hit: hit.cosine, default=None)


def checked(question: str, k: int, mode: str) -> str:
    """The question without outer blanks. Raises Problem with all that is wrong."""
    question = encodable(question).strip()
    wrong = []
    if not question:
        wrong.append("Write a question first; it is empty.")
    if len(question) > LONGEST:
        wrong.append(f"The question has {len(question):,} characters. Use at most {LONGEST:,}.")
    if not LEAST <= k <= MOST:
        wrong.append(f"Ask for {LEAST} to {MOST} passages; {k} were wished for.")
    if mode not in MODES:
        wrong.append(f"There is no way to search called '{mode}'. Choose one of: {', '.join(MODES)}.")
    if wrong:
        raise Problem(" ".join(wrong))
    return question


def fused(*rankings: Sequence[str]) -> dict[str, float]:
    """Reciprocal rank fusion: each id's sum of 1 / (60 + rank) over the rankings, best first; ties by first ranking."""
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, one in enumerate(ranking, 1):
            scores[one] = scores.get(one, 0.0) + 1 / (FUSION + rank)
    return dict(sorted(scores.items(), key=lambda pair: -pair[1]))


def collapsed(hits: Sequence[Hit]) -> list[Hit]:
    """The hits with each that says the same as a better one put into it."""
    by_chunk = {hit.chunk.id: hit for hit in hits}
    together: list[list[Chunk]] = groups(hit.chunk for hit in hits)
    return [replace(by_chunk[first.id], also=tuple(rest)) for first, *rest in together]


def parted(hits: Sequence[Hit], cutoff: float, question: str) -> tuple[list[Hit], list[Hit]]:
    """(hits that count, hits that lie below the cutoff), each in its order; see near_enough."""
    sides: tuple[list[Hit], list[Hit]] = ([], [])
    for hit in hits:
        sides[not near_enough(hit, cutoff, question)].append(hit)
    return sides


def near_enough(hit: Hit, cutoff: float, question: str) -> bool:
    """Whether a hit counts: its cosine reaches the cutoff, or it holds every telling word of a question in few words.

    The second is for codes and names that an embedding does not know; with an empty `question` it does not apply.
    """
    if hit.cosine >= cutoff:
        return True
    wanted = {word for word in reranking.WORD.findall(question.casefold()) if word not in COMMON.split()}
    return 0 < len(wanted) <= 3 and wanted <= set(hit.matched)


@contextmanager
def timed(times: dict[str, float], what: str) -> Iterator[None]:
    """Note how many milliseconds the block takes."""
    began = time.perf_counter()
    yield
    times[what] = 1000 * (time.perf_counter() - began)
