"""Tool calling measured on a set in the Berkeley format: `python -m benchmarks.tools FOLDER --model starter`.

FOLDER holds BFCL_v4_simple_python.json and possible_answer/ with the same name, as the Berkeley Function Calling
Leaderboard publishes them. Several --model stand side by side, so that one sees what tuning did. Each question is asked
with the tool that fits, and again with only the tool of another question, where no call is right.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.acting.schema import Unreadable, read_object
from engine.agent import GREEDY
from engine.catalog import Model, find
from engine.errors import Problem
from engine.messages import Message, ToolCall
from engine.respond import Responder, responder_for

SET = "BFCL_v4_simple_python.json"
TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": "string"}


@dataclass(frozen=True)
class Case:
    """A question, the tool that answers it, and the arguments that count as right, by name."""

    question: str
    tool: dict[str, Any]
    right: dict[str, list]


def cases(folder: Path) -> list[Case]:
    """The set, in its order."""
    rows = [json.loads(line) for line in (folder / SET).read_text(encoding="utf-8").splitlines()]
    answers = [json.loads(line) for line in (folder / "possible_answer" / SET).read_text(encoding="utf-8").splitlines()]
    truth = {answer["id"]: next(iter(answer["ground_truth"][0].values())) for answer in answers}
    return [Case(row["question"][0][-1]["content"], spec(row["function"][0]), truth[row["id"]]) for row in rows]


def spec(function: dict[str, Any]) -> dict[str, Any]:
    """The set's function as a tool: JSON's names for types, and no dots, which OpenAI's API refuses."""
    return {"type": "function", "function": {**plain(function), "name": function["name"].replace(".", "_")}}


def plain(value: Any) -> Any:
    """A schema with JSON's names for types."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        typed = {"type": TYPES.get(value["type"], value["type"])} if isinstance(value.get("type"), str) else {}
        return {name: plain(each) for name, each in value.items()} | typed
    return value


def called(responder: Responder, case: Case, tool: dict[str, Any]) -> list[ToolCall]:
    """The calls of one reply; none when the model fails."""
    try:
        return [e for e in responder.reply([Message("user", case.question)], GREEDY, [tool]) if isinstance(e, ToolCall)]
    except Problem as problem:
        print(f"  {problem}")
        return []


def judged(case: Case, calls: Sequence[ToolCall]) -> Iterator[str]:
    """What is right about the calls of a question with its tool."""
    if len(calls) != 1:
        return
    try:
        given = read_object(calls[0].arguments)
    except Unreadable:
        return
    yield "readable"
    if calls[0].name != case.tool["function"]["name"]:
        return
    yield "name"
    optional = {name for name, values in case.right.items() if "" in values}
    if set(case.right) - optional <= set(given) <= set(case.right) and all(
        any(same(value, each) for each in case.right[name]) for name, value in given.items()
    ):
        yield "arguments"


def same(value: Any, right: Any) -> bool:
    """Whether a value counts as right: text without case and outer spaces, numbers by value, parts one by one.

    The set lists the values of an inner object's names as it does those of arguments; "" means that one may be missing.
    """
    if isinstance(value, str) and isinstance(right, str):
        return value.strip().casefold() == right.strip().casefold()
    if isinstance(value, list) and isinstance(right, list):
        return len(value) == len(right) and all(map(same, value, right))
    if isinstance(value, dict) and isinstance(right, dict):
        needed = {name for name, values in right.items() if "" not in values}
        fits = needed <= set(value) <= set(right)
        return fits and all(any(same(value[name], each) for each in right[name]) for name in value)
    return value == right and isinstance(value, bool) == isinstance(right, bool)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--model", action="append", default=[], help="a model's name; repeat for side by side")
    options.add_argument("--endpoint", help="base URL of an OpenAI-compatible server")
    options.add_argument("--endpoint-model")
    options.add_argument("--key-name", help="environment variable with the server's key")
    options.add_argument("--count", type=int, default=50, help="questions from the start of the set")
    args = options.parse_args()
    asked = {name: responder_for(find(name)) for name in args.model}
    if args.endpoint:
        model = Model(args.endpoint_model, args.endpoint_model, endpoint=args.endpoint)
        asked[args.endpoint_model] = responder_for(model, os.environ.get(args.key_name or ""))
    found = cases(args.folder)
    chosen = found[: args.count]
    print(f"{len(chosen)} questions\n{'model':24} {'readable':>9} {'name':>9} {'arguments':>9} {'no call':>9}")
    for name, responder in asked.items():
        right = [set(judged(case, called(responder, case, case.tool))) for case in chosen]
        silent = [not called(responder, case, found[at - len(found) // 2].tool) for at, case in enumerate(chosen)]
        shares = [sum(part in each for each in right) for part in ("readable", "name", "arguments")]
        print(f"{name:24} " + " ".join(f"{n / len(chosen):9.0%}" for n in (*shares, sum(silent))))


if __name__ == "__main__":
    from engine.settings import prepare_process

    prepare_process()
    main()
