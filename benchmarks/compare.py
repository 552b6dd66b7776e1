"""Lanes side by side against the other ways to do it, in one run: `python -m benchmarks.compare [--quick]`.

Ways: Diptych through its own path (engine.compare, sampling and events included); (a) PEFT and generate, one
adapter after another; (b) one PEFT generate over a batch with `adapter_names`; (c) a merged copy of the model per
lane, each in a thread; (d) one generate over a static batch of the bare base, no adapters: the ceiling.
The shape is computed in bf16 where the processor has it, else in float32, by all ways alike.
Every way runs in a process of its own, peers with OpenMP as it is by itself, with a prompt of 64 tokens, temperature
0.7 and top-p 0.95; ours gets another prompt in every repetition, because it would remember the first.
`--quick` takes about a minute: the 135M shape with q/v adapters, eight rows, 32 tokens a lane, one repetition.
`--only TABLE` prints one table of the full run, `--ways LETTERS` some of its rows ("o" is our own way).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from engine.settings import ROOT, prepare_process

prepare_process()

from benchmarks import shapes  # noqa: E402
from benchmarks.shapes import TARGETS, as_a_peer, fast_dtype, make_135m, make_adapters  # noqa: E402

PROMPT_TOKENS = 64
WIDTHS = {  # (c) takes a copy a row, and (a) is no faster for more
    "diptych": [1, 2, 4, 8, 32],
    "a: sequential": [1, 8],
    "b: adapter_names": [1, 2, 4, 8, 32],
    "c: copies": [1, 4, 8],
    "d: static": [1, 2, 4, 8, 32],
}
QUICK = {"diptych": [1, 8], "a: sequential": [8], "b: adapter_names": [8], "d: static": [8]}
TABLES = {
    "q/v": ("135M shape, q/v rank 8", "q/v"),
    "all-linear": ("135M shape, all-linear rank 8", "all-linear"),
    "starter": ("starter, all-linear rank 8", "all-linear"),
}
FLOORS = {"lanes8_over_lane1": 1.35, "vs_sequential": 5.5, "vs_peft": 2.5, "vs_static": 0.8, "memory_ratio": 1.10}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="the 135M shape with q/v adapters only, 1 and 8 rows")
    options.add_argument("--only", choices=TABLES, help="one table of the full run")
    options.add_argument("--ways", default="oabcd", help="o: our own, a to d: as above")
    options.add_argument("--tokens", type=int, help="new tokens a lane; 64, with --quick 32")
    options.add_argument("--one", help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.one:
        print(json.dumps(measure(**json.loads(args.one))))
        return
    args.tokens = args.tokens or (32 if args.quick else 64)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        shape = make_135m(Path(folder) / "135m") if args.only != "starter" else None
        for name in ["q/v"] if args.quick else [args.only] if args.only else TABLES:
            base = ROOT / "assets" / "starter" if name == "starter" else shape
            found[name] = report(name, base, args, folder)
    figures = summary(found.get("q/v", {}))
    if figures:
        print(json.dumps(figures))


def report(name: str, base: Path, args: argparse.Namespace, folder: str) -> dict:
    """Make adapters, measure the asked ways at every width, print the table; measurements by (way, rows)."""
    title, targets = TABLES[name]
    adapters = Path(folder) / f"{base.name}-{targets.replace('/', '-')}"
    make_adapters(base, adapters, TARGETS[targets])
    dtype = "float32" if name == "starter" else fast_dtype()
    print(f"\n{title}, {dtype}: {PROMPT_TOKENS} prompt tokens, {args.tokens} new tokens a lane, {os.cpu_count()} cores")
    print(f"{'way':18}{'rows':>5}{'ms/step':>9}{'first ms':>10}{'tokens/s':>10}{'peak MB':>9}")
    found = {}
    for way, widths in (QUICK if args.quick else WIDTHS).items():
        letter = "o" if way == "diptych" else way[0]
        for rows in widths if letter in args.ways else []:
            asked = {"way": way, "base": str(base), "adapters": str(adapters), "rows": rows, "tokens": args.tokens}
            one = found[way, rows] = in_a_process(asked | {"repetitions": 1 if args.quick else 2})
            figures = f"{one['step']:9.1f}{one['first']:10.0f}{one['rate']:10.1f}{one['peak']:9.0f}"
            print(f"{way:18}{rows:5}{figures}", flush=True)
    return found


def in_a_process(asked: dict[str, Any]) -> dict[str, float]:
    """One measurement; peak memory is then its own."""
    environment = None if asked["way"] == "diptych" else as_a_peer()
    return shapes.in_a_process("benchmarks.compare", asked, environment)


def summary(found: dict) -> dict[str, float]:
    """The figures that have floors, of eight lanes; rates are tokens/s of whole replies, prompts included."""
    ours = found.get(("diptych", 8))
    if not ours:
        return {}
    figures = {"memory_ratio": round(ours["memory_ratio"], 3)}
    if ("diptych", 1) in found:
        figures["lanes8_over_lane1"] = round(ours["step"] / found["diptych", 1]["step"], 3)
    others = {"vs_sequential": "a: sequential", "vs_peft": "b: adapter_names", "vs_static": "d: static"}
    figures |= {
        name: round(ours["rate"] / found[way, 8]["rate"], 2) for name, way in others.items() if (way, 8) in found
    }
    return {name: figures[name] for name in FLOORS if name in figures}


def measure(way: str, base: str, adapters: str, rows: int, tokens: int, repetitions: int) -> dict[str, float]:
    """One way at one width: ms per step, ms to the first token (of the slowest row), tokens/s, peak megabytes."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    folders = [Path(adapters) / f"adapter-{i % 8}" for i in range(rows)]
    before = resident()
    run = {"diptych": diptych}.get(way) or peer
    run(way, base, folders, 4)  # warm: weights read, adapters stacked, kernels chosen
    found = min((run(way, base, folders, tokens) for _ in range(repetitions)), key=lambda one: one["total"])
    found["rate"] = 1000 * rows * tokens / found["total"]
    found["peak"] = peak() - before
    return found


FRESH = itertools.count()


def diptych(way: str, base: str, folders: list[Path], tokens: int) -> dict[str, float]:
    """Comparisons of up to eight lanes each, all at once, as visitors of the page would start them."""
    from engine.catalog import Model
    from engine.compare import Comparison, Lane
    from engine.messages import Sampling
    from engine.pool import pool

    begin = 100 + next(FRESH) * PROMPT_TOKENS  # a prompt that was read before would cost nothing
    words = " ".join(f"w{begin + i}" for i in range(PROMPT_TOKENS))
    lanes = [
        Lane(Model(name=f"{i}", base=base, adapter=folder), sampling=Sampling(max_tokens=tokens, seed=i))
        for i, folder in enumerate(folders)
    ]
    with pool().hold(lanes[0].model) as held:
        held.loop.stop_tokens = frozenset()
        prompt = (
            words if "135m" in base else held.tokenizer.decode(list(range(200 + begin, 200 + begin + PROMPT_TOKENS)))
        )
        started = time.perf_counter()
        results: list[Any] = []

        def run(some: list[Lane]) -> None:
            results.extend(event.result for event in Comparison(some, prompt) if hasattr(event, "result"))

        threads = [threading.Thread(target=run, args=(lanes[i : i + 8],)) for i in range(0, len(lanes), 8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        total = 1000 * (time.perf_counter() - started)
        assert all(result.tokens == tokens for result in results), [r.error for r in results]
        first = 1000 * max(result.first_token_seconds for result in results)
        stacked = held.loop.adapters.layers.values()
        extra = sum(one.a.nbytes + one.b.nbytes for one in stacked)  # each layer's A is its part of the family's
        kept = {adapter for _, adapter in held._adapters.values() if adapter}
        extra += sum(a.nbytes + b.nbytes for adapter in kept for a, b in adapter.weights.values())
        ratio = (held.bytes + extra) / held.bytes
    return {"total": total, "first": first, "step": (total - first) / (tokens - 1), "memory_ratio": ratio}


LOADED: dict[str, Any] = {}


def peer(way: str, base: str, folders: list[Path], tokens: int) -> dict[str, float]:
    """The same work with transformers and PEFT alone."""
    import torch

    ids = torch.arange(100, 100 + PROMPT_TOKENS)[None]
    options = {"do_sample": True, "temperature": 0.7, "top_p": 0.95, "top_k": 0, "pad_token_id": 0}

    def answer(model: Any, rows: int, new: int, **more: Any) -> None:
        batch = ids.expand(rows, -1)
        model.generate(
            input_ids=batch,
            attention_mask=torch.ones_like(batch),
            max_new_tokens=new,
            min_new_tokens=new,
            **options,
            **more,
        )

    def everything(new: int) -> float:
        started = time.perf_counter()
        if way == "a: sequential":
            for folder in folders:
                LOADED["model"].set_adapter(folder.name)
                answer(LOADED["model"], 1, new)
        elif way == "b: adapter_names":
            answer(LOADED["model"], len(folders), new, adapter_names=[folder.name for folder in folders])
        elif way == "c: copies":
            threads = [threading.Thread(target=answer, args=(model, 1, new)) for model in LOADED["models"]]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        else:
            answer(LOADED["model"], len(folders), new)
        return 1000 * (time.perf_counter() - started)

    if not LOADED:
        load_peer(way, base, folders)
    with torch.inference_mode():
        first, total = everything(1), everything(tokens)
    steps = (tokens - 1) * (len(folders) if way == "a: sequential" else 1)
    return {"total": total, "first": first, "step": (total - first) / steps}


def load_peer(way: str, base: str, folders: list[Path]) -> None:
    """What a way keeps in memory."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    def load() -> Any:
        toy = "135m" not in base
        model = AutoModelForCausalLM.from_pretrained(base, dtype="float32" if toy else fast_dtype()).eval()
        model.generation_config.eos_token_id = None
        return model

    if way == "d: static":
        LOADED["model"] = load()
    elif way == "c: copies":
        LOADED["models"] = [PeftModel.from_pretrained(load(), folder).merge_and_unload() for folder in folders]
    else:
        names = dict.fromkeys(folder.name for folder in folders)
        model = PeftModel.from_pretrained(load(), folders[0], adapter_name=folders[0].name)
        for folder in folders:
            if folder.name in names and folder.name not in model.peft_config:
                model.load_adapter(folder, adapter_name=folder.name)
        LOADED["model"] = model.eval()


def resident() -> float:
    """Resident megabytes now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak() -> float:
    """Most resident megabytes so far."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
