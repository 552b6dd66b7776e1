"""Checkpoints that are whole or not there: a manifest with the hash of every file is written last."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.teaching.runs import read_json, write_json

MANIFEST = "manifest.json"
KEPT = 2  # newest checkpoints that stay, besides the best one
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def checkpoint_folder(root: Path, step: int) -> Path:
    """Where the checkpoint of a step lies; the name is the one that transformers gives."""
    return root / f"checkpoint-{step}"


def seal(folder: Path, facts: Mapping[str, Any]) -> None:
    """Put every file on the disk and then the manifest; from then on the checkpoint counts."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MANIFEST:
            hashes[path.relative_to(folder).as_posix()] = synced_hash(path)
    write_json(folder / MANIFEST, {"format": 1, **facts, "files": hashes})


def synced_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, after they have reached the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def complete(folder: Path) -> bool:
    """Whether the checkpoint is whole: every file of its manifest is there with the bytes it had."""
    files = read_json(folder / MANIFEST).get("files")
    if not isinstance(files, dict) or not files:
        return False
    try:
        return all(file_hash(folder / name) == wanted for name, wanted in files.items())
    except OSError:
        return False


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def step_of(folder: Path) -> int:
    """The step in a checkpoint's name; -1 for another folder."""
    number = folder.name.removeprefix("checkpoint-")
    return int(number) if number.isdigit() else -1


def by_step(root: Path) -> list[Path]:
    """All checkpoint folders, complete or not, newest first."""
    found = [path for path in root.glob("checkpoint-*") if step_of(path) >= 0]
    return sorted(found, key=step_of, reverse=True)


def latest(root: Path) -> Path | None:
    """The newest complete checkpoint; None when there is none."""
    return next((path for path in by_step(root) if complete(path)), None)


def facts(folder: Path) -> dict[str, Any]:
    """What the manifest says besides hashes: step, and the counters of the run."""
    return read_json(folder / MANIFEST)


def prune(root: Path, best_step: int | None) -> None:
    """Remove all but the newest sealed checkpoints and the best one; a broken one goes too."""
    sealed = [path for path in by_step(root) if (path / MANIFEST).is_file()]
    kept = {*sealed[:KEPT], *(path for path in sealed if step_of(path) == best_step)}
    for path in by_step(root):
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)


def disk_full(error: BaseException) -> bool:
    """Whether an error, whatever library raised it, tells of a disk without room."""
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    text = str(error)
    return "No space left on device" in text or "os error 28" in text or "PytorchStreamWriter failed" in text


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Add one object to a jsonl file, in one write."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(value, ensure_ascii=False) + "\n")


def forget_after(path: Path, step: int) -> None:
    """Drop the lines of a jsonl file that tell of later steps: a resumed run writes them again."""
    from engine.teaching.runs import read_lines

    kept = [line for line in read_lines(path) if line.get("step", 0) <= step]
    temporary = path.with_suffix(".part")
    temporary.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept), encoding="utf-8")
    temporary.replace(path)
