"""A job on several devices: accelerate's launcher starts a process for each, and this one keeps watch over them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.errors import Problem
from engine.settings import ROOT, settings
from engine.teaching.identity import alive, identity
from engine.teaching.runs import read_json, write_json
from engine.teaching.turns import Stopped

GLANCE = 0.2  # seconds between two looks at the launcher and at the wish to stop
PATIENCE = 10.0  # seconds that processes have to end by themselves
KEEPER = "keeper.json"  # in the channel: who watches
LOOPBACK = ("lo", "lo0")
KILLED = (
    "One of the {size} processes ended without a word: it was killed, by hand or because memory ran out. Resume goes "
    "on from the last complete checkpoint."
)


def train_on_several(folder: Path, devices: int, stop_asked: Callable[[], bool]) -> None:
    """Run the job of a folder in so many processes. Raises Problem, or Stopped.

    What they have to say goes through a folder of its own, so that a run folder looks the same on any number.
    """
    with tempfile.TemporaryDirectory(prefix="diptych-crew-") as name:
        channel = Path(name)
        write_json(channel / KEEPER, identity())
        launcher = subprocess.Popen(  # noqa: S603 - our own module on our own folder, no shell
            command(folder, channel, devices),
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl+C asks this process, which lets the others save
        )
        try:
            while launcher.poll() is None:
                if stop_asked():
                    (folder / "stop").touch()
                time.sleep(GLANCE)
        finally:
            end(launcher, channel)
        settle(channel, devices)


def command(folder: Path, channel: Path, devices: int) -> list[str]:
    """The launcher and its arguments. `--multi_gpu` is its word for several processes, also on a processor."""
    threads = max(1, settings().job_threads // devices)
    options = {
        "num_processes": devices, "num_machines": 1, "machine_rank": 0, "main_process_port": 0, "gpu_ids": "all",
        "mixed_precision": "no", "dynamo_backend": "no", "num_cpu_threads_per_process": threads,
    }  # fmt: skip
    given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", *given]
    return [*launcher, "--module", "engine.teaching.rank", str(folder), str(channel)]


def environment() -> dict[str, str]:
    """This process's, with the home folder, and the way the processes talk to each other kept inside the machine."""
    loopback = next((name for name in LOOPBACK if Path("/sys/class/net", name).exists()), "")
    talk = {"GLOO_SOCKET_IFNAME": loopback} if loopback else {}
    return {**talk, **os.environ, "DIPTYCH_HOME": str(settings().home)}


def end(launcher: subprocess.Popen[bytes], channel: Path) -> None:
    """Leave no process behind: those that have not ended by themselves in time are killed."""
    if launcher.poll() is None:
        launcher.terminate()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and (launcher.poll() is None or any(map(alive, processes(channel)))):
        time.sleep(GLANCE)
    for process in processes(channel):
        if alive(process):
            os.kill(int(process["pid"]), signal.SIGKILL)
    if launcher.poll() is None:
        launcher.kill()
    launcher.wait()


def records(channel: Path) -> list[dict[str, Any]]:
    """What each process has said last."""
    return [read_json(path) for path in sorted(channel.glob("rank-*.json"))]


def processes(channel: Path) -> list[dict[str, Any]]:
    """The identities of the processes."""
    return [record.get("process", {}) for record in records(channel)]


def settle(channel: Path, devices: int) -> None:
    """How it ended, from what the processes said: nothing when it is done. Raises Problem, or Stopped."""
    said = records(channel)
    states = [record.get("state") for record in said]
    if states.count("done") == devices:
        return
    # a process that lost the others only tells of the end of another
    told = [record["reason"] for record in said if record.get("state") == "failed" and not record.get("lost")]
    if told:
        raise Problem(told[0])
    if "stopped" in states:
        raise Stopped
    raise Problem(KILLED.format(size=devices))
