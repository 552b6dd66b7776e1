"""Run folders: what a job has written, read so that any process at any time finds the same state in it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
import time
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from engine.catalog import Model
from engine.errors import Problem
from engine.settings import settings
from engine.teaching.identity import alive

FORMAT = 1
State = Literal["queued", "running", "stopped", "failed", "done", "lost"]
KILLED = (
    "The process ended without a word: it was killed by a signal, by hand or because memory ran out. "
    "Resume goes on from the last complete checkpoint."
)
LOST = "The machine was started again while this ran. Resume goes on from the last complete checkpoint."
LONGEST_SLUG = 40
LONGEST_START = 60.0  # seconds between a new folder and its process; later there will be none
LAST_LOG_BYTES = 20_000


def runs_folder() -> Path:
    """Where all runs live; made on first use."""
    folder = settings().home / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def slug(text: str) -> str:
    """A name that is safe in a path on any system: lower-case letters, digits and single hyphens."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_SLUG].strip("-") or "run"


def write_json(path: Path, value: Any) -> None:
    """Replace a file in one step, so that a reader sees the old text or the new one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(value, file, ensure_ascii=False, indent=1)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; empty where there is none or it cannot be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a jsonl file; a last line that is still being written is left out."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return [value for value in found if isinstance(value, dict)]


@dataclass(frozen=True)
class Job:
    """One run as its folder tells it now; read again for later news. `recipe` holds the knobs as plain values."""

    folder: Path
    record: Mapping[str, Any] = field(repr=False)
    state: State = "queued"
    reason: str = ""
    pid: int | None = None

    @classmethod
    def read(cls, folder: Path) -> Job:
        """The run in a folder. Raises Problem when it holds none of a format known here."""
        record = read_json(folder / "run.json")
        if record.get("format") != FORMAT:
            raise Problem(f"The folder {folder.name} holds no run that this version of Diptych can read.")
        state, reason, pid = told(folder)
        return cls(folder, record, state, reason, pid)

    @property
    def id(self) -> str:
        """The folder's name, which never changes."""
        return self.folder.name

    @property
    def name(self) -> str:
        """What people call it, and the model that it makes."""
        return str(self.record.get("name") or self.id)

    @property
    def phase(self) -> str:
        """What a running job is doing just now."""
        return str(read_json(self.folder / "state.json").get("phase", ""))

    @property
    def over(self) -> bool:
        """Whether no process works on it."""
        return self.state not in ("queued", "running")

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """The knobs as they were given to the job."""
        return read_json(self.folder / "recipe.json")

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """One object for each line of metrics.jsonl, by step."""
        return read_lines(self.folder / "metrics.jsonl")

    def latest(self, name: str) -> float | None:
        """The newest value of a metric."""
        return next((line[name] for line in reversed(self.metrics) if line.get(name) is not None), None)

    @cached_property
    def samples(self) -> list[dict[str, Any]]:
        """Answers to the fixed prompts: objects with step, prompt and answer."""
        return read_lines(self.folder / "samples.jsonl")

    @cached_property
    def comparison(self) -> list[dict[str, Any]]:
        """The table of the end: objects with prompt, wanted, base and tuned."""
        return list(read_json(self.folder / "comparison.json").get("rows", []))

    @property
    def done(self) -> dict[str, Any]:
        """What the job wrote last; empty before."""
        return read_json(self.folder / "done.json")

    @property
    def log(self) -> str:
        """The end of what the process printed."""
        try:
            with (self.folder / "log.txt").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_LOG_BYTES))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""

    @property
    def model(self) -> Model | None:
        """The model that it made; None before it is done, or when its weights are gone."""
        made = self.done.get("model")
        if self.state != "done" or not isinstance(made, dict):
            return None
        place = self.folder / str(made.get("place", ""))
        if not place.is_dir():
            return None
        about = f"Taught {self.recipe.get('data_name') or 'your examples'} on {self.recipe.get('model')}."
        common: dict[str, Any] = {"name": self.name, "about": about, "style": self.recipe.get("style")}
        if made.get("kind") == "adapter":
            return Model(base=str(made["base"]), revision=made.get("revision"), adapter=place, **common)
        return Model(base=str(place), **common)


def merged_model(job: Job) -> Model | None:
    """The model that a run's adapter was merged into; None where it was not."""
    place = job.folder / "merged"
    if job.state != "done" or not (place / "merged.json").is_file():
        return None
    about = f"{job.name}, merged into {job.recipe.get('model')}."
    return Model(f"{job.name} merged", str(place), about=about, style=job.recipe.get("style"))


def told(folder: Path) -> tuple[State, str, int | None]:
    """(state, reason in words, pid of the process that works on it) of a run folder."""
    if (folder / "done.json").is_file():
        return "done", "", None
    state, process = read_json(folder / "state.json"), read_json(folder / "process.json")
    word = state.get("state")
    if word in ("stopped", "failed"):
        return word, str(state.get("reason", "")), None
    if not process and time.time() - float(state.get("since", 0)) > LONGEST_START:
        return "stopped", KILLED, None
    if not process or alive(process):
        return ("running" if word == "running" else "queued"), "", process.get("pid")
    from engine.teaching.identity import boot

    if process.get("boot") != boot():
        return "lost", LOST, None
    return "stopped", KILLED, None


def folders() -> Iterator[Path]:
    """Every run folder, oldest first; what is hidden or half made is left out."""
    root = settings().home / "runs"
    if root.is_dir():
        yield from sorted(path for path in root.iterdir() if not path.name.startswith(".") and path.is_dir())


def stamp() -> str:
    """A text that is another one as soon as anything about any run is; what the runs hold is not read."""
    parts = [f"{folder.name} {newest(folder)} {told(folder)[0]}" for folder in folders()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def newest(folder: Path) -> int:
    """When something in a folder changed last, in nanoseconds; of what vanishes meanwhile nothing is said."""
    found = 0
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            with contextlib.suppress(OSError):
                found = max(found, entry.stat().st_mtime_ns)
    return found


def all_jobs(kind: str | None = "train") -> list[Job]:
    """Every run of a kind (None: of all kinds), newest first; folders that hold none are left out."""
    found = []
    for folder in folders():
        try:
            found.append(Job.read(folder))
        except Problem:
            continue
    return [job for job in reversed(found) if kind in (None, job.record.get("kind", "train"))]


def find_job(name: str) -> Job:
    """The run of that id or name (the newest of several). Raises Problem."""
    jobs = all_jobs(None)
    for job in jobs:
        if job.id == name:
            return job
    for job in jobs:
        if job.name == name:
            return job
    raise Problem(f"There is no run '{name}'. `python -m engine.jobs list` shows those there are.")
