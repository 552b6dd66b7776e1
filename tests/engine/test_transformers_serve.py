"""Hosted models against a real OpenAI-compatible server: `transformers serve` on loopback, offline, a tiny model."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.acting.shipped_tools import tools_named
from engine.acting.steps import Done
from engine.agent import GREEDY, converse
from engine.catalog import Model
from engine.compare import Comparison, Lane, LaneEnded, LanePiece
from engine.errors import Problem
from engine.hosted import HostedResponder
from engine.messages import Begin, End, Message, Piece, Sampling, ToolResult
from engine.settings import ASSETS
from tests.fake_openai import FakeOpenAI, complain, hang
from tests.tiny import make_tiny_llama

STARTS_WITHIN = 90.0  # seconds; about 10 on an idle machine
SAMPLING = Sampling(temperature=0.7, max_tokens=12, seed=1)


@dataclass(frozen=True)
class Served:
    """A running server: its model and its log."""

    model: Model
    log: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A random model behind `transformers serve`."""
    folder = make_tiny_llama(tmp_path_factory.mktemp("tiny-llama"))
    with serving(folder, tmp_path_factory.mktemp("serve") / "log.txt") as found:
        yield found


@contextlib.contextmanager
def serving(folder: Path, log: Path) -> Iterator[Served]:
    """`transformers serve` on a port that the system chose, ended by its own process handle."""
    offline = {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HOME": str(log.parent),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    serve = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*serve, "--host", "127.0.0.1", "--port", "0", "--device", "cpu"],
            env={**os.environ, **offline},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{port(process, log)}/v1"
        yield Served(Model("tiny", str(folder), endpoint=url), log)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def port(process: subprocess.Popen, log: Path) -> int:
    """The port in uvicorn's log once it listens; the model is loaded by then."""
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until and process.poll() is None:
        if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", log.read_text(errors="replace")):
            return int(found[1])
        time.sleep(0.1)
    raise AssertionError(f"transformers serve did not start:\n{log.read_text(errors='replace')[-3000:]}")


@pytest.mark.parametrize("style", ["chat", "question-answer"])
def test_a_real_server_streams_a_reply(served: Served, style: str):
    begin, *pieces, end = HostedResponder(served.model, style=style).reply([Message("user", "Hi")], SAMPLING)
    assert isinstance(begin, Begin) and "Hi" in begin.prompt
    assert len(pieces) > 1 and all(isinstance(piece, Piece) for piece in pieces)
    assert isinstance(end, End) and end.reason in ("length", "stop")
    assert 0 < (end.usage.completion_tokens or 0) <= 12 and (end.usage.prompt_tokens or 0) > 2


def test_an_option_that_the_real_server_refuses_is_left_out(served: Served):
    responder = HostedResponder(served.model)
    *_, end = responder.reply([Message("user", "Hi")], Sampling(repetition_penalty=1.3, max_tokens=4))
    assert isinstance(end, End) and responder.left_out == {"repetition_penalty"}


def test_a_model_that_the_real_server_does_not_serve_is_told(served: Served):
    with pytest.raises(Problem, match=r"does not accept the request .400.*pinned to"):
        list(
            HostedResponder(Model("x", "no/such-model", endpoint=served.model.endpoint)).reply(
                [Message("user", "Hi")], SAMPLING
            )
        )


def test_a_wrong_path_on_the_real_server_gets_the_hint(served: Served):
    wrong = Model("x", served.model.base, endpoint=(served.model.endpoint or "").removesuffix("/v1"))
    with pytest.raises(Problem, match="usually ends in /v1"):
        list(HostedResponder(wrong).reply([Message("user", "Hi")], SAMPLING))


def test_closing_a_reply_leaves_the_real_server_free_for_the_next(served: Served):
    reply = HostedResponder(served.model).reply([Message("user", "Hi")], Sampling(max_tokens=400))
    next(reply), next(reply)
    reply.close()
    started = time.monotonic()
    assert list(HostedResponder(served.model).reply([Message("user", "Hi")], Sampling(max_tokens=4)))
    assert time.monotonic() - started < 20


def test_a_failing_and_a_hanging_lane_leave_the_real_one_alone(served: Served):
    with FakeOpenAI(complain(401, "bad key")) as failing, FakeOpenAI(hang()) as hanging:
        lanes = [
            Lane(
                Model("failing", "x", endpoint=failing.url),
                "chat",
                sampling=SAMPLING,
                key="sk-wrong-0123456789",
            ),
            Lane(served.model, "chat", sampling=SAMPLING),
            Lane(Model("hanging", "x", endpoint=hanging.url), "chat", sampling=SAMPLING),
        ]
        comparison = Comparison(lanes, "What is fat-tailedness?")
        events = []
        until = time.monotonic() + 60
        while sum(isinstance(e, LaneEnded) for e in events) < 2 and time.monotonic() < until:
            events += comparison.take(0.2)
        comparison.stop()
        while not comparison.done:
            events += comparison.take(0.2)
    results = {e.lane: e.result for e in events if isinstance(e, LaneEnded)}
    assert "did not accept the key" in (results[0].error or "") and results[0].end == "error"
    assert results[1].error is None and results[1].text and results[1].end in ("length", "stop")
    assert results[1].text == "".join(e.text for e in events if isinstance(e, LanePiece) and e.lane == 1)
    assert results[2].end == "stopped" and results[2].text == ""


def test_the_course_dialogue_over_a_real_server(tmp_path: Path):
    asked, prices = [Message("user", "flight price for delhi to mumbai")], []
    with serving(ASSETS / "starter", tmp_path / "log.txt") as found:
        model = HostedResponder(Model("starter", found.model.base, endpoint=found.model.endpoint))
        for question in ("and to london?", ""):
            steps = list(converse(model, asked, tools_named(["get_ticket_price"]), GREEDY))
            done = steps[-1]
            assert isinstance(done, Done) and done.reason == "stop", (done, found.log.read_text()[-2000:])
            prices.append([step.content for step in steps if isinstance(step, ToolResult)])
            asked = [*done.messages, Message("user", question)]
    assert prices[0] == ["$89"] and "$612" in prices[1][0] and asked[-2].role == "assistant" and asked[-2].content
