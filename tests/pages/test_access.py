"""Every event asks who is there, on the server: visitors of an open demo, owners, forged calls."""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr
import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from engine.access import OWNERS, TABLE, Visitor
from engine.catalog import Model
from engine.errors import Problem
from pages.desk import Desk
from pages.form import resolve
from pages.hosted import add_endpoint
from pages.launch import Launch
from pages.parts import asks, visitor
from tests.pages.scripted import Stage, serving

LOCAL, OWNED, DEMO = Launch(), Launch(auth=("me", "correct-horse")), Launch(open_demo=True)


def request(launch: Launch | None, username: str | None = None) -> gr.Request:
    scope = {} if launch is None else {"diptych.launch": launch}
    return gr.Request(SimpleNamespace(scope=scope), username=username)


@pytest.fixture(scope="module")
def demo():
    with serving("--open-demo") as served:
        yield served


def test_every_event_with_a_function_asks(page, demo):
    for _, blocks in (page, demo):
        silent = [
            fn.api_name or fn.fn
            for fn in blocks.fns.values()
            if fn.fn is not None and getattr(fn.fn, "action", None) not in TABLE
        ]
        assert not silent, f"these events never ask access.TABLE: {silent}"
        assert len([fn for fn in blocks.fns.values() if fn.fn is not None]) > 30


def test_an_action_that_is_not_in_the_table_cannot_be_written():
    with pytest.raises(KeyError):
        asks("rule the world")


def test_who_is_who():
    assert visitor(request(LOCAL)).mode == "local"
    assert visitor(request(OWNED, "me")) == Visitor("owner", "me")
    assert visitor(request(OWNED)).mode == "visitor", "a call past the login counted as the owner"
    assert visitor(request(DEMO)).mode == visitor(request(DEMO, "me")).mode == "visitor"
    assert visitor(request(None)).mode == visitor(None).mode == "visitor", "what passed no guard was trusted"


@pytest.mark.parametrize("action", [name for name, (who, _) in TABLE.items() if who == OWNERS])
def test_owners_actions_are_refused_to_visitors(action: str):
    @asks(action)
    def handler(request: gr.Request) -> str:
        return "done"

    @asks(action)
    def streaming(request: gr.Request):
        yield "done"

    assert handler(request(LOCAL)) == "done" and list(streaming(request(OWNED, "me"))) == ["done"]
    for stranger in (request(DEMO), request(OWNED), request(None)):
        with pytest.raises(gr.Error, match="Visitors of an open demo may not"):
            handler(stranger)
        with pytest.raises(gr.Error, match="Visitors of an open demo may not"):
            next(streaming(stranger))


def test_visitor_may_not_name_a_model_of_their_own():
    desk, stranger = Desk([]), Visitor("visitor")
    assert resolve("starter", "lane 1", desk, stranger)[0].name == "starter"
    with pytest.raises(Problem, match="may not use a model that is not in the list"):
        resolve("/etc", "lane 1", desk, stranger)
    assert resolve("some/model", "lane 1", desk, Visitor("local"))[0] == Model("some/model", "some/model")


def test_visitor_may_not_use_an_endpoint():
    arguments = ("mine", "http://localhost:1/v1", "m", "sk-1")
    with pytest.raises(gr.Error, match="may not send requests"):
        add_endpoint(request(DEMO), Desk([]), *arguments)
    desk = Desk([])
    told, key, *_ = add_endpoint(request(LOCAL), desk, *arguments)
    assert key == "" and "sk-1" not in told
    found, kept = resolve("mine", "lane 1", desk, Visitor("local"))
    assert (found.endpoint, found.base, kept) == ("http://localhost:1/v1", "m", "sk-1")
    with pytest.raises(Problem):
        resolve("mine", "lane 1", desk, Visitor("visitor"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("", "", "", ""), "Give the endpoint a name. The base URL must start with http"),
        (("x", "file:///etc/passwd", "m", ""), "must start with http"),
        (("x", "http://me:pw@host", "m", ""), "without a password in it"),
        (("x", "http://[", "m", ""), "must start with http"),
        (("starter", "http://host", "m", ""), "belongs to a model in the list"),
        (("x", "http://host", " ", ""), "Say which model"),
    ],
)
def test_bad_endpoints_are_refused_with_every_complaint(arguments: tuple, sentence: str):
    with pytest.raises(gr.Error) as caught:
        add_endpoint(request(LOCAL), Desk([]), *arguments)
    assert sentence in caught.value.message


def test_demo_page_has_a_banner_and_no_endpoint_form(demo):
    html = httpx.get(demo[0], timeout=60).text
    assert "Open demo." in html and "add_endpoint" not in html and "endpoint-key" not in html


def test_forged_calls_of_a_visitor_are_refused(demo, stage: Stage):
    client = Client(demo[0], verbose=False, httpx_kwargs={"timeout": 60})
    with pytest.raises(AppError, match="may not use a model that is not in the list"):
        client.predict("hi", ["/etc/passwd"], api_name="/compare")
    # past gradio_client, with a model that the picker does not hold and the names a forger would try
    forged = {"data": [None, "../../secret"], "fn_index": pick_of(demo[1]), "session_hash": "forged"}
    answer = httpx.post(
        f"{demo[0]}/gradio_api/run/predict", json=forged, headers={"x-forwarded-for": "127.0.0.1"}, timeout=60
    )
    assert answer.status_code != 200 and "Traceback" not in answer.text
    assert not stage.started


def pick_of(blocks: gr.Blocks) -> int:
    return next(index for index, fn in blocks.fns.items() if fn.api_name == "pick_model")


def test_visitors_may_compare_what_is_listed(demo, stage: Stage):
    found = Client(demo[0], verbose=False, httpx_kwargs={"timeout": 60}).predict(
        "hi", ["starter", "starter-shawgpt"], api_name="/compare"
    )
    assert [one["end"] for one in found] == ["stop", "stop"]


def test_logged_in_owner_may_name_any_model(stage: Stage):
    with serving("--auth", "me:correct-horse", tabs=("Compare",)) as (address, _):
        client = Client(address, auth=("me", "correct-horse"), verbose=False, httpx_kwargs={"timeout": 60})
        found = client.predict("hi", ["some/model", "starter"], api_name="/compare")
    assert [one["model"] for one in found] == ["some/model", "starter"]


def test_keys_are_neither_in_the_page_nor_in_what_is_said(page):
    desk = Desk([])
    add_endpoint(request(LOCAL), desk, "mine", "http://localhost:1/v1", "m", "sk-very-secret")
    config = httpx.get(f"{page[0]}/config", timeout=60).json()
    keys = [c for c in config["components"] if c["props"].get("elem_id") == "endpoint-key"]
    assert keys and keys[0]["props"]["type"] == "password" and not keys[0]["props"].get("value")
    assert "sk-very-secret" not in repr(desk.endpoints["mine"][0])
