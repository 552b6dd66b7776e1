"""What training reads: prompt and response as one string, what carries loss, the stop token, the cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from engine.data.prepare import custom_style
from engine.data.tokens import MASKED, Tokens, tokenized, tokenized_all
from engine.datasets import Example, read
from engine.errors import Problem
from engine.messages import Message, ToolCall
from engine.prompts import style
from engine.settings import ASSETS

TURNS = (
    Message("system", "Be brief."),
    Message("user", "one"),
    Message("assistant", "ONE"),
    Message("user", "two"),
    Message("assistant", "TWO"),
)


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny)


def example(prompt: str = "Hello there", response: str = "General") -> Example:
    return Example((Message("user", prompt), Message("assistant", response)))


def learned(tokens: Tokens, tokenizer: Any) -> str:
    return tokenizer.decode([label for label in tokens.labels if label != MASKED])


def whole(tokens: Tokens, tokenizer: Any) -> str:
    return tokenizer.decode(tokens.ids)


def test_only_the_completion_and_the_stop_token_carry_loss(tokenizer: Any):
    tokens = tokenized(example(), style("question-answer"), tokenizer, 512, "left")
    assert whole(tokens, tokenizer) == "Q: Hello there\nA: General<|end|>"
    assert learned(tokens, tokenizer) == " General<|end|>"
    assert tokens.labels[-1] == tokenizer.eos_token_id and tokens.stops and not tokens.joined
    assert all(label in (MASKED, id) for id, label in zip(tokens.ids, tokens.labels, strict=True))


@pytest.mark.parametrize("name", ["plain", "question-answer", "headed-question", "alpaca", "inst", "shawgpt"])
def test_the_prompt_of_training_is_the_prompt_of_inference(tokenizer: Any, name: str):
    tokens = tokenized(example("Hello there.\n"), style(name), tokenizer, 512, "left")
    prompt = tokenizer(style(name).render([Message("user", "Hello there.\n")], tokenizer))["input_ids"]
    assert list(tokens.ids[: len(prompt)]) == prompt
    assert tokens.labels[: len(prompt)] == (MASKED,) * len(prompt) and tokens.labels[len(prompt)] != MASKED


def test_shipped_adapters_were_trained_on_exactly_these_tokens():
    starter, shape = AutoTokenizer.from_pretrained(ASSETS / "starter"), style("shawgpt")
    for each in read(ASSETS / "samples" / "shawgpt.jsonl").examples[:20]:
        prompt = shape.render([each.messages[0]], starter)
        ids = starter(prompt + shape.completion(each.response))["input_ids"] + [starter.eos_token_id]
        read_ids = len(starter(prompt)["input_ids"])
        tokens = tokenized(each, shape, starter, 512, "left")
        assert list(tokens.ids) == ids and list(tokens.labels) == [MASKED] * read_ids + ids[read_ids:]


def test_all_tokens_carry_loss_when_asked(tokenizer: Any):
    tokens = tokenized(example(), style("plain"), tokenizer, 512, "left", "all")
    assert tokens.labels == tokens.ids


def test_every_turn_of_the_assistant_carries_loss_when_asked(tokenizer: Any):
    talk = Example(TURNS)
    last = tokenized(talk, style("question-answer"), tokenizer, 512, "left", "completion")
    every = tokenized(talk, style("question-answer"), tokenizer, 512, "left", "assistant")
    assert last.ids == every.ids and learned(last, tokenizer) == " TWO<|end|>"
    assert learned(every, tokenizer) == " ONE TWO<|end|>"


def test_chat_template_ends_its_own_turns(tokenizer: Any):
    tokens = tokenized(Example(TURNS), style("chat"), tokenizer, 512, "left", "assistant")
    assert whole(tokens, tokenizer).endswith("<|user|>two<|end|><|assistant|>TWO<|end|>"), "a second stop token"
    assert learned(tokens, tokenizer) == "ONE<|end|>TWO<|end|>" and tokens.stops
    assert learned(tokenized(Example(TURNS), style("chat"), tokenizer, 512, "left"), tokenizer) == "TWO<|end|>"


def test_chat_template_without_an_end_gets_the_stop_token(tiny: Path):
    other = AutoTokenizer.from_pretrained(tiny)
    other.chat_template = (
        "{% for m in messages %}{{ m.role }}:\n{{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:\n{% endif %}"
    )
    tokens = tokenized(example("hi", "ho"), style("chat"), other, 512, "left")
    assert whole(tokens, other) == "user:\nhi\nassistant:\nho<|end|>" and learned(tokens, other) == "ho<|end|>"


def test_chat_template_that_rewrites_earlier_turns_is_refused_for_every_turn(tiny: Path):
    other = AutoTokenizer.from_pretrained(tiny)
    other.chat_template = (
        "{% for m in messages %}{% if m.role == 'assistant' and loop.last %}thinking {% endif %}{{ m.role }}: "
        "{{ m.content }}\n{% endfor %}"
    )
    with pytest.raises(Problem, match="writes a turn differently once another follows"):
        tokenized(Example(TURNS), style("chat"), other, 512, "left", "assistant")


def test_model_without_a_chat_template_says_so(tiny: Path):
    other = AutoTokenizer.from_pretrained(tiny)
    other.chat_template = None
    with pytest.raises(Problem, match="has no chat template"):
        tokenized(example(), style("chat"), other, 512, "left")


def test_left_cut_keeps_the_end_and_the_stop_token(tokenizer: Any):
    full = tokenized(example("word " * 50), style("plain"), tokenizer, 512, "left")
    tokens = tokenized(example("word " * 50), style("plain"), tokenizer, 20, "left")
    assert tokens.ids == full.ids[-20:] and tokens.labels == full.labels[-20:]
    assert tokens.cut == len(full.ids) - 20 and tokens.stops and tokens.meant == full.trained == tokens.trained


def test_right_cut_keeps_the_start_and_loses_the_stop_token(tokenizer: Any):
    tokens = tokenized(example("word " * 50), style("plain"), tokenizer, 20, "right")
    assert len(tokens.ids) == 20 and not tokens.stops and tokens.trained == 0 and tokens.meant > 0
    assert whole(tokens, tokenizer).startswith("word word")


def test_example_of_exactly_the_limit_is_whole(tokenizer: Any):
    size = len(tokenized(example(), style("plain"), tokenizer, 512, "right").ids)
    assert tokenized(example(), style("plain"), tokenizer, size, "right").cut == 0


def test_plain_text_carries_loss_throughout_whatever_the_style(tokenizer: Any):
    text = Example((Message("assistant", "Once upon a time."),))
    for name in ("plain", "inst", "chat"):
        tokens = tokenized(text, style(name), tokenizer, 512, "left")
        assert whole(tokens, tokenizer) == "Once upon a time.<|end|>" and tokens.labels == tokens.ids


def test_token_across_the_border_carries_loss_and_is_told(tokenizer: Any):
    tokens = tokenized(example("The c", "at sat"), style("plain"), tokenizer, 512, "left")
    assert tokens.joined and learned(tokens, tokenizer) == " cat sat<|end|>"


def test_stop_token_is_not_doubled(tokenizer: Any):
    tokens = tokenized(example("a", "b<|end|>"), style("plain"), tokenizer, 512, "left")
    assert tokens.ids.count(tokenizer.eos_token_id) == 1 and tokens.stops


def test_custom_speaker_tokens_train_their_own_stop_and_the_models(tokenizer: Any):
    own = custom_style("###HUMAN### {prompt} ###BOT### {response} ###STOP###")
    tokens = tokenized(example("hi", "ho"), own, tokenizer, 512, "left")
    assert whole(tokens, tokenizer) == "###HUMAN### hi ###BOT### ho ###STOP###<|end|>"
    assert learned(tokens, tokenizer) == " ho ###STOP###<|end|>"


def test_alpaca_rows_with_an_input_use_its_second_template(tokenizer: Any):
    row = Example(
        (Message("user", "Add.\n\n1 2"), Message("assistant", "3")), 1, (("instruction", "Add."), ("input", "1 2"))
    )
    text = tokenized(row, style("alpaca"), tokenizer, 512, "left").text
    assert "paired with an input" in text and "### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n" in text


def test_letters_of_several_bytes_are_marked_whole(tokenizer: Any):
    tokens = tokenized(example("héé", "üñ🙂"), style("question-answer"), tokenizer, 512, "left")
    assert learned(tokens, tokenizer) == " üñ🙂<|end|>"


def test_tool_calls_need_the_chat_template(tokenizer: Any):
    calling = Example((Message("user", "q"), Message("assistant", "", (ToolCall("1", "f", "{}"),))))
    with pytest.raises(Problem, match="no place for tool calls"):
        tokenized(calling, style("plain"), tokenizer, 512, "left")


def test_many_at_once_equal_one_by_one(tokenizer: Any):
    rows = [example(f"prompt {n}", "word " * n) for n in range(1, 300)] + [Example((Message("assistant", "text"),))]
    for name in ("plain", "chat"):
        at_once = list(tokenized_all(rows, style(name), tokenizer, 64, "left"))
        assert at_once == [tokenized(row, style(name), tokenizer, 64, "left") for row in rows]
