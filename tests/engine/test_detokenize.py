"""Text token by token must equal the text of all tokens, whatever the letters and the stop strings."""

import random

import pytest

from engine.detokenize import TextStream
from tests.engine.rows import TOKENIZER

TEXTS = (
    "Great content, thank you!",
    "  leading spaces\n\tand tabs",
    "žluťoučký kůň, 日本語, עברית, 🎉👩‍🚀 and –ShawGPT",
    "def f():\n    return 1\n",
)


def streamed(text: str, stop: tuple[str, ...] = (), prompt: str = "Question: why? Answer:") -> tuple[str, TextStream]:
    stream = TextStream(TOKENIZER, TOKENIZER(prompt)["input_ids"], stop)
    out = ""
    for token in TOKENIZER(text, add_special_tokens=False)["input_ids"]:
        out += stream.push(token)
        if stream.stopped:
            break
    return out + stream.flush(), stream


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_join_to_the_text(text: str) -> None:
    assert streamed(text)[0] == text


def test_half_a_letter_is_held_back_until_it_is_whole() -> None:
    stream = TextStream(TOKENIZER, [], ())
    pieces = [stream.push(token) for token in TOKENIZER("日")["input_ids"]]
    assert pieces[-1] == "日" and not any(pieces[:-1])


def test_text_ends_before_a_stop_string_that_spans_tokens() -> None:
    text, stream = streamed("one two three four", stop=("o thr", "never"))
    assert text == "one tw" and stream.stopped


def test_the_beginning_of_a_stop_string_is_released_when_it_goes_on_otherwise() -> None:
    assert streamed("a-b--c---d", stop=("----",))[0] == "a-b--c---d"


def test_random_stop_strings_cut_where_a_search_of_the_whole_text_does() -> None:
    generator = random.Random(5)
    for _ in range(200):
        text = "".join(generator.choice("ab é") for _ in range(40))
        stop = "".join(generator.choice("ab é") for _ in range(generator.randint(1, 5)))
        assert streamed(text, stop=(stop,))[0] == text.partition(stop)[0]
