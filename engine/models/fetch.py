"""The process behind a download, `python -m engine.models.fetch STORE`: fetch file by file, check each, say how it
ended."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine import hub
from engine.errors import Problem
from engine.models.look import DISK_TO_SPARE
from engine.models.sources import PLAIN_NAME, File
from engine.teaching.runs import read_json, write_json

log = logging.getLogger(__name__)
TRIES = 5  # failures in a row without a new byte, before the download gives up
LINE_TROUBLE = ("broke off", "did not answer", "cannot be reached", "has trouble of its own")  # in hub's sentences
PAUSE = 2.0  # seconds before a failed file is asked for again


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch one store: 0 when it is whole."""
    place = Path((arguments or sys.argv[1:])[0])
    try:
        fetch(place)
    except Problem as problem:
        log.warning("%s", problem)
        say(place, "failed", reason=str(problem))
        return 1
    except Exception as error:
        log.exception("the download failed")
        say(place, "failed", reason=told(error))
        return 1
    return 0


def fetch(place: Path) -> None:
    """Bring every file of the plan. Raises Problem."""
    plan = read_json(place / "plan.json")
    files = [File(**file) for file in plan["files"]]
    if strange := [file.name for file in files if not PLAIN_NAME.fullmatch(file.name)]:
        raise Problem(f"The plan names a file that cannot be one: {strange[0]!r}.")
    check_room(place, files)
    had = on_disk(place, files)
    say(place, "downloading", had=had)
    for file in sorted(files, key=lambda each: each.size):
        if not whole(place / "files" / file.name, file):
            patiently(plan, file, place)
    say(place, "checking", had=had)
    for file in files:
        checked(place / "files" / file.name, file)
    write_json(place / "done.json", {"when": time.time(), "name": plan["name"], "commit": plan["commit"]})


def patiently(plan: dict[str, Any], file: File, place: Path) -> None:
    """One file, asked for again as long as the line breaks and something new has come since."""
    from engine.models.download import arrived

    failures, before = 0, -1
    while True:
        try:
            hub.bring(plan["name"], plan["commit"], file, place / "files")
            return
        except Problem as problem:
            if not broken(problem):
                raise
            now = arrived(place)
            failures = 1 if now > before else failures + 1
            before = now
            if failures >= TRIES:
                raise Problem(f"{problem} What has arrived is kept: press Resume later.") from problem
            log.warning("%s: %s; trying again", file.name, problem)
            time.sleep(PAUSE)


def broken(problem: Problem) -> bool:
    """Whether it was the line that failed, so that another try is worth it; a full disk is told at once."""
    cause = problem.__cause__
    if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
        raise Problem(told(cause)) from cause
    return any(words in str(problem) for words in LINE_TROUBLE)


def check_room(place: Path, files: Sequence[File]) -> None:
    """Raise Problem unless what is missing fits on the disk."""
    import shutil

    from engine.amounts import amount

    missing = sum(file.size for file in files) - on_disk(place, files)
    free = shutil.disk_usage(place).free
    if missing + DISK_TO_SPARE > free:
        raise Problem(f"{amount(missing)} are missing, and {amount(free)} of disk are free. Make room, then Resume.")


def on_disk(place: Path, files: Sequence[File]) -> int:
    """Bytes that are here already."""
    from engine.models.download import arrived

    return min(arrived(place), sum(file.size for file in files))


def whole(path: Path, file: File) -> bool:
    """Whether a file is here in its full length."""
    return path.is_file() and path.stat().st_size == file.size


def checked(path: Path, file: File) -> None:
    """Raise Problem unless the file is what the Hub says; one that is not is thrown away."""
    fine = whole(path, file)
    if fine and file.sha256:
        with path.open("rb") as opened:
            fine = hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256
    if not fine:
        path.unlink(missing_ok=True)
        raise Problem(f"{file.name} arrived damaged and was thrown away. Press Resume to get it again.")


def say(place: Path, state: str, **more: object) -> None:
    """Write the state where the page reads it."""
    write_json(place / "state.json", {"state": state, "since": time.time(), **more})


def told(error: Exception) -> str:
    """The sentence for an error that is no Problem."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "The disk is full. Make room, then press Resume: what has arrived is kept."
    return f"The download ended with an error of its own ({type(error).__name__}). The log says more."


if __name__ == "__main__":
    from engine.settings import prepare_process

    prepare_process()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    os.nice(5)
    raise SystemExit(main())
