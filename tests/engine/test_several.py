"""Jobs in several processes, started for real by accelerate's launcher: two on the processor, a model of two layers."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from engine import jobs
from engine.errors import Problem
from engine.teaching import devices
from engine.teaching.crew import ALONE
from engine.teaching.pupil import total_steps
from engine.teaching.runs import Job, write_json
from engine.teaching.several import settle
from engine.teaching.turns import Stopped
from tests.engine.teaching import PAIRS, at_step, losses, pairs_file, small, wait_until
from tests.engine.test_train import ADAPTER, FILES, finished, names

PATIENCE = 180  # seconds: each start imports torch three times
LESSON = {
    "method": "lora", "steps": 16, "eval_steps": 8, "save_steps": 4, "batch": 1, "accumulation": 1, "devices": 2,
    "dropout": 0.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough pairs that no run here sees one twice."""
    rows = [{**pair, "comment": f"{pair['comment']} {n}"} for n in range(3) for pair in PAIRS]
    return pairs_file(tmp_path_factory.mktemp("many"), rows)


def workers(job: Job) -> list[psutil.Process]:
    """Every process of the job but the one that keeps watch."""
    found = []
    for process in psutil.process_iter(["cmdline", "pid"]):
        if str(job.folder) in (process.info["cmdline"] or []) and process.pid != job.pid:
            found.append(process)
    return found


def weights(job: Job) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(job.folder / "adapter" / "adapter_model.safetensors")


def gone(job: Job) -> Job:
    """The job once nothing works on it any more."""
    job = wait_until(job, lambda job: job.over and not workers(job), PATIENCE)
    assert not (job.folder / "stop").exists()
    return job


@pytest.fixture
def one(runs: Path, toy: Path, many: Path) -> Job:
    """What one process makes of the lesson, in batches as large as those of two together."""
    return finished(jobs.start(small(toy, many, **{**LESSON, "devices": 1, "accumulation": 2})))


def same(job: Job, one: Job, more: frozenset[str] = frozenset()) -> None:
    """Assert that a job of two processes left what one leaves: losses, weights, files, and `more` files."""
    import torch

    assert names(job.folder) == FILES | more and names(one.folder) == FILES
    assert names(job.folder / "adapter") == ADAPTER and gone(job)
    assert list(losses(job)) == list(range(1, 17)), "lines of more than one process, or of a step twice"
    for name in ("loss", "eval_loss"):
        assert losses(job, name) == pytest.approx(losses(one, name), abs=1e-4)
    assert job.done["tokens"] == one.done["tokens"] and job.done["train_loss"] == pytest.approx(one.done["train_loss"])
    mine, other = weights(job), weights(one)
    assert mine.keys() == other.keys()
    for name in mine:
        torch.testing.assert_close(mine[name], other[name], rtol=1e-3, atol=1e-4)
    assert [row["prompt"] for row in job.comparison] == [row["prompt"] for row in one.comparison]
    assert job.metrics[-2]["memory"] > 1.5 * one.metrics[-2]["memory"], "the memory of one process alone is told"


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_two_processes_learn_what_one_does(one: Job, toy: Path, many: Path):
    same(finished(jobs.start(small(toy, many, **LESSON)), PATIENCE), one)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_process_fails_the_job_in_words_and_resuming_ends_as_one_process_does(one: Job, toy: Path, many: Path):
    job = wait_until(jobs.start(small(toy, many, **LESSON)), at_step(5), PATIENCE)
    second = next(process for process in workers(job) if process.environ().get("RANK") == "1")
    second.send_signal(signal.SIGKILL)
    job = gone(job)
    assert job.state == "failed" and job.reason.startswith("One of the 2 processes ended without a word")
    same(finished(jobs.resume(job), PATIENCE), one, frozenset({"events.jsonl"}))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_goes_on_once_the_process_that_keeps_watch_or_the_launcher_is_gone(runs: Path, toy: Path, many: Path):
    job = wait_until(jobs.start(small(toy, many, **{**LESSON, "steps": 40})), at_step(5), PATIENCE)
    assert job.pid
    os.kill(job.pid, signal.SIGKILL)
    job = gone(job)
    assert job.state == "stopped" and "killed by a signal" in job.reason
    left = job.latest("step") or 0  # what it has logged stays until the run that goes on takes it up
    job = wait_until(jobs.resume(job), lambda job: len(workers(job)) == 3 and at_step(left + 1)(job), PATIENCE)
    next(one for one in workers(job) if "accelerate.commands.launch" in one.cmdline()).send_signal(signal.SIGKILL)
    job = gone(job)
    assert job.state == "failed" and "ended without a word" in job.reason
    finished(jobs.resume(job), PATIENCE)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
def test_stopped_within_the_step_and_resumed_to_the_same_weights(runs: Path, toy: Path, many: Path, method: str):
    knobs = {**LESSON, "method": method, "dropout": 0.1, "steps": 12}
    whole = finished(jobs.start(small(toy, many, **knobs)), PATIENCE)
    job = wait_until(jobs.start(small(toy, many, **knobs)), at_step(6), PATIENCE)
    assert job.state == "running" and len(workers(job)) == 3, "a launcher and two that train"
    jobs.stop(job)
    job = gone(job)
    assert job.state == "stopped" and job.reason.startswith("Stopped on request")
    last = job.folder / "checkpoints" / f"checkpoint-{int(job.latest('step') or 0)}"
    assert {"manifest.json", "rng_state_0.pth", "rng_state_1.pth"} <= names(last)
    job = finished(jobs.resume(job), PATIENCE)
    assert losses(job) == losses(whole) and job.model and whole.model
    assert method == "full" or job.model.adapter_hash == whole.model.adapter_hash


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_failure_of_one_is_told_in_its_own_words(runs: Path, toy: Path, many: Path):
    job = jobs.start(small(toy, many, **{**LESSON, "targets": "no_such_layer"}))
    job = gone(wait_until(job, lambda job: job.over, PATIENCE))
    assert job.state == "failed" and job.reason.startswith("This model has no layers named no_such_layer.")


def test_how_it_ended_is_read_from_what_the_processes_said(tmp_path: Path):
    def say(rank: int, **record: Any) -> None:
        write_json(tmp_path / f"rank-{rank}.json", {"process": {}, **record})

    say(0, state="failed", reason="gloo: closed by peer", lost=True)
    say(1)
    with pytest.raises(Problem, match="One of the 2 processes ended without a word"):
        settle(tmp_path, 2)
    say(1, state="failed", reason="Memory ran out.", lost=False)
    with pytest.raises(Problem, match="Memory ran out"):
        settle(tmp_path, 2)
    say(0, state="stopped")
    say(1, state="stopped")
    with pytest.raises(Stopped):
        settle(tmp_path, 2)
    say(0, state="done")
    say(1, state="done")
    settle(tmp_path, 2)


def test_more_devices_than_there_are_are_refused(toy: Path, many: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(devices, "gpus", lambda: 2)
    assert not small(toy, many, devices=2).problems()
    assert small(toy, many, devices=3).problems() == ["Devices is 3, and this machine has 2 GPUs. Lower it."]
    assert "Devices must be 1 or more" in small(toy, many, devices=0).problems()[0]
    with pytest.raises(Problem, match="begun on 4 devices and goes on with as many only; this machine has 2"):
        devices.require_devices(4)
    monkeypatch.setattr(devices, "gpus", lambda: 0)
    assert not small(toy, many, devices=2).problems(), "two processes on a processor are there to try it out"


def test_resume_on_another_number_of_devices_is_refused(tmp_path: Path):
    from engine.teaching.watch import Watch

    write_json(tmp_path / "manifest.json", {"step": 12, "own": [{}, {}]})
    watch = Watch(SimpleNamespace(crew=ALONE), tmp_path, None, lambda: False, True)  # type: ignore[arg-type]
    with pytest.raises(Problem, match="came to step 12 on 2 devices and goes on with as many only; now it has 1"):
        watch.take_up(tmp_path)


def test_steps_count_what_all_devices_learn_from(toy: Path, many: Path):
    recipe = {"steps": 0, "epochs": 2, "batch": 4, "accumulation": 2}
    assert total_steps(small(toy, many, **recipe), 64) == 16
    assert total_steps(small(toy, many, **recipe, devices=2), 64) == 8
    assert total_steps(small(toy, many, **recipe, devices=2), 65) == 10


def test_gpus_are_counted_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(devices, "sys", SimpleNamespace(modules={}))
    monkeypatch.setattr(devices, "DEV", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices.gpus() == 0
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert devices.gpus() == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert devices.gpus() == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.gpus() == 0


def test_record_of_a_recipe_holds_the_devices(runs: Path, toy: Path, many: Path):
    job = jobs.start(small(toy, many, devices=2), launch=False)
    assert json.loads((job.folder / "recipe.json").read_text())["devices"] == 2
