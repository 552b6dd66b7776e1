"""Keys stay home: what reaches which server, and what comes back in sentences."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine import hosted
from engine.catalog import Model
from engine.errors import Problem
from engine.hosted import HostedResponder
from engine.hosting import wire as hosted_wire
from engine.messages import Sampling
from tests.engine.asking import ASK, KEY, at, collect, complaint
from tests.fake_openai import (
    FakeOpenAI,
    complain,
    raw,
    refuse,
    stream,
)

SECRETS = (
    "OPENAI_API_KEY",
    "OPENAI_ADMIN_KEY",
    "OPENAI_ORG_ID",
    "OPENAI_PROJECT_ID",
    "OPENAI_WEBHOOK_SECRET",
)


@pytest.fixture
def canaries(monkeypatch: pytest.MonkeyPatch) -> str:
    """Everything that openai reads from the environment, set to a mark that must not travel."""
    for name in SECRETS:
        monkeypatch.setenv(name, f"canary-{name}")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://canary.invalid/v1")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer canary-a\nX-Secret: canary-b\nCookie: canary-c")
    monkeypatch.setenv("HTTP_PROXY", "http://canary:canary@127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://canary:canary@127.0.0.1:9")
    return "canary"


def test_nothing_of_the_environment_reaches_a_server(canaries: str):
    with FakeOpenAI() as server:
        assert collect(HostedResponder(at(server.url)).reply(ASK, Sampling()))[1] is None
        sent = server.requests[0]
    assert canaries not in f"{sent.headers} {sent.body!r} {sent.path}"
    assert sent.headers["authorization"] == "Bearer none"
    assert set(sent.headers) <= {*hosted_wire.SENT_HEADERS, "accept-encoding"}


def test_the_visitors_key_is_what_is_sent(canaries: str):
    with FakeOpenAI() as server:
        collect(HostedResponder(at(server.url), key=f" {KEY}\n").reply(ASK, Sampling()))
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
        assert canaries not in str(server.requests[0].headers).replace(KEY, "")


@pytest.fixture
def paired(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOpenAI]:
    """A server that the catalogue pairs with FAKE_KEY, which holds KEY."""
    with FakeOpenAI() as server:
        monkeypatch.setattr(hosted, "shipped", lambda: {"m": at(server.url, key_name="FAKE_KEY")})
        monkeypatch.setenv("FAKE_KEY", KEY)
        yield server


def test_the_servers_key_goes_to_the_host_that_the_catalogue_pairs_it_with(paired: FakeOpenAI):
    other_model = Model("mine", "other-model", endpoint=paired.url + "/", key_name="FAKE_KEY")
    assert collect(HostedResponder(other_model).reply(ASK, Sampling()))[1] is None
    assert paired.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_the_servers_key_goes_to_no_other_host_port_or_scheme(paired: FakeOpenAI):
    with FakeOpenAI() as other:
        elsewhere = [
            other.url,
            paired.url.replace("http:", "https:"),
            paired.url.replace("127.0.0.1", "localhost"),
        ]
        for url in elsewhere:
            with pytest.raises(Problem, match="FAKE_KEY is not sent to"):
                HostedResponder(at(url, key_name="FAKE_KEY"))
            with pytest.raises(Problem, match="OPENAI_API_KEY is not sent to"):
                HostedResponder(at(url, key_name="OPENAI_API_KEY"))
        assert other.requests == [] and paired.requests == []


def test_the_visitors_key_comes_before_the_servers(paired: FakeOpenAI):
    collect(HostedResponder(at(paired.url, key_name="FAKE_KEY"), key="sk-mine").reply(ASK, Sampling()))
    assert paired.requests[0].headers["authorization"] == "Bearer sk-mine"


def test_a_key_that_the_server_lacks_is_asked_for(paired: FakeOpenAI, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("FAKE_KEY")
    with pytest.raises(Problem, match="needs a key"):
        HostedResponder(at(paired.url, key_name="FAKE_KEY"))


@pytest.mark.parametrize("key", ["sk-a b", "sk-ä", "sk-a\nHost: evil", "x" * 5000])
def test_a_key_that_cannot_be_one_is_refused_without_repeating_it(key: str):
    with pytest.raises(Problem) as caught:
        HostedResponder(at("http://127.0.0.1:9/v1"), key=key)
    assert key not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int):
    with FakeOpenAI() as target:
        said = complaint(refuse(status, Location=f"{target.url}/chat/completions?k={KEY}"))
        assert target.requests == []
    assert f"http://127.0.0.1:{target.port}" in said and "does not follow" in said


@pytest.mark.parametrize(
    "echo",
    [KEY, f"'{KEY}'.", f"{KEY[:12]}...", f"...{KEY[-10:]}", KEY * 2],
    ids=["all", "quoted", "start", "end", "two"],
)
def test_an_echoed_key_is_taken_out(echo: str):
    for script in (
        complain(401, f"Incorrect API key provided: {echo}"),
        refuse(404, echo),
        refuse(400, {"detail": [{"key": echo}]}),
        raw(echo.encode()),
        stream([{"error": {"message": echo}}]),
    ):
        said = complaint(script)
        assert KEY[:8] not in said and KEY[-8:] not in said


def test_the_key_shows_in_no_repr():
    responder = HostedResponder(at("http://127.0.0.1:9/v1"), key=KEY)
    assert KEY not in f"{responder!r} {responder._complaint!r}"
