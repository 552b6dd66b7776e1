"""The memory estimate against what is really taken: random models of several sizes, taught and asked.

`python -m benchmarks.memory` prints, for each size and method, what engine.memory says and the highest resident memory
(on a GPU: allocated memory) above the level before loading; every measurement is a process of its own.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.shapes import SHAPE_135M, make_llama
from engine.catalog import Model
from engine.memory import METHODS, estimate, total
from engine.models.loaded import trim
from engine.recipe import Recipe
from engine.settings import ROOT, prepare_process

SHAPE_60M = {**SHAPE_135M, "vocab_size": 32000, "hidden_size": 512, "intermediate_size": 1408,
             "num_hidden_layers": 14, "num_attention_heads": 8, "num_key_value_heads": 8}  # fmt: skip
# The published config of SmolLM2-360M (HuggingFaceTB/SmolLM2-360M, config.json).
SHAPE_360M = {**SHAPE_135M, "hidden_size": 960, "intermediate_size": 2560, "num_hidden_layers": 32,
              "num_attention_heads": 15, "num_key_value_heads": 5}  # fmt: skip
SHAPES = {"60M": SHAPE_60M, "135M": SHAPE_135M, "360M": SHAPE_360M}
WARM = {**SHAPE_60M, "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2}  # fmt: skip
AIM = 0.15  # largest error of the estimate
NEW_TOKENS = 8
STEPS = 2  # of the optimizer: the second has its whole state


def recipe_for(method: str, batch: int, length: int, **knobs: Any) -> Recipe:
    """The knobs of a measurement."""
    made = Recipe(
        method=method, batch=batch, max_length=length, accumulation=1, steps=STEPS, rank=16, targets="all-linear",
        optimizer="adamw_torch", save_steps=10**6, validation=0, keep_best=False, style="plain",
    )  # fmt: skip
    return replace(made, **knobs)


class Gauge:
    """The highest memory of this process since `start`, in bytes: resident, or allocated on the GPU."""

    def __init__(self) -> None:
        import torch

        self.cuda = torch.cuda.is_available()

    def start(self) -> int:
        """Forget the highest level; the level now."""
        import torch

        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            return torch.cuda.memory_allocated()
        trim()
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak resident set size
        return kilobytes("VmRSS")

    def highest(self) -> int:
        """The highest level since `start`."""
        import torch

        return torch.cuda.max_memory_allocated() if self.cuda else kilobytes("VmHWM")


def kilobytes(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


def taught(pupil: Any, recipe: Recipe, folder: Path) -> None:
    """Some steps of a job on rows that are all as long as they may be."""
    from engine.data.tokens import Tokens
    from engine.teaching.pupil import adapter_config, columns, trl_settings
    from engine.teaching.trainer import JobTrainer, Order

    count = recipe.batch * STEPS
    ids = tuple(range(1, recipe.max_length + 1))
    rows = [Tokens(ids, ids, 0, len(ids), True, False, "")] * count
    JobTrainer(
        order=Order(count, 0, recipe.batch),
        model=pupil.network,
        args=replace_saving(trl_settings(recipe, pupil, folder, count, evaluates=False)),
        train_dataset=columns(rows),
        processing_class=pupil.tokenizer,
        peft_config=adapter_config(recipe, pupil.network),
    ).train()


def replace_saving(settings: Any) -> Any:
    """The settings without checkpoints: what they take is on the disk."""
    settings.save_strategy = "no"
    return settings


def asked(base: Any, recipe: Recipe) -> None:
    """One reply to every row of a batch through the product's decode loop; prompt and reply fill `max_length`."""
    from queue import SimpleQueue

    from engine.messages import Begin, Sampling
    from engine.rows import Request

    prompt = tuple([5] * (recipe.max_length - NEW_TOKENS))
    request = Request(prompt, Sampling(max_tokens=NEW_TOKENS), None, Begin("", len(prompt), 0), False)
    for row in base.loop.submit([request] * recipe.batch, [SimpleQueue().put for _ in range(recipe.batch)]):
        row.over.wait()


def loaded_to_ask(recipe: Recipe) -> Any:
    """The base as Compare holds it; an adapter's share is small and left out."""
    from engine.pool import Base
    from engine.weights import build_to_decode

    precision = "nf4" if recipe.method == "qlora" else "auto"
    return Base(*build_to_decode(Model(recipe.model, recipe.model, precision=precision)))


def use(recipe: Recipe, training: bool, folder: Path, gauge: Gauge, level: int) -> dict[str, int]:
    """Load a model and use it: what loading took at its highest, and what using it did."""
    from engine.teaching.pupil import load_pupil

    held = load_pupil(recipe) if training else loaded_to_ask(recipe)
    loading = gauge.highest() - level
    gauge.start()
    if training:
        taught(held, recipe, folder)
    else:
        asked(held, recipe)
        held.close()
    return {"loading": loading, "highest": gauge.highest() - level}


def child(base: Path, warm: Path, recipe: Recipe, training: bool) -> dict[str, int]:
    """`use`, after a small model has brought every library into memory."""
    import torch

    from engine.settings import settings

    torch.set_num_threads(settings().job_threads)
    gauge = Gauge()
    with tempfile.TemporaryDirectory() as folder:
        use(replace(recipe, model=str(warm), max_length=16, batch=1), training, Path(folder), gauge, 0)
        return use(replace(recipe, model=str(base)), training, Path(folder), gauge, gauge.start())


def measured(base: Path, warm: Path, recipe: Recipe, training: bool) -> dict[str, float]:
    """What `child` finds, in a process of its own."""
    words = {name: getattr(recipe, name) for name in ("method", "batch", "max_length", "activation_checkpointing",
             "dropout", "targets", "rank", "precision")}  # fmt: skip
    given = json.dumps({"base": str(base), "warm": str(warm), "training": training, "recipe": words})
    command = [sys.executable, "-m", "benchmarks.memory", "--child", given]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.rpartition("RESULT")[2])


def expected(base: Path, recipe: Recipe, training: bool) -> float:
    """What the page says before a start."""
    from engine.teaching.recipe_checks import computes_in_bf16
    from engine.teaching.shape import shape_of
    from engine.weights import halves_here

    model = Model(str(base), str(base))
    shape = shape_of(model, recipe)
    bf16 = computes_in_bf16(recipe, shape.parameters)
    number = 2 if bf16 else 4
    return total(estimate(shape, recipe.method, "this machine", recipe, number, training, halves=halves_here()))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--sizes", default="60M,135M,360M")
    options.add_argument("--methods", default=",".join(METHODS))
    options.add_argument("--uses", default="training,inference")
    options.add_argument("--batch", type=int, default=2)
    options.add_argument("--length", type=int, default=256)
    options.add_argument("--checkpointing", action="store_true")
    options.add_argument("--child", help=argparse.SUPPRESS)
    args = options.parse_args(arguments)
    os.environ.setdefault("DIPTYCH_HOME", tempfile.mkdtemp(prefix="diptych-benchmark-"))
    prepare_process()
    if args.child:
        given = json.loads(args.child)
        recipe = replace(recipe_for("full", 1, 16), **given["recipe"])
        print("RESULT" + json.dumps(child(Path(given["base"]), Path(given["warm"]), recipe, given["training"])))
        return
    print(f"batches of {args.batch} rows of {args.length} tokens; GB above the level before loading\n")
    print("| model | use | method | estimate | measured | error | while loading |\n|---|---|---|---|---|---|---|")
    errors = []
    with tempfile.TemporaryDirectory(prefix="diptych-memory-") as folder:
        warm = make_llama(Path(folder) / "warm", WARM)
        for size in args.sizes.split(","):
            base = make_llama(Path(folder) / size, SHAPES[size])
            for use in args.uses.split(","):
                for method in args.methods.split(","):
                    recipe = recipe_for(
                        method, args.batch, args.length, activation_checkpointing=args.checkpointing, model=str(base)
                    )
                    found = measured(base, warm, recipe, use == "training")
                    said = expected(base, recipe, use == "training")
                    errors.append(abs(said / found["highest"] - 1))
                    figures = f"{said / 1e9:.3f} | {found['highest'] / 1e9:.3f} | {said / found['highest'] - 1:+.1%}"
                    print(f"| {size} | {use} | {method} | {figures} | {found['loading'] / 1e9:.3f} |", flush=True)
    print(f"\nlargest error {max(errors):.1%}; aim: at most {AIM:.0%}")


if __name__ == "__main__":
    main()
