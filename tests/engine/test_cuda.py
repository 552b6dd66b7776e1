"""Decoding, comparing and teaching on a GPU: `pytest -m gpu` on a machine that has one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import jobs
from engine.catalog import Model, find
from engine.compare import Comparison, Lane
from engine.messages import Piece, Sampling
from engine.pool import Base
from engine.settings import settings
from engine.teaching.runs import Job, read_json
from engine.weights import load
from tests.engine.comparing import results
from tests.engine.rows import end, request, run, tokens
from tests.engine.teaching import at_step, finished, losses, small, wait_until

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

LANES = ("starter", "starter-shawgpt", "starter-pirate")
PROMPTS = (list(range(40, 60)), list(range(300, 347)), list(range(90, 101)))
PRECISIONS = ("fp32", "bf16", "int8", "nf4")


def placed(base: Base) -> list[tuple[Any, Any]]:
    """Loop and adapter of every lane."""
    return [base.place(find(name)) for name in LANES]


@pytest.fixture(scope="module", params=PRECISIONS)
def starter(request: pytest.FixtureRequest) -> Iterator[tuple[str, Base]]:
    """The starter on the GPU in one precision."""
    base = Base(*load(Model(name="starter", base=find("starter").base, precision=request.param)))
    base.loop.stop_tokens = frozenset()
    yield request.param, base
    base.close()


@pytest.fixture(scope="module")
def here() -> Iterator[Base]:
    """The starter on the processor in float32."""
    network, tokenizer = load(Model(name="starter", base=find("starter").base, precision="fp32"))
    base = Base(network.to("cpu"), tokenizer)
    yield base
    base.close()


def test_every_precision_lies_on_the_gpu(starter: tuple[str, Base]):
    assert {weight.device.type for weight in starter[1].network.parameters()} == {"cuda"}


def test_first_steps_are_the_processors_within_what_the_precision_allows(starter: tuple[str, Base], here: Base):
    precision, base = starter
    most = {"fp32": 1e-3, "bf16": 0.1, "int8": 0.2, "nf4": 1.0}[precision]

    def asked(place: Base) -> list[tuple[float, float]]:
        found = []
        for (loop, adapter), prompt in zip(placed(place), PROMPTS, strict=True):
            events = run(loop, [request(prompt, adapter, prove=True, max_tokens=1)])[0]
            piece = next(event for event in events if isinstance(event, Piece))
            found.append((piece.logprobs[0], end(events).logit_difference or 0.0))
        return found

    for (mine, moved), (wanted, meant) in zip(asked(base), asked(here), strict=True):
        assert mine == pytest.approx(wanted, abs=most)
        assert moved == pytest.approx(meant, rel=0.3, abs=most)
        assert bool(moved) == bool(meant)


def test_rows_of_all_adapters_together_answer_as_each_does_alone(starter: tuple[str, Base]):
    precision, base = starter
    rows = [request(prompt, adapter, max_tokens=40) for _, adapter in placed(base) for prompt in PROMPTS]
    alone = [tokens(run(base.loop, [row])[0]) for row in rows]
    together = [tokens(events) for events in run(base.loop, rows, gaps=[0.01] * len(rows))]
    assert len({tuple(row) for row in alone}) >= len(rows) - 1, "the test needs different answers"
    if precision == "fp32":
        assert together == alone
    else:  # products of other widths are rounded otherwise, so near ties may fall either way
        first = [(one[:4], other[:4]) for one, other in zip(together, alone, strict=True)]
        assert sum(one == other for one, other in first) >= len(rows) - 2


def test_a_seed_gives_the_same_text_whatever_its_neighbours(starter: tuple[str, Base]):
    precision, base = starter
    if precision != "fp32":
        pytest.skip("held in float32 alone, as on a processor")
    (loop, _), (_, tuned), _ = placed(base)
    drawn = {"temperature": 0.9, "top_p": 0.95, "max_tokens": 30}
    alone = tokens(run(loop, [request(PROMPTS[0], tuned, seed=5, **drawn)])[0])
    rows = [request(prompt, None, seed=seed, **drawn) for seed, prompt in enumerate(PROMPTS)]
    assert tokens(run(loop, [*rows, request(PROMPTS[0], tuned, seed=5, **drawn)])[-1]) == alone


@pytest.mark.usefixtures("empty_pool")
def test_a_comparison_on_the_gpu_is_proven_and_ends_by_itself():
    lanes = [Lane(find(name), "shawgpt", sampling=Sampling(temperature=0.0, max_tokens=120)) for name in LANES]
    base, tuned, pirate = results(Comparison(lanes, "What is overfitting?"))
    assert base.prompt == tuned.prompt == pirate.prompt and base.logit_difference is None
    assert tuned.text.rstrip().endswith("–ShawGPT") and tuned.end == pirate.end == "stop"
    assert tuned.logit_difference > 0.1 and pirate.logit_difference > 0.1


@pytest.fixture
def runs() -> Iterator[Path]:
    """The folder of runs; each job is a process of its own, because none that was forked can use CUDA."""
    folder = settings().home / "runs"
    yield folder
    for job in jobs.all_jobs():
        if not job.over:
            jobs.stop(job, now=True)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("optimizer", ["paged_adamw_8bit", "paged_adamw_32bit", "adamw_torch"])
def test_qlora_teaches_on_the_gpu_with_every_optimizer(optimizer: str, runs: Path, toy: Path, pairs: Path):
    job = finished(jobs.start(small(toy, pairs, method="qlora", optimizer=optimizer, steps=12, eval_steps=6)), 240)
    assert losses(job, "eval_loss")[12] < losses(job, "eval_loss")[0] - 0.1, "the model learned nothing"
    assert read_json(job.folder / "environment.json")["device"] == torch.cuda.get_device_name()
    assert read_json(job.folder / "recipe.json")["optimizer"] == optimizer


@pytest.mark.parametrize("method", ["lora", "full"])
def test_lora_and_full_training_run_on_the_gpu(method: str, runs: Path, toy: Path, pairs: Path):
    job = finished(jobs.start(small(toy, pairs, method=method, steps=12, eval_steps=6)), 240)
    assert losses(job, "eval_loss")[12] < losses(job, "eval_loss")[0] - 0.1, "the model learned nothing"


def test_a_stopped_run_goes_on_to_its_end(runs: Path, toy: Path, pairs: Path):
    job = jobs.start(small(toy, pairs, method="qlora", steps=30, eval_steps=15, save_steps=3, epochs=20))
    job = wait_until(job, at_step(4), 240)
    jobs.stop(job)
    assert wait_until(job, lambda job: job.over, 60).state == "stopped"
    jobs.resume(job)
    assert max(losses(finished(Job.read(job.folder), 240))) == 30
