"""The queue: jobs take turns through a lock that the system itself lets go when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.settings import settings
from engine.teaching.identity import alive
from engine.teaching.runs import folders, read_json, runs_folder

GLANCE = 0.3  # seconds between two looks at whether it is one's turn


class Stopped(Exception):
    """Somebody asked the job to stop."""


@contextlib.contextmanager
def turn(folder: Path, stop_asked: Callable[[], bool]) -> Iterator[None]:
    """Wait until fewer than `settings().jobs` others run and nobody older waits. Raises Stopped when asked to."""
    while True:
        if stop_asked():
            raise Stopped
        held = first_in_line(folder) and taken()
        if held:
            break
        time.sleep(GLANCE)
    with held:
        yield


def taken() -> contextlib.AbstractContextManager | None:
    """A free place to run in, held until it is closed; None when all are taken."""
    for place in range(settings().jobs):
        file = (runs_folder() / f".turn-{place}").open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        return file
    return None


def first_in_line(folder: Path) -> bool:
    """Whether no run that waits in a living process has waited longer."""
    mine = since(folder)
    return all(since(other) >= mine for other in folders() if other != folder and waits(other))


def since(folder: Path) -> tuple[float, str]:
    """When a run was put into the queue; the folder's name settles a tie."""
    return float(read_json(folder / "state.json").get("since", 0)), folder.name


def waits(folder: Path) -> bool:
    """Whether a run stands in the queue."""
    return read_json(folder / "state.json").get("state") == "queued" and alive(read_json(folder / "process.json"))


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let one process at a time make or remove run folders."""
    with (runs_folder() / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
