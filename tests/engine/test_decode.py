"""The decode loop against transformers' own generate: rows come and go and change nothing for one another."""

import functools
import math
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from engine.decode import MOST_ROWS, READING, DecodeLoop
from engine.errors import Problem
from engine.messages import Begin, Piece
from engine.rows import Row
from engine.scheduler import Scheduler
from engine.threads import ThreadChoice, on_threads
from tests.engine.rows import ARCHITECTURES, TOKENIZER, VOCABULARY, end, greedy, network, request, run, tokens

LENGTHS = (5, 23, 2, 60, 11, 1, 33)
LIMITS = (30, 12, 70, 20, 120, 5, 40)
GAPS = (0, 0.01, 0.02, 0, 0.03, 0, 0.02)


def prompts() -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(7, VOCABULARY, (n,), generator=generator).tolist() for n in LENGTHS]


@pytest.fixture
def loop() -> Iterator[DecodeLoop]:
    made = DecodeLoop(network(), TOKENIZER, 512)
    made.stop_tokens = frozenset()
    yield made
    made.close()


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_rows_that_join_and_leave_get_what_generate_gives_alone(kind: str) -> None:
    model = network(kind)
    expected = [greedy(model, prompt, limit) for prompt, limit in zip(prompts(), LIMITS, strict=True)]
    assert len({tuple(answer) for answer in expected}) == len(expected), "the test needs different answers"
    loop = DecodeLoop(model, TOKENIZER, 512)
    loop.stop_tokens = frozenset()
    asked = [request(prompt, max_tokens=limit) for prompt, limit in zip(prompts(), LIMITS, strict=True)]
    assert [tokens(events) for events in run(loop, asked, GAPS)] == expected
    loop.close()


def test_many_short_rows_share_steps(loop: DecodeLoop) -> None:
    asked = [request(prompts()[i % 7], max_tokens=20) for i in range(40)]
    events = [[] for _ in asked]
    rows = loop.submit(asked, [one.append for one in events])
    for row in rows:
        assert row.over.wait(60)
    assert all(len(tokens(one)) == 20 for one in events)
    assert loop.steps < 3 * 20, "rows did not share steps"


@pytest.mark.parametrize("top_k", [0, 20])
def test_a_seed_gives_the_same_text_alone_and_among_others(loop: DecodeLoop, top_k: int) -> None:
    asked = [
        request(p, temperature=1.1, top_p=0.9, top_k=top_k, seed=i, max_tokens=30, repetition_penalty=1 + 0.1 * (i % 2))
        for i, p in enumerate(prompts())
    ]
    alone = [tokens(run(loop, [one])[0]) for one in asked]
    assert [tokens(events) for events in run(loop, asked, GAPS)] == alone


def test_another_seed_gives_another_text(loop: DecodeLoop) -> None:
    texts = {tuple(tokens(run(loop, [request(prompts()[0], temperature=1.5, top_p=1, seed=s)])[0])) for s in range(4)}
    assert len(texts) == 4


def test_stop_tokens_end_a_row_and_are_not_shown(loop: DecodeLoop) -> None:
    free = tokens(run(loop, [request(prompts()[0], max_tokens=20)])[0])
    loop.stop_tokens = frozenset({free[7]})
    events = run(loop, [request(prompts()[0], max_tokens=20)])[0]
    cut = free.index(free[7])
    assert tokens(events) == free[:cut]
    assert end(events).reason == "stop" and end(events).usage.completion_tokens == cut


def test_stop_strings_end_a_row_and_are_not_shown(loop: DecodeLoop) -> None:
    asked = request(prompts()[1], temperature=1.0, max_tokens=60)
    text = "".join(e.text for e in run(loop, [asked])[0] if isinstance(e, Piece))
    stop = text[20:23]
    events = run(loop, [request(prompts()[1], temperature=1.0, max_tokens=60, stop=(stop,))])[0]
    assert "".join(e.text for e in events if isinstance(e, Piece)) == text[: text.index(stop)]
    assert end(events).reason == "stop"


def test_a_stopped_row_ends_at_once_and_its_neighbour_goes_on(loop: DecodeLoop) -> None:
    first: list = []
    second: list = []
    enough = threading.Event()

    def watch(event: object) -> None:
        first.append(event)
        if len(first) == 10:
            enough.set()

    asked = [request(prompts()[0], max_tokens=480), request(prompts()[1], max_tokens=60)]
    rows = loop.submit(asked, [watch, second.append])
    assert enough.wait(30)
    rows[0].stop()
    assert rows[0].over.wait(8), "a stopped row must end at once"
    assert rows[1].over.wait(30)
    assert end(first).reason == "stopped" and 5 <= len(tokens(first)) < 480
    assert tokens(second) == tokens(run(loop, [asked[1]])[0])


def test_a_row_stopped_before_it_joined_never_computes(loop: DecodeLoop) -> None:
    events: list = []
    with loop._changed:  # holds the loop back until the row is stopped
        row = loop.submit([request(prompts()[0])], [events.append])[0]
        row.stopping = True
    assert row.over.wait(5)
    assert tokens(events) == [] and end(events).reason == "stopped"


def test_rows_stopped_while_their_prompts_are_read_are_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    loop, events = DecodeLoop(network(), TOKENIZER, 512), []  # its turns are taken here
    row = Row(request(prompts()[0]), events.append, loop)
    loop._waiting = [row]
    loop._admit()
    row.stopping = True
    loop._turn()
    assert row.over.is_set() and end(events).reason == "stopped" and not loop.reading.prompts
    assert not caplog.records


def test_a_row_ends_where_the_context_ends(loop: DecodeLoop) -> None:
    events = run(loop, [request([9] * 500, max_tokens=1000)])[0]
    assert len(tokens(events)) == 12 and end(events).reason == "length"


def test_logits_that_are_no_numbers_fail_in_words_and_only_that_row() -> None:
    damaged = network()
    damaged.requires_grad_(False).get_input_embeddings().weight[42] = float("nan")
    loop = DecodeLoop(damaged, TOKENIZER, 512)
    bad, good = run(loop, [request([5, 42]), request([5, 6], max_tokens=10)])
    assert isinstance(bad[-1], Problem) and "not a number" in str(bad[-1])
    assert len(tokens(good)) == 10
    loop.close()


def test_a_failing_pass_fails_its_rows_and_the_loop_lives_on(monkeypatch: pytest.MonkeyPatch, loop: DecodeLoop) -> None:
    real = loop._computed
    monkeypatch.setattr(loop, "_computed", lambda *a: (_ for _ in ()).throw(torch.OutOfMemoryError("no room")))
    failed = run(loop, [request(prompts()[0])])[0]
    assert isinstance(failed[-1], Problem) and "memory" in str(failed[-1])
    monkeypatch.setattr(loop, "_computed", real)
    assert len(tokens(run(loop, [request(prompts()[0], max_tokens=5)])[0])) == 5


class Faulty:
    """A part of one row that raises after so many uses."""

    def __init__(self, good: float = 2) -> None:
        self.uses, self.good = 0, good

    def use(self, *given: Any) -> torch.Tensor:
        self.uses += 1
        if self.uses > self.good:
            raise ValueError("broken")
        return torch.zeros(VOCABULARY)

    def push(self, token: int) -> str:
        return "" if self.use().sum() else "a"


@pytest.mark.parametrize("part", ["sink", "mask", "accept", "text"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_whose_own_part_raises_fails_alone(loop: DecodeLoop, part: str, temperature: float) -> None:
    usual = {"temperature": temperature, "max_tokens": 12}
    asked = [request(prompts()[i], seed=i, **usual) for i in range(3)]
    expected = [tokens(run(loop, [one])[0]) for one in asked]
    faulty, events = Faulty(), [[], [], []]

    def sink(event: Any) -> None:
        events[1].append(event)
        if part == "sink":
            faulty.use()

    with loop._changed:  # holds the loop back until the row is as it is to be
        rows = loop.submit(asked, [events[0].append, sink, events[2].append])
        if part in ("mask", "accept"):
            good = Faulty(math.inf)
            mask, take = (faulty, good) if part == "mask" else (good, faulty)
            rows[1].held = SimpleNamespace(mask=mask.use, take=lambda token: take.use() is not None, complete=False)
            rows[1].draw.mask = rows[1]._mask
        if part == "text":
            rows[1].stream.push = faulty.push
    assert all(row.over.wait(30) for row in rows)
    assert [tokens(events[i]) for i in (0, 2)] == [expected[0], expected[2]]
    assert isinstance(events[1][-1], ValueError) and len(events[1]) < 12
    assert tokens(run(loop, [asked[1]])[0]) == expected[1], "the loop does not live on"


def test_an_empty_prompt_fails_in_words_and_only_that_row(loop: DecodeLoop) -> None:
    empty, good = run(loop, [request([]), request([5, 6], max_tokens=10)])
    assert isinstance(empty[-1], Problem) and "empty" in str(empty[-1])
    assert len(tokens(good)) == 10


def test_more_rows_than_fit_wait_and_all_end(loop: DecodeLoop) -> None:
    asked = [request(prompts()[i % 7], max_tokens=1 + i % 9) for i in range(150)]
    assert [len(tokens(events)) for events in run(loop, asked)] == [1 + i % 9 for i in range(150)]


def test_every_row_begins_with_its_begin_and_ends_once(loop: DecodeLoop) -> None:
    events = run(loop, [request(prompts()[0], max_tokens=6)])[0]
    assert isinstance(events[0], Begin)
    assert sum(not isinstance(e, Begin | Piece) for e in events) == 1


def test_log_probabilities_are_the_models_own(loop: DecodeLoop) -> None:
    events = run(loop, [request(prompts()[0], max_tokens=8)])[0]
    drawn = tokens(events)
    told = [p for e in events if isinstance(e, Piece) for p in e.logprobs]
    loop.adapters.use([None])
    with torch.no_grad():
        logits = loop.network(input_ids=torch.tensor([prompts()[0] + drawn])).logits[0].log_softmax(-1)
    places = range(len(prompts()[0]) - 1, len(prompts()[0]) + 7)
    expected = [logits[at, token].item() for at, token in zip(places, drawn, strict=True)]
    assert told == pytest.approx(expected, abs=1e-4)


def test_a_closed_loop_ends_its_rows_and_takes_no_more() -> None:
    loop = DecodeLoop(network(), TOKENIZER, 512)
    events: list = []
    row = loop.submit([request(prompts()[0], max_tokens=500)], [events.append])[0]
    time.sleep(0.05)
    loop.close()
    assert row.over.is_set() and end(events).reason == "stopped"
    with pytest.raises(Problem, match="unloaded"):
        loop.submit([request(prompts()[0])], [events.append])


@pytest.fixture
def two_threads(loop: DecodeLoop, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[int]]]:
    """A scheduler of its own with two of torch's threads; how many each pass of the loop took, by its kind."""
    usual, seen = torch.get_num_threads(), {"step": [], "read": []}
    monkeypatch.setattr("engine.scheduler.settings", lambda: SimpleNamespace(threads=2))
    monkeypatch.setattr("engine.decode.settings", lambda: SimpleNamespace(threads=2))
    loop.threads, loop._scheduler = ThreadChoice(2), Scheduler()
    loop._changed = loop._scheduler.changed
    for name, found in seen.items():

        def noting(usually: Any, found: list[int], *given: Any) -> Any:
            found.append(torch.get_num_threads())
            return usually(*given)

        setattr(loop.passes, name, functools.partial(noting, getattr(loop.passes, name), found))
    yield seen
    torch.set_num_threads(usual)


def test_a_small_network_steps_on_one_thread_and_reads_much_on_all(
    loop: DecodeLoop, two_threads: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert loop.layer_size == pytest.approx((4 * 64 * 64 - 2 * 64 * 32 + 3 * 64 * 128) / 7)
    monkeypatch.setattr("engine.decode.ONE_THREAD", loop.layer_size * (MOST_ROWS + READING))
    run(loop, [request(prompts()[0], max_tokens=3)], [0])
    run(loop, [request(prompts()[4] * 40, max_tokens=3)], [0])
    assert set(two_threads["step"]) == {1} and two_threads["read"] == [1, 2]


def test_steps_of_a_large_network_are_tried_both_ways(
    loop: DecodeLoop, two_threads: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.decode.ONE_THREAD", 0)
    run(loop, [request(prompts()[0], max_tokens=20)])
    assert two_threads["read"] == [2] and two_threads["step"][:6] == [2, 1, 2, 1, 2, 1]
    assert len(set(two_threads["step"][6:])) == 1, "the faster is kept for a while"


def test_a_scheduler_that_begins_while_another_thread_computes_alone_has_all_threads(
    loop: DecodeLoop, two_threads: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.decode.ONE_THREAD", 0)
    with on_threads(1):
        run(loop, [request(prompts()[0], max_tokens=2)])
    assert two_threads["read"] == [2]


def test_loops_take_turns_in_one_thread() -> None:
    loops = [DecodeLoop(network(kind), TOKENIZER, 512) for kind in list(ARCHITECTURES)[:2]]
    order: list[tuple[int, str]] = []
    for i, one in enumerate(loops):
        one.stop_tokens = frozenset()
        one.passes.step = functools.partial(
            lambda i, usually, *given: order.append((i, threading.current_thread().name)) or usually(*given),
            i,
            one.passes.step,
        )
    with loops[0]._changed:  # both begin together
        rows = [one.submit([request(prompts()[0], max_tokens=20)], [[].append])[0] for one in loops]
    assert all(row.over.wait(30) for row in rows)
    assert order == [(0, "decode"), (1, "decode")] * 19
    for one in loops:
        one.close()


def test_a_turn_that_raises_fails_the_rows_of_its_loop_alone(loop: DecodeLoop) -> None:
    broken = DecodeLoop(network(), TOKENIZER, 512)
    broken.stop_tokens = frozenset()
    admit, broken._admit = broken._admit, lambda: 1 / 0
    events: list = []
    row = broken.submit([request(prompts()[0])], [events.append])[0]
    assert row.over.wait(10) and isinstance(events[-1], ZeroDivisionError)
    assert len(tokens(run(loop, [request(prompts()[0], max_tokens=5)])[0])) == 5
    broken._admit = admit
    assert len(tokens(run(broken, [request(prompts()[0], max_tokens=5)])[0])) == 5, "it goes on with what comes"
    broken.close()
