"""How many devices a job can train on here, told without importing torch."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from engine.errors import Problem

DEV = Path("/dev")


def gpus() -> int:
    """The GPUs that this process may use."""
    if torch := sys.modules.get("torch"):
        return int(torch.cuda.device_count())
    there = sum(bool(re.fullmatch(r"nvidia\d+", path.name)) for path in DEV.glob("nvidia*"))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return there if visible is None else min(there, len([name for name in visible.split(",") if name.strip()]))


def most_devices() -> int:
    """The most that a job may be spread over: the GPUs; without any, processes on the processor, to try it out."""
    return gpus() or max(2, os.cpu_count() or 1)


def devices_trouble(wanted: int) -> str:
    """Why a job cannot have so many devices; "" where it can."""
    if wanted <= (most := most_devices()):
        return ""
    kind = "GPU" if gpus() else "core"
    return f"Devices is {wanted}, and this machine has {most} {kind}{'s' * (most != 1)}. Lower it."


def require_devices(wanted: int) -> None:
    """Raise Problem where a run that was begun on so many devices cannot go on with as many."""
    if devices_trouble(wanted):
        raise Problem(
            f"This run was begun on {wanted} devices and goes on with as many only; this machine has "
            f"{most_devices()}. Clone it to begin anew on fewer."
        )
