"""Pairs that a model makes of a text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from engine.data import pairs as making
from engine.data.columns import dataset_from
from engine.data.pairs import (
    Pair,
    Section,
    make_pairs,
    parsed,
    passages,
    request,
    sections,
    spread,
    table_of,
    written_by,
)
from engine.data.plain_pairs import plain_pairs
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
    read = sections("passage 1\n\npassage 2\n\npassage 3")
    steps = list(make_pairs(read, written_by(model, Sampling()), 2))
    counts = [(step.done, step.of, len(step.pairs), step.empty, step.dropped) for step in steps]
    assert counts == [(1, 3, 1, 0, 0), (2, 3, 1, 1, 0), (3, 3, 2, 1, 1)]
    assert model.closed == 3


def test_pairs_know_their_file_and_page_and_drop_what_is_empty_or_asked_before():
    answers = iter(
        ["Q: What is it?\nA: A cat.\nQ: Why?\nA:", "Q: what  is it\nA: A dog.\nQ:\nA: Lost.\nQ: Who?\nA: Me."]
    )
    read = [*sections("One.", "a.pdf", "iv"), *sections("Two.", "b.md", "1")]
    *_, last = make_pairs(read, lambda passage, count: next(answers), 3)
    assert last.pairs == (Pair("What is it?", "A cat.", "a.pdf", "iv"), Pair("Who?", "Me.", "b.md", "1"))
    assert (last.dropped, last.empty) == (3, 0)
    table = table_of(last.pairs, "made")
    assert table.columns == ("question", "answer", "file", "page")
    dataset = dataset_from(table)
    assert dataset.examples[0].prompt == "What is it?" and dataset.examples[0].fields == (
        ("file", "a.pdf"),
        ("page", "iv"),
    )


def test_too_many_passages_are_thinned_evenly_in_their_order():
    many = [Section(str(n)) for n in range(100)]
    assert [int(each.text) for each in spread(many, 4)] == [0, 25, 50, 75]
    assert spread(many, 100) == many and len(spread(many, 99)) == len(set(spread(many, 99))) == 99


def test_plain_rule_asks_what_sentences_and_headings_answer():
    text = (
        "# Kept words\n\nA token is a piece of a word. It is short. The loss means the distance to the data. "
        "Two rows are alike, and two are enough. Paris is a city of France.\n\n- is no list an answer."
    )
    asked = [pair.question for pair in parsed(plain_pairs(text, 20))]
    assert asked == [
        "What does the text say about Kept words?",
        "What is a token?",
        "What does the loss mean?",
        "What are two rows?",
        "What is Paris?",
    ]
    assert parsed(plain_pairs(text, 2))[1] == Pair("What is a token?", "A token is a piece of a word.")
    assert plain_pairs("Nothing here says so.", 5) == "" and plain_pairs("It was raining all day long.", 5) == ""
    assert "How is closeness measured?" in plain_pairs("So closeness counts. Closeness is measured by the cosine.", 5)


def test_stopping_ends_the_work(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(making, "LONGEST_PASSAGE", 10)
    model = Scripted("Q: a?\nA: b.", "never asked")
    steps = make_pairs(sections("passage 1\n\npassage 2"), written_by(model, Sampling()), 2)
    next(steps)
    steps.close()
    assert len(model.asked) == model.closed == 1


@pytest.mark.parametrize(("text", "count"), [("", 3), ("text", 0), ("text", 21)])
def test_impossible_requests_are_refused(text: str, count: int):
    with pytest.raises(Problem):
        list(make_pairs(sections(text), written_by(Scripted(), Sampling()), count))


def test_pairs_become_a_dataset():
    dataset = dataset_from(table_of([Pair("What?", "This."), Pair("", "left")], "made"))
    assert dataset.examples[0].response == "This." and dataset.faults[0].why == "its prompt is empty"
