"""Which lanes are the same weights, and when their answers must be equal."""

from dataclasses import replace

import pytest

from engine.catalog import Model
from engine.compare import Comparison, Lane, LaneEnded
from engine.lanes import common_style, notes
from engine.messages import Message, Sampling
from tests.tiny import make_tiny_llama

GREEDY = Sampling(temperature=0, max_tokens=24)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model("base", str(make_tiny_llama(tmp_path_factory.mktemp("lanes"), hidden=64)))


def test_automatic_precision_of_a_toy_is_fp32_and_noted(base: Model) -> None:
    precisions = ("auto", "fp32", "bf16", "nf4")
    asked = [Lane(replace(base, precision=each), sampling=GREEDY) for each in precisions]
    rounding = "their answers are equal, unless rounding tips a word"
    assert notes(asked) == [f"Lanes 1 and 2 are the same weights, asked in the same way: {rounding}."]
    ended = [event.result for event in Comparison(asked[:2], "The cat") if isinstance(event, LaneEnded)]
    assert ended[0].text == ended[1].text and not any(each.error for each in ended)


def test_equal_answers_are_promised_only_where_the_same_is_read_in_the_same_way(base: Model) -> None:
    one = Lane(base, sampling=GREEDY)
    differ = ["Lanes 1 and 3 are the same weights, asked in different ways."]
    hi, and_then = (Message("user", "Hi"),), (Message("user", "Hi"), Message("assistant", "a"), Message("user", "Hi"))
    assert "must be equal" in notes([one, None, one], [hi, (), hi])[0]
    assert notes([one, None, one], [hi, (), and_then]) == differ
    assert notes([one, None, replace(one, system="Be kind.")]) == differ
    assert notes([one, None, replace(one, sampling=Sampling(seed=1))]) == differ
    assert "must be equal" in notes([one, replace(one, system="  ")])[0], "an empty system prompt is none"


def test_first_model_with_a_style_of_its_own_decides() -> None:
    plain, chat, shaw = Model("a", "a"), Model("b", "b", style="chat"), Model("c", "c", style="shawgpt")
    assert common_style([plain, shaw, chat]) == "shawgpt" and common_style([chat, shaw]) == "chat"
    assert common_style([plain]) == "plain"
