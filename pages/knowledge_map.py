"""The map of a collection: every passage a dot, the last question and its hits drawn in, what stands apart listed."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import gradio as gr

from engine.errors import Problem
from pages.knowledge_open import collection_of, passage_html
from pages.knowledge_plots import Dot, Star, scatter
from pages.knowledge_study import Study
from pages.parts import asks, visitor
from rag.mapping import ChunkMap, Point, chunk_map
from rag.types import Chunk

MOST_DOTS = 1500  # in the browser, which draws each as a shape of its own
WAYS = ("tsne", "pca")
COLOURS = {"file": "file", "tag": "tag", "cluster": "cluster"}


@asks("ask documents")
def draw(request: gr.Request, study: Study, way: str, colour: str, deep: bool) -> list[Any]:
    """The map as a picture, and its near-duplicates and outliers as lists."""
    if way not in WAYS or colour not in COLOURS:
        raise Problem("Choose how to draw the map and what its colours stand for.")
    collection = collection_of(study, visitor(request))
    search = study.asked
    question = search.question if search else ""
    found = chunk_map(collection, "tsne" if way == "tsne" else "pca", 3 if deep else 2, question)
    ranks = {hit.chunk.id: hit.rank for hit in search.retrieved.hits} if search else {}
    dots = [dot(point, found, colour, ranks.get(point.chunk.id)) for point in kept(found.points, ranks)]
    star = Star(*found.question, question) if found.question else None
    some = ""
    if len(dots) < found.total:
        some = f'<p class="hint">{len(dots):,} of {found.total:,} passages are drawn, by even steps.</p>'
    return [some + scatter(dots, star, COLOURS[colour], deep), lists(found)]


def kept(points: tuple[Point, ...], ranks: dict[str, int]) -> list[Point]:
    """At most MOST_DOTS points by even steps, and every hit."""
    step = math.ceil(len(points) / MOST_DOTS)
    return [point for at, point in enumerate(points) if at % step == 0 or point.chunk.id in ranks]


def dot(point: Point, found: ChunkMap, colour: str, rank: int | None) -> Dot:
    """A point as it is drawn."""
    chunk = point.chunk
    group = {
        "file": chunk.file,
        "tag": chunk.tags[0] if chunk.tags else "no tag",
        "cluster": found.clusters[point.cluster],
    }[colour]
    return Dot(chunk.id, point.x, point.y, point.z, group, f"{chunk.file}, {chunk.pages}", chunk.text, rank)


def lists(found: ChunkMap) -> str:
    """Passages that say the same, and passages far from all others: hints for cleaning."""
    pairs = "".join(
        f"<li>{place(a)} and {place(b)} <small>{cosine:.3f}</small></li>" for a, b, cosine in found.duplicates
    )
    alone = "".join(f"<li>{place(chunk)} <small>{mean:.3f}</small></li>" for chunk, mean in found.outliers)
    return (
        f'<h4 class="group">Say the same, with their cosine</h4>{listed(pairs)}'
        f'<h4 class="group">Far from all others, with the mean cosine to their neighbours</h4>{listed(alone)}'
    )


def listed(items: str) -> str:
    """A list, or that there is nothing in it."""
    return f'<ul class="apart">{items}</ul>' if items else '<p class="quiet">None.</p>'


def place(chunk: Chunk) -> str:
    """Where a passage stands, as a button that opens it."""
    words = f"{escape(chunk.file)}, {escape(chunk.pages)}"
    return f'<button type="button" class="go" data-chunk="{escape(chunk.id)}">{words}</button>'


@asks("ask documents")
def open_dot(request: gr.Request, study: Study, event: gr.EventData) -> str:
    """The page of the passage that was clicked."""
    where: dict[str, Any] = event._data if isinstance(event._data, dict) else {}
    store = collection_of(study, visitor(request)).store
    chunk = store.chunk(str(where.get("chunk", "")))
    if chunk is None:
        raise Problem("That passage has left the collection since. Draw the map again.")
    return passage_html(store, chunk)
