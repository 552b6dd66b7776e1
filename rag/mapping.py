"""All chunks of a collection as points: PCA or t-SNE in two or three dimensions, clusters, duplicates, outliers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from engine.errors import Problem
from rag.collection import Collection
from rag.duplicates import same, words
from rag.storing.filters import COMMON
from rag.types import Chunk

if TYPE_CHECKING:
    import numpy as np

Way = Literal["pca", "tsne"]
MOST = 4000  # chunks on one map; of more, a sample by even steps is drawn
TSNE_FROM = 50  # dimensions that PCA leaves before t-SNE, as its authors advise (van der Maaten and Hinton 2008)
PERPLEXITY = 30.0  # lowered on small collections: it must lie below the number of points
CLUSTERS = (2, 12)  # fewest and most
NEIGHBOURS = 5  # whose mean cosine tells how alone a chunk is
ALIKE = 0.9  # the cosine from which two chunks are held against each other word by word
LISTED = 20  # pairs and outliers that are told
SEED = 0


@dataclass(frozen=True)
class Point:
    """One chunk on the map; `z` is 0 in two dimensions. `cluster` counts from 0."""

    chunk: Chunk
    x: float
    y: float
    z: float
    cluster: int


@dataclass(frozen=True)
class ChunkMap:
    """The map. `question` is where the question lies, if one was drawn in; `clusters` are named by telling words.

    `duplicates` are pairs that say the same, with their cosine; `outliers` are chunks far from all others, with the
    mean cosine to their nearest NEIGHBOURS. `total` counts all chunks, `points` may be a sample of them.
    """

    points: tuple[Point, ...]
    clusters: tuple[str, ...]
    duplicates: tuple[tuple[Chunk, Chunk, float], ...]
    outliers: tuple[tuple[Chunk, float], ...]
    total: int
    question: tuple[float, float, float] | None = None
    way: Way = "pca"


def chunk_map(
    collection: Collection, way: Way = "pca", dimensions: int = 2, question: str = "", clusters: int | None = None
) -> ChunkMap:
    """The map of a collection. With t-SNE the question takes part in the layout, which has no formula to add it later.

    Raises Problem where there are fewer than three chunks.
    """
    import numpy as np

    if way not in ("pca", "tsne") or dimensions not in (2, 3):
        raise Problem("A map is drawn by 'pca' or 'tsne', in 2 or 3 dimensions.")
    ids = collection.store.matching(None)
    step = math.ceil(len(ids) / MOST) if ids else 1
    found, vectors = collection.store.vectors(ids[::step])
    if len(found) < 3:
        raise Problem(f"'{collection.name}' has {len(found)} passages. A map needs three; add more documents.")
    chunks = collection.store.chunks(found)
    asked = collection.vector_of(question.strip())[None] if question.strip() else np.zeros((0, vectors.shape[1]))
    places = laid_out(vectors, asked, way, dimensions)
    groups = clustered(vectors, clusters)
    near, means = neighbours(vectors)
    points = tuple(
        Point(chunk, float(x), float(y), float(z), int(group))
        for chunk, (x, y, z), group in zip(chunks, places, groups, strict=False)
    )
    alone = [(chunks[row], float(means[row])) for row in np.argsort(means)[:LISTED] if is_outlier(means, int(row))]
    star = tuple(float(value) for value in places[-1]) if len(asked) else None
    return ChunkMap(
        points, names(chunks, groups), duplicates(chunks, near), tuple(alone), len(ids), star, way  # type: ignore[arg-type]
    )  # fmt: skip


def laid_out(vectors: np.ndarray, asked: np.ndarray, way: Way, dimensions: int) -> np.ndarray:
    """Coordinates (points, 3) of the chunks, and of the question behind them; the third is 0 in two dimensions."""
    import numpy as np
    from sklearn.decomposition import PCA

    everything = np.vstack([vectors, asked])
    rank = min(dimensions, *vectors.shape)
    if way == "pca" or len(everything) < 5:
        made = PCA(rank, random_state=SEED).fit(vectors).transform(everything)
    else:
        from sklearn.manifold import TSNE

        first = PCA(min(TSNE_FROM, *everything.shape), random_state=SEED).fit_transform(everything)
        perplexity = min(PERPLEXITY, max(2.0, (len(everything) - 1) / 3))
        made = TSNE(dimensions, perplexity=perplexity, init="pca", random_state=SEED).fit_transform(first)
    return np.hstack([made, np.zeros((len(made), 3 - made.shape[1]))])


def clustered(vectors: np.ndarray, count: int | None = None) -> np.ndarray:
    """A cluster for each chunk, by k-means on unit vectors, numbered by size from 0."""
    import numpy as np
    from sklearn.cluster import KMeans

    low, high = CLUSTERS
    wanted = count or min(max(low, round(math.sqrt(len(vectors) / 2))), high)
    found = KMeans(min(wanted, len(vectors)), n_init=3, random_state=SEED).fit_predict(vectors)
    order = [group for group, _ in Counter(found.tolist()).most_common()]
    return np.array([order.index(group) for group in found.tolist()])


def neighbours(vectors: np.ndarray) -> tuple[list[tuple[int, int, float]], np.ndarray]:
    """(pairs of rows with a cosine of ALIKE and more, each row's mean cosine to its nearest NEIGHBOURS)."""
    import numpy as np

    pairs, means = [], np.zeros(len(vectors))
    few = min(NEIGHBOURS, len(vectors) - 1)
    for start in range(0, len(vectors), 500):
        cosines = vectors[start : start + 500] @ vectors.T
        rows = np.arange(len(cosines))
        cosines[rows, rows + start] = -2
        means[start : start + 500] = np.sort(np.partition(cosines, -few, axis=1)[:, -few:], axis=1).mean(axis=1)
        pairs += [
            (int(a) + start, int(b), float(cosines[a, b]))
            for a, b in np.argwhere(cosines >= ALIKE)
            if int(b) > int(a) + start
        ]
    return sorted(pairs, key=lambda pair: -pair[2]), means


def duplicates(
    chunks: Sequence[Chunk], pairs: Sequence[tuple[int, int, float]]
) -> tuple[tuple[Chunk, Chunk, float], ...]:
    """The pairs that say the same, word by word."""
    found = []
    for a, b, cosine in pairs:
        if same(words(chunks[a].text), words(chunks[b].text)):
            found.append((chunks[a], chunks[b], cosine))
        if len(found) == LISTED:
            break
    return tuple(found)


def is_outlier(means: np.ndarray, row: int) -> bool:
    """Whether a chunk is further from its neighbours than the lower fence of Tukey's box plot."""
    import numpy as np

    low, high = np.quantile(means, [0.25, 0.75])
    return bool(means[row] < low - 1.5 * (high - low))


def names(chunks: Sequence[Chunk], groups: Sequence[int]) -> tuple[str, ...]:
    """For each cluster the three words that set it apart: frequent in it, rare in the others."""
    from rag.rerank import WORD

    by_group: dict[int, Counter[str]] = {}
    for chunk, group in zip(chunks, groups, strict=True):
        found = {word for word in WORD.findall(chunk.text.lower()) if len(word) > 3 and word not in COMMON.split()}
        by_group.setdefault(int(group), Counter()).update(found)
    everywhere = sum(by_group.values(), Counter())
    told = []
    for group in sorted(by_group):
        mine = by_group[group]
        worth = {word: n * math.log((1 + len(chunks)) / everywhere[word]) for word, n in mine.items()}
        told.append(", ".join(sorted(worth, key=lambda word: (-worth[word], word))[:3]))
    return tuple(told)
