"""The real starter and its adapters in one decode loop: rows that join, end or are stopped change no other row."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from engine.catalog import find
from engine.local import placed
from engine.messages import Message, Piece, Sampling
from engine.pool import Base
from engine.rows import Request
from engine.weights import load
from tests.engine.rows import greedy, run, tokens

NAMES = ("starter", "starter-shawgpt", "starter-pirate")
PROMPTS = ("Great content, thank you!", "What is fat-tailedness?", "Which of your videos should I watch first?")
GAPS = (0.0, 0.01, 0.0, 0.02, 0.005, 0.0, 0.015, 0.01, 0.0)  # seconds before each row joins


@pytest.fixture(scope="module")
def base() -> Iterator[Base]:
    made = Base(*load(find("starter")))
    yield made
    made.close()


def asked(base: Base, **sampling: Any) -> list[Request]:
    """Every prompt of every model, each with a limit and a seed of its own."""
    requests = []
    for i, (prompt, name) in enumerate((prompt, name) for prompt in PROMPTS for name in NAMES):
        drawn = Sampling(**{"temperature": 0, "max_tokens": 12 + 4 * (i % 4), "seed": i, **sampling})
        loop, request = placed(base, find(name), "shawgpt", [Message("user", prompt)], drawn)
        assert loop is base.loop, "adapters of the starter share the steps of their base"
        requests.append(request)
    return requests


def among_others(base: Base, requests: list[Request]) -> list[list[int]]:
    """The tokens of rows that join one after another, while other rows come and are stopped in the middle."""
    over = threading.Event()

    def disturb() -> None:
        for i in range(1000):
            if over.is_set():
                return
            row = base.loop.submit([requests[i % len(requests)]], [lambda event: None])[0]
            time.sleep(0.01)
            row.stop()

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    try:
        return [tokens(events) for events in run(base.loop, requests, GAPS)]
    finally:
        over.set()
        disturbing.join()


def test_greedy_rows_answer_among_others_as_transformers_does_alone(base: Base) -> None:
    from peft import PeftModel

    alone = {name: load(find("starter"))[0] for name in NAMES}
    for name in NAMES[1:]:
        alone[name] = PeftModel.from_pretrained(alone[name], find(name).adapter).eval()
    requests, expected = asked(base), []
    for i, request in enumerate(requests):
        answer = greedy(alone[NAMES[i % len(NAMES)]], request.ids, request.sampling.max_tokens)
        expected.append([token for token in answer if token not in base.loop.stop_tokens])
    assert len({tuple(one) for one in expected}) == len(expected), "the test needs different answers"
    before = base.loop.steps
    assert among_others(base, requests) == expected
    assert base.loop.steps - before < sum(map(len, expected)), "rows did not share steps"


@pytest.mark.parametrize("sampling", [{"temperature": 0.7}, {"temperature": 1.3, "top_p": 1, "top_k": 40}])
def test_a_seed_gives_the_same_text_whatever_stands_beside_it(base: Base, sampling: dict[str, Any]) -> None:
    requests = asked(base, **sampling)
    alone = [run(base.loop, [request])[0] for request in requests]
    assert among_others(base, requests) == [tokens(events) for events in alone]
    text = ["".join(event.text for event in events if isinstance(event, Piece)) for events in alone]
    assert all(text) and len(set(text)) == len(text)
