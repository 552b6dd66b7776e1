"""The tool-calling benchmark's judge, on a small set in the Berkeley format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.tools import SET, Case, called, cases, judged
from engine.messages import ToolCall
from tests.engine.scripted_model import ScriptedModel, call

FUNCTION = {
    "name": "geo.route",
    "description": "Plan.",
    "parameters": {
        "type": "dict",
        "properties": {"to": {"type": "string"}, "km": {"type": "float"}, "via": {"type": "dict", "properties": {}}},
        "required": ["to"],
    },
}
TRUTH = {"geo.route": {"to": ["Oslo", "Oslo, Norway"], "km": ["", 5.0], "via": ["", {"city": ["Bergen"]}]}}


@pytest.fixture
def case(tmp_path: Path) -> Case:
    row = {"id": "s_0", "question": [[{"role": "user", "content": "Go to Oslo"}]], "function": [FUNCTION]}
    (tmp_path / "possible_answer").mkdir()
    (tmp_path / SET).write_text(json.dumps(row))
    (tmp_path / "possible_answer" / SET).write_text(json.dumps({"id": "s_0", "ground_truth": [TRUTH]}))
    return cases(tmp_path)[0]


def test_schemas_become_json_schema_with_names_that_servers_take(case: Case):
    function = case.tool["function"]
    assert function["name"] == "geo_route" and function["parameters"]["type"] == "object"
    assert function["parameters"]["properties"]["km"]["type"] == "number"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ('{"to": "oslo "}', 3),
        ('{"to": "Oslo", "km": 5, "via": {"city": "bergen"}}', 3),
        ('{"to": "Rome"}', 2),
        ('{"km": 5}', 2),
        ('{"to": "Oslo", "extra": 1}', 2),
        ('{"to": "Oslo"', 0),
    ],
)
def test_right_is_what_the_set_accepts(case: Case, arguments: str, parts: int):
    found = list(judged(case, [ToolCall("1", "geo_route", arguments)]))
    assert found == ["readable", "name", "arguments"][:parts]
    assert list(judged(case, [])) == [] and list(judged(case, [ToolCall("1", "other", "{}")])) == ["readable"]


def test_a_models_calls_are_gathered(case: Case):
    made = call("geo_route", '{"to": "Oslo"}')
    assert called(ScriptedModel(["I go. ", made]), case, case.tool) == [made]
