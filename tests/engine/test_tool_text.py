"""Tool calls found in a model's text, in every known form and however it is cut into pieces."""

from __future__ import annotations

import threading

import pytest

from engine.acting.local_tools import marks, prepared, takes_tools, with_calls, written_out
from engine.acting.shipped_tools import tools_named
from engine.acting.tool_text import ToolText
from engine.catalog import Model
from engine.detokenize import TextStream
from engine.errors import Problem
from engine.local import LocalResponder
from engine.messages import End, Message, Piece, Sampling, ToolCall
from engine.tools import Tool, answer
from tests.tiny import byte_tokenizer

A = '{"name": "f", "arguments": {"a": "}"}}'
B = '{"name": "g", "arguments": {}}'
F, G = ("f", '{"a": "}"}'), ("g", "{}")
TOOL = tools_named(["now"])[0].spec

FORMS = {
    f"Hi <tool_call>\n{A}\n</tool_call>\n<tool_call>\n{B}\n</tool_call> bye": ["Hi ", F, G, "bye"],
    f"<tool_call>{A}</tool_call>": [F],
    '<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}</tool_call>': [("f", '{"a": 1}')],
    '<tool_call>{"name": "g"}</tool_call>': [G],
    '{"name": "f", "parameters": {"a": 1}}; {"name": "g", "parameters": {}}': [("f", '{"a": 1}'), G],
    '<|python_tag|>{"name": "f", "parameters": {"a": 1}}': [("f", '{"a": 1}')],
    f"[TOOL_CALLS] [{A}, {B}]": [F, G],
    '[TOOL_CALLS]f[ARGS]{"a": "}"}': [F],
    '[TOOL_CALLS]f[CALL_ID]x1[ARGS]{"a": "}"}[TOOL_CALLS]g[ARGS]{}': [F, G],
    f"Sure:\n```json\n{A}\n```\nDone.": ["Sure:\n", F, "Done."],
    f"[{A}, {B}]": [F, G],
    f'Sure.\n{{"type": "function", "function": {A}}}': ["Sure.\n", F],
    f"see <tool_call> and <tool_call>{B}</tool_call>": ["see <tool_call> and ", G],
}
WORDS = [
    *(
        "Hello there.",
        "",
        "   \n\n hi",
        "1 < 2 and <b>bold</b>",
        "a { b } [c]",
        '{"x": 1}',
        "[1, 2]",
        "[TOOL_CALLS] is a mark",
    ),
    *(
        '{"name": "Ann", "age": 3}',
        'x\n{"name": "unknown", "arguments": {}}',
        f"in a line {A}",
        "```python\nprint(1)\n```",
    ),
    *(
        '[{"name": "f", "arguments": {}}, {"name": "unknown", "arguments": {}}]',
        "<|python_tag|>print(1)",
        "```\ntext\n```",
    ),
    '{"name": "f"}',
]
CUT = [
    f"<tool_call>{A}",
    A[:-1],
    f"[TOOL_CALLS][{A}",
    f"```json\n{A[:-2]}",
    f"[TOOL_CALLS]f[ARGS]{A[:-1]}",
    "<tool_call>",
]


def read(text: str, size: int) -> list:
    """Words and (name, arguments) in order, of a text that comes in pieces of this size."""
    reader, found = ToolText(["f", "g"]), []
    for at in range(0, len(text), size):
        found += reader.feed(text[at : at + size])
    merged: list = []
    for each in [*found, *reader.finish()]:
        if isinstance(each, str) and merged and isinstance(merged[-1], str):
            merged[-1] += each
        else:
            merged.append(each if isinstance(each, str) else (each.name, each.arguments))
    return merged


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(("text", "found"), FORMS.items(), ids=range(len(FORMS)))
def test_calls_are_found_in_every_form(text: str, found: list, size: int):
    assert read(text, size) == found


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("text", WORDS + CUT, ids=range(len(WORDS + CUT)))
def test_words_and_what_is_cut_off_stay_words(text: str, size: int):
    assert read(text, size) == ([text] if text else [])


@pytest.mark.parametrize(
    "body",
    [
        *('{"name": "f", "arguments": {"a": }}', '{"name": "f", "arguments": [1]}', '{"city": "Oslo"}', "f(1)", "{}"),
        *(
            '{"name": "f", "name": "g", "arguments": {}}',
            f"{A} {B}",
            '{"name": "f", "arguments": {}, "parameters": {}}',
        ),
        "",
    ],
)
def test_a_marked_call_that_cannot_be_read_never_becomes_one_that_runs(body: str):
    [(name, arguments)] = read(f"<tool_call>{body}</tool_call>", 1000)
    result = outcome(name, arguments)
    assert result.startswith("Error") and (name in ("f", ""))


def outcome(name: str, arguments: str) -> str:
    """What the model reads of such a call, if there is a tool named f."""

    def f(a: str = "") -> str:
        """Run.

        Args:
            a: Any
        """
        return "ran"

    tool = Tool.from_function(f) if name == "f" else None
    return answer(ToolCall("c", name, arguments), tool, ["f"], 5, threading.Event()).content


def test_words_stream_on_at_once_and_only_beginnings_of_marks_wait():
    reader = ToolText(["f"])
    assert reader.feed("Hello ") == ["Hello "]
    assert reader.feed("wor<tool") == ["wor"] and reader.feed("s> ") == ["<tools> "]
    assert reader.feed('\n{"') == ["\n"], "what may become a call was not held back"
    assert "".join([*reader.feed("x"), *reader.finish()]) == '{"x'


def events(*pieces: str, reason: str = "stop"):
    yield from map(Piece, pieces)
    yield End(reason)


def test_a_reply_that_calls_ends_as_one_and_ids_are_made_up():
    got = list(with_calls(events("Hi ", "<tool_call>", A.replace('"f"', '"now"'), "</tool_call>"), [TOOL]))
    assert [type(each).__name__ for each in got] == ["Piece", "ToolCall", "End"]
    assert got[1].id.startswith("call_") and got[2].reason == "tool_calls"
    cut = list(with_calls(events("<tool_call>", A, reason="length"), [TOOL]))
    assert not any(isinstance(each, ToolCall) for each in cut) and cut[-1].reason == "length"


def test_special_tokens_that_mark_calls_stay_in_the_text():
    tokenizer = byte_tokenizer(64)
    tokenizer.add_special_tokens({"extra_special_tokens": ["[TOOL_CALLS]"]})
    text = '[TOOL_CALLS][{"name": "f", "arguments": {"a": "}"}}]'
    ids = tokenizer(text + "<|end|>")["input_ids"]
    kept = TextStream(tokenizer, [], (), marks(tokenizer))
    assert "".join(map(kept.push, ids)) + kept.flush() == text
    dropped = TextStream(tokenizer, [], ())
    assert "[TOOL_CALLS]" not in "".join(map(dropped.push, ids)) + dropped.flush()


def test_ordinary_tokens_need_no_exception():
    tokenizer = byte_tokenizer(64)
    tokenizer.add_tokens(["<tool_call>", "</tool_call>"])
    assert marks(tokenizer) == frozenset()


def test_a_template_without_a_place_for_tools_says_so_and_the_prompt_can_tell_instead(tiny, empty_pool):
    ask = [Message("user", "What time is it?")]
    bare = LocalResponder(Model("tiny", str(tiny)), "chat")
    with pytest.raises(Problem, match=r"no place for tools\. Switch on"):
        list(bare.reply(ask, Sampling(max_tokens=4), [TOOL]))
    telling = LocalResponder(Model("tiny", str(tiny)), "chat", describe_tools=True)
    begin, *rest = telling.reply(ask, Sampling(max_tokens=4), [TOOL])
    assert '"name": "now"' in begin.prompt and "<tool_call>" in begin.prompt and isinstance(rest[-1], End)
    assert telling.fits(ask, Sampling(max_tokens=4)) and not telling.fits([Message("user", "x" * 5000)], Sampling())


def test_history_with_calls_becomes_text_where_a_template_knows_none():
    tokenizer = byte_tokenizer(64)
    assert not takes_tools(tokenizer)
    talk = [
        Message("user", "hi"),
        Message("assistant", "I look.", (ToolCall("1", "f", "{}"), ToolCall("2", "g", "{}"))),
        Message("tool", "one", tool_call_id="1"),
        Message("tool", "two", tool_call_id="2"),
    ]
    plain = written_out(talk)
    assert [m.role for m in plain] == ["user", "assistant", "user"] and "tool" not in {m.role for m in plain}
    assert plain[2].content == "<tool_response>one</tool_response>\n<tool_response>two</tool_response>"
    assert prepared(talk, tokenizer, "plain", (), False, "m")[0] == plain
