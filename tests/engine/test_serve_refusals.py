"""What the server refuses: keys, names, bodies, origins; and what it says then, in OpenAI's shape."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from engine.serving import keys
from engine.serving.gate import Gate
from engine.serving.refusals import UNEXPECTED
from engine.settings import settings
from tests.engine.served import HELLO, PRICE, Stand, stand

CHAT = {"model": "scripted", "messages": HELLO}
BROKEN = {"type": "function", "function": {"name": "f", "parameters": {"type": "strin"}}}
PICTURE = {"type": "image_url", "image_url": {}}


def form(schema: dict[str, Any]) -> dict[str, Any]:
    """A response_format that asks for this schema."""
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


@pytest.fixture(scope="module")
def server() -> Iterator[Stand]:
    with stand() as made:
        yield made


@pytest.fixture
def no_keys() -> Iterator[None]:
    place = settings().home / "keys.json"
    place.unlink(missing_ok=True)
    yield
    place.unlink(missing_ok=True)


def told(answer: httpx.Response) -> dict[str, Any]:
    """The error of a response, which has OpenAI's four fields and nothing else."""
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    assert "Traceback" not in answer.text
    return error


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0"),
        ({"messages": [{"role": "user", "content": [PICTURE]}]}, "messages.0.content.0.type"),
        ({"model": 3}, "model"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": -1}, None),
        ({"temperature": 99}, None),
        ({"top_p": 0}, None),
        ({"max_tokens": -5}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 10**9}, None),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"n": 99}, "n"),
        ({"stop": 3}, "stop"),
        ({"stop": [""]}, None),
        ({"seed": "x"}, "seed"),
        ({"stream": "yes"}, "stream"),
        ({"style": "no such style"}, None),
        ({"tools": [BROKEN]}, "tools.0.function"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools.0.function.name"),
        ({"tools": [PRICE, PRICE]}, None),
        ({"tools": [PRICE], "tool_choice": {"type": "function", "function": {"name": "other"}}}, None),
        ({"tool_choice": "required"}, None),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": form({"type": 3})}, "response_format.json_schema"),
        ({"response_format": form({"$ref": "http://x/"})}, "response_format.json_schema"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"logit_bias": {"5": 1.0}}, "logit_bias"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"max_token": 5}, "max_token"),
    ],
)  # fmt: skip
def test_wrong_fields_are_named(server: Stand, change: dict[str, Any], param: str | None):
    answer = server.post(CHAT | change)
    assert answer.status_code == 400 and told(answer)["param"] == param, answer.text
    assert told(answer)["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "null", "5", '"x"', "{'a': 1}", b"\xff\xfe", "[" * 100_000, '{"a": NaN}']
)
@pytest.mark.parametrize("path", ["/chat/completions", "/completions", "/embeddings"])
def test_bodies_that_are_no_json_object_are_refused(server: Stand, body: str | bytes, path: str):
    answer = server.post(body, path)
    assert answer.status_code == 400 and told(answer)


def test_raw_completions_refuse_what_they_cannot_do(server: Stand):
    ask = {"model": "scripted", "prompt": "x"}
    changes = ({"echo": "yes"}, {"logprobs": 21}, {"best_of": 4}, {"suffix": "y"}, {"prompt": []}, {"prompt": [[]]})
    for change in changes:
        answer = server.post(ask | change, "/completions")
        assert answer.status_code == 400 and (told(answer)["param"] or "prompt").startswith(next(iter(change))), (
            answer.text
        )
    assert server.post({"model": "scripted", "prompt": ["x"] * 65}, "/completions").status_code == 400


def test_unknown_models_paths_and_methods(server: Stand):
    answer = server.post(CHAT | {"model": "gpt-9"})
    assert answer.status_code == 404 and told(answer)["code"] == "model_not_found" and "scripted" in answer.text
    for folder in ("/etc", "../../assets/starter", "some/hub-id", "scripted@", "@", ""):
        assert server.post(CHAT | {"model": folder}).status_code == 404, folder
    assert told(httpx.get(server.url + "/nothing"))["code"] == "unknown_url"
    assert told(httpx.get(server.url + "/chat/completions"))["code"] == "method_not_allowed"
    with pytest.raises(openai.NotFoundError):
        server.client().embeddings.create(model="scripted", input="x")


def test_a_megabyte_of_prompt_is_told_its_tokens_and_more_is_not_read(server: Stand):
    answer = server.post(CHAT | {"messages": [{"role": "user", "content": "word " * 200_000}]})
    assert answer.status_code == 400 and told(answer)["code"] == "context_length_exceeded"
    assert server.post(CHAT | {"messages": [{"role": "user", "content": "x" * 5_000_000}]}).status_code == 413


def test_letters_that_no_utf8_can_hold_do_no_harm(server: Stand):
    answer = server.post('{"model": "scripted", "messages": [{"role": "user", "content": "\\ud800 \\u0000 \\ufffe"}]}')
    assert answer.status_code in (200, 400)
    assert server.post(CHAT).status_code == 200


def test_pages_of_other_sites_and_rebound_names_are_refused(server: Stand):
    assert server.post(CHAT, Origin="https://evil.example").status_code == 403
    assert server.post(CHAT, Origin=server.root).status_code == 200
    assert server.post(CHAT, Host="evil.example").status_code == 403


def test_faults_of_our_own_are_told_as_such_and_nothing_of_them_gets_out():
    with stand([ZeroDivisionError("secret detail")]) as server:
        answer = server.post(CHAT)
        assert answer.status_code == 500 and told(answer)["message"] == UNEXPECTED and "secret" not in answer.text
        with pytest.raises(openai.APIError, match="Something went wrong"):
            list(server.client().chat.completions.create(**CHAT, stream=True))
        assert server.service.gate.running == 0 and server.pool.pins == 0


def test_health_is_told_to_anybody_without_details(no_keys: None):
    with stand(key_needed=True) as server:
        assert httpx.get(f"{server.root}/healthz").json() == {"status": "ok"}
        assert httpx.get(f"{server.root}/readyz").json() == {"status": "ready"}


def test_keys_are_needed_where_others_reach_the_server(no_keys: None):
    with stand(key_needed=True) as server:
        key, secret = keys.create("a class")
        assert told(server.post(CHAT))["code"] == "invalid_api_key"
        for wrong in ("sk-diptych-wrong", secret[:-1], secret + "x", "ä"):
            with pytest.raises(openai.AuthenticationError):
                server.client(wrong.encode("ascii", "replace").decode()).chat.completions.create(**CHAT)
        assert server.client(secret).chat.completions.create(**CHAT).choices[0].message.content == "Hello there."
        assert server.post("{", Authorization="Bearer wrong").status_code == 401, "a body was read before the key"
        keys.revoke(key.id)
        with pytest.raises(openai.AuthenticationError, match="revoked"):
            server.client(secret).chat.completions.create(**CHAT)


def test_on_this_machine_any_key_will_do_but_a_revoked_one(no_keys: None, server: Stand):
    assert server.client("sk-whatever").models.list()
    key, secret = keys.create("old")
    keys.revoke(key.id)
    with pytest.raises(openai.AuthenticationError):
        server.client(secret).models.list()


def test_metrics_are_the_owners(no_keys: None, server: Stand):
    server.post(CHAT)
    text = httpx.get(f"{server.root}/metrics").text
    assert 'diptych_requests_total{path="/v1/chat/completions",status="200"}' in text
    assert 'diptych_first_token_seconds_bucket{le="+Inf"}' in text and 'kind="completion"' in text
    with stand(key_needed=True) as guarded:
        _, guest = keys.create("guest")
        _, owner = keys.create("owner", owner=True)
        found = [
            httpx.get(f"{guarded.root}/metrics", headers={"Authorization": f"Bearer {secret}"}).status_code
            for secret in (guest, owner)
        ]
        assert found == [403, 200] and httpx.get(f"{guarded.root}/metrics").status_code == 401


def test_a_keys_own_limits_are_held(no_keys: None):
    with stand(gate=Gate(at_once=4)) as server:
        _, secret = keys.create("slow one", per_minute=2)
        client = server.client(secret)
        client.chat.completions.create(**CHAT)
        client.chat.completions.create(**CHAT)
        with pytest.raises(openai.RateLimitError, match="2 requests a minute") as caught:
            client.chat.completions.create(**CHAT)
        assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
        assert server.client().chat.completions.create(**CHAT), "another caller paid for it"


# -- bodies made at random from the server's own description --

LOOSE: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    2**70,
    -0.5,
    1e300,
    "",
    "x",
    "\x00",
    "é" * 50,
    [],
    [[]],
    {},
    {"a": {}},
    [1, "a"],
]
TEXTS = ["scripted", "x", "", "a b", "\ud800", "</s>", "{", "a" * 300]
NUMBERS = {"integer": [1, 2, 0, -3, 7, 10**12], "number": [0.0, 0.5, 1, 2, -1.5, 1e308], "boolean": [True, False]}


class Bodies:
    """Values that fit a schema but for a share of `wild` ones."""

    def __init__(self, rng: random.Random, schemas: dict[str, Any], wild: float):
        self.rng, self.schemas, self.wild = rng, schemas, wild

    def made(self, schema: dict[str, Any], depth: int = 0) -> Any:
        if depth > 8 or self.rng.random() < self.wild:
            return self.rng.choice(LOOSE)
        if "$ref" in schema:
            return self.made(self.schemas[schema["$ref"].rsplit("/", 1)[1]], depth + 1)
        if "anyOf" in schema:
            return self.made(self.rng.choice(schema["anyOf"]), depth + 1)
        if "enum" in schema or "const" in schema:
            return self.rng.choice(schema.get("enum") or [schema["const"]])
        kind = str(schema.get("type"))
        if kind == "object":
            needed = schema.get("required", [])
            chosen = {n: s for n, s in schema.get("properties", {}).items() if n in needed or self.rng.random() < 0.1}
            extra = {"extra": 1} if self.rng.random() < self.wild else {}
            return {name: self.made(each, depth + 1) for name, each in chosen.items()} | extra
        if kind == "array":
            return [self.made(schema.get("items", {}), depth + 1) for _ in range(self.rng.choice((1, 1, 2, 5)))]
        if "minimum" in schema or "maximum" in schema:
            return self.rng.choice([schema.get("minimum", 0), schema.get("maximum", 5)])
        return None if kind == "null" else self.rng.choice(TEXTS if kind == "string" else NUMBERS.get(kind, LOOSE))


def test_bodies_at_random_are_answered_or_refused_and_never_a_fault(server: Stand):
    described = httpx.get(f"{server.url}/openapi.json").json()
    rng = random.Random(7)
    seen: dict[int, int] = {}
    with httpx.Client(timeout=60) as client:
        for path in ("/chat/completions", "/completions", "/embeddings"):
            content = described["paths"][f"/v1{path}"]["post"]["requestBody"]["content"]
            for number in range(250):
                bodies = Bodies(rng, described["components"]["schemas"], wild=0.01 if number % 2 else 0.15)
                body = bodies.made(content["application/json"]["schema"])
                if isinstance(body, dict) and rng.random() < 0.9:
                    body["model"] = "scripted"
                answer = client.post(server.url + path, content=json.dumps(body))
                assert answer.status_code in (200, 400, 404), (body, answer.text)
                if answer.status_code != 200:
                    told(answer)
                seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
    assert seen.keys() == {200, 400, 404} and seen[200] > 20, seen
    assert server.service.gate.running == 0 and server.pool.pins == 0
