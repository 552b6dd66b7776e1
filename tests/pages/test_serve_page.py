"""The server on the app's own port, and the Serve tab: address, code that runs, keys, who may see what."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from types import SimpleNamespace

import gradio as gr
import httpx
import openai
import pytest

from engine.serve import create
from engine.serving import keys
from engine.serving.prompting import words
from engine.settings import settings
from pages import serve_moves, serve_render
from pages.launch import Launch
from pages.serve import CODE
from pages.site import keys_needed, serve, site
from tests.pages.scripted import free_port, serving

CHAT = {"model": "starter", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}


@pytest.fixture(autouse=True)
def no_keys() -> Iterator[None]:
    place = settings().home / "keys.json"
    place.unlink(missing_ok=True)
    yield
    place.unlink(missing_ok=True)


def request(launch: Launch, host: str = "127.0.0.1:7860", **headers: str) -> gr.Request:
    scope = {"diptych.launch": launch, "diptych.service": create(keys_needed(launch))}
    made = SimpleNamespace(scope=scope, headers={"host": host, **headers}, url=SimpleNamespace(scheme="http"))
    return gr.Request(made, username="me" if launch.auth else None)


def test_the_code_on_the_page_holds_the_flight_conversation_with_the_apps_own_address(page: tuple[str, gr.Blocks]):
    code = words("python").replace("{address}", f"{page[0]}/v1").replace("{key}", "none")
    assert len([line for line in code.splitlines() if line]) == 10
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, "python.txt", "exec"), {})
    assert "get_ticket_price" in said.getvalue() and "Delhi" in said.getvalue() and "$89" in said.getvalue()


def test_every_example_is_shown_and_written_once():
    assert tuple(CODE) == serve_moves.EXAMPLES
    for name in CODE:
        assert "{address}" in words(name) and "{key}" in words(name)


def test_the_page_and_the_server_share_a_port(page: tuple[str, gr.Blocks]):
    assert httpx.get(page[0]).status_code == httpx.get(f"{page[0]}/config").status_code == 200
    assert httpx.get(f"{page[0]}/healthz").json() == {"status": "ok"}
    found = httpx.get(f"{page[0]}/v1/nothing")
    assert found.status_code == 404 and found.json()["error"]["code"] == "unknown_url"
    assert "default-src 'self'" in found.headers["content-security-policy"], "the guard was passed by"
    assert httpx.get(f"{page[0]}/v1/models", headers={"Host": "evil.example"}).status_code == 403
    assert httpx.post(f"{page[0]}/v1/completions", headers={"Origin": "http://evil.example"}).status_code == 403


def test_keys_are_needed_wherever_others_may_come():
    assert not keys_needed(Launch())
    for others in (
        Launch(auth=("me", "correct-horse")),
        Launch(open_demo=True),
        Launch(share=True, auth=("a", "b" * 8)),
    ):
        assert keys_needed(others)
    with serving("--auth", "me:correct-horse", tabs=("Serve",)) as (address, _):
        assert httpx.post(f"{address}/v1/chat/completions", json=CHAT).status_code == 401
        _, secret = keys.create("program")
        client = openai.OpenAI(base_url=f"{address}/v1", api_key=secret, max_retries=0)
        assert "starter" in [model.id for model in client.models.list()], "a key asked for the page's login"
        assert httpx.get(f"{address}/metrics").status_code == 401


def test_the_apps_end_is_told_to_open_streams():
    launch = Launch(port=free_port())
    blocks = site(launch)
    address = serve(blocks, launch).rstrip("/")
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
    stream = client.completions.create(
        model="starter", prompt="Once", max_tokens=4000, stream=True, extra_body={"temperature": 5.0}
    )
    next(iter(stream))
    blocks.close()
    with pytest.raises(openai.APIError, match="broke off"):
        for _ in stream:
            pass


def test_the_tab_tells_the_address_under_which_it_was_asked_for():
    about, python, _, curl = serve_moves.offer(request(Launch()))
    assert "http://127.0.0.1:7860/v1" in about and "starter-shawgpt" in about
    assert 'base_url="http://127.0.0.1:7860/v1", api_key="none"' in python
    shared = Launch(share=True, auth=("me", "correct-horse"))
    found = serve_moves.offer(request(shared, "abc.gradio.live", **{"x-forwarded-proto": "https"}))
    assert "https://abc.gradio.live/v1" in found[0] and "YOUR_KEY" in found[1] and "https://abc" in found[3]
    assert curl.startswith("curl")


def test_a_key_is_made_shown_once_listed_and_revoked():
    asked = request(Launch())
    shown, name, needed, table, which = serve_moves.make(asked, "My <class>", 3, 9, True)
    secret = shown.value
    assert keys.key_of(secret).owner and name == "" and "no key is needed" in needed
    assert "My &lt;class&gt;" in table and secret not in table and which.value == keys.all_keys()[0].id
    assert secret not in str(serve_moves.keys_seen(asked))
    hidden, *_ = serve_moves.revoke(asked, which.value)
    assert hidden.value == "" and not hidden.visible and keys.key_of(secret).revoked
    with pytest.raises(gr.Error, match="Give the key a name"):
        serve_moves.make(asked, " ", 3, 9, False)
    with pytest.raises(gr.Error, match="Choose the key"):
        serve_moves.revoke(asked, None)


def test_visitors_see_the_address_and_nothing_of_keys():
    demo = request(Launch(open_demo=True))
    assert "YOUR_KEY" in serve_moves.offer(demo)[1]
    for forged in (serve_moves.keys_seen, serve_moves.figures):
        with pytest.raises(gr.Error, match="Visitors of an open demo may not"):
            forged(demo)
    with pytest.raises(gr.Error, match="may not make keys"):
        serve_moves.make(demo, "x", 1, 1, True)
    assert not keys.all_keys()


def test_figures_are_told_from_the_servers_own_counts():
    service = create()
    assert "0 of 64" in serve_render.figures(service) and "–, –" in serve_render.figures(service)
    service.metrics.requests["/v1/models", 200] += 3
    service.metrics.requests["/v1/models", 429] += 2
    service.metrics.first_token.add(0.25)
    found = serve_render.figures(service)
    assert "<dd>3</dd>" in found and "2 as too many" in found and "250 ms, 250 ms" in found
