"""Prompts in pieces and shared beginnings: nothing of it may show in what a row says."""

import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from engine import decode
from engine.adapters import read_adapter
from engine.decode import DecodeLoop
from engine.messages import Piece
from engine.reading import Prefixes, Prompt, Queue, common
from engine.rows import Row
from tests.engine.rows import TOKENIZER, VOCABULARY, end, greedy, network, request, run, save_adapter, tokens

KINDS = ("Llama", "Mistral", "GPT2", "Gemma2")  # the lean way, and three of transformers' own


def words(count: int, seed: int) -> list[int]:
    return torch.randint(7, VOCABULARY, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def counted(loop: DecodeLoop) -> list[tuple[Any, int]]:
    """Every piece that the loop reads from now on."""
    read, seen = loop.passes.read, []

    def watched(pieces: Any) -> torch.Tensor:
        seen.extend(pieces)
        return read(pieces)

    loop.passes.read = watched
    return seen


def watch(loop: DecodeLoop, name: str, order: list[str]) -> None:
    """Note each pass of a kind in `order`."""
    run_pass = getattr(loop.passes, name)

    def watched(*rest: Any) -> torch.Tensor:
        order.append(name)
        return run_pass(*rest)

    setattr(loop.passes, name, watched)


@pytest.fixture(params=KINDS)
def loop(request: pytest.FixtureRequest) -> Iterator[DecodeLoop]:
    made = DecodeLoop(network(request.param), TOKENIZER, 512)
    made.stop_tokens = frozenset()
    made.kind = request.param
    yield made
    made.close()


def test_prompts_read_in_pieces_give_what_generate_gives(loop: DecodeLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = counted(loop)
    monkeypatch.setattr(loop, "_spare_tokens", lambda: 16)
    prompts = [words(n, n) for n in (100, 7, 45, 16, 130)]
    expected = [greedy(network(loop.kind), prompt, 15) for prompt in prompts]
    asked = [request(prompt, max_tokens=15) for prompt in prompts]
    assert [tokens(events) for events in run(loop, asked, (0, 0.02, 0, 0.02, 0))] == expected
    assert max(count for _, count in seen) <= 16 and len(seen) >= 298 / 16


def test_a_shared_beginning_is_computed_once_and_changes_nothing(loop: DecodeLoop) -> None:
    seen = counted(loop)
    start = words(60, 1)
    prompts = [start + words(n, 50 + n) for n in (5, 9, 20)]
    expected = [greedy(network(loop.kind), prompt, 15) for prompt in prompts]
    asked = [request(prompt, max_tokens=15) for prompt in prompts]
    assert [tokens(events) for events in run(loop, asked)] == expected
    assert sum(count for _, count in seen) == 60 + 5 + 9 + 20
    assert [tokens(events) for events in run(loop, asked)] == expected
    assert sum(count for _, count in seen) == 60 + 5 + 9 + 20 + 3, "of a known prompt only the last token is read"


def test_a_beginning_is_not_shared_between_adapters(tmp_path: Any) -> None:
    model = network()
    references = [save_adapter(model, tmp_path / str(i), i, r=4, target_modules=["q_proj", "v_proj"]) for i in (1, 2)]
    loop = DecodeLoop(network(), TOKENIZER, 512)
    loop.stop_tokens = frozenset()
    adapters = [read_adapter(tmp_path / str(i), loop.network, loop.network.dtype) for i in (1, 2)]
    prompt = words(40, 3)
    expected = [greedy(one, prompt, 15) for one in (*references, model)]
    for _ in range(2):
        asked = [request(prompt, adapter, max_tokens=15, prove=True) for adapter in (*adapters, None)]
        assert [tokens(events) for events in run(loop, asked)] == expected
    loop.close()


def test_the_base_is_asked_once_for_a_prompt_that_many_compare_with(tmp_path: Any) -> None:
    model = network()
    for i in range(3):
        save_adapter(model, tmp_path / str(i), i, r=4, target_modules=["q_proj", "v_proj"])
    loop = DecodeLoop(network(), TOKENIZER, 512)
    seen = counted(loop)
    adapters = [read_adapter(tmp_path / str(i), loop.network, loop.network.dtype) for i in range(3)]
    events: list[list] = [[] for _ in adapters]
    asked = [request(words(30, 4), adapter, True, max_tokens=2) for adapter in adapters]
    for row in loop.submit(asked, [one.append for one in events]):
        assert row.over.wait(60)
    assert sum(count for _, count in seen) == 4 * 30
    differences = [end(one).logit_difference for one in events]
    assert all(differences) and len(set(differences)) == 3
    loop.close()


def test_a_long_prompt_lets_streaming_rows_go_on_between_its_pieces() -> None:
    loop = DecodeLoop(network(max_position_embeddings=4096), TOKENIZER, 4096)
    loop.stop_tokens = frozenset()
    order: list[str] = []
    streaming = threading.Event()

    def stream(event: object) -> None:
        if isinstance(event, Piece):
            streaming.set()

    first = loop.submit([request(words(5, 1), max_tokens=2000)], [stream])[0]
    assert streaming.wait(30)
    watch(loop, "read", order)
    watch(loop, "step", order)
    second = loop.submit([request(words(3000, 2), max_tokens=1)], [lambda event: None])[0]
    assert second.over.wait(60)
    first.stop()
    assert first.over.wait(10)
    runs = [len(list(group)) for kind, group in itertools.groupby(order) if kind == "read"]
    assert len(runs) > 5 and max(runs) == 1, "a step must come between any two pieces"
    loop.close()


def test_a_row_stopped_while_its_prompt_is_read_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = DecodeLoop(network(), TOKENIZER, 512)
    monkeypatch.setattr(loop, "_spare_tokens", lambda: 16)
    reading = threading.Event()
    read = loop.passes.read

    def slow(pieces: Any) -> torch.Tensor:
        reading.set()
        time.sleep(0.05)
        return read(pieces)

    loop.passes.read = slow
    events: list = []
    row = loop.submit([request(words(400, 1))], [events.append])[0]
    assert reading.wait(30)
    row.stop()
    assert row.over.wait(1), "it must not wait for the prompt's end"
    assert end(events).reason == "stopped" and tokens(events) == []
    loop.close()


def test_sixty_four_rows_decode_together(loop: DecodeLoop) -> None:
    assert decode.MOST_ROWS >= 64
    asked = [request(words(3 + i % 5, i), max_tokens=12) for i in range(64)]
    events: list[list] = [[] for _ in asked]
    rows = loop.submit(asked, [one.append for one in events])
    assert all(row.over.wait(60) for row in rows)
    alone = run(loop, [asked[i] for i in (0, 31, 63)])
    assert [tokens(events[i]) for i in (0, 31, 63)] == [tokens(one) for one in alone]


def prompt(ids: list[int], adapter: Any = None) -> Prompt:
    made = Prompt(tuple(ids), adapter, None)
    made.kept = [(torch.zeros(1, len(ids), 4), torch.zeros(1, len(ids), 4))]
    return made


def test_the_last_token_is_never_taken_from_another_prompt() -> None:
    assert common(prompt(words(30, 1)), prompt(words(30, 1))) == 29
    assert common(prompt(words(30, 1)), prompt(words(50, 2))) == 0
    assert common(prompt(words(30, 1), "a"), prompt(words(30, 1), "b")) == 0


def test_the_least_recently_used_prompt_is_forgotten_first() -> None:
    prefixes = Prefixes(most_bytes=3 * 40 * 4 * 4 * 2)
    for seed in (1, 2, 3):
        prefixes.keep(prompt(words(40, seed)))
    assert prefixes.best(prompt(words(40, 1)))[0] == 39
    prefixes.keep(prompt(words(40, 4)))
    assert [prefixes.best(prompt(words(40, seed)))[0] for seed in (1, 2, 3, 4)] == [39, 0, 39, 39]
    assert prefixes.bytes <= prefixes.most_bytes


def test_the_oldest_prompt_cannot_be_overtaken_for_ever() -> None:
    queue = Queue(lambda *rest: None)
    queue.prompts = [prompt(words(1000, 1)), *(prompt(words(30, seed)) for seed in range(2, 12))]
    found = dict(queue.pieces(64))
    assert found[queue.prompts[0]] == 16 and sum(found.values()) == 64


def test_many_prompts_that_wait_outweigh_one_row_that_streams(loop: DecodeLoop) -> None:
    loop.step_seconds, loop.token_seconds = 0.02, 0.001
    sink: list = []
    rows = [Row(request(words(5, i)), sink.append, loop) for i in range(12)]
    streaming, waiting = rows[:2], [Prompt(row.request.ids, None, row) for row in rows[2:]]
    for one in waiting:
        one.born = 1
    spare = []
    for count in (1, 2, 10):
        loop.rows, loop.reading.prompts = list(streaming), waiting[:count]
        spare.append(loop._spare_tokens())
    loop.rows = []
    free = loop._spare_tokens()
    loop.reading.prompts = []
    assert spare == [30, 30, 150], "half as long again as a step, and more where more wait than stream"
    assert free == decode.LEAST_TOKENS
