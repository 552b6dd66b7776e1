"""The pool: one load at a time, pins, the least recently used out first, and a budget that is told in words."""

import threading
import time
from pathlib import Path

import pytest

from engine.catalog import Model
from engine.errors import Problem
from engine.pool import Pool
from engine.weights import load
from tests.tiny import make_tiny_llama


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
        assert base.loop._thread is None or base.loop._thread.is_alive()
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
