"""Settings from the environment: the home folder, limits, and the one budget of processor threads."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from engine.errors import Problem

ROOT = Path(__file__).resolve().parent.parent
ASSETS = ROOT / "assets"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
SWITCH_INTERVAL = 0.0005  # seconds; Python's own 0.005 is as long as a step of a small model
AWAKE = "20000"  # turns in which an OpenMP thread waits awake for the next product, about 0.2 ms
ASLEEP = {"GOMP_SPINCOUNT": "0"}  # for processes that compute beside others
TRUE_WORDS = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True)
class Settings:
    """One reading of the environment.

    `memory_bytes` is what the bases in memory may take together; `threads` is for the decode loops, of which
    one computes at a time; `jobs` is how many jobs may run at once; `on_space` is true on Hugging Face Spaces.
    `tools` is a folder with Python files of the owner's own tools; `visitors_read` is the owner's leave for visitors
    of a public link to let models read web pages.
    """

    home: Path
    threads: int
    memory_bytes: int
    hub_token: str | None
    on_space: bool
    max_upload: str = "50mb"
    jobs: int = 1
    tools: Path | None = None
    visitors_read: bool = False

    @property
    def job_threads(self) -> int:
        """Threads of one job: a core stays with the page, so that it answers while a job trains."""
        return max(1, (self.threads - 1) // self.jobs)

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Settings:
        """Read DIPTYCH_HOME, _THREADS, _MEMORY_GB, _UPLOAD_MB, _JOBS, _TOOLS, _VISITORS_READ, HF_TOKEN and SPACE_ID.

        Raises Problem naming the variable that makes no sense.
        """
        default_home = platformdirs.user_data_dir("diptych", appauthor=False)
        home = Path(env.get("DIPTYCH_HOME") or default_home).expanduser().resolve()
        if home == ROOT or ROOT in home.parents:
            raise Problem(
                f"DIPTYCH_HOME points inside the app's own folder ({home}), from which the web server may hand out "
                "files. Choose a folder elsewhere."
            )
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = int(number(env, "DIPTYCH_THREADS", cores))
        gigabytes = number(env, "DIPTYCH_MEMORY_GB", 0.6 * machine_memory() / 2**30)
        token, jobs = env.get("HF_TOKEN") or None, max(1, int(number(env, "DIPTYCH_JOBS", 1)))
        tools = Path(env["DIPTYCH_TOOLS"]).expanduser().resolve() if env.get("DIPTYCH_TOOLS") else None
        reads = switched_on(env, "DIPTYCH_VISITORS_READ")
        memory, on_space = int(gigabytes * 2**30), "SPACE_ID" in env
        upload = f"{max(1, int(number(env, 'DIPTYCH_UPLOAD_MB', 50)))}mb"
        return cls(home, max(1, threads), memory, token, on_space, upload, jobs, tools, reads)


def number(env: Mapping[str, str], name: str, default: float) -> float:
    """The environment variable as a positive number. Raises Problem naming it when it is not one."""
    text = env.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not value > 0:
        raise Problem(f"{name} is '{text}', which is not a number above 0. Correct it or remove it.")
    return value


def switched_on(env: Mapping[str, str], name: str) -> bool:
    """Whether the environment variable says yes."""
    return env.get(name, "").strip().lower() in TRUE_WORDS


def machine_memory() -> int:
    """Bytes this process may use: the machine's memory, or its control group's limit where that is lower."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        return min(total, int(text))
    return total


@functools.cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings.from_environment(os.environ)


def prepare_process() -> None:
    """Set what must stand in the environment before torch, gradio or a Hub library is imported.

    OpenMP threads wait awake for the next product for a fifth of a millisecond (engine.threads), then sleep: of two
    processes that waited awake for as long as libgomp usually does on two cores, each took more than 25 times as long.
    A thread that decodes gives up the interpreter at every operator of torch, and waits a switch interval to get it
    back from a thread that is busy with streams.
    bitsandbytes would load torch's compiler, which takes seconds, for functions of which it has faster ones for
    processors and CUDA.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    defaults = {
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": AWAKE,
        "TORCHDYNAMO_DISABLE": "1",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "ANONYMIZED_TELEMETRY": "False",
        "TOKENIZERS_PARALLELISM": "false",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    # it warns at import of an optional kernel package that would have to be downloaded
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
