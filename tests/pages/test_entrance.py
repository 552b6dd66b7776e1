"""The login's limits: wrong passwords, logins that end, and Gradio's routes that ask for none."""

from __future__ import annotations

import httpx
import pytest
from fastapi import HTTPException

from pages.entrance import LASTS, SHUT_FOR, WRONG_A_NAME, WRONG_IN_ALL, Entrance, given_tokens
from tests.test_app import serving


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def entrance(clock: Clock) -> Entrance:
    return Entrance(("me", "correct-horse"), clock)


def test_right_password_opens_and_others_do_not(entrance: Entrance):
    assert entrance("me", "correct-horse")
    assert not any(
        [entrance("me", "correct-hors"), entrance("you", "correct-horse"), entrance("", ""), entrance("é", "é")]
    )


def test_sixth_try_within_a_minute_is_refused_and_the_next_minute_is_not(entrance: Entrance, clock: Clock):
    for _ in range(WRONG_A_NAME):
        assert not entrance("me", "wrong")
    with pytest.raises(HTTPException) as refused:
        entrance("me", "correct-horse")
    assert refused.value.status_code == 400 and "Wait a minute" in refused.value.detail
    clock.now = 61
    assert entrance("me", "correct-horse")


def test_guessing_under_many_names_is_refused_too(entrance: Entrance):
    for number in range(WRONG_IN_ALL):
        assert not entrance(f"name {number}", "wrong")
    with pytest.raises(HTTPException):
        entrance("another", "wrong")


def test_login_ends_after_half_a_day(entrance: Entrance, clock: Clock):
    tokens = {"a": "me"}
    assert entrance.refusal("/config", tokens, "", "id") is None
    clock.now = LASTS - 1
    tokens["b"] = "me"
    entrance.refusal("/config", tokens, "", "id")
    assert set(tokens) == {"a", "b"}
    clock.now = LASTS + 1
    entrance.refusal("/config", tokens, "", "id")
    assert set(tokens) == {"b"}


@pytest.mark.parametrize(
    "path", ["/gradio_api/cancel", "/gradio_api/heartbeat/x", "//gradio_api//stream/1", "/GRADIO_API/cancel/"]
)
def test_routes_that_gradio_leaves_open_ask_for_a_login(entrance: Entrance, path: str):
    assert entrance.refusal(path, {"t": "me"}, "", "id")
    assert entrance.refusal(path, {"t": "me"}, "access-token-id=x", "id")
    assert entrance.refusal(path, {"t": "me"}, "access-token-unsecure-id=t", "id") is None


def test_broken_cookies_hold_no_login():
    assert given_tokens("a=b; \x00=;;;access-token-id", "id") == []


def test_over_http_six_guesses_and_a_strangers_cancel_are_refused():
    stop = {"session_hash": "s", "fn_index": 0, "event_id": "e"}
    with (
        serving("--auth", "me:correct-horse", tabs=("Serve",)) as (address, _),
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        assert client.post("/gradio_api/cancel", json=stop).status_code == 403
        assert client.post("/login", data={"username": "me", "password": "correct-horse"}).status_code == 200
        assert client.post("/gradio_api/cancel", json=stop).status_code == 200
        answers = [client.post("/login", data={"username": "me", "password": "no"}) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [400] * 6
        assert ["Too many" in answer.text for answer in answers] == [False] * 5 + [True]
        assert SHUT_FOR in httpx.get(address, timeout=60).text, "Gradio's form cannot tell the two apart"
