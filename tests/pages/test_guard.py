"""The guard in front of Gradio, over HTTP: shut routes, foreign origins, headers."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import httpx
import pytest

from pages.entrance import MINUTE
from pages.guard import LARGEST_SENT, SENT_A_MINUTE, Guard
from pages.launch import Launch


def get(address: str, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
    """A GET whose path and Host reach the server exactly as given."""
    parts = urlsplit(address)
    wire = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    wire.putrequest("GET", path, skip_host="Host" in headers)
    for name, value in headers.items():
        wire.putheader(name, value)
    wire.endheaders()
    answer = wire.getresponse()
    body = answer.read().decode("utf-8", "replace")
    wire.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=http://169.254.169.254/latest",
        "/gradio_api/file=https://example.com/x",
        "/gradio_api/file=%68ttp://example.com",
        "/gradio_api/file=%2568ttp://example.com",
        "/gradio_api/file%3Dhttp://example.com",
        "/gradio_api/file=HTTP://example.com",
        "/gradio_api/file=//example.com/x",
        "/gradio_api/file=ftp://example.com/x",
        "/gradio_api/proxy=https://x.hf.space/y",
        "/gradio_api/%70roxy=https://x.hf.space/y",
        "/proxy=https://x.hf.space/y",
        "/monitoring",
        "/monitoring/",
        "/gradio_api/vibe-edit/",
        "/gradio_api/dev/reload",
        "/gradio_api/runs",
        "/gradio_api/component_server",
    ],
)
def test_shut_routes_answer_403(page, path: str):
    status, _, body = get(page[0], path)
    assert status == 403 and body == "This address is not part of Diptych."


@pytest.mark.parametrize("path", ["/", "/config", "/theme.css", "/gradio_api/info", "/gradio_api/startup-events"])
def test_the_page_itself_stays_open_and_has_the_headers(page, path: str):
    status, headers, _ = get(page[0], path)
    assert status == 200
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'self'" in headers["content-security-policy"]


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1.evil.example", "file://", "http://["]
)
def test_foreign_origins_are_refused(page, origin: str):
    answer = httpx.post(f"{page[0]}/gradio_api/queue/join", json={}, headers={"Origin": origin})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_own_origin_is_let_in(page):
    assert get(page[0], "/config", Origin=page[0])[0] == 200


def test_another_port_of_this_machine_is_another_origin(page):
    assert get(page[0], "/config", Origin="http://127.0.0.1:1")[0] == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "", "["])
def test_names_that_only_lead_here_are_refused(page, host: str):
    """DNS rebinding: a foreign name that resolves to 127.0.0.1, with a matching Origin."""
    assert get(page[0], "/config", Host=host, Origin=f"http://{host}")[0] == 403


def test_files_of_the_server_are_not_handed_out(page):
    for path in ("/gradio_api/file=/etc/passwd", "/gradio_api/file=app.py", "/gradio_api/file=../../etc/passwd"):
        assert get(page[0], path)[0] in (403, 404)


def test_run_history_and_monitoring_are_off(page):
    config = httpx.get(f"{page[0]}/config").json()
    assert not config.get("run_history") and not config["analytics_enabled"] and not config["show_error"]
    assert not config.get("mcp_server")


def ask(guard: Guard, host: str, origin: str | None = None) -> str | None:
    headers = [(b"host", host.encode())] + ([(b"origin", origin.encode())] if origin else [])
    return guard.refusal({"type": "http", "path": "/", "headers": headers})


def test_share_link_and_network_address_let_only_their_own_page_in():
    shared = Guard(None, Launch(share=True, auth=("a", "b" * 8)), {"abc.gradio.live"})
    assert ask(shared, "abc.gradio.live", "https://abc.gradio.live") is None
    assert ask(shared, "abc.gradio.live", "https://evil.gradio.live")
    assert ask(shared, "evil.gradio.live", "https://evil.gradio.live")
    network = Guard(None, Launch(host="0.0.0.0", auth=("a", "b" * 8)), set())
    assert ask(network, "192.168.1.5:7860", "http://192.168.1.5:7860") is None
    assert ask(network, "192.168.1.5:7860", "http://evil.example")


def test_space_may_be_framed_by_the_hub_only():
    headers = dict(Guard(None, Launch(on_space=True, open_demo=True), set()).headers)
    assert b"frame-ancestors 'self' https://huggingface.co https://*.hf.space" in headers[b"content-security-policy"]


def sent(guard: Guard, size: str | None, path: str = "/gradio_api/upload") -> str | None:
    headers = [(b"host", b"127.0.0.1")] + ([(b"content-length", size.encode())] if size is not None else [])
    return guard.refusal({"type": "http", "path": path, "headers": headers})


def test_strangers_send_small_files_and_few_of_them(monkeypatch: pytest.MonkeyPatch):
    guard = Guard(None, Launch(open_demo=True), set())
    for path in ("/gradio_api/upload", "//gradio_api//upload", "/gradio_api/%75pload", "/GRADIO_API/upload/x"):
        assert "up to 2 MB" in str(sent(guard, str(LARGEST_SENT + 1), path))
    assert "up to 2 MB" in str(sent(guard, None)) and "up to 2 MB" in str(sent(guard, "many"))
    now = 1000.0
    monkeypatch.setattr("pages.guard.time.monotonic", lambda: now)
    assert [sent(guard, "10") for _ in range(SENT_A_MINUTE)] == [None] * SENT_A_MINUTE
    assert "Wait a minute" in str(sent(guard, "10"))
    assert sent(guard, "10", "/gradio_api/queue/join") is None, "only files are counted"
    now += MINUTE
    assert sent(guard, "10") is None


@pytest.mark.parametrize("launch", [Launch(), Launch(share=True, auth=("a", "b" * 8))])
def test_owners_send_what_the_page_takes(launch: Launch):
    guard = Guard(None, launch, set())
    assert [sent(guard, "40000000") for _ in range(SENT_A_MINUTE + 2)] == [None] * (SENT_A_MINUTE + 2)
