"""Answers as validated JSON: what fits, what is sent back, strict modes of endpoints, and schemas meant to do harm."""

from __future__ import annotations

import json
import threading
import time

import pydantic
import pytest

from engine.acting.shape_check import Unfit
from engine.acting.shapes import json_in, shape_named, shape_of, shapes
from engine.acting.steps import Words
from engine.errors import Problem
from engine.headless_agent import main
from engine.hosted import HostedResponder
from engine.messages import End, Message, Sampling, Usage
from engine.structured import CUT_OFF, Shaped, Try, ask, shaped
from tests.engine.asking import at
from tests.engine.scripted_model import ScriptedModel
from tests.fake_openai import FakeOpenAI, chunk, complain, refuse, stream, words

ASK = [Message("system", "Be brief."), Message("user", "Which deals?")]
DEALS = shapes()["deals"][0]
GOOD = {"deals": [{"product_description": "A cooker", "price": 59, "url": "https://deals.example/1"}]}
TEXT = json.dumps(GOOD)


class Deal(pydantic.BaseModel):
    """A deal."""

    name: str
    price: float


class Deals(pydantic.BaseModel):
    """Deals."""

    deals: list[Deal]


def run(model, shape=DEALS, **options) -> tuple[list, Shaped]:
    events = list(shaped(model, ASK, shape, **options))
    assert isinstance(events[-1], Shaped) and not any(isinstance(event, Shaped) for event in events[:-1])
    return events[:-1], events[-1]


def test_json_that_fits_comes_back_as_a_value():
    model = ScriptedModel([TEXT[:20], TEXT[20:]])
    events, end = run(model)
    assert end.value == GOOD and end.reason == "stop" and end.tries == (Try(TEXT, None),) and end.usage == Usage(10, 5)
    assert [type(event) for event in events] == [Words, Words, Try]
    assert "Be brief." in model.asked[0][0].content and '"product_description"' in model.asked[0][0].content


def test_a_pydantic_model_gives_an_instance_and_closes_its_objects():
    shape = shape_of(Deals)
    assert shape.strict and shape.name == "Deals"
    _, end = run(ScriptedModel(['{"deals": [{"name": "Cooker", "price": 59}]}']), shape)
    assert end.value == Deals(deals=[Deal(name="Cooker", price=59)])
    _, end = run(ScriptedModel(['{"deals": [{"name": "Cooker", "price": "59"}]}']), shape)
    assert end.value is None and "deals.0.price: Input should be a valid number" in end.tries[0].complaint


def test_what_does_not_fit_is_told_and_mended():
    wrong = json.dumps({"deals": [{"product_description": "A cooker", "price": "$59"}]})
    model = ScriptedModel([wrong], [TEXT])
    _, end = run(model)
    assert end.value == GOOD and len(end.tries) == 2 and end.usage == Usage(20, 10)
    told = model.asked[1]
    assert [m.role for m in told] == ["system", "user", "assistant", "user"] and told[2].content == wrong
    assert "'url' is a required property" in told[3].content and "deals.0.price" in told[3].content


def test_after_two_repairs_it_is_given_up():
    model = ScriptedModel(["no idea"])
    _, end = run(model)
    assert len(model.asked) == 3 and [one.complaint for one in end.tries] == ["There is no JSON in the answer."] * 3
    assert end.value is None and end.reason == "error" and "did not manage it in 3 tries" in end.problem


@pytest.mark.parametrize(
    "said",
    [
        f"```json\n{TEXT}\n```",
        f"Here you are:\n{TEXT}\nAnything else?",
        f"<think>Maybe {{this}}?</think>{TEXT}",
        f"  {TEXT}  ",
    ],
)
def test_json_is_found_among_words(said: str):
    assert json_in(said) == GOOD


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", "no JSON"),
        (TEXT[:-1], "cut off"),
        ("{'deals': []}", "not valid"),
        ('{"a": 1, "a": 2}', "twice"),
        ('{"a": NaN}', "not JSON"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
    ],
)
def test_nothing_is_repaired(said: str, why: str):
    with pytest.raises(Unfit, match=why):
        json_in(said)


def test_a_check_of_ones_own_counts_like_the_schema():
    def check(value):
        if value["deals"][0]["price"] > 50:
            raise Unfit("Too dear.")

    model = ScriptedModel([TEXT], [TEXT.replace("59", "49")])
    _, end = run(model, check=check)
    assert end.tries[0].complaint == "Too dear." and end.value["deals"][0]["price"] == 49


def test_an_answer_cut_at_its_limit_says_so():
    _, end = run(ScriptedModel([TEXT[:30], End("length")]))
    assert end.tries[0].complaint == CUT_OFF


def test_stop_time_and_failures_end_it():
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    model = ScriptedModel(["{", 30.0])
    assert run(model, stop=stop)[1].reason == "stopped" and model.closed.wait(5)
    assert run(ScriptedModel(["{", 30.0]), seconds=0.3)[1].reason == "time"
    _, end = run(ScriptedModel([Problem("No key.")]))
    assert end.reason == "error" and end.problem == "No key."


def test_ask_gives_the_value_or_raises():
    assert ask(ScriptedModel([TEXT]), "Which deals?", DEALS, "Be brief.") == GOOD
    with pytest.raises(Problem, match="did not manage"):
        ask(ScriptedModel(["no"]), "Which deals?", DEALS)


# over a server


def over_server(*scripts, shape=DEALS):
    with FakeOpenAI(*scripts) as server:
        return run(HostedResponder(at(server.url)), shape)[1], [request.json for request in server.requests]


def test_an_endpoint_is_held_to_the_schema_by_its_strict_mode():
    end, requests = over_server(words(TEXT, counts=(30, 20)))
    form = requests[0]["response_format"]
    assert end.value == GOOD and end.usage == Usage(30, 20) and form["type"] == "json_schema"
    assert form["json_schema"] == {"name": "deals", "schema": DEALS.schema, "strict": True}


def test_a_schema_that_strict_mode_would_refuse_is_sent_without_it():
    shape = shape_of({"type": "object", "properties": {"a": {"type": "string"}}})
    _, requests = over_server(words('{"a": "b"}'), shape=shape)
    assert requests[0]["response_format"]["json_schema"]["strict"] is False


@pytest.mark.parametrize("param", ["response_format", None])
def test_a_server_without_that_mode_gets_the_prompt_alone(param: str | None):
    refusal = complain(400, "'response_format' of type 'json_schema' is not supported", param)
    end, requests = over_server(refusal, words("no"), words(TEXT))
    assert end.value == GOOD and len(end.tries) == 2
    assert "response_format" in requests[0] and not any("response_format" in each for each in requests[1:])
    assert '"product_description"' in requests[1]["messages"][0]["content"]


def test_a_refusal_of_the_model_is_shown_as_its_words():
    refused = stream(
        [chunk(None, role="assistant", refusal="I cannot "), chunk(refusal="do that."), chunk(finish="stop")]
    )
    end, _ = over_server(refused)
    assert end.tries[0].text == "I cannot do that." and end.value is None


def test_an_ordinary_reply_of_the_same_endpoint_is_not_held_to_anything():
    with FakeOpenAI(words(TEXT)) as server:
        responder = HostedResponder(at(server.url))
        run(responder)
        list(responder.reply(ASK, Sampling()))
        assert "response_format" not in server.requests[1].json


# schemas that anybody may paste


def test_the_shapes_that_ship_are_strict_and_have_an_example():
    assert set(shapes()) == {"deals", "links", "trip"}
    assert all(shape.strict and text for shape, text in shapes().values())


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ("", "not valid JSON"),
        ("[]", "must be a JSON object"),
        ('{"type": "objec"}', "not a JSON schema"),
        ('{"$ref": "http://127.0.0.1:1/secret"}', "another document"),
        ('{"properties": {"a": {"$ref": "file:///etc/passwd"}}}', "another document"),
        ('{"pattern": "(?=a)"}', "look-arounds"),
        ('{"patternProperties": {"a": {}}}', "not supported"),
        ("[" * 20_000, "nested too deeply"),
        (" " * 40_000, "longer than"),
    ],
)
def test_schemas_that_cannot_be_used_are_refused_in_words(schema: str, why: str):
    with pytest.raises(Problem, match=why):
        shape_of(schema)


def test_a_property_may_be_called_pattern():
    assert shape_of({"type": "object", "properties": {"pattern": {"type": "string"}}}).read({"pattern": "("})


def test_no_schema_takes_for_ever(monkeypatch: pytest.MonkeyPatch):
    slow = shape_of({"type": "string", "pattern": "^(a+)+$"})
    doubling = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    wide = shape_of({"$defs": {**doubling, "d40": {"type": "integer"}}, "$ref": "#/$defs/d0"})
    began = time.monotonic()
    with pytest.raises(Unfit, match="does not match"):
        slow.read("a" * 60 + "b")
    with pytest.raises(Unfit, match="too long to be checked"):
        wide.read(1)
    with pytest.raises(Unfit):
        shape_of({"$ref": "#"}).read(1)
    with pytest.raises(Problem, match="does not hold"):
        shape_of({"$ref": "#/$defs/none"}).read(1)
    assert time.monotonic() - began < 60


# from the command line


def test_headless_prints_validated_json(capsys: pytest.CaptureFixture[str], tmp_path):
    mine = tmp_path / "mine.json"
    mine.write_text('{"type": "object", "properties": {"deals": {"type": "array"}}, "required": ["deals"]}')
    with FakeOpenAI(words("no"), words(TEXT)) as server:
        there = ["--endpoint", server.url, "--endpoint-model", "m"]
        assert main(["Which?", "--schema", "deals", *there]) == 0
        assert json.loads(capsys.readouterr().out) == GOOD
        assert main(["Which?", "--schema", str(mine), *there]) == 0
        assert json.loads(capsys.readouterr().out) == GOOD
    assert main(["Which?", "--schema", "nothing"]) == 2 and "deals, links" in capsys.readouterr().err
    with FakeOpenAI(refuse(401)) as server:
        assert main(["Which?", "--schema", "deals", "--endpoint", server.url, "--endpoint-model", "m"]) == 1
    assert "Traceback" not in capsys.readouterr().err and shape_named("links").name == "links"
