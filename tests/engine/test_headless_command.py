"""Commands end in words and at once when somebody breaks them off, and with the code that `main` returns otherwise."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.headless_command import INTERRUPTED, NOBODY_READS
from engine.settings import ROOT

COMMANDS = (
    "engine/agent.py",
    "engine/compare.py",
    "engine/jobs.py",
    "engine/serve.py",
    "engine/models/__main__.py",
    "rag/__main__.py",
)
BUSY = """
import threading, time
from concurrent.futures import ThreadPoolExecutor

def main():
    pool = ThreadPoolExecutor(1)
    pool.submit(time.sleep, 60)  # as a model that loads: it cannot be broken off
    print("working", flush=True)
    threading.Event().wait()
"""
TALKATIVE = """
def main():
    for number in range(100_000):
        print("a line of output", number)
    return 0
"""


def started(folder: Path, source: str) -> subprocess.Popen[str]:
    """A process that runs a module's `main` as a command."""
    (folder / "given.py").write_text(source)
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "  # as in a terminal
        f"sys.path[:0] = [{str(ROOT)!r}, {str(folder)!r}]; "
        "from engine.headless_command import command; command('given')"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_ctrl_c_ends_a_command_in_words_without_waiting_for_its_threads(tmp_path: Path) -> None:
    process = started(tmp_path, BUSY)
    assert process.stdout and process.stdout.readline() == "working\n"
    before = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=50)
    assert (process.returncode, told) == (INTERRUPTED, "Interrupted.\n")
    assert time.monotonic() - before < 40, "it waited for its threads"


def test_a_reader_that_has_seen_enough_ends_a_command_without_words(tmp_path: Path) -> None:
    process = started(tmp_path, TALKATIVE)
    assert process.stdout and process.stderr
    process.stdout.readline()
    process.stdout.close()
    assert (process.wait(timeout=50), process.stderr.read()) == (NOBODY_READS, "")


@pytest.mark.parametrize("code", [0, 1, 2])
def test_a_command_ends_with_what_its_main_returns(code: int, tmp_path: Path) -> None:
    process = started(tmp_path, f"def main():\n    print('done')\n    return {code}\n")
    assert process.communicate(timeout=50) == ("done\n", "")
    assert process.returncode == code


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_ends_so(path: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8").rstrip().splitlines()[-1].startswith("    command(")
