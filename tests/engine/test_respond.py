"""A Generation tells when things happened, however late its reader looks."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.catalog import Model
from engine.hosted import HostedResponder
from engine.local import LocalResponder
from engine.messages import End, Message, Piece, Sampling
from engine.respond import Generation
from tests.engine.asking import ASK, at
from tests.fake_openai import FakeOpenAI, words

LOOK = 0.6  # seconds that the reader does something else after a piece
TOOL = {"type": "function", "function": {"name": "add", "description": "", "parameters": {"type": "object"}}}


def lagging(generation: Generation, over: Callable[[], object]) -> float:
    """Read a generation that has long ended when its second piece is taken; seconds until it had."""
    began = time.perf_counter()
    ended = None
    for _ in generation:
        if ended is None:
            assert over(), "the reply waits for its reader"
            ended = time.perf_counter() - began
            time.sleep(LOOK)
    assert ended is not None
    return ended


@pytest.mark.parametrize("tools", [(), (TOOL,)], ids=["words", "tools"])
def test_seconds_of_a_local_reply_do_not_grow_with_its_readers(tiny: Path, empty_pool: object, tools: tuple) -> None:
    responder = LocalResponder(Model(name="tiny", base=str(tiny)), "plain", describe_tools=True)
    events = responder.reply([Message("user", "The cat")], Sampling(temperature=0, max_tokens=40), tools)
    generation = Generation(events)
    ended = lagging(generation, lambda: next(iter(responder._rows)).over.wait(30))
    assert generation.tokens == 40 and generation.reason == "length"
    assert 0 < generation.first_token_seconds < generation.seconds <= ended


@pytest.mark.parametrize("tools", [(), (TOOL,)], ids=["words", "tools"])
def test_seconds_of_a_hosted_reply_do_not_grow_with_its_readers(tools: tuple) -> None:
    with FakeOpenAI(words("a", "b", "c", gap=0.15)) as server:
        generation = Generation(HostedResponder(at(server.url)).reply(ASK, Sampling(), tools))
        began = time.perf_counter()
        for _ in generation:
            time.sleep(LOOK)
    assert generation.text == "abc" and time.perf_counter() - began > 3 * LOOK
    assert 0 < generation.first_token_seconds < LOOK
    assert 0.28 < generation.seconds - generation.first_token_seconds < 2 * LOOK


def test_seconds_count_from_the_first_look_and_never_below_nothing() -> None:
    kept = [Piece("a"), Piece("b"), End("stop")]  # of a reply that was over before anybody asked
    generation = Generation(iter(kept))
    assert [piece.text for piece in generation] == ["a", "b"]
    assert (generation.first_token_seconds, generation.seconds) == (0, 0)


def test_times_make_no_difference_between_equal_events() -> None:
    one, other = Piece("a"), Piece("a")
    assert one == other and hash(one) == hash(other) and repr(one) == repr(other) and one.at <= other.at
