"""Which process works on a run: its id and when it started, since ids are given out again."""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROC = Path("/proc")


@functools.cache
def boot() -> str:
    """A text that differs after every start of the machine."""
    path = PROC / "sys/kernel/random/boot_id"
    return path.read_text().strip() if path.is_file() else f"{uuid.getnode():x}"


def started(pid: int) -> str | None:
    """When a process started, in a unit that stays comparable; None when there is none or it has ended."""
    if (PROC / "self/stat").is_file():
        try:
            after_name = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        # proc(5): state is field 3 and starttime, in ticks since boot, field 22; Z and X are dead
        return None if after_name[0] in "ZX" else after_name[19]
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return None


def identity(pid: int | None = None) -> dict[str, Any]:
    """What process.json holds about a process, by default this one."""
    pid = os.getpid() if pid is None else pid
    return {"pid": pid, "started": started(pid), "boot": boot()}


def alive(process: Mapping[str, Any]) -> bool:
    """Whether the very process of an `identity` still runs."""
    pid = process.get("pid")
    if not isinstance(pid, int) or process.get("boot") != boot():
        return False
    return process.get("started") is not None and started(pid) == process["started"]
