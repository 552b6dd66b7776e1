"""Prompt styles: every file loads, renders as documented, and never ends in a space."""

import pytest

from engine.errors import Problem
from engine.messages import Message, ToolCall
from engine.prompts import CHAT, spelled, style, styles
from tests.engine.rows import TOKENIZER

TALK = (Message("user", "Hi"), Message("assistant", "Hello."), Message("user", "Why?"))


def test_every_style_has_a_title_and_says_what_it_is_about() -> None:
    assert list(styles())[:2] == ["plain", "question-answer"]
    for one in styles().values():
        assert one.title and one.about.endswith(".")
        if one.name != CHAT:
            assert one.turn.count("{prompt}") == one.turn.count("{response}") == 1
            assert one.turn.index("{prompt}") < one.turn.index("{response}")
            assert "{system}" in one.system


@pytest.mark.parametrize("name", [name for name in styles() if name != CHAT])
def test_an_open_turn_ends_without_a_space_and_holds_everything_said(name: str) -> None:
    text = style(name).render((Message("system", "Be kind."), *TALK), TOKENIZER)
    assert text == text.rstrip(" ")
    assert [text.count(part) for part in ("Be kind.", "Hi", "Hello.", "Why?")] == [1, 1, 1, 1]
    assert text.startswith(style(name).system.partition("{system}")[0])


def test_known_renderings() -> None:
    asked = (Message("user", "What is LoRA?"),)
    assert style("plain").render(asked, TOKENIZER) == "What is LoRA?"
    assert style("question-answer").render(asked, TOKENIZER) == "Q: What is LoRA?\nA:"
    assert style("headed-question").render(asked, TOKENIZER) == "### Question:\nWhat is LoRA?\n\n### Answer:\n"
    assert style("inst").render(asked, TOKENIZER) == "[INST] What is LoRA? [/INST]"
    assert style("alpaca").render(asked, TOKENIZER).endswith("### Instruction:\nWhat is LoRA?\n\n### Response:\n")
    assert style("question-answer").render(TALK, TOKENIZER) == "Q: Hi\nA: Hello.\nQ: Why?\nA:"


def test_alpaca_without_an_input_is_the_template_without_input() -> None:
    with_input, without = style("alpaca-input"), style("alpaca")
    for said in (TALK, TALK[:1]):
        expected = without.render(said, TOKENIZER)
        assert with_input.render(said, TOKENIZER) == expected
        assert with_input.render((Message("system", " \n"), *said), TOKENIZER) == expected
        instruction, answers = said[0].content, (Message("user", ""), *said[1:])
        assert with_input.render((Message("system", instruction), *answers), TOKENIZER) == expected
    both = with_input.render((Message("system", "Translate."), Message("user", "Hi")), TOKENIZER)
    assert "paired with an input" in both and both.endswith("Translate.\n\n### Input:\nHi\n\n### Response:\n")


def test_a_prompt_that_holds_the_placeholders_stays_as_it_is() -> None:
    asked = (Message("user", "What does {response} mean, and {prompt}?"),)
    assert style("question-answer").render(asked, TOKENIZER) == "Q: What does {response} mean, and {prompt}?\nA:"


def test_the_chat_style_uses_the_models_template_and_refuses_without_one() -> None:
    class Templated:
        chat_template = "x"

        def apply_chat_template(self, conversation: list, **options: object) -> str:
            return f"{[m['role'] for m in conversation]} {options['add_generation_prompt']}"

    assert style(CHAT).render(TALK, Templated()) == "['user', 'assistant', 'user'] True"
    with pytest.raises(Problem, match="no chat template"):
        style(CHAT).render(TALK, TOKENIZER)


def test_completions_carry_the_space_that_the_open_turn_lacks() -> None:
    assert style("shawgpt").completion("Thanks!") == " Thanks!"
    assert style("alpaca").completion("Thanks!") == "Thanks!"


def test_an_unknown_style_is_named_with_the_ones_there_are() -> None:
    with pytest.raises(Problem, match=r"'nope'.*plain"):
        style("nope")


def test_tool_calls_and_results_reach_the_template() -> None:
    call = ToolCall("c1", "get_ticket_price", '{"destination": "Oslo"}')
    assert spelled(Message("assistant", "", (call,)))["tool_calls"] == [
        {"type": "function", "id": "c1", "function": {"name": "get_ticket_price", "arguments": {"destination": "Oslo"}}}
    ]
    assert spelled(Message("tool", "90", tool_call_id="c1")) == {"role": "tool", "content": "90", "tool_call_id": "c1"}
