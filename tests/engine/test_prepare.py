"""Figures over a dataset, and the steps that make a better one of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from engine import embed
from engine.data.prepare import (
    RESPONSE,
    Preparation,
    balancing_columns,
    custom_style,
    likely_style,
    prepared,
)
from engine.data.survey import shown_tokens, survey
from engine.data.tokens import tokenized
from engine.datasets import Dataset, Example
from engine.errors import Problem
from engine.messages import Message
from engine.prompts import style
from tests.engine.test_datasets import pair, pairs


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny)


def nothing_alike(texts: Any) -> Any:
    return np.eye(len(texts), dtype=np.float32)


def by_first_letter(texts: Any) -> Any:
    """Texts that begin alike are the same, others have nothing in common."""
    return np.array([[float(text[0] == letter) for letter in "abcdefgh"] for text in texts], dtype=np.float32)


def rows(dataset: Dataset) -> list[int]:
    return [example.row for example in dataset.examples]


def test_survey_counts_what_training_will_meet(tokenizer: Any):
    mixed = Dataset(
        "d", (*pairs(10).examples, pair("word " * 99, "x", 11), pair("p", "caf\ufffd", 12), pair("p", "caf\ufffd", 13))
    )
    found = survey(mixed, style("plain"), tokenizer, 60, "right")
    assert found.cut == found.masked == found.without_stop == (11,)
    assert found.odd == (12, 13) and found.repeated == (13,)
    assert [a + b for a, b in zip(found.prompts, found.meant, strict=True)] == list(found.lengths)
    assert "Row 11: longer than 60 tokens: the end is cut off." in found.warnings()
    assert any("Row 11: no token left that carries loss" in each for each in found.warnings())
    assert not found.problems(), "one row of thirteen stops nobody"


def test_left_cut_names_the_start(tokenizer: Any):
    found = survey(Dataset("d", (pair("word " * 99, "x", 1),)), style("plain"), tokenizer, 60, "left")
    assert found.warnings() == ["Row 1: longer than 60 tokens: the start is cut off."]


def test_dataset_that_is_masked_throughout_cannot_be_trained_on(tokenizer: Any):
    found = survey(pairs(20), style("plain"), tokenizer, 5, "right")
    assert found.problems() == ["Only 0 rows have a token that carries loss. Raise the limit or cut the other side."]


@pytest.mark.parametrize("text", ["caf\ufffd", "It’s fine â€™ or not", "a\x00b", "a\x08b", "cafÃ©"])
def test_odd_characters_are_found(tokenizer: Any, text: str):
    assert survey(Dataset("d", (pair("p", text, 1),)), style("plain"), tokenizer, 99, "left").odd == (1,)


@pytest.mark.parametrize("text", ["tab\tand\nline", "naïve café – “ok”", "日本語 🙂", "Ärger, Über"])
def test_other_languages_are_not_odd(tokenizer: Any, text: str):
    assert not survey(Dataset("d", (pair("p", text, 1),)), style("plain"), tokenizer, 99, "left").odd


def test_shown_tokens_write_the_text_again(tokenizer: Any):
    tokens = tokenized(pair("Hello the\ncat", "mat 🙂"), style("question-answer"), tokenizer, 99, "left")
    shown = shown_tokens(tokens, tokenizer)
    assert "".join(text for text, _ in shown).startswith("Q: Hello the\ncat\nA: mat ")
    assert "\ufffd" not in "".join(text for text, _ in shown) and shown[-1] == ("<|end|>", True)
    assert [loss for _, loss in shown] == [label != -100 for label in tokens.labels]


def test_rows_are_chosen_by_length():
    done, told = prepared(pairs(4), Preparation(shortest=3, longest=5), [2, 3, 5, 6], nothing_alike)
    assert rows(done) == [2, 3] and told == ["2 rows by length"]


def test_exact_repeats_go_and_the_first_stays():
    doubled = Dataset("d", (pair("a", "x", 1), pair("a", "x", 2), pair("a", "y", 3)))
    done, told = prepared(doubled, Preparation(exact=True), [1, 1, 1], nothing_alike)
    assert rows(done) == [1, 3] and told == ["1 exact repeats"]


def test_rows_that_say_the_same_go_and_the_first_stays():
    five = Dataset("d", tuple(pair(prompt, "x", n) for n, prompt in enumerate(["a1", "b1", "a2", "a3", "c1"], 1)))
    done, told = prepared(five, Preparation(similar=0.9), [1] * 5, by_first_letter)
    assert rows(done) == [1, 2, 5] and told == ["2 rows that say the same as an earlier one"]


def test_similarity_is_found_across_blocks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("engine.data.prepare.BLOCK", 2)
    letters = "abcabcdabc"
    many = Dataset("d", tuple(pair(letter, "x", n) for n, letter in enumerate(letters, 1)))
    done, _ = prepared(many, Preparation(similar=0.9), [1] * 10, by_first_letter)
    assert rows(done) == [1, 2, 3, 7]


def test_too_many_rows_to_compare_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("engine.data.prepare.MOST_COMPARED", 3)
    with pytest.raises(Problem, match="among 3 rows at most; here are 4"):
        prepared(pairs(4), Preparation(similar=0.9), [1] * 4, nothing_alike)


def test_balancing_draws_as_many_of_each_by_the_seed():
    kinds = Dataset("d", tuple(pair(f"p{n}", f"r{n}", n, kind="ab"[n % 4 == 0]) for n in range(20)))
    done, told = prepared(kinds, Preparation(balance="kind", seed=3), [1] * 20, nothing_alike)
    assert Counter(dict(e.fields)["kind"] for e in done.examples) == {"a": 5, "b": 5}
    assert rows(done) == sorted(rows(done)) and told == ["10 rows for balance"]
    again, _ = prepared(kinds, Preparation(balance="kind", seed=3), [1] * 20, nothing_alike)
    other, _ = prepared(kinds, Preparation(balance="kind", seed=4), [1] * 20, nothing_alike)
    assert rows(done) == rows(again) != rows(other)


def test_labels_can_be_balanced_and_columns_that_cannot_are_not_offered():
    labels = Dataset("d", tuple(pair(f"p{n}", "yn"[n > 6], n, id=str(n)) for n in range(10)))
    assert balancing_columns(labels) == [RESPONSE]
    done, _ = prepared(labels, Preparation(balance=RESPONSE), [1] * 10, nothing_alike)
    assert Counter(e.response for e in done.examples) == {"y": 3, "n": 3}
    for column, sentence in (("id", "too many to balance by"), ("nowhere", "one value only")):
        with pytest.raises(Problem, match=sentence):
            prepared(labels, Preparation(balance=column), [1] * 10, nothing_alike)


def test_steps_that_leave_no_row_are_refused():
    with pytest.raises(Problem, match="would leave no row"):
        prepared(pairs(3), Preparation(shortest=9), [1] * 3, nothing_alike)
    with pytest.raises(Problem) as caught:
        prepared(pairs(3), Preparation(shortest=9, longest=2, similar=2), [1] * 3, nothing_alike)
    assert "above the longest" in str(caught.value) and "between 0 (off) and 1" in str(caught.value)


@pytest.mark.parametrize(
    ("turn", "sentence"),
    [
        ("{prompt}", r"\{response\} exactly once"),
        ("{prompt}{prompt}{response}", r"\{prompt\} exactly once"),
        ("{response}{prompt}", "must stand before"),
    ],
)
def test_custom_style_that_cannot_work_is_refused(turn: str, sentence: str):
    with pytest.raises(Problem, match=sentence):
        custom_style(turn)


def test_style_is_chosen_by_the_columns():
    shaw = {"prompt": "Comment", "response": "Response"}
    assert likely_style(pairs(1), shaw) == "shawgpt" and likely_style(pairs(1), {"messages": "messages"}) == "chat"
    headed = Dataset("d", (pair("### Question:\nWhat?\n\n### Answer:", "x"),))
    assert likely_style(headed, {"prompt": "question", "response": "answer"}) == "plain"
    assert style(likely_style(pairs(1), {"prompt": "English", "response": "LaTeX"}))


def test_embedding_model_with_other_weights_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "modules.json").write_text("[]")
    (tmp_path / "model.safetensors").write_bytes(b"not what was published")
    monkeypatch.setattr(embed, "places", lambda: iter([tmp_path]))
    assert embed.folder() is None
    embed.model.cache_clear()
    with pytest.raises(Problem, match=r"not on this machine\. Install it with"):
        embed.embed(["a"])


@pytest.mark.skipif(embed.folder() is None, reason="the embedding model is not on this machine")
def test_rewordings_are_alike_and_other_topics_are_not():
    vectors = embed.embed(["Thanks, great video!", "Great video, thank you!", "How do I install numpy?"])
    assert vectors.shape == (3, 384) and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.85 > 0.4 > vectors[0] @ vectors[2]


def test_survey_tells_the_lengths_of_every_column_and_the_scripts(tokenizer: Any):
    def made(row: int, prompt: str, response: str, **fields: str) -> Example:
        return Example((Message("user", prompt), Message("assistant", response)), row, tuple(fields.items()))

    rows = (
        made(1, "The cat", "sat."),
        made(2, "Что это?", "Кот."),
        made(3, "你好吗", "好", topic="cats"),
        made(4, "1", "2"),
    )
    found = survey(Dataset("d", rows), style("plain"), tokenizer, 99, "left")
    assert list(found.columns) == ["prompt", "response", "topic"]
    assert all(len(lengths) == 4 for lengths in found.columns.values())
    assert found.columns["topic"][:2] == (0, 0) and found.columns["topic"][2] > 0 and found.columns["topic"][3] == 0
    count = len(tokenizer("The cat", add_special_tokens=False)["input_ids"])
    assert found.columns["prompt"][0] == count
    assert found.scripts == {"Latin": 1, "Cyrillic": 1, "CJK": 1}
