"""What tests of jobs share: a school that forks jobs, small recipes, patience."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.recipe import Recipe, from_mapping, preset
from engine.settings import ROOT
from engine.teaching.identity import identity
from engine.teaching.runs import Job, read_json, write_json

ANSWER = 12  # tokens of the sample answers in tests
SMALL = {
    "rank": 4, "alpha": 8, "targets": "all-linear", "learning_rate": 5e-3, "warmup": 2, "batch": 4, "accumulation": 2,
    "dropout": 0.05, "steps": 6, "epochs": 1, "eval_steps": 3, "save_steps": 2, "max_length": 160,
    "optimizer": "adamw_torch",
}  # fmt: skip
PAIRS = [
    {"comment": f"{opening} {thing}!", "response": f"{reply} –Bot"}
    for opening, reply in (
        ("Thank you for the", "You are welcome."),
        ("Great", "Glad you like it."),
        ("I saw the", "I see."),
    )
    for thing in ("video", "post", "talk", "cat", "house", "dog", "mat")
]


class School:
    """The forking process; `launched` has the face of engine.jobs.launched."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.engine.school"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def launched(self, folder: Path) -> None:
        assert self.process.stdin and self.process.stdout
        while not getattr(self, "ready", False):
            self.ready = self.process.stdout.readline().strip() == "ready"
        print(folder, file=self.process.stdin, flush=True)
        pid = int(self.process.stdout.readline())
        if read_json(folder / "process.json").get("pid") != pid:
            write_json(folder / "process.json", identity(pid))

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:  # a busy machine takes its time to unload torch
            self.process.kill()
            self.process.wait()


def small(model: Path | str, data: Path | str, start: Recipe | None = None, **knobs: Any) -> Recipe:
    """A job of some steps on a tiny model."""
    return from_mapping({**SMALL, "model": str(model), "data": str(data), **knobs}, start or preset("shawgpt"))


def pairs_file(folder: Path, rows: list[dict] | None = None) -> Path:
    """A jsonl file of comment and response pairs."""
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows or PAIRS), encoding="utf-8")
    return path


def wait_until(job: Job, condition: Callable[[Job], object], seconds: float = 60) -> Job:
    """The job as soon as the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition(job := Job.read(job.folder)):
        assert time.monotonic() < deadline, f"{job.state} {job.reason}\n{job.log[-3000:]}"
        time.sleep(0.01)
    return job


def finished(job: Job, seconds: float = 90) -> Job:
    """The job once it has ended well."""
    job = wait_until(job, lambda job: job.over, seconds)
    assert job.state == "done", f"{job.state}: {job.reason}\n{job.log[-3000:]}"
    return job


def at_step(step: int) -> Callable[[Job], bool]:
    """Whether a job has come that far."""
    return lambda job: (job.latest("step") or 0) >= step


def losses(job: Job, name: str = "loss") -> dict[int, float]:
    """The loss of each step that was logged."""
    return {line["step"]: line[name] for line in job.metrics if name in line}
