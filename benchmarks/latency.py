"""How fast the page answers while a job trains: `python -m benchmarks.latency` asks /jobs again and again.

Prints the median and the 95th percentile of the answers' time, idle and during training, and when a comparison's
first words come and how many parts it comes in.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from statistics import quantiles
from typing import Any

from engine.settings import ROOT, prepare_process

AIM = 0.3  # seconds, 95th percentile
PORT = 7899


def answered(client: Any, times: int) -> tuple[float, float]:
    """(median, 95th percentile) of the seconds that an answer takes."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        client.predict(api_name="/jobs")
        took.append(time.perf_counter() - began)
        time.sleep(0.05)
    parts = quantiles(took, n=20)
    return parts[9], parts[18]


def streamed(client: Any) -> tuple[float, int]:
    """(seconds to the first words, number of parts) of a comparison of two lanes."""
    began = time.perf_counter()
    job = client.submit(prompt="Great video!", lanes=["starter", "starter-shawgpt"], api_name="/compare")
    first, parts = 0.0, 0
    for _ in job:
        parts += 1
        first = first or time.perf_counter() - began
    return first, parts


def opened(deadline: float) -> Any:
    """A client of the app once it answers."""
    from gradio_client import Client

    while True:
        try:
            return Client(f"http://127.0.0.1:{PORT}", verbose=False)
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def main() -> None:
    """Start the app, measure, train, measure."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--times", type=int, default=100)
    args = options.parse_args()
    os.environ["DIPTYCH_HOME"] = tempfile.mkdtemp(prefix="diptych-benchmark-")
    prepare_process()
    app = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(PORT)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    run = ""
    client = None
    try:
        client = opened(time.monotonic() + 300)
        streamed(client)  # loads the model
        print(
            "| | median (ms) | 95 % within (ms) | first words of a comparison (s) | its parts |\n|---|---|---|---|---|"
        )
        tell("idle", answered(client, args.times), streamed(client))
        knobs = {"steps": 100_000, "eval_steps": 50_000}
        run = client.predict("starter", "shawgpt", "quick", knobs, api_name="/start_job")["run"]
        while not next(job["step"] for job in client.predict(api_name="/jobs") if job["run"] == run):
            time.sleep(0.5)
        tell("while a job trains", answered(client, args.times), streamed(client))
        print(f"\naim: 95 % within {1000 * AIM:.0f} ms")
    finally:
        if run and client:
            client.predict(run, api_name="/stop_job")
        app.terminate()
        app.wait(30)


def tell(name: str, answers: tuple[float, float], comparison: tuple[float, int]) -> None:
    """One row of the table."""
    median, most = (1000 * seconds for seconds in answers)
    print(f"| {name} | {median:.0f} | {most:.0f} | {comparison[0]:.2f} | {comparison[1]} |", flush=True)


if __name__ == "__main__":
    main()
