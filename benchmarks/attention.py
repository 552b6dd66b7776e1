"""One decoding step's attention on this processor, keys and values in bf16 against float32.

`python -m benchmarks.attention` prints microseconds and their ratio in SmolLM2-135M's shape.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

from engine.settings import prepare_process

prepare_process()

import torch  # noqa: E402

HEADS, GROUPS, SIZE = 9, 3, 64


def main() -> None:
    torch.set_num_threads(os.cpu_count() or 1)
    print(f"{'rows':>5}{'length':>8}{'bf16 us':>10}{'fp32 us':>10}{'ratio':>8}")
    for rows in (1, 8, 32):
        for length in (100, 500):
            half, whole = (microseconds(step(rows, length, dtype)) for dtype in (torch.bfloat16, torch.float32))
            print(f"{rows:5}{length:8}{half:10.0f}{whole:10.0f}{half / whole:8.1f}")


def step(rows: int, length: int, dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    """Attention of one bf16 query a row; the casts to the keys' precision and back are counted in."""
    query = torch.randn(rows, HEADS, 1, SIZE, dtype=torch.bfloat16)
    keys, values = (torch.randn(rows, GROUPS, length, SIZE, dtype=dtype) for _ in range(2))

    def run() -> torch.Tensor:
        attend = torch.nn.functional.scaled_dot_product_attention
        return attend(query.to(dtype), keys, values, enable_gqa=True).to(torch.bfloat16)

    return run


def microseconds(run: Callable[[], torch.Tensor]) -> float:
    """Median of 100 runs after 10 to warm up."""
    times = []
    with torch.inference_mode():
        for _ in range(110):
            started = time.perf_counter()
            run()
            times.append(time.perf_counter() - started)
    return 1e6 * statistics.median(times[10:])


if __name__ == "__main__":
    main()
