"""Downloads: a folder for each revision of a repository, and the process that fills it. Begin, follow, stop, resume."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from engine.errors import Problem
from engine.models.report import Report
from engine.settings import settings
from engine.teaching.identity import alive
from engine.teaching.runs import read_json, slug, write_json

State = Literal["waiting", "downloading", "checking", "stopped", "failed", "done"]
MODULE = "engine.models.fetch"
FORMAT = 1
LONGEST_START = 60.0  # seconds between a plan and its process; later there will be none
CUT = "The process ended before all had arrived. Resume goes on where it was."


@dataclass(frozen=True)
class Progress:
    """How far a download is: bytes on the disk, bytes in all, bytes a second of this process, why it ended."""

    state: State
    done: int = 0
    total: int = 0
    speed: float | None = None
    reason: str = ""

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At this speed; None where nothing can be said."""
        return (self.total - self.done) / self.speed if self.speed and self.state == "downloading" else None


def stores() -> Path:
    """Where downloads are; made on first use."""
    place = settings().home / "weights"
    place.mkdir(parents=True, exist_ok=True)
    return place


def store_name(name: str, commit: str) -> str:
    """The folder of a repository at a commit."""
    return f"{slug(name)}-{slug(commit)[:12]}"


def store_folder(store: str) -> Path:
    """The folder that holds plan, state, log and files."""
    return stores() / store


def files_folder(store: str) -> Path:
    """The model itself."""
    return store_folder(store) / "files"


def complete(store: str) -> bool:
    """Whether everything has arrived and was checked."""
    return (store_folder(store) / "done.json").is_file()


def begin(store: str, report: Report) -> None:
    """Write down what to fetch and start a process on it; nothing to do where it is here or on its way."""
    place = store_folder(store)
    with one_at_a_time():
        if complete(store) or progress(store).state in ("waiting", "downloading", "checking"):
            return
        files_folder(store).mkdir(parents=True, exist_ok=True)
        plan = {"name": report.name, "commit": report.commit, "files": [asdict(file) for file in report.files]}
        write_json(place / "plan.json", {"format": FORMAT, **plan})
        launched(place)


def launched(place: Path) -> None:
    """Start a detached process on a store."""
    from engine.jobs import detached

    (place / "process.json").unlink(missing_ok=True)
    write_json(place / "state.json", {"state": "waiting", "since": time.time(), "had": arrived(place)})
    detached(place, MODULE)


def progress(store: str) -> Progress:
    """How far it is, read from the disk: any process at any time finds the same."""
    place = store_folder(store)
    total = sum(int(file.get("size", 0)) for file in read_json(place / "plan.json").get("files", []))
    process = read_json(place / "process.json")
    living = alive(process)  # asked first: what a process that has ended wrote last is on the disk by now
    if complete(store):
        return Progress("done", total, total)
    told, done = read_json(place / "state.json"), arrived(place)
    word = told.get("state")
    if word in ("stopped", "failed"):
        return Progress(word, done, total, reason=str(told.get("reason", "")))
    since = float(told.get("since", 0))
    if not living and (process or time.time() - since > LONGEST_START):
        return Progress("stopped", done, total, reason=CUT if told else "")
    if word not in ("downloading", "checking"):
        return Progress("waiting", done, total)
    passed = time.time() - since
    speed = (done - int(told.get("had", 0))) / passed if passed > 1 else None
    return Progress(word, done, total, speed)


def arrived(place: Path) -> int:
    """Bytes of a store's files on the disk, whole ones and those still arriving."""
    sizes = 0
    for path in (place / "files").glob("*"):
        with contextlib.suppress(OSError):  # it was moved to its place just now
            sizes += path.stat().st_size if path.is_file() else 0
    return sizes


def cancel(store: str) -> None:
    """End a download; what has arrived stays for Resume."""
    place = store_folder(store)
    if not place.is_dir() or complete(store):
        return
    process = read_json(place / "process.json")
    write_json(place / "state.json", {"state": "stopped", "reason": "Stopped on request."})
    if alive(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(process["pid"]), signal.SIGTERM)
    deadline = time.monotonic() + 10
    while alive(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    if not complete(store):  # it may have told another end in its last moment
        write_json(place / "state.json", {"state": "stopped", "reason": "Stopped on request."})


def resume(store: str) -> None:
    """Go on with a download that was stopped or failed. Raises Problem."""
    place = store_folder(store)
    with one_at_a_time():
        now = progress(store)
        if now.state not in ("stopped", "failed"):
            raise Problem(f"This download is {now.state} already.")
        if not (place / "plan.json").is_file():
            raise Problem("This download has lost its plan. Delete the model and add it again.")
        launched(place)


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let one process at a time start downloads."""
    with (stores() / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
