"""What ways of training change: length grouping, packing, bf16 and loss on prompts, in speed and validation loss.

`python -m benchmarks.ways` trains the same model on the same rows for the same steps, one knob changed at a time.
"""

from __future__ import annotations

import argparse
import os
import tempfile
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


def measured(recipe: Recipe) -> tuple[float, float, float]:
    """(tokens that are no padding a second, seconds, validation loss) of a run."""
    from engine import jobs

    job = jobs.wait(jobs.start(recipe))
    if job.state != "done":
        raise RuntimeError(f"{job.state}: {job.reason}")

    seconds = job.latest("seconds") or job.done["seconds"]
    return job.done["tokens"] / seconds, seconds, job.done["eval_loss"]


def main() -> None:
    """Run every way and print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", default="starter")
    options.add_argument("--data", default="shawgpt")
    options.add_argument("--steps", type=int, default=60)
    options.add_argument("--method", default="lora")
    args = options.parse_args()
    os.environ["DIPTYCH_HOME"] = tempfile.mkdtemp(prefix="diptych-benchmark-")
    prepare_process()
    knobs = {"model": args.model, "data": args.data, "steps": args.steps, "method": args.method}
    # one evaluation, at the end: what is timed is training
    recipe = from_mapping({**knobs, "eval_steps": args.steps, "save_steps": args.steps}, preset("shawgpt-starter"))
    print(f"{args.steps} steps of {args.method} on {args.model}, {args.data}\n")
    print("| way | tokens/s | seconds | validation loss |\n|---|---|---|---|")
    for name, changed in WAYS.items():
        speed, seconds, loss = measured(replace(recipe, **changed))
        print(f"| {name} | {speed:.0f} | {seconds:.1f} | {loss:.3f} |", flush=True)
    print("\nThe last loss is over prompts too, so it cannot be held against the others.")


if __name__ == "__main__":
    main()
