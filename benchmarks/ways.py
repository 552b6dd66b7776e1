"""What ways of training change: length grouping, packing, bf16 and loss on prompts, in speed and validation loss.

`python -m benchmarks.ways` trains the same model on the same rows for the same steps, one knob changed at a time.
Tokens are counted without padding; start-up, evaluation and sample answers are left out of the seconds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from engine.recipe import Recipe, from_mapping, preset
from engine.settings import prepare_process

WAYS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "length grouping": {"group_by_length": True},
    "packing": {"packing": True},
    "bf16": {"precision": "bf16"},
    "loss on every token": {"loss": "all"},
}
MINUTES = 12.0  # for all ways together; a way that cannot end in time is left out with a word
WARMUP = 3  # steps that are not timed: the first ones allocate


def measured(recipe: Recipe, seconds: float) -> tuple[float, float, float]:
    """(tokens that are no padding a second, seconds a step, validation loss) of a run. Raises Problem after `seconds`.

    Measured from the end of step WARMUP to the end of the last one, which no evaluation lies between.
    """
    from engine import jobs
    from engine.errors import Problem

    job = jobs.start(recipe)
    try:
        job = jobs.wait(job, seconds)
    finally:
        if not job.over:
            jobs.stop(job, now=True)
    if job.state != "done":
        raise Problem(f"{job.state}: {job.reason}")
    lines = [line for line in job.metrics if "loss" in line and line["step"] >= WARMUP]
    took, learned = (lines[-1][name] - lines[0][name] for name in ("seconds", "step"))
    tokens = lines[-1]["tokens"] - lines[0]["tokens"]
    return tokens / took, took / learned, job.done["eval_loss"]


def table(recipe: Recipe, ways: Sequence[str]) -> None:
    """Print a row for each way; each gets an equal share of the time that is left."""
    from engine.errors import Problem

    until = time.monotonic() + 60 * MINUTES
    print("| way | tokens/s | seconds a step | validation loss |\n|---|---|---|---|", flush=True)
    for place, name in enumerate(ways):
        share = (until - time.monotonic()) / (len(ways) - place)
        try:
            speed, seconds, loss = measured(replace(recipe, **WAYS[name]), share)
            told = f"{speed:.0f} | {seconds:.3f} | {loss:.3f}"
        except Problem as problem:
            told = f"– | – | – ({problem})"
        print(f"| {name} | {told} |", flush=True)


def main() -> None:
    """Run every way and print a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="starter")
    options.add_argument("--data", default="shawgpt")
    options.add_argument("--steps", type=int, default=60)
    options.add_argument("--method", default="lora")
    options.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    args = options.parse_args()
    if args.steps < 2 * WARMUP:
        options.error(f"--steps must be {2 * WARMUP} or more: the first {WARMUP} are not timed")
    home = tempfile.mkdtemp(prefix="diptych-benchmark-")
    os.environ["DIPTYCH_HOME"] = home
    prepare_process()
    knobs = {"model": args.model, "data": args.data, "steps": args.steps, "method": args.method}
    # one evaluation, at the end: what is timed is training
    ends = {"eval_steps": args.steps, "save_steps": args.steps, "log_steps": 1}
    recipe = from_mapping({**knobs, **ends}, preset("shawgpt-starter"))
    print(f"{args.steps} steps of {args.method} on {args.model}, {args.data}; the first {WARMUP} are not timed\n")
    try:
        table(recipe, args.ways)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if "loss on every token" in args.ways:
        print("\nThe loss on every token is over prompts too, so it cannot be held against the others.")


if __name__ == "__main__":
    main()
