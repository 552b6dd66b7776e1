"""How fast the page answers while a job trains: `python -m benchmarks.latency`, in less than five minutes.

Starts the app, then asks it, idle and while a job trains, for two events of the page (the list of runs, the examples on
offer) and for the page itself, and lets it compare two lanes. Prints the median and the 95th percentile of each, when a
comparison's first words come and in how many parts, and whether the events met the floor.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from statistics import quantiles
from typing import Any

from engine.settings import ROOT, prepare_process

FLOOR = 0.3  # seconds, 95th percentile
LONGEST_PHASE = 45.0  # seconds of asking, idle or busy
PAGE = "loading the page"  # is no event, so the floor does not count for it
START = 90.0  # seconds until the app, or the job's first step, is waited for
PAUSE = 0.05  # seconds between two questions


def percentiles(ask: Callable[[], Any], times: int, seconds: float) -> tuple[float, float, int]:
    """(median, 95th percentile, number) of the seconds that an answer takes; at most `seconds` are spent."""
    took: list[float] = []
    until = time.monotonic() + seconds
    while len(took) < times and (len(took) < 2 or time.monotonic() < until):
        began = time.perf_counter()
        ask()
        took.append(time.perf_counter() - began)
        time.sleep(PAUSE)
    parts = quantiles(took, n=20, method="inclusive")
    return parts[9], parts[18], len(took)


def events(client: Any, address: str) -> dict[str, Callable[[], Any]]:
    """What is asked for, by what it is called in the table."""
    return {
        "the list of runs": lambda: client.predict(api_name="/jobs"),
        "the examples on offer": lambda: client.predict(api_name="/offer"),
        PAGE: lambda: fetched(address),
    }


def fetched(address: str) -> bytes:
    """The bytes at an address of the app."""
    with urllib.request.urlopen(address, timeout=60) as answer:
        return bytes(answer.read())


def streamed(client: Any) -> tuple[float, int, float]:
    """(seconds to the first part, number of parts, seconds from first to last) of a comparison of two lanes."""
    began = time.perf_counter()
    came = []
    for _ in client.submit(prompt="Great video!", lanes=["starter", "starter-shawgpt"], api_name="/compare"):
        came.append(time.perf_counter() - began)
    return came[0], len(came), came[-1] - came[0]


def phase(name: str, client: Any, address: str, times: int) -> bool:
    """Print what is measured now; whether every event met the floor and the comparison came in parts."""
    asked = events(client, address)
    met = True
    for event, ask in asked.items():
        median, most, number = percentiles(ask, times, LONGEST_PHASE / len(asked))
        met = met and (event == PAGE or most <= FLOOR)
        print(f"| {name} | {event} | {1000 * median:.0f} | {1000 * most:.0f} | {number} |", flush=True)
    first, parts, spread = streamed(client)
    print(
        f"| {name} | a comparison | first part {1000 * first:.0f} | | {parts} parts over {spread:.2f} s |", flush=True
    )
    return met and parts > 1


def opened(address: str, app: subprocess.Popen[bytes]) -> Any:
    """A client of the app once it answers. Raises RuntimeError when it does not."""
    from gradio_client import Client

    until = time.monotonic() + START
    while time.monotonic() < until and app.poll() is None:
        try:
            return Client(address, verbose=False)
        except Exception:
            time.sleep(0.5)
    raise RuntimeError(f"the app did not come up (it ended with {app.poll()})")


def training(client: Any) -> str:
    """Start a job that outlasts the measurement, and wait for its first step. Raises RuntimeError."""
    knobs = {"steps": 1_000_000, "eval_steps": 500_000, "save_steps": 500_000}
    run = str(client.predict("starter", "shawgpt", "quick", knobs, api_name="/start_job")["run"])
    until = time.monotonic() + START
    while time.monotonic() < until:
        if state(client, run)["step"]:
            return run
        time.sleep(0.5)
    raise RuntimeError(f"the job did not begin: {state(client, run)}")


def state(client: Any, run: str) -> dict[str, Any]:
    """What the app tells of a run."""
    return next((job for job in client.predict(api_name="/jobs") if job["run"] == run), {"step": None, "state": "gone"})


def ended(client: Any, app: subprocess.Popen[bytes]) -> None:
    """Stop every job and then the app: jobs outlive it."""
    if client:
        for job in client.predict(api_name="/jobs"):
            if job["state"] in ("queued", "running"):
                client.predict(job["run"], api_name="/stop_job")
        until = time.monotonic() + 30
        while time.monotonic() < until and any(
            job["state"] in ("queued", "running") for job in client.predict(api_name="/jobs")
        ):
            time.sleep(0.5)
    app.terminate()
    try:
        app.wait(20)
    except subprocess.TimeoutExpired:
        app.kill()
        app.wait()


def free_port() -> int:
    """A port of the loopback that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def main() -> int:
    """Start the app, measure, train, measure; 1 where the floor was missed."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--times", type=int, default=100, help="questions of each kind, idle and busy")
    args = options.parse_args()
    if args.times < 2:
        options.error("--times must be 2 or more")
    home = tempfile.mkdtemp(prefix="diptych-benchmark-")
    os.environ["DIPTYCH_HOME"] = home
    prepare_process()
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    app = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    client = None
    try:
        client = opened(address, app)
        streamed(client)  # loads the model
        print("| | event | median (ms) | 95 % within (ms) | answers |\n|---|---|---|---|---|", flush=True)
        phase("idle", client, address, args.times)
        training(client)
        met = phase("while a job trains", client, address, args.times)
    finally:
        ended(client, app)
        shutil.rmtree(home, ignore_errors=True)
    print(f"\nfloor 300 ms at p95, with a comparison that streams, while a job trains: {'met' if met else 'MISSED'}")
    return int(not met)


if __name__ == "__main__":
    raise SystemExit(main())
