"""Chunks fit the embedding model, know their place, and are cut where people would cut."""

from __future__ import annotations

import itertools

from rag.chunks import split
from rag.embedders import Embedder, embedder
from rag.types import PAGE_BREAK, Page
from tests.rag.papers import prose


def pages(*texts: str) -> list[Page]:
    found, start = [], 0
    for at, text in enumerate(texts):
        found.append(Page(at, str(at + 1), text, text, start))
        start += len(text) + len(PAGE_BREAK)
    return found


def checked(*texts: str, tokens: int = 64, overlap: int = 10, model: Embedder | None = None) -> list:
    """The chunks, of which each is a slice of the text and fits."""
    model = model or embedder()
    whole = PAGE_BREAK.join(texts)
    made = split(pages(*texts), model, tokens, overlap)
    for chunk in made:
        assert whole[chunk.start : chunk.end] == chunk.text == chunk.text.strip()
        assert model.count_tokens(chunk.text) + model.special_tokens <= min(tokens, model.max_tokens)
    return made


def test_no_chunk_is_longer_than_wanted_or_than_the_model_reads() -> None:
    assert len(checked(prose("tails", 60))) > 10
    assert len(checked(prose("tails", 60), tokens=5000)) > 1  # the model reads 256


def test_nothing_of_the_text_is_lost() -> None:
    text = prose("wavelets", 40)
    words = set(text.split())
    assert words == {word for chunk in checked(text) for word in chunk.text.split()}


def test_chunks_overlap_in_whole_sentences() -> None:
    made = checked(prose("LoRA", 40), tokens=80, overlap=25)
    assert any(second.start < first.end for first, second in itertools.pairwise(made))
    assert all(chunk.text.startswith("Sentence") for chunk in made)


def test_a_chunk_begins_at_a_heading() -> None:
    sections = [f"Heading {word}\n{prose(word, 6)}" for word in ("one", "two", "three")]
    made = checked("\n\n\n".join(sections), tokens=160)
    starts = [chunk.text.split("\n")[0] for chunk in made]
    assert {"Heading one", "Heading two", "Heading three"} <= set(starts)


def test_a_chunk_across_pages_names_both() -> None:
    made = checked("The end of a page that stops in the middle", "of a sentence. And a little more.")
    assert [(chunk.page, chunk.last_page, chunk.page_label) for chunk in made] == [(0, 1, "1")]


def test_an_empty_page_in_between_shifts_nothing() -> None:
    made = checked(prose("causality", 8), "", prose("overfitting", 8), tokens=128)
    assert {chunk.page for chunk in made} == {0, 2}


def test_text_without_blanks_is_cut_all_the_same() -> None:
    for text in ("x" * 5000, "分布の裾が重いとき、" * 100, "a1b2-" * 800):
        made = checked(text)
        assert made and sum(len(chunk.text) for chunk in made) >= len(text) * 0.95


def test_a_few_last_words_join_the_chunk_before() -> None:
    made = checked(f"{prose('tails', 3)}\n\nOne more.", tokens=128)
    assert len(made) == 1


def test_nothing_gives_no_chunks() -> None:
    assert checked("") == [] and checked(" \n ", "") == []
