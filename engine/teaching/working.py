"""The life of a job's process: its turn, the wish to stop it, and how it ended, in words, in its folder."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.errors import Problem
from engine.teaching.identity import alive, identity
from engine.teaching.runs import read_json, write_json
from engine.teaching.turns import Stopped, turn

log = logging.getLogger(__name__)
DONE, FAILED, STOPPED = 0, 1, 3  # how a job's process ends
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def work(
    folder: Path,
    job: Callable[[Path, Callable[[], bool]], None],
    queue: Callable[[Path, Callable[[], bool]], contextlib.AbstractContextManager[None]] = turn,
) -> int:
    """Wait for the folder's turn, do the job, and write down how it ended. Raises Problem where it may not run.

    `queue` is what it waits in: the jobs that teach take turns, a short job of another kind need not.
    """
    process = read_json(folder / "process.json")
    if process.get("pid") != os.getpid() and alive(process):
        raise Problem(f"Another process works on {folder.name} already.")
    if (folder / "done.json").is_file():
        raise Problem(f"{folder.name} is done. Start a new run to train again.")
    write_json(folder / "process.json", identity())
    state = read_json(folder / "state.json")
    write_json(folder / "state.json", {"since": time.time(), **state, "state": "queued", "reason": "", "phase": ""})
    with stop_flag(folder) as stop_asked:
        try:
            with queue(folder, stop_asked):
                job(folder, stop_asked)
                return DONE
        except Stopped:
            (folder / "stop").unlink(missing_ok=True)
            ended(folder, "stopped", "Stopped on request. Resume goes on from here.")
            return STOPPED
        except Exception as error:
            ended(folder, "failed", in_words(error))
            return FAILED


@contextlib.contextmanager
def stop_flag(folder: Path) -> Iterator[Callable[[], bool]]:
    """Whether somebody asked this process to stop: by the folder's stop file, with SIGTERM or with Ctrl+C."""
    asked: list[int] = []
    before = [signal.signal(number, lambda number, frame: asked.append(number)) for number in STOP_SIGNALS]
    try:
        yield lambda: bool(asked) or (folder / "stop").exists()
    finally:
        for number, handler in zip(STOP_SIGNALS, before, strict=True):
            signal.signal(number, handler)


def halt(stop_asked: Callable[[], bool]) -> None:
    """Raise Stopped where somebody asked for it."""
    if stop_asked():
        raise Stopped


def tell(folder: Path, phase: str) -> None:
    """Write down what the job is doing."""
    log.info("%s", phase)
    write_json(folder / "state.json", {**read_json(folder / "state.json"), "state": "running", "phase": phase})


def ended(folder: Path, state: str, reason: str) -> None:
    """Write down how the job ended, short of being done."""
    log.info("%s: %s", state, reason)
    with contextlib.suppress(OSError):  # on a full disk the old state stays, and the process is gone
        facts = {**read_json(folder / "state.json"), "state": state, "reason": reason, "phase": ""}
        write_json(folder / "state.json", facts)


def in_words(error: Exception) -> str:
    """The reason of a failure for the person; what is no Problem goes to the log in full."""
    from engine.teaching.checkpoints import disk_full

    if isinstance(error, Problem):
        return str(error)
    log.error("the job failed", exc_info=error)
    text = str(error)
    if isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text:
        return (
            "Memory ran out. Lower the batch (and raise accumulation by as much), lower max length, switch on "
            "activation checkpointing, or choose QLoRA or a smaller model; then resume or start again."
        )
    if disk_full(error):
        return "The disk is full. Make room, for example by deleting old runs, then resume."
    line = (text.strip().splitlines() or [type(error).__name__])[0][:200]
    return f"The job hit an error: {line}. Its log has the details."
