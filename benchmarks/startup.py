"""From `python app.py` to the first answered page, against a bare Gradio page: `python -m benchmarks.startup`.

The two are started in turn, each in a fresh process; the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from engine.settings import ROOT

FLOOR = 1.5
BARE = """
import gradio, sys
with gradio.Blocks() as page:
    gradio.Markdown("Hello")
page.launch(server_port=int(sys.argv[1]), quiet=True)
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=5)
    args = options.parse_args()
    seconds: dict[str, list[float]] = {"diptych": [], "bare gradio": []}
    first_page(["-c", BARE])  # read both from disk once
    first_page(["app.py", "--port"])
    for _ in range(args.runs):
        seconds["diptych"].append(first_page(["app.py", "--port"]))
        seconds["bare gradio"].append(first_page(["-c", BARE]))
    for name, found in seconds.items():
        print(f"{name:12} median {statistics.median(found):5.2f} s, from {min(found):.2f} to {max(found):.2f}")
    ratio = statistics.median(seconds["diptych"]) / statistics.median(seconds["bare gradio"])
    print(json.dumps({"startup_ratio": round(ratio, 3), "floor": FLOOR}))


def first_page(command: list[str]) -> float:
    """Seconds until GET / answers 200; the process is ended afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "DIPTYCH_HOME": home, "GRADIO_ANALYTICS_ENABLED": "False"}
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *command, str(port)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return answered(process, port, started)
        finally:
            process.terminate()
            process.wait(30)


def answered(process: subprocess.Popen, port: int, started: float) -> float:
    """Poll until the page is there. Raises SystemExit when the process ends or a minute passes."""
    while time.perf_counter() - started < 60 and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
                if page.status == 200:
                    return time.perf_counter() - started
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.02)
    raise SystemExit(f"no page came from {process.args}")


if __name__ == "__main__":
    main()
