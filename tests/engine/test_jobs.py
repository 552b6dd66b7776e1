"""Jobs: started detached, found again by anybody, queued, stopped, resumed, renamed, deleted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine import jobs
from engine.catalog import all_models, find
from engine.errors import Problem
from engine.headless_jobs import main, waited_for
from engine.recipe import preset
from engine.settings import ROOT, settings
from engine.teaching.identity import alive, boot, identity
from engine.teaching.preparing import examples_file
from engine.teaching.runs import Job, slug, write_json
from engine.teaching.sweeps import siblings
from tests.engine.teaching import at_step, small, wait_until

LONG = {"steps": 4000, "eval_steps": 1000, "save_steps": 1000}


def test_double_click_makes_one_job(runs: Path, toy: Path, pairs: Path):
    recipe = small(toy, pairs, **LONG)
    first = jobs.start(recipe, request="click-1")
    assert jobs.start(recipe, request="click-1").id == first.id
    assert [job.id for job in jobs.all_jobs()] == [first.id]


def test_a_job_gets_no_secret_but_the_hubs_and_its_idle_threads_sleep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given: dict[str, str] = {}

    def popen(command: list[str], env: dict[str, str], **more: object) -> SimpleNamespace:
        given.update(env)
        return SimpleNamespace(pid=os.getpid())

    for name in (*jobs.SECRETS, "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, f"{name} of the server")
    monkeypatch.setattr(jobs.subprocess, "Popen", popen)
    jobs.detached(tmp_path, "engine.train", OMP_NUM_THREADS="1")
    assert [name for name in jobs.SECRETS if name in given] == ["HF_TOKEN"]
    assert given["GOMP_SPINCOUNT"] == "0" and given["OMP_NUM_THREADS"] == "1"


def test_jobs_take_turns_in_the_order_of_their_start(runs: Path, toy: Path, pairs: Path):
    first = wait_until(jobs.start(small(toy, pairs, **LONG)), at_step(1))
    second, third = (jobs.start(small(toy, pairs, steps=2)) for _ in range(2))
    time.sleep(0.7)
    states = [Job.read(job.folder).state for job in (first, second, third)]
    assert states == ["running", "queued", "queued"]
    jobs.stop(first)
    second, third = (wait_until(job, lambda job: job.over) for job in (second, third))
    assert second.state == third.state == "done"
    assert second.done["finished"] < third.done["finished"]


def test_queued_job_can_be_stopped_and_a_dead_one_gives_its_turn_away(runs: Path, toy: Path, pairs: Path):
    first = wait_until(jobs.start(small(toy, pairs, **LONG)), at_step(1))
    second, third = (jobs.start(small(toy, pairs, steps=2)) for _ in range(2))
    jobs.stop(second)
    assert wait_until(second, lambda job: job.over).state == "stopped"
    jobs.stop(first, now=True)
    assert wait_until(first, lambda job: job.over).state == "stopped"
    assert wait_until(third, lambda job: job.over).state == "done"


def test_everything_that_is_wrong_is_told_before_anything_is_written(runs: Path, tmp_path: Path):
    short = tmp_path / "short.jsonl"
    short.write_text('{"comment": "a", "response": "b"}\n' * 3)
    with pytest.raises(Problem) as caught:
        jobs.start(replace(preset("shawgpt"), data=str(short), model="starter-shawgpt", rank=0))
    for part in ("Rank must", "at least 10 rows; this one has 3", "starter-shawgpt is an adapter"):
        assert part in str(caught.value)
    with pytest.raises(Problem, match=r"no examples at '\.\./\.\./etc'"):
        jobs.start(replace(preset("shawgpt"), data="../../etc"))
    assert not jobs.all_jobs()


@pytest.mark.parametrize("name", ["../../../etc/passwd", "a/b\\c\0d", "   ", "ÄÖ 🙂", "x" * 80, "-rf", "con"])
def test_hostile_names_stay_inside_the_runs(name: str, runs: Path, toy: Path, pairs: Path):
    job = jobs.start(small(toy, pairs, name=name), launch=False)
    assert job.folder.parent == runs and job.folder.is_dir()
    assert set(slug(name)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_names_are_given_once_and_can_be_changed(runs: Path, toy: Path, pairs: Path):
    first, second = (jobs.start(small(toy, pairs, name="starter"), launch=False) for _ in range(2))
    assert (first.name, second.name) == ("starter-2", "starter-3")
    renamed = jobs.rename(first, "my bot", notes="the good one")
    assert (renamed.name, renamed.record["notes"], renamed.id) == ("my bot", "the good one", first.id)
    assert jobs.rename(second, "my bot").name == "my bot-2"
    with pytest.raises(Problem, match="it is empty"):
        jobs.rename(first, "  ")


def test_examples_are_the_runs_own_so_that_an_upload_may_vanish(runs: Path, toy: Path, pairs: Path, tmp_path: Path):
    upload = tmp_path / "upload.jsonl"
    upload.write_bytes(pairs.read_bytes())
    job = jobs.start(small(toy, upload, steps=2), launch=False)
    upload.unlink()
    jobs.launched(job.folder)
    job = wait_until(job, lambda job: job.over)
    assert job.state == "done" and jobs.clone(job, {"rank": 2}).recipe["rank"] == 2


def test_deleting_takes_the_model_out_of_every_picker(runs: Path, toy: Path, pairs: Path):
    job = wait_until(jobs.start(small(toy, pairs, steps=2)), lambda job: job.over)
    assert job.name in [model.name for model in all_models()]
    jobs.delete(job)
    assert job.name not in [model.name for model in all_models()] and not job.folder.exists()
    with pytest.raises(Problem, match="no run"):
        jobs.find_job(job.id)


def test_running_job_is_not_deleted_nor_resumed(runs: Path, toy: Path, pairs: Path):
    job = wait_until(jobs.start(small(toy, pairs, **LONG)), at_step(1))
    with pytest.raises(Problem, match="Stop it before you delete it"):
        jobs.delete(job)
    with pytest.raises(Problem, match="is running already"):
        jobs.resume(job)


def test_process_is_known_by_its_start_too_and_another_boot_is_lost(runs: Path, toy: Path, pairs: Path):
    assert (
        alive(identity())
        and not alive({**identity(), "started": "1"})
        and not alive({"pid": 4_000_000, "boot": boot()})
    )
    job = jobs.start(small(toy, pairs), launch=False)
    write_json(job.folder / "state.json", {"state": "running"})
    write_json(job.folder / "process.json", {**identity(), "started": "1"})
    assert Job.read(job.folder).state == "stopped", "a process that got the same id was taken for the job"
    write_json(job.folder / "process.json", {**identity(), "boot": "another"})
    assert Job.read(job.folder).state == "lost"
    (job.folder / "process.json").unlink()
    write_json(job.folder / "state.json", {"state": "queued", "since": time.time() - 3600})
    assert Job.read(job.folder).state == "stopped", "a run whose start broke off waits for ever"


def test_folders_that_hold_no_run_are_left_out(runs: Path, toy: Path, pairs: Path):
    job = jobs.start(small(toy, pairs), launch=False)
    (runs / "stray").mkdir()
    (runs / "newer").mkdir()
    write_json(runs / "newer" / "run.json", {"format": 99})
    assert [each.id for each in jobs.all_jobs()] == [job.id]


def test_command_line_starts_shows_and_refuses(runs: Path, toy: Path, pairs: Path, capsys: pytest.CaptureFixture[str]):
    knobs = [
        f"--set={name}={value}" for name, value in {"steps": 2, "max_length": 160, "learning_rate": "1e-3"}.items()
    ]
    code = main(["start", "--recipe", "shawgpt", "--model", str(toy), "--data", str(pairs), *knobs, "--wait", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert code == 0 and said["state"] == "done" and said["adapter"].endswith("adapter")
    assert {"run", "state", "pid", "model", "adapter", "train_loss", "eval_loss"} <= said.keys()
    assert main(["show", said["run"], "--json"]) == 0 and json.loads(capsys.readouterr().out) == said
    assert main(["list"]) == 0 and said["run"] in capsys.readouterr().out
    assert main(["resume", said["run"]]) == 2 and "is done" in capsys.readouterr().err
    assert main(["start", "--data", "nowhere"]) == 2 and "no examples" in capsys.readouterr().err
    assert main(["delete", said["run"]]) == 0 and not jobs.all_jobs()


def test_sweep_queues_a_run_for_each_value(runs: Path, toy: Path, pairs: Path, capsys: pytest.CaptureFixture[str]):
    args = [
        "start",
        "--model",
        str(toy),
        "--data",
        str(pairs),
        "--set",
        "steps=2",
        "--set",
        "max_length=160",
        "--wait",
        "--json",
    ]
    assert main([*args, "--sweep", "rank=2,4", "--sweep", "alpha=8"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 2 and all(each["state"] == "done" for each in found)
    swept = [jobs.find_job(each["run"]) for each in found]
    assert {(job.recipe["rank"], job.recipe["alpha"]) for job in swept} == {(2, 8.0), (4, 8.0)}
    assert [job.record["sweep"] for job in siblings(swept[1], jobs.all_jobs())] == [
        {"rank": "2", "alpha": "8"},
        {"rank": "4", "alpha": "8"},
    ]
    assert main([*args, "--sweep", "rank=2,x"]) == 2 and "not a whole number" in capsys.readouterr().err
    assert main([*args, "--sweep", "rank="]) == 2 and "separated by commas" in capsys.readouterr().err
    many = ",".join(str(number) for number in range(1, 40))
    assert main([*args, "--sweep", f"rank={many}"]) == 2 and "the most at once" in capsys.readouterr().err
    assert len(jobs.all_jobs()) == 2, "a sweep that was refused started runs"


def test_ctrl_c_ends_the_waiting_and_says_that_the_job_goes_on(
    runs: Path, toy: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    over, job = (jobs.start(small(toy, pairs, steps=2), launch=False) for _ in range(2))
    write_json(over.folder / "state.json", {"state": "done"})

    def interrupted(job: Job) -> Job:
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        waited_for([over, job])
    assert capsys.readouterr().err == f"Still training: {job.id}. To end it: python -m engine.jobs stop RUN\n"


def test_real_process_outlives_its_starter_and_is_stopped_by_another(toy: Path, pairs: Path):
    """The one test with a fresh interpreter for every process, as people have it."""
    env = {**os.environ, "DIPTYCH_HOME": str(settings().home)}
    knobs = ["--set", "steps=4000", "--set", "eval_steps=500", "--set", "max_length=160"]
    command = [
        sys.executable,
        "-m",
        "engine.jobs",
        "start",
        "--model",
        str(toy),
        "--data",
        str(pairs),
        *knobs,
        "--json",
    ]
    said = json.loads(subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout)
    job = wait_until(jobs.find_job(said["run"]), at_step(2), 120)
    try:
        assert job.state == "running" and job.pid and os.getsid(job.pid) == job.pid, (
            "the job shares its starter's session"
        )
        assert os.getpriority(os.PRIO_PROCESS, job.pid) >= min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
        os.kill(job.pid, signal.SIGTERM)
        job = wait_until(job, lambda job: job.over)
        assert job.state == "stopped" and (job.latest("step") or 0) < 4000
        assert "Traceback" not in job.log
    finally:
        if not job.over:
            jobs.stop(job, now=True)
            wait_until(job, lambda job: job.over)
        jobs.delete(Job.read(job.folder))


def test_three_lines_of_python_teach_and_ask(runs: Path, toy: Path, pairs: Path, empty_pool: object):
    from engine import teach

    run = teach(str(toy), str(pairs), steps=2, max_length=160, learning_rate=5e-3)
    assert run.state == "done" and run.model and isinstance(run.model.reply("Great video!", max_tokens=8), str)
    with pytest.raises(Problem, match="Rank must"):
        teach(str(toy), str(pairs), rank=0)


def test_data_named_like_a_sample_is_the_sample():
    assert examples_file("shawgpt").name == "shawgpt.jsonl"
    assert find("starter").adapter is None
