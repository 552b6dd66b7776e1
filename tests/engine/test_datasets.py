"""What columns mean, what a dataset complains of, and how it is split."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.data.columns import PARTS, recognise
from engine.datasets import Dataset, Example, as_row, read, rows_named, samples, split
from engine.errors import Problem
from engine.messages import Message
from engine.settings import ASSETS


def written(folder: Path, rows: list, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pair(prompt: str, response: str, row: int = 0, **fields: str) -> Example:
    return Example((Message("user", prompt), Message("assistant", response)), row, tuple(fields.items()))


def pairs(count: int) -> Dataset:
    return Dataset("pairs", tuple(pair(f"prompt {n}", f"response {n}", n + 1) for n in range(count)))


@pytest.mark.parametrize(
    ("columns", "mapping"),
    [
        (["text"], {"text": "text"}),
        (["id", "Text", "n"], {"text": "Text"}),
        (["question", "answer", "context"], {"prompt": "question", "response": "answer"}),
        (["instruction", "input", "output"], {"prompt": "instruction", "response": "output", "input": "input"}),
        (["prompt", "completion"], {"prompt": "prompt", "response": "completion"}),
        (["Comment", "Response"], {"prompt": "Comment", "response": "Response"}),
        (["input", "output"], {"prompt": "input", "response": "output"}),
        (["messages"], {"messages": "messages"}),
        (["conversations", "id"], {"messages": "conversations"}),
        (["system", "prompt", "response"], {"prompt": "prompt", "response": "response", "system": "system"}),
        (["text", "label"], {"prompt": "text", "response": "label"}),
        (["English", "LaTeX"], {"prompt": "English", "response": "LaTeX"}),
        (["whatever"], {"text": "whatever"}),
    ],
)
def test_columns_are_recognised(columns: list[str], mapping: dict[str, str]):
    assert recognise(columns) == mapping and set(mapping) <= set(PARTS)


def test_columns_that_say_nothing_are_named():
    with pytest.raises(Problem, match="The columns a, b, c do not say which is the prompt"):
        recognise(["a", "b", "c"])


def test_column_of_responses_that_is_missing_is_named():
    with pytest.raises(Problem, match=r"only the column 'comment', without one for the other half \(response\)"):
        read(ASSETS / "samples" / "shawgpt_heldout.jsonl")


def test_guess_by_position_is_told(tmp_path: Path):
    dataset = read(written(tmp_path, [{"English": "x squared", "LaTeX": "x^2"}]))
    assert "Column 'English' is taken as the prompt and 'LaTeX' as the response." in dataset.warnings()


def test_columns_can_be_mapped_by_hand_and_written_out_of_several(tmp_path: Path):
    path = written(tmp_path, [{"title": "T", "body": "B", "reply": "R", "note": "n"}])
    example = read(path, {"prompt": "{title}: {body}", "response": "reply"}).examples[0]
    assert example.messages == (Message("user", "T: B"), Message("assistant", "R"))
    assert example.fields == (("note", "n"),)
    assert read(path, {"text": "body"}).examples[0].plain


def test_braces_in_a_cell_are_not_read_as_columns(tmp_path: Path):
    path = written(tmp_path, [{"a": "{b}", "b": "secret", "c": "x"}])
    assert read(path, {"prompt": "say {a}", "response": "c"}).examples[0].prompt == "say {b}"


@pytest.mark.parametrize(
    ("mapping", "sentences"),
    [
        ({"prompt": "a", "response": "nowhere"}, ["no column 'nowhere' for the response"]),
        ({"prompt": "a"}, ["both the prompt and the response"]),
        ({"text": "a", "prompt": "a", "response": "b"}, ["not several of them"]),
        ({"promt": "a", "prompt": "{x}", "response": "b"}, ["There is no part 'promt'", "no column 'x'"]),
    ],
)
def test_wrong_mapping_is_refused_with_every_complaint(tmp_path: Path, mapping: dict, sentences: list[str]):
    with pytest.raises(Problem) as caught:
        read(written(tmp_path, [{"a": "1", "b": "2"}]), mapping)
    assert all(sentence in str(caught.value) for sentence in sentences)


def test_alpaca_input_stands_below_the_instruction(tmp_path: Path):
    rows = [{"instruction": "Add.", "input": "1 2", "output": "3"}, {"instruction": "Hi", "input": "", "output": "Ho"}]
    first, second = read(written(tmp_path, rows)).examples
    assert first.prompt == "Add.\n\n1 2" and second.prompt == "Hi"
    assert dict(first.fields) == {"instruction": "Add.", "input": "1 2"}


def test_chats_of_openai_and_sharegpt_are_read(tmp_path: Path):
    turns = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "U"},
        {"role": "assistant", "content": "A"},
    ]
    other = [{"from": "human", "value": "U"}, {"from": "gpt", "value": "A"}]
    parts = [{"role": "user", "content": [{"type": "text", "text": "U"}]}, turns[2]]
    calls = [turns[1], {"role": "assistant", "content": None, "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}]}]  # fmt: skip
    found = read(written(tmp_path, [{"messages": m} for m in (turns, other, parts, calls, json.dumps(turns))]))
    assert [message.role for message in found.examples[0].messages] == ["system", "user", "assistant"]
    assert found.examples[1].messages == found.examples[2].messages == (Message("user", "U"), Message("assistant", "A"))
    assert found.examples[3].messages[1].tool_calls[0].name == "f"
    assert found.examples[4].messages == found.examples[0].messages


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([], "it has no list of messages"),
        ("hello", "it has no list of messages"),
        ("[1,", "its messages are not valid JSON"),
        ([{"role": "user", "content": "U"}], "its last message is the user's and not the assistant's"),
        ([{"role": "user", "content": "U"}, {"role": "assistant", "content": " "}], "its response is empty"),
        ([{"role": "wizard", "content": "U"}], "unknown role 'wizard'"),
        ([{"role": "user", "content": 5}], "its message 1 has no text"),
        (["hi"], "its message 1 is a text and not an object"),
        ([{"role": "system", "content": "S"}, {"role": "assistant", "content": "A"}], "hold none of the user"),
        (
            [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}],
            "tool calls that cannot",
        ),
    ],
)
def test_messages_that_cannot_be_used_cost_their_row(tmp_path: Path, messages: object, why: str):
    good = {"messages": [{"role": "user", "content": "U"}, {"role": "assistant", "content": "A"}]}
    dataset = read(written(tmp_path, [good, {"messages": messages}, good]))
    assert len(dataset) == 2 and dataset.faults[0].row == 2 and why in dataset.faults[0].why


def test_mixed_rows_cost_only_themselves_and_are_listed(tmp_path: Path):
    rows = [{"question": f"q{n}", "answer": f"a{n}"} for n in range(12)]
    rows[3] = {"question": "no answer"}
    rows[5] = {"question": "empty", "answer": "  "}
    rows[6] = {"question": "null", "answer": None}
    rows[8] = {"question": ["a", "list"], "answer": "x"}
    dataset = read(written(tmp_path, rows))
    assert len(dataset) == 8
    assert dataset.warnings() == [
        "Rows 4, 6 and 7 left out: its response is empty.",
        "Row 9 left out: its 'question' is a list and not a text.",
    ]
    assert dataset.problems()[0] == "Pick a dataset with at least 10 rows; this one has 8."


def test_numbers_are_text_too(tmp_path: Path):
    assert read(written(tmp_path, [{"question": 1, "answer": 2.5}])).examples[0].response == "2.5"


def test_half_of_a_surrogate_pair_becomes_a_question_mark(tmp_path: Path):
    assert read(written(tmp_path, [{"question": "\ud83d", "answer": "x"}])).examples[0].prompt == "?"


def test_fewer_than_ten_rows_and_one_label_only_are_both_told():
    dataset = Dataset("few", tuple(pair(f"p{n}", "yes", n) for n in range(5)))
    wrong = dataset.problems()
    assert len(wrong) == 2 and "at least 10 rows" in wrong[0] and "All 5 responses are the same ('yes')" in wrong[1]


def test_repeats_are_told_with_their_rows():
    again = (*pairs(10).examples, pair("prompt 3", "response 3", 11), pair("prompt 4", "response 4", 12))
    assert Dataset("d", again).warnings() == ["Rows 11 and 12 repeat an earlier row exactly."]


def test_many_row_numbers_are_shortened():
    assert rows_named([3]) == "Row 3" and rows_named([1, 2]) == "Rows 1 and 2"
    assert rows_named(range(1, 31)).endswith("12 and 18 more")


def test_fingerprint_is_of_the_content_alone(tmp_path: Path):
    rows = [{"question": f"q{n}", "answer": f"a{n}"} for n in range(3)]
    first, blank = read(written(tmp_path, rows)), tmp_path / "other.jsonl"
    blank.write_text("\n\n" + written(tmp_path, rows, "again.jsonl").read_text())
    assert first.fingerprint == read(blank).fingerprint and len(first.fingerprint) == 64
    assert first.fingerprint != read(written(tmp_path, rows[::-1])).fingerprint
    assert first.fingerprint != read(written(tmp_path, rows[:2])).fingerprint


def test_row_reads_back_as_the_same_example(tmp_path: Path):
    example = pair("p", "r", 1, kind="a")
    assert read(written(tmp_path, [as_row(example)])).examples[0] == example


def test_split_is_drawn_by_the_seed_and_loses_nothing():
    whole = pairs(50)
    parts = split(whole, 0.2, 0.1, 7)
    assert [len(part) for part in parts] == [35, 10, 5]
    assert sorted(e.row for part in parts for e in part.examples) == list(range(1, 51))
    assert parts == split(whole, 0.2, 0.1, 7) != split(whole, 0.2, 0.1, 8)
    assert [e.row for e in parts[0].examples] == sorted(e.row for e in parts[0].examples), "the file's order is kept"


def test_rows_with_the_same_prompt_are_never_split():
    doubled = Dataset("d", tuple(pair(f"p{n // 2}", f"r{n}", n) for n in range(40)))
    training, validation, test = split(doubled, 0.25, 0.25, 0)
    prompts = [{e.prompt for e in part.examples} for part in (training, validation, test)]
    assert not prompts[0] & prompts[1] and not prompts[0] & prompts[2] and not prompts[1] & prompts[2]


def test_share_above_nothing_gets_a_row_and_training_keeps_one():
    assert [len(part) for part in split(pairs(5), 0.01, 0, 0)] == [4, 1, 0]
    assert [len(part) for part in split(pairs(1), 0.5, 0, 0)] == [1, 0, 0]
    for shares in ((0.5, 0.5), (-0.1, 0), (1.0, 0)):
        with pytest.raises(Problem, match="leave something to train on"):
            split(pairs(5), *shares, 0)


def test_samples_load_without_complaint():
    assert {each.name for each in samples()} == {"shawgpt", "pirate"}
    for each in samples():
        dataset = read(each.path)
        assert len(dataset) == each.rows and not dataset.problems() and not dataset.faults
