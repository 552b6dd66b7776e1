"""Pairs that a model makes of a text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from engine.data import pairs as making
from engine.data.columns import dataset_from
from engine.data.pairs import Pair, make_pairs, parsed, passages, request, table_of
from engine.errors import Problem
from engine.messages import Begin, End, Message, Piece, Sampling


class Scripted:
    """Answers by turn; `closed` counts the answers that were ended or stopped."""

    def __init__(self, *answers: str):
        self.answers, self.asked, self.closed = list(answers), [], 0

    def reply(self, messages: Sequence[Message], sampling: Sampling, tools: Sequence[dict] = ()) -> Iterator:
        self.asked.append(messages)
        try:
            yield Begin("")
            yield Piece(self.answers[len(self.asked) - 1])
            yield End("stop")
        finally:
            self.closed += 1


@pytest.mark.parametrize(
    "text",
    [
        "Q: What?\nA: This.",
        "Here you go:\n\n1. **Q:** What?\n   **A:** This.",
        "Question 1: What?\nAnswer 1: This.",
        "q: What?\na: This.\n\nQ: unanswered",
        "- Q. What?\n- A. This.",
        "A: stray\nQ: What?\n\nA: This.",
    ],
)
def test_pairs_are_found_however_they_are_written(text: str):
    assert parsed(text) == [Pair("What?", "This.")]


def test_answers_of_several_lines_stay_whole():
    assert parsed("Q: What?\nA: One.\nTwo.\nQ: Why?\nA: So.") == [Pair("What?", "One.\nTwo."), Pair("Why?", "So.")]
    assert parsed("I cannot do that.") == parsed("") == []


def test_text_is_cut_into_passages_between_paragraphs_and_words():
    found = passages("one\ntwo\n\n\nthree\n\n" + "word " * 1000)
    assert found[0] == "one two\n\nthree" and all(len(each) <= making.LONGEST_PASSAGE for each in found)
    assert " ".join(" ".join(found).split()) == "one two three " + ("word " * 1000).strip()
    assert len(passages("x" * 4000)) == 3 and passages(" \n\n ") == []


def test_request_holds_the_passage_and_the_count():
    system, asked = request("The cat {count} sat.", 4)
    assert "write 4 questions" in asked.content and asked.content.endswith("Passage:\nThe cat {count} sat.")
    assert system.role == "system"


def test_progress_tells_pairs_and_passages_without_any(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(making, "LONGEST_PASSAGE", 10)
    model = Scripted("Q: a?\nA: b.", "nothing", "Q: a?\nA: b.\nQ: c?\nA: d.")
    steps = list(make_pairs("passage 1\n\npassage 2\n\npassage 3", model, 2, Sampling()))
    counts = [(step.done, step.of, len(step.pairs), step.empty) for step in steps]
    assert counts == [(1, 3, 1, 0), (2, 3, 1, 1), (3, 3, 2, 1)]
    assert model.closed == 3


def test_stopping_ends_the_work(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(making, "LONGEST_PASSAGE", 10)
    model = Scripted("Q: a?\nA: b.", "never asked")
    steps = make_pairs("passage 1\n\npassage 2", model, 2, Sampling())
    next(steps)
    steps.close()
    assert len(model.asked) == model.closed == 1


@pytest.mark.parametrize(("text", "count"), [("", 3), ("text", 0), ("text", 21)])
def test_impossible_requests_are_refused(text: str, count: int):
    with pytest.raises(Problem):
        list(make_pairs(text, Scripted(), count, Sampling()))


def test_pairs_become_a_dataset():
    dataset = dataset_from(table_of([Pair("What?", "This."), Pair("", "left")], "made"))
    assert dataset.examples[0].response == "This." and dataset.faults[0].why == "its prompt is empty"
