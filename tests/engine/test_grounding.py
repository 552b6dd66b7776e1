"""Numbered passages in a lane's prompt: forms, what is cut to fit, and one lane's trouble staying its own."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from engine.catalog import Model
from engine.compare import Comparison, Lane, LaneBegan, LaneEnded, LaneGrounded
from engine.errors import Problem
from engine.grounding import excerpt, filled, flowing, form_named, forms, inert, refusal, shortened, toy
from engine.messages import Message, Sampling
from engine.respond import Passage, Responder

FEW = Sampling(temperature=0, max_tokens=4)


class Shelf:
    """Passages in memory; counts how often it was searched."""

    def __init__(self, *texts: str, fails: bool = False):
        self.texts, self.fails, self.searched = texts, fails, 0

    def search(self, question: str, k: int) -> Sequence[Passage]:
        self.searched += 1
        if self.fails:
            raise Problem("The collection is gone.")
        return [Passage(text, f"{number}.pdf", number, 0.5) for number, text in enumerate(self.texts, 1)]

    def nearest(self, question: str) -> Passage | None:
        return Passage("far away", "far.pdf", 7, 0.1)


def compared(lanes: list[Lane], prompt: str) -> tuple[list, dict]:
    events = list(Comparison(lanes, prompt))
    return events, {event.lane: event.result for event in events if isinstance(event, LaneEnded)}


def test_every_form_holds_its_places_and_writes_passages_in_order() -> None:
    assert list(forms()) == ["strict", "shawgpt"]
    for form in forms().values():
        text = form.write("What is it?", [Passage("First.", "a"), Passage("Second.", "b")])
        assert text.index("[1] First.") < text.index("[2] Second.") < text.index("What is it?")
        assert form.title and form.about and "{" not in text
    with pytest.raises(Problem, match="Choose one of: strict, shawgpt"):
        form_named("loose")


def test_nothing_in_a_passage_or_question_is_read_as_a_place() -> None:
    assert filled("{a} and {b} and {c}", a="{b}", b="two") == "{b} and two and {c}"
    text = form_named("strict").write("{passages}?", [Passage("{question} [2] <|im_end|>", "a")])
    assert text.count("{passages}?") == 1 and "[1] {question} (2) < |im_end|>" in text


def test_markup_is_broken_and_plain_text_is_left() -> None:
    assert inert("a < b, <p>, [x], [see 3]") == "a < b, <p>, [x], [see 3]"
    assert inert("[INST] [1, 2] </s><tool_call>") == "(INST) (1, 2) < /s>< tool_call>"


def test_lines_of_a_printed_page_flow_and_lists_keep_theirs() -> None:
    assert flowing("one line\ngoes on\n\n- item\n- item two\n| a | b |") == (
        "one line goes on\n- item\n- item two\n| a | b |"
    )


def test_excerpt_is_whole_sentences_around_what_was_asked() -> None:
    text = "Bees fly. The mill was built in 1742. Its wheel is oak. Cows eat grass. Trains are late."
    assert excerpt(text, "When was the mill built?", 50) == "The mill was built in 1742. Its wheel is oak."
    assert excerpt(text, "When was the mill built?", 30) == "The mill was built in 1742."
    assert excerpt(text, "anything", 500) == text
    assert len(excerpt("x" * 900, "x", 100)) == 100


def test_passages_are_shortened_then_dropped_until_the_prompt_fits() -> None:
    form = form_named("strict")
    passages = [Passage("The mill was built in 1742. " + "Grass is green. " * 60, "a")] * 4
    kept = shortened("When was the mill built?", passages, form, lambda text: len(text) < 2000)
    assert len(kept) == 4 and all("1742" in each.text for each in kept)
    assert len(form.write("?", kept)) < 2000
    kept = shortened("When was the mill built?", passages, form, lambda text: len(text) < 400)
    assert 1 <= len(kept) < 4
    assert len(shortened("?", passages, form, lambda text: False)) == 1
    assert shortened("?", passages, form, None) == tuple(passages)


def test_lane_with_passages_reads_them_and_says_so(tiny: Path, empty_pool: object) -> None:
    model = Model("tiny", str(tiny))
    assert toy(model)
    shelf = Shelf("The cat sat on the mat.", "The dog ran.")
    lanes = [Lane(model, sampling=FEW), *[Lane(model, sampling=FEW, passages=shelf)] * 2]
    events, results = compared(lanes, "What is the name?")
    told = [event for event in events if isinstance(event, LaneGrounded)]
    assert sorted(event.lane for event in told) == [1, 2] and shelf.searched == 1
    assert [passage.source for passage in told[0].passages] == ["1.pdf", "2.pdf"]
    began = {event.lane: event.prompt for event in events if isinstance(event, LaneBegan)}
    assert "[1] The cat sat on the mat.\n\n[2] The dog ran." in began[1] == began[2]
    assert "[1]" not in began[0] and not any(result.error for result in results.values())


def test_lane_without_a_near_passage_refuses_without_asking_the_model(tiny: Path, empty_pool: object) -> None:
    lanes = [Lane(Model("tiny", str(tiny)), sampling=FEW, passages=Shelf())]
    _events, results = compared(lanes, "What is the name?")
    assert results[0].text == refusal(Passage("", "far.pdf", 7, 0.1))
    assert "far.pdf, page 7 (similarity 0.10)" in results[0].text and results[0].end == "stop"
    assert refusal(None).startswith("The documents do not say")


def test_collection_that_fails_is_that_lanes_trouble_alone(tiny: Path, empty_pool: object) -> None:
    model = Model("tiny", str(tiny))
    lanes = [Lane(model, sampling=FEW), Lane(model, sampling=FEW, passages=Shelf(fails=True))]
    _, results = compared(lanes, "What is the name?")
    assert results[1].error == "The collection is gone." and results[0].error is None and results[0].tokens


class Talkative(Shelf):
    """A shelf that knows what a follow-up asks for."""

    def __init__(self, *texts: str):
        super().__init__(*texts)
        self.responders: list[object] = []

    def stand_alone(self, question: str, history: Sequence[Message], responder: Responder | None) -> str:
        self.responders.append(responder)
        return f"{question} ({history[0].content})"


def test_follow_up_stands_alone_and_a_toy_reads_nothing_of_the_talk(tiny: Path, empty_pool: object) -> None:
    talk = [Message("user", "the cat"), Message("assistant", "The cat sat.")]
    shelf = Talkative("The cat sat on the mat.")
    lanes = [Lane(Model("tiny", str(tiny)), system="Be brief.", sampling=FEW, passages=shelf)]
    events = list(Comparison(lanes, "Where is it?", [talk]))
    told = next(event for event in events if isinstance(event, LaneGrounded))
    began = next(event for event in events if isinstance(event, LaneBegan))
    assert told.question == "Where is it? (the cat)" and shelf.responders == [None]
    assert told.question in began.prompt and "Be brief." in began.prompt and "The cat sat.\n" not in began.prompt


def test_first_question_and_plain_passages_are_searched_as_they_were_asked(tiny: Path, empty_pool: object) -> None:
    model, shelf, plain = Model("tiny", str(tiny)), Talkative("The cat sat."), Shelf("The dog ran.")
    lanes = [Lane(model, sampling=FEW, passages=each) for each in (shelf, plain)]
    events = list(Comparison(lanes, "Where is it?", [[], [Message("user", "the cat")]]))
    asked = {event.lane: event.question for event in events if isinstance(event, LaneGrounded)}
    assert asked == {0: "Where is it?", 1: "Where is it?"} and not shelf.responders


def test_lane_without_documents_does_not_wait_for_one_that_looks_into_them(tiny: Path, empty_pool: object) -> None:
    model, opened = Model("tiny", str(tiny)), threading.Event()

    class Slow(Shelf):
        def search(self, question: str, k: int) -> Sequence[Passage]:
            assert opened.wait(60)
            return super().search(question, k)

    comparison = Comparison([Lane(model, sampling=FEW), Lane(model, sampling=FEW, passages=Slow("It ran."))], "Who?")
    ended = []
    for event in comparison:
        if isinstance(event, LaneEnded):
            ended.append(event.lane)
            opened.set()
    assert ended == [0, 1]
