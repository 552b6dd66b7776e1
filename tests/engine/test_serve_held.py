"""Replies of the endpoint that can only fit what was asked for: the openai SDK, pydantic models, the starter."""

from __future__ import annotations

import copy
import enum
import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import openai
import pydantic
import pytest

from engine.acting.shapes import shapes
from engine.brochure import among, choose
from engine.catalog import find
from engine.local import LocalResponder
from engine.messages import Message, Sampling
from engine.structured import CUT_OFF, Shaped, shaped
from tests.engine.served import HELLO, PRICE, Stand, real_stand

ANN = [{"role": "user", "content": "Ann is 31 and likes the colour green."}]
COUNT = copy.deepcopy(PRICE)
COUNT["function"] |= {
    "name": "count",
    "parameters": {
        "type": "object",
        "properties": {"to": {"type": "integer", "minimum": 3, "maximum": 9}, "by": {"enum": ["ones", "twos"]}},
        "required": ["to", "by"],
        "additionalProperties": False,
    },
}

TRIP = copy.deepcopy(COUNT)
TRIP["function"] |= {
    "name": "trip",
    "parameters": {
        "type": "object",
        "properties": {"to": {"enum": ["Rome", "Oslo"]}},
        "required": ["to"],
        "additionalProperties": False,
    },
}


class Colour(enum.StrEnum):
    """A colour."""

    RED = "red"
    GREEN = "green"


class Person(pydantic.BaseModel):
    """A person."""

    name: str = pydantic.Field(pattern="^[A-Z][a-z]{1,12}$")
    age: int = pydantic.Field(ge=0, le=120)
    colours: list[Colour] = pydantic.Field(min_length=1, max_length=3)


@pytest.fixture(scope="module")
def starter() -> Iterator[Stand]:
    with real_stand(find("starter")) as server:
        yield server


def form(schema: dict[str, Any]) -> dict[str, Any]:
    """A response_format that asks for this schema."""
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def test_the_starter_parses_into_a_pydantic_model(starter: Stand):
    for seed in range(3):
        reply = starter.client().chat.completions.parse(
            model="starter", messages=ANN, response_format=Person, seed=seed, n=2
        )
        assert [choice.finish_reason for choice in reply.choices] == ["stop", "stop"]
        assert all(isinstance(choice.message.parsed, Person) for choice in reply.choices)


def test_a_stream_comes_piece_by_piece_and_fits(starter: Stand):
    with starter.client().chat.completions.stream(
        model="starter", messages=ANN, response_format=Person, temperature=0
    ) as stream:
        pieces = [event.delta for event in stream if event.type == "content.delta"]
    final = stream.get_final_completion().choices[0]
    assert len(pieces) > 5 and "".join(pieces) == final.message.content
    assert isinstance(final.message.parsed, Person) and final.finish_reason == "stop"


def test_a_reply_at_its_limit_is_cut_and_says_length(starter: Stand):
    with pytest.raises(openai.LengthFinishReasonError):
        starter.client().chat.completions.parse(
            model="starter", messages=ANN, response_format=Person, max_completion_tokens=4
        )
    reply = starter.client().chat.completions.create(
        model="starter", messages=ANN, response_format=form(Person.model_json_schema()), max_completion_tokens=3
    )
    assert reply.choices[0].finish_reason == "length" and reply.choices[0].message.content.startswith("{")


def test_any_object_is_held_to_being_one(starter: Stand):
    for seed in range(4):
        reply = starter.client().chat.completions.create(
            model="starter", messages=ANN, response_format={"type": "json_object"}, seed=seed, max_tokens=60
        )
        (choice,) = reply.choices
        assert choice.message.content.startswith("{")
        assert choice.finish_reason == "length" or isinstance(json.loads(choice.message.content), dict)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "count"}}])
@pytest.mark.parametrize("tools", [[COUNT], [TRIP, COUNT]])
def test_a_call_that_is_needed_has_the_arguments_of_its_tool(starter: Stand, tools: list[dict], choice: Any):
    for seed in range(3):
        reply = starter.client().chat.completions.create(
            model="starter", messages=HELLO, tools=tools, tool_choice=choice, seed=seed, max_tokens=200
        )
        (call,) = reply.choices[0].message.tool_calls
        arguments = json.loads(call.function.arguments)
        assert reply.choices[0].finish_reason == "tool_calls"
        tool = next(tool["function"] for tool in tools if tool["function"]["name"] == call.function.name)
        jsonschema.validate(arguments, tool["parameters"])


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": 3}, "no JSON schema"),
        ({"$ref": "#/$defs/none"}, "leads nowhere"),
        ({"type": "array", "uniqueItems": True}, "uses uniqueItems"),
        ({"type": "integer", "minimum": 2, "maximum": 1}, "greater than"),
        ({"type": "string", "pattern": "^(?=a)$"}, "regex"),
    ],
)
def test_schemas_that_cannot_be_followed_are_refused_with_a_sentence(starter: Stand, schema: dict, why: str):
    for stream in (False, True):
        reply = starter.post({"model": "starter", "messages": HELLO, "response_format": form(schema), "stream": stream})
        error = reply.json()["error"]
        assert reply.status_code == 400 and why in error["message"] and error["param"].startswith("response_format")


def test_parameters_that_cannot_be_followed_leave_a_call_forced_as_before(starter: Stand):
    odd = copy.deepcopy(COUNT)
    odd["function"]["parameters"] |= {"not": {"required": ["x"]}}
    reply = starter.post(
        {"model": "starter", "messages": HELLO, "tools": [odd], "tool_choice": "required", "max_tokens": 40}
    )
    assert reply.status_code == 200


@pytest.mark.parametrize("name", sorted(shapes()))
def test_the_shapes_that_ship_are_written_by_the_starter_offline(empty_pool, name: str):
    shape, example = shapes()[name]
    *_, last = shaped(
        LocalResponder(find("starter"), "chat"), [Message("user", example)], shape, Sampling(temperature=0)
    )
    assert isinstance(last, Shaped) and last.reason == "stop" and last.loose is None
    assert {each.complaint for each in last.tries} <= {None, CUT_OFF}, "only the limit of tokens can be in its way"
    assert name != "trip" or last.value["seats"] == 4, "the smallest of them even means what the text says"


def test_the_starter_chooses_links_of_the_list_alone(empty_pool):
    import threading

    from engine.acting.html_links import Link

    links = [Link(f"https://kites.example/{name}.html", name.title()) for name in ("about", "kites", "login")]
    shape = among(links)
    assert shape.strict and "enum" not in json.dumps(shape.schema), "the prompt need not tell them twice"
    chosen, _ = choose(LocalResponder(find("starter"), "chat"), "Kites", links, threading.Event(), 100)
    assert chosen.links and set(chosen.links) <= set(links[:2])
    assert all(json.loads(each.text)["links"] for each in chosen.tries)
