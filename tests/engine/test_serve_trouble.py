"""The server when things go wrong: clients that leave or crawl, too many at once, unloading, the server's end."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest

from engine.catalog import Model
from engine.serve import running
from engine.serving import call
from engine.serving.gate import Gate
from tests.engine.served import HELLO, Stand, begin, real_stand, stand, until

ENDLESS = [0.01, "word "] * 5000
CHAT = {"model": "scripted", "messages": HELLO}


@pytest.fixture(scope="module")
def tiny_stand(tiny: Path) -> Iterator[Stand]:
    with real_stand(Model("tiny", str(tiny))) as made:
        yield made


def leave_when(server: Stand, true: Callable[[], object], **more: object) -> None:
    """Ask on a bare connection, and hang up once something is true."""
    body = json.dumps({**CHAT, **more}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(server.root.rsplit(":", 1)[1]))) as wire:
        wire.sendall(head.encode() + body)
        until(true)


def test_a_client_that_leaves_while_words_come_takes_its_row_out():
    with stand(ENDLESS) as server:
        reply = begin(server)
        next(reply.iter_raw())
        row = until(lambda: server.pool.loop.rows)[0]
        reply.close()
        assert row.over.wait(20)  # how soon is measured: python -m benchmarks.serve --only leave
        until(lambda: server.service.gate.running == 0 and server.pool.pins == 0)
        until(lambda: server.service.metrics.disconnects == 1)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_before_the_first_word_takes_its_row_out(stream: bool):
    with stand([600.0, "late"]) as server:
        leave_when(server, lambda: server.pool.loop.rows, stream=stream)
        assert server.pool.loop.rows[0].over.wait(20)
        until(lambda: server.service.gate.running == 0 and server.pool.pins == 0)


def test_a_client_that_leaves_while_the_model_loads_leaves_nothing_held():
    with stand(wait=1.5) as server:
        leave_when(server, lambda: server.pool.loads == 1)
        until(lambda: server.service.gate.running == 0)
        assert server.post(CHAT).status_code == 200
        until(lambda: server.pool.loads == 2 and server.pool.pins == 0)
        assert len(server.pool.loop.asked) == 1, "the request of the client that left was decoded"


def test_a_client_that_leaves_the_line_lets_the_next_one_move_up():
    with stand(ENDLESS, Gate(at_once=1)) as server:
        first = begin(server)
        leave_when(server, lambda: server.service.gate.waiting == 1)
        until(lambda: server.service.gate.waiting == 0)
        first.close()
        until(lambda: server.service.gate.running == 0)
        assert len(server.pool.loop.asked) == 1


def test_a_slow_reader_holds_nobody_up_and_loses_nothing():
    words = [f"{number:06d} " * 40 for number in range(3000)]  # 840 kB: more than the sockets' buffers take

    def answer(prompt: str):
        return words if "slow" in prompt else ["quick"]

    with stand(answer, Gate(at_once=2)) as server:
        slow = begin(server, messages=[{"role": "user", "content": "slow"}], max_tokens=4000)
        lines = slow.iter_lines()
        next(lines)
        row = until(lambda: server.pool.loop.rows)[0]
        assert row.over.wait(30), "the row waited for its reader"
        until(lambda: server.service.gate.running == 0 and server.pool.pins == 0)
        assert server.post(CHAT).json()["choices"][0]["message"]["content"] == "quick"
        rest = [line for line in lines if line.startswith("data: {")]
        slow.close()
    text = "".join(json.loads(line[6:])["choices"][0]["delta"].get("content") or "" for line in rest)
    assert text == "".join(words)


def test_a_reader_that_takes_nothing_any_more_is_hung_up_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(call, "STUCK_SECONDS", 0.5)
    with stand(["x" * 20_000] * 600) as server:  # 12 MB: far more than the sockets' buffers take
        stuck = begin(server, max_tokens=2000)
        until(lambda: server.service.metrics.disconnects == 1)
        until(lambda: server.service.gate.running == 0)
        assert server.post({**CHAT, "max_tokens": 1}).status_code == 200
        stuck.close()


def test_sixty_five_callers_at_a_limit_of_sixty_four():
    go = threading.Event()

    def answer(prompt: str):
        go.wait(60)
        return ["done"]

    with stand(answer, Gate(at_once=64, in_line=0)) as server:

        def ask(_: int) -> httpx.Response:
            return server.post(CHAT)

        with ThreadPoolExecutor(65) as callers:
            asked = [callers.submit(ask, number) for number in range(64)]
            until(lambda: server.service.gate.running == 64)
            late = server.post(CHAT)
            assert httpx.get(f"{server.root}/readyz").status_code == 503
            assert httpx.get(f"{server.root}/healthz").status_code == 200
            go.set()
            answers = [each.result(60) for each in asked]
        assert late.status_code == 429 and int(late.headers["retry-after"]) >= 1
        assert late.json()["error"]["code"] == "rate_limit_exceeded"
        assert [each.json()["choices"][0]["message"]["content"] for each in answers] == ["done"] * 64
        assert server.post(CHAT).status_code == 200


def test_who_waits_in_line_is_answered_in_turn():
    with stand([0.1, "done"], Gate(at_once=2, in_line=10)) as server, ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda _: server.post(CHAT).status_code, range(8)))
    assert answers == [200] * 8


def test_a_model_that_is_unloaded_breaks_off_with_an_error_and_not_with_silence():
    with stand(ENDLESS) as server:
        stream = server.client().chat.completions.create(**CHAT, stream=True)
        next(stream)
        waiting = ThreadPoolExecutor(1).submit(server.post, CHAT)
        until(lambda: len(server.pool.loop.rows) == 2)
        server.pool.loop.closed.set()
        with pytest.raises(openai.APIError, match="broke off"):
            list(stream)
        answer = waiting.result(30)
        assert answer.status_code == 503 and answer.json()["error"]["type"] == "server_error"
        assert server.post(CHAT).status_code == 503, "a closed loop took a row"
        until(lambda: server.service.gate.running == 0 and server.pool.pins == 0)


def test_the_servers_end_is_told_to_streams_and_to_those_in_line():
    with stand(ENDLESS, Gate(at_once=1)) as server, ThreadPoolExecutor(2) as callers:
        stream = server.client().chat.completions.create(**CHAT, stream=True)
        next(stream)
        in_line = callers.submit(server.post, CHAT)
        until(lambda: server.service.gate.waiting == 1)
        server.service.stop()
        with pytest.raises(openai.APIError, match="broke off"):
            list(stream)
        assert in_line.result(30).status_code == 503
        assert server.post(CHAT).status_code == 503
        assert httpx.get(f"{server.root}/readyz").status_code == 503


def test_a_server_that_ends_while_words_come_ends_its_streams_first():
    from engine.serve import Service
    from engine.serving.served import Listing
    from tests.engine.served import MODEL, ScriptedPool, Stand

    pool = ScriptedPool(lambda prompt: ENDLESS)
    service = Service(Listing([MODEL]), pool=lambda: pool)
    with running(service) as url:
        stream = Stand(url, service, pool).client().chat.completions.create(**CHAT, stream=True)
        next(stream)
    with pytest.raises(openai.APIError, match="broke off"):
        list(stream)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/models")


def test_a_real_row_leaves_its_loop_with_its_client(tiny_stand: Stand):
    ask = {"model": "tiny", "prompt": "The cat", "max_tokens": 480, "stream": True}
    for wait in (True, False):  # in decode, and in prefill
        with httpx.Client(timeout=60) as client:
            request = client.build_request("POST", f"{tiny_stand.url}/completions", json=ask)
            reply = client.send(request, stream=True)
            if wait:
                next(reply.iter_raw())
            reply.close()
        loop = next(iter(tiny_stand.pool._bases.values())).loop
        until(lambda loop=loop: not loop.rows and tiny_stand.service.gate.running == 0)
    assert tiny_stand.client().completions.create(model="tiny", prompt="The cat", max_tokens=3).choices[0].text


def test_streams_of_known_text_over_a_real_loop_lose_and_mix_nothing(tmp_path: Path):
    """The model counts: after word n comes word n + 1. `python -m benchmarks.serve --only known` does 10,000."""
    from benchmarks.serve import COUNTED, make_counting, stream

    with real_stand(Model("counting", str(make_counting(tmp_path / "counting")))) as server:
        port = int(server.root.rsplit(":", 1)[1])

        async def one(start: int) -> None:
            body = {"model": "counting", "prompt": f"w{start}", "temperature": 0, "max_tokens": 12}
            seen = await stream(port, body, 12)
            assert not seen.error and seen.text.split() == [f"w{(start + k) % COUNTED}" for k in range(1, 13)]

        async def scene() -> None:
            for first in range(0, 192, 64):
                await asyncio.gather(*(one(first + number) for number in range(64)))

        asyncio.run(scene())


def test_many_streams_at_once_get_their_own_words_whole():
    def answer(prompt: str):
        who = re.search(r"caller\d+", prompt)[0]
        return [f"{who}-{number} " for number in range(30)]

    with stand(answer, Gate(at_once=16, in_line=200)) as server:

        def ask(number: int) -> str:
            messages = [{"role": "user", "content": f"caller{number}"}]
            chunks = server.client().chat.completions.create(model="scripted", messages=messages, stream=True)
            return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

        with ThreadPoolExecutor(32) as callers:
            texts = list(callers.map(ask, range(64)))
    assert texts == ["".join(f"caller{c}-{n} " for n in range(30)) for c in range(64)]
