"""Weights kept in 16 bits against the same widened to 32, both computed with in float32 (engine.layouts).

`python -m benchmarks.halves [--shapes 135M,0.5B,1.5B]` prints for random models in the shapes of known ones, loaded in
precision auto and fp32, each in a process of its own: seconds to load, gigabytes of the weights, and milliseconds of a
step of one row and of eight after prompts of 64 tokens. Only where the processor has no bf16 do the two differ so.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from benchmarks.shapes import SHAPE_135M, in_a_process, make_llama
from engine.settings import prepare_process

# The published configs of Qwen2.5-0.5B and Qwen2.5-1.5B (Qwen/Qwen2.5-0.5B and -1.5B, config.json), as Llamas.
SHAPE_HALF = {"vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
              "num_attention_heads": 14, "num_key_value_heads": 2, "max_position_embeddings": 8192,
              "tie_word_embeddings": True}  # fmt: skip
SHAPES = {
    "135M": SHAPE_135M,
    "0.5B": SHAPE_HALF,
    "1.5B": {**SHAPE_HALF, "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
             "num_attention_heads": 12},
}  # fmt: skip
PROMPT, NEW, ROWS = 64, 24, (1, 8)


def main() -> None:
    """Measure and print a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--shapes", default=",".join(SHAPES), help="which, with commas between")
    options.add_argument("--one", help=argparse.SUPPRESS)
    args = options.parse_args()
    prepare_process()
    if args.one:
        print(json.dumps(measured(*json.loads(args.one))))
        return
    print("| Shape | Precision | Loading | Weights | Step of one row | Step of eight |\n|---|---|---|---|---|---|")
    for shape in args.shapes.split(","):
        with tempfile.TemporaryDirectory() as folder:
            base = make_llama(Path(folder) / "base", SHAPES[shape])
            found = {each: in_a_process("benchmarks.halves", [str(base), each]) for each in ("fp32", "auto")}
        for precision, one in found.items():
            steps = " | ".join(f"{step:.0f} ms" for step in one["steps"])
            print(f"| {shape} | {precision} | {one['loading']:.1f} s | {one['weights'] / 1e9:.2f} GB | {steps} |")
        before, after = found.values()
        ratios = [f"{one / two:.2f}" for one, two in zip(before["steps"], after["steps"], strict=True)]
        weights = f"{after['weights'] / before['weights']:.2f}"
        print(f"| | auto over fp32 | | {weights} of the bytes | {' times as fast | '.join(ratios)} times as fast |")


def measured(base: str, precision: str) -> dict:
    """Load a base as Compare does and let it answer."""
    from engine.catalog import Model
    from engine.messages import Begin, Sampling
    from engine.pool import Pool
    from engine.rows import Request

    pool = Pool(2**50)
    started = time.perf_counter()
    with pool.hold(Model(name="base", base=base, precision=precision)) as held:
        loading, steps = time.perf_counter() - started, []
        held.loop.stop_tokens = frozenset()
        for rows in ROWS:
            for again in range(2):  # the first chooses the number of threads
                requests = [
                    Request(
                        tuple(range(100 + i + 10 * again, 100 + i + 10 * again + PROMPT)),
                        Sampling(max_tokens=NEW, seed=i, temperature=0.7, top_p=0.95),
                        None,
                        Begin("", PROMPT, 0),
                    )
                    for i in range(rows)
                ]
                for row in held.loop.submit(requests, [lambda event: None] * rows):
                    row.over.wait()
            steps.append(1000 * held.loop.step_seconds)
        found = {"loading": loading, "weights": held.bytes, "steps": steps}
    pool.close()
    return found


if __name__ == "__main__":
    main()
