"""The pool: one load at a time, pins, the least recently used out first, and a budget that is told in words."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.catalog import Model
from engine.compare import Comparison, Lane, LaneEnded, LaneWaits
from engine.errors import Problem
from engine.local import LocalResponder
from engine.messages import End, Message, Sampling
from engine.models.footprint import held
from engine.pool import Pool, Stopped, weights_bytes
from engine.weights import fetch, halves_here, load
from tests.engine.models.shelf import at_hub
from tests.engine.rows import save_adapter
from tests.scripted_hub import Hub, Repo
from tests.tiny import make_tiny_llama

HUNG = Model(name="hung", base="o/hung")
SHORT = Sampling(temperature=0, max_tokens=8)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Model]:
    folder = tmp_path_factory.mktemp("pool")
    return [Model(name=f"m{i}", base=str(make_tiny_llama(folder / f"m{i}", seed=i))) for i in range(3)]


@pytest.fixture
def size(models: list[Model]) -> int:
    return load(models[0])[0].get_memory_footprint()


def test_a_base_is_loaded_once_however_many_ask_at_once(models: list[Model]) -> None:
    loads: list[str] = []

    def slow(model: Model) -> tuple:
        loads.append(model.name)
        time.sleep(0.2)
        return load(model)

    pool = Pool(2**30, slow)
    bases: list[object] = []

    def ask() -> None:
        with pool.hold(models[0]) as base:
            bases.append(base)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == ["m0"] and len(set(map(id, bases))) == 1
    pool.close()


def test_the_least_recently_used_idle_base_leaves_first(models: list[Model], size: int) -> None:
    pool = Pool(int(2.5 * size))
    for i in (0, 1, 0, 2):
        with pool.hold(models[i]):
            pass
    assert {Path(key[0]).name for key in pool.loaded()} == {"m0", "m2"}
    pool.close()


def test_a_base_in_use_stays_and_the_newcomer_is_refused_in_words(models: list[Model], size: int) -> None:
    pool = Pool(int(1.5 * size))
    with pool.hold(models[0]) as base:
        with pytest.raises(Problem, match=r"m1 needs about .* in use by running lanes"), pool.hold(models[1]):
            pass
        assert not base.loop._closed
        assert len(pool.loaded()) == 1
    with pool.hold(models[1]):
        assert {Path(key[0]).name for key in pool.loaded()} == {"m1"}
    pool.close()


def test_a_model_beyond_the_whole_budget_is_refused(models: list[Model]) -> None:
    with pytest.raises(Problem, match="DIPTYCH_MEMORY_GB"), Pool(1000).hold(models[0]):
        pass


def test_a_failed_load_leaves_the_pool_usable(models: list[Model]) -> None:
    pool = Pool(2**30)
    with pytest.raises(Problem), pool.hold(Model(name="gone", base=models[0].base + "-gone")):
        pass
    with pool.hold(models[0]):
        assert len(pool.loaded()) == 1
    pool.close()


def test_what_one_waits_for_is_told(models: list[Model]) -> None:
    told: list[str] = []
    pool = Pool(2**30)
    with pool.hold(models[0], told.append), pool.hold(models[0], told.append):
        pass
    assert told == ["loading the weights"]
    pool.close()


def test_two_precisions_of_one_model_are_two_bases(models: list[Model]) -> None:
    pool = Pool(2**30)
    half = Model(name="half", base=models[0].base, precision="bf16")
    with pool.hold(models[0]) as one, pool.hold(half) as two:
        assert one is not two and one.bytes > two.bytes
    pool.close()


@pytest.fixture
def arrival() -> Iterator[threading.Event]:
    """When the files of HUNG arrive; at the end at the latest."""
    made = threading.Event()
    yield made
    made.set()


@pytest.fixture
def slow(models: list[Model], arrival: threading.Event, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    """The server's pool, in which the files of HUNG do not come before `arrival`; they are then m0's."""
    fetched: list[str] = []

    def fetched_late(model: Model) -> Path:
        fetched.append(model.base)
        if model.base == HUNG.base:
            arrival.wait(60)
        return fetch(replace(model, base=models[0].base) if model.base == HUNG.base else model)

    pool = Pool(2**30, lambda model: load(models[0] if model.base == HUNG.base else model), fetched_late)
    pool.fetched = fetched  # type: ignore[attr-defined]
    monkeypatch.setattr("engine.local.pool", lambda: pool)
    yield pool
    arrival.set()
    pool.close()


def until(done: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def test_files_that_hang_on_their_way_hold_up_no_other_base(
    slow: Pool, models: list[Model], arrival: threading.Event
) -> None:
    late = Comparison([Lane(HUNG, sampling=SHORT), Lane(models[1], sampling=SHORT)], "The cat")
    events = late.take(30)
    while not any(isinstance(event, LaneEnded) for event in events):
        events += late.take(30)
    assert [event.lane for event in events if isinstance(event, LaneEnded)] == [1]
    assert LaneWaits(0, "fetching the files") in events
    with slow.hold(models[2]):
        pass  # as another visitor would
    arrival.set()
    ended = [event.result for event in late if isinstance(event, LaneEnded)]
    assert [one.error for one in ended] == [None] and ended[0].text


def test_files_of_a_base_are_fetched_once_for_all_who_wait(slow: Pool, arrival: threading.Event) -> None:
    both = [Comparison([Lane(HUNG, sampling=SHORT)], "The cat") for _ in range(2)]
    until(lambda: slow.fetched)  # type: ignore[attr-defined]
    time.sleep(0.2)
    arrival.set()
    texts = {event.result.text for one in both for event in one if isinstance(event, LaneEnded)}
    assert len(texts) == 1 and slow.fetched == [HUNG.base]  # type: ignore[attr-defined]


def test_who_is_stopped_leaves_while_files_are_on_their_way_and_nothing_is_loaded(
    slow: Pool, arrival: threading.Event
) -> None:
    stopped, left = threading.Event(), threading.Event()

    def ask() -> None:
        with pytest.raises(Stopped), slow.hold(HUNG, stopped=stopped.is_set):
            pass
        left.set()

    threading.Thread(target=ask, daemon=True).start()
    until(lambda: slow.fetched)  # type: ignore[attr-defined]
    stopped.set()
    assert left.wait(5), "it waited on"
    arrival.set()
    until(lambda: not slow._fetches)
    assert slow.loaded() == {}
    with slow.hold(HUNG):
        assert [key[0] for key in slow.loaded()] == [HUNG.base]


def test_who_is_stopped_leaves_the_queue_of_those_who_wait_to_load(models: list[Model]) -> None:
    loads, told, go, stopped = [], [], threading.Event(), threading.Event()

    def late(model: Model) -> tuple:
        loads.append(model.name)
        go.wait(60)
        return load(model)

    def ask(model: Model, stopped: Callable[[], bool]) -> None:
        with suppress(Stopped), pool.hold(model, told.append, stopped):
            pass

    pool = Pool(2**30, late)
    first = threading.Thread(target=ask, args=(models[0], lambda: False), daemon=True)
    second = threading.Thread(target=ask, args=(models[1], stopped.is_set), daemon=True)
    first.start()
    until(lambda: loads)
    second.start()
    until(lambda: "waiting for another model to load" in told)
    stopped.set()
    second.join(5)
    assert not second.is_alive(), "it waited on"
    go.set()
    first.join()
    assert loads == ["m0"]
    pool.close()


def test_a_reply_that_is_stopped_while_files_are_on_their_way_ends_at_once(
    slow: Pool, arrival: threading.Event
) -> None:
    responder, said = LocalResponder(HUNG), []
    asking = threading.Thread(target=lambda: said.extend(responder.reply([Message("user", "Hi")], SHORT)), daemon=True)
    asking.start()
    until(lambda: slow.fetched)  # type: ignore[attr-defined]
    responder.stop()
    asking.join(5)
    assert said == [End("stopped")]


def test_a_lane_whose_adapter_loads_long_follows_the_others_which_share_their_steps(
    models: list[Model], slow: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import engine.pool as pools
    from engine.decode import DecodeLoop

    network = load(models[0])[0]
    save_adapter(network, tmp_path / "dora", r=4, target_modules=["q_proj"], use_dora=True)
    save_adapter(network, tmp_path / "lora", r=4, target_modules=["q_proj"])
    dora, lora = (Model(name=name, base=models[0].base, adapter=tmp_path / name) for name in ("dora", "lora"))
    wrap, submit, go, batches = pools.alone_loop, DecodeLoop.submit, threading.Event(), []

    def wrapped_late(*given: Any) -> Any:
        assert go.wait(60)
        return wrap(*given)

    def noted(loop: DecodeLoop, requests: Any, sinks: Any) -> Any:
        batches.append(len(requests))
        return submit(loop, requests, sinks)

    monkeypatch.setattr(pools, "alone_loop", wrapped_late)
    monkeypatch.setattr(DecodeLoop, "submit", noted)
    asked = Comparison([Lane(one, sampling=SHORT) for one in (dora, models[0], lora)], "The cat")
    events = asked.take(30)
    while sum(isinstance(event, LaneEnded) for event in events) < 2:
        events += asked.take(30)
    assert {event.lane for event in events if isinstance(event, LaneEnded)} == {1, 2} and batches == [2]
    assert LaneWaits(0, "loading the adapter") in events
    with slow.hold(models[0]) as base:
        assert base.place(lora)[1], "another visitor waits for it, too"
    go.set()
    ended = [event.result for event in asked if isinstance(event, LaneEnded)]
    assert [one.error for one in ended] == [None] and ended[0].logit_difference and batches == [2, 1]
    again = Comparison([Lane(one, sampling=SHORT) for one in (models[0], lora)], "The dog")
    assert [e.result.error for e in again if isinstance(e, LaneEnded)] == [None, None] and batches == [2, 1, 2]


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16", "nf4", "int8"])
@pytest.mark.parametrize("native", [True, False])
def test_what_is_reckoned_of_files_is_what_they_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, native: bool
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    folder = make_tiny_llama(tmp_path / "half", hidden=64)
    AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    for place in ("engine.weights", "engine.models.footprint"):  # so that it is no toy
        monkeypatch.setattr(f"{place}.TOY_PARAMETERS", 1000)
    for place in ("engine.lean", "engine.models.footprint"):  # nor too narrow
        monkeypatch.setattr(f"{place}.LEAST_COLUMNS", 0)
    monkeypatch.setattr("engine.weights.fast_bf16", lambda: native)
    model = Model(name="half", base=str(folder), precision=precision)
    network = load(model)[0]  # as for training
    if precision == "auto":
        assert network.dtype == (torch.bfloat16 if native else torch.float32)
    taken, pool = held(network), Pool(10**9)
    if halves_here() and precision in ("auto", "bf16"):
        with pool.hold(model) as base:
            assert (base.loop.dtype, base.network.dtype) == (torch.float32, torch.bfloat16)
            taken = base.bytes
    pool.close()
    assert weights_bytes(model, folder) == pytest.approx(taken, rel=0.02)


def test_a_hub_id_makes_room_and_is_refused_by_the_size_of_its_files(
    hub: Hub, models: list[Model], size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_hub(hub.address, tmp_path, monkeypatch)
    hub.repos["o/m"] = Repo.of(Path(models[0].base))
    far = Model(name="far", base="o/m")
    assert weights_bytes(far, fetch(far)) == pytest.approx(size, rel=0.01)
    pool = Pool(int(1.5 * size), lambda model: load(models[0]))
    with pool.hold(models[1]), pytest.raises(Problem, match=r"far needs about .* in use by running lanes"):
        pool.hold(far).__enter__()
    with pool.hold(far):
        assert [key[0] for key in pool.loaded()] == ["o/m"]
    pool.close()
    with pytest.raises(Problem, match="DIPTYCH_MEMORY_GB"), Pool(1000).hold(far):
        pass


def test_a_hub_id_that_was_fetched_once_is_there_without_the_hub(
    hub: Hub, models: list[Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_hub(hub.address, tmp_path, monkeypatch)
    hub.repos["o/m"] = Repo.of(Path(models[0].base))
    far = Model(name="far", base="o/m")
    folder = fetch(far)
    hub.repos.clear()
    assert fetch(far) == folder
    (folder / "model.safetensors").unlink()
    for gone in (far, Model(name="never", base="o/never")):
        with pytest.raises(Problem, match=f"There is no model '{gone.base}'"):
            fetch(gone)
