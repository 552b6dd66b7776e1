"""Jobs: a run folder and the process that works on it. Start, find, stop, resume, rename, clone, delete."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from engine.errors import Problem
from engine.recipe import Recipe, from_mapping
from engine.settings import ASLEEP, ROOT, settings
from engine.teaching.devices import require_devices
from engine.teaching.identity import alive, identity
from engine.teaching.preparing import prepared
from engine.teaching.runs import FORMAT, Job, all_jobs, find_job, read_json, runs_folder, slug, write_json
from engine.teaching.turns import one_at_a_time

__all__ = [
    "Job", "all_jobs", "clone", "delete", "describe", "find_job", "prepared", "rename", "resume", "start", "stop",
    "wait",
]  # fmt: skip
MODULES = {"train": "engine.train", "ingest": "rag.job"}  # names of modules, so that engine imports nothing of rag
LOOK = 0.3  # seconds between two looks at a job that is waited for
SECRETS = ("HF_TOKEN", "OPENAI_API_KEY", "GITHUB_TOKEN", "DIPTYCH_AUTH")  # of these a job gets the Hub's alone


def start(
    recipe: Recipe,
    owner: str = "",
    request: str = "",
    launch: bool = True,
    sweep: Mapping[str, str] | None = None,
) -> Job:
    """Make a run folder for the recipe and start a process on it, which waits for its turn.

    `request` marks one press of Start: a second call with it returns the same job. `sweep` names the knobs of which
    this run is one combination. The recipe is fitted to the
    model's size (see `engine.recipe.fitted`). Raises one Problem with everything that is wrong, before anything
    is written.
    """
    if request and (job := requested(request)):
        return job
    recipe, source, note = prepared(recipe)
    with one_at_a_time():
        if request and (job := requested(request)):
            return job
        folder = new_folder(recipe, source, owner, request, note)
        if sweep:
            write_json(folder / "run.json", {**read_json(folder / "run.json"), "sweep": dict(sweep)})
    if launch:
        launched(folder)
    return Job.read(folder)


def new_folder(recipe: Recipe, source: Path, owner: str, request: str, note: str) -> Path:
    """Write a run folder with all that the process needs; the caller holds the lock."""
    made_up = f"{slug(Path(recipe.model).name)}-{slug(source.stem)}"
    recipe = replace(recipe, name=free_name(recipe.name.strip() or made_up))
    folder = free_folder(f"{time.strftime('%Y%m%d-%H%M%S')}-{slug(recipe.name)}")
    folder.mkdir()
    shutil.copyfile(source, folder / f"examples{source.suffix.lower()}")
    write_json(folder / "recipe.json", {**asdict(recipe), "data_name": source.stem})
    write_json(folder / "state.json", {"state": "queued", "since": time.time()})
    record = {
        "format": FORMAT,
        "kind": "train",
        "method": recipe.method,
        "place": "here",
        "owner": owner,
        "makes": "model" if recipe.method == "full" else "adapter",
        "name": recipe.name,
        "notes": recipe.notes,
        "created": time.time(),
        "request": request,
        "fitted": note,
    }
    write_json(folder / "run.json", record)
    return folder


def free_folder(wanted: str) -> Path:
    """A folder of that name that is not there yet."""
    folder, number = runs_folder() / wanted, 2
    while folder.exists():
        folder, number = runs_folder() / f"{wanted}-{number}", number + 1
    return folder


def free_name(wanted: str, besides: str = "") -> str:
    """The name, with a number behind it where a model or another run has it already."""
    from engine.catalog import shipped
    from engine.models.kept import entries

    taken = {*shipped(), *(each.name for each in entries()), *(job.name for job in all_jobs() if job.id != besides)}
    name, number = " ".join(wanted.split()), 2
    while name in taken:
        name, number = f"{' '.join(wanted.split())}-{number}", number + 1
    return name


def requested(request: str) -> Job | None:
    """The job that this press of Start has made already."""
    return next((job for job in all_jobs() if job.record.get("request") == request), None)


def launched(folder: Path) -> None:
    """Start a detached process on a run folder."""
    detached(folder, MODULES[str(read_json(folder / "run.json")["kind"])], OMP_NUM_THREADS=str(settings().job_threads))


def detached(folder: Path, module: str, **besides: str) -> None:
    """Start a process of ours on a folder that outlives this one; its output goes to log.txt there.

    Of all secrets it gets the Hub's alone; `besides` are further variables of its environment.
    """
    environment = {name: value for name, value in os.environ.items() if name not in SECRETS[1:]}
    environment |= {"DIPTYCH_HOME": str(settings().home), **ASLEEP, **besides}
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own module on our own folder, no shell
            [sys.executable, "-m", module, str(folder)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    write_json(folder / "process.json", identity(process.pid))


def stop(job: Job, now: bool = False) -> None:
    """Ask a job to save and end, which it does within one step; `now` kills it, and what is unsaved is lost."""
    if job.over:
        raise Problem(f"{job.name} is not running: it is {job.state}.")
    (job.folder / "stop").touch()
    process = read_json(job.folder / "process.json")
    if now and alive(process):
        os.kill(int(process["pid"]), signal.SIGKILL)


def resume(job: Job) -> Job:
    """Go on with a run from its last complete checkpoint, or from the start where there is none."""
    with one_at_a_time():
        job = Job.read(job.folder)
        if not job.over:
            raise Problem(f"{job.name} is {job.state} already.")
        if job.state == "done":
            raise Problem(f"{job.name} is done. Clone it to train again with other values.")
        require_devices(int(job.recipe.get("devices", 1)))
        (job.folder / "stop").unlink(missing_ok=True)
        (job.folder / "process.json").unlink(missing_ok=True)
        write_json(job.folder / "state.json", {"state": "queued", "since": time.time()})
        launched(job.folder)
    return Job.read(job.folder)


def clone(job: Job, changes: dict[str, Any] | None = None, owner: str = "") -> Job:
    """Start a new run with the recipe and the examples of another, and some knobs changed."""
    values = {name: value for name, value in job.recipe.items() if name != "data_name"}
    source = next(iter(sorted(job.folder.glob("examples.*"))), None)
    if source is None:
        raise Problem(f"The examples of {job.name} are gone, so it cannot be started again.")
    return start(from_mapping({**values, "data": str(source), **(changes or {})}), owner)


def rename(job: Job, name: str, notes: str | None = None) -> Job:
    """Give a run, and the model it made, another name; its folder stays."""
    with one_at_a_time():
        if not name.strip():
            raise Problem("Write a name; it is empty.")
        changes: dict[str, Any] = {"name": free_name(name[:80], besides=job.id)}
        if notes is not None:
            changes["notes"] = notes[:4000]
        write_json(job.folder / "run.json", {**job.record, **changes})
    return Job.read(job.folder)


def delete(job: Job) -> None:
    """Remove a run with everything it made. Raises Problem while a process works on it."""
    with one_at_a_time():
        job = Job.read(job.folder)
        if not job.over:
            raise Problem(f"{job.name} is {job.state}. Stop it before you delete it.")
        hidden = job.folder.with_name(f".deleted-{job.folder.name}")
        job.folder.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def wait(job: Job, seconds: float | None = None, until: Callable[[Job], bool] = lambda job: job.over) -> Job:
    """The job once it is over, or `until` something. Raises Problem when that takes longer than `seconds`."""
    deadline = time.monotonic() + seconds if seconds else None
    while not until(job):
        if deadline and time.monotonic() > deadline:
            raise Problem(f"{job.name} is still {job.state} after {seconds:g} seconds.")
        time.sleep(LOOK)
        job = Job.read(job.folder)
    return job


def describe(job: Job) -> dict[str, Any]:
    """A run as plain data, for the command line and for the endpoints."""
    done, model = job.done, job.model
    return {
        "run": job.id,
        "name": job.name,
        "state": job.state,
        "reason": job.reason,
        "pid": job.pid,
        "model": job.recipe.get("model"),
        "adapter": str(model.adapter) if model and model.adapter else None,
        "made": model.name if model else None,
        "step": job.latest("step"),
        "of": job.latest("of"),
        "train_loss": done.get("train_loss", job.latest("loss")),
        "eval_loss": done.get("eval_loss", job.latest("eval_loss")),
    }


if __name__ == "__main__":
    from engine.headless_command import command

    command("engine.headless_jobs")
