"""The server measured through HTTP, in one run: `python -m benchmarks.serve [--quick]`.

Streams of 64 prompt tokens and 64 new ones over four adapters, 1, 8, 32 and 64 at once, on the starter and on a random
model in SmolLM2-135M's shape (bf16 where the processor computes it). Peers: `transformers serve` with one merged model,
since it serves no adapters, with and without its continuous batching; and `generate` over a static batch of the same
width without HTTP, the ceiling. `--long` lets a long prompt arrive among running streams, `--known 10000` counts lost,
swapped and mixed tokens. The clients are one process of plain sockets; each server runs in a process of its own. On the
starter every way has three rounds, of which the one of median rate counts.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.settings import ROOT, prepare_process

prepare_process()

from benchmarks.compare import in_a_process  # noqa: E402
from benchmarks.shapes import TARGETS, as_a_peer, fast_dtype, make_135m, make_adapters  # noqa: E402

PROMPT_TOKENS = 64
ADAPTERS = 4
STARTS_WITHIN = 180.0  # seconds
ROUNDS = 3  # of the starter's streams, which take few seconds each; the median counts
PEER_SECONDS = 60.0  # for one width of a peer; what it has not answered by then is told
HEAD = f"{'way':26}{'streams':>8}{'tokens/s':>10}{'first p50':>11}{'first p95':>11}{'between p95':>13}{'errors':>8}"


@dataclass
class Stream:
    """What one client saw: seconds to its first words, between further ones, and its tokens."""

    began: float
    first: float | None = None
    gaps: list[float] = field(default_factory=list)
    tokens: int = 0
    text: str = ""
    ended: float = 0.0
    error: str = ""


async def stream(port: int, body: dict[str, Any], tokens: int) -> Stream:
    """Ask for a raw completion and read its events as they come."""
    seen, last = Stream(time.perf_counter()), 0.0
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        sent = json.dumps({**body, "stream": True}).encode()
        writer.write(
            b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(sent) + sent
        )
        async for line in reader:
            if not line.startswith(b"data: {"):
                seen.error = seen.error or ("" if not line.startswith(b"HTTP") or b" 200 " in line else line.decode())
                continue
            found = json.loads(line[6:])
            if "error" in found:
                seen.error = str(found["error"])[:200]
            text = "".join(choice.get("text") or "" for choice in found.get("choices") or ())
            now = time.perf_counter()
            if text and seen.first is None:
                seen.first = now - seen.began
            elif text:
                seen.gaps.append(now - last)
            last = now if text else last
            seen.text += text
            if found.get("usage"):
                seen.tokens = found["usage"]["completion_tokens"]
        writer.close()
    except (OSError, ValueError) as error:
        seen.error = repr(error)
    seen.ended = time.perf_counter()
    if not seen.error and (seen.first is None or seen.tokens not in (0, tokens)):
        seen.error = f"{seen.tokens} tokens of {tokens}"
    seen.tokens = seen.tokens or (0 if seen.error else tokens)
    return seen


async def together(port: int, bodies: Sequence[dict[str, Any]], tokens: int, seconds: float) -> list[Stream]:
    """All streams at once; those that are not done within `seconds` count as errors."""
    tasks = [asyncio.create_task(stream(port, body, tokens)) for body in bodies]
    _, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        task.cancel()
    now = time.perf_counter()
    return [task.result() if task not in late else Stream(now, ended=now, error="not done in time") for task in tasks]


def asked(models: Sequence[str], prompt: Sequence[str], count: int, tokens: int) -> list[dict[str, Any]]:
    """The requests: model by model, no two prompts alike, so that nobody's prompt is computed for another."""
    own = [" ".join([*prompt[i + 1 :], *prompt[: i + 1]]) for i in range(count)]
    rest = {"max_tokens": tokens, "temperature": 0.7, "top_p": 0.95, "stream_options": {"include_usage": True}}
    return [{"model": models[i % len(models)], "prompt": own[i], "seed": i, **rest} for i in range(count)]


def percentile(values: Sequence[float], share: float) -> float:
    """That percentile; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def measured(
    way: str, port: int, rounds: Sequence[Sequence[dict[str, Any]]], tokens: int, seconds: float
) -> dict[str, float]:
    """Run one width, as often as there are rounds of bodies, and print the row of the median round."""
    tried = sorted((one_round(port, bodies, tokens, seconds) for bodies in rounds), key=lambda each: each["rate"])
    found = tried[len(tried) // 2]
    found["errors"] = sum(each["errors"] for each in tried)
    figures = f"{found['rate']:10.1f}{found['first50']:11.0f}{found['first95']:11.0f}{found['between95']:13.1f}"
    print(f"{way:26}{len(rounds[0]):8}{figures}{found['errors']:8.0f}", flush=True)
    return found


def one_round(port: int, bodies: Sequence[dict[str, Any]], tokens: int, seconds: float) -> dict[str, float]:
    """The figures of streams that begin together."""
    started = time.perf_counter()
    seen = asyncio.run(together(port, bodies, tokens, seconds))
    took = max(one.ended for one in seen) - started
    fine = [one for one in seen if not one.error]
    first = [1000 * (one.first or 0) for one in fine]
    gaps = [1000 * gap for one in fine for gap in one.gaps]
    found = {
        "rate": sum(one.tokens for one in fine) / took,
        "first50": percentile(first, 0.5),
        "first95": percentile(first, 0.95),
        "between95": percentile(gaps, 0.95),
        "errors": len(seen) - len(fine),
    }
    if found["errors"]:
        print(f"    {next(one.error for one in seen if one.error)[:160]}")
    return found


@contextmanager
def server(
    *command: str, pattern: str, environment: dict[str, str] | None = None
) -> Iterator[tuple[int, subprocess.Popen]]:
    """A server in a process of its own, once it prints the port that `pattern` finds."""
    offline = {
        **(environment or os.environ),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=offline, stdout=log, stderr=log)
        try:
            until, found = time.monotonic() + STARTS_WITHIN, None
            while not found and process.poll() is None and time.monotonic() < until:
                time.sleep(0.2)
                text = Path(log.name).read_text(errors="replace")
                found = re.search(pattern, text)
            if not found:
                raise SystemExit(f"{' '.join(command[:4])} did not start:\n{text[-2000:]}")
            yield int(found[1]), process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def diptych(base: Path, adapters: Sequence[Path] = ()) -> Any:
    """Our server over a base and adapters, in which no reply ends before its last token."""
    chosen = json.dumps({"base": str(base), "adapters": [str(each) for each in adapters]})
    return server("-m", "benchmarks.serve", "--server", chosen, pattern=r"port (\d+)")


def transformers_serve(model: Path, dtype: str, batching: bool) -> Any:
    """`transformers serve` over one model."""
    options = ["--host", "127.0.0.1", "--port", "0", "--device", "cpu", "--dtype", dtype]
    options += ["--continuous-batching", "--attn-implementation", "sdpa"] if batching else []
    command = ["-m", "transformers.cli.transformers", "serve", str(model), *options]
    return server(*command, pattern=r"running on http://127\.0\.0\.1:(\d+)", environment=as_a_peer())


def serve_here(chosen: dict[str, Any]) -> None:
    """What `diptych` runs in its process: pin the base, let no stop token end a reply, serve."""
    import torch

    from engine.catalog import Model
    from engine.pool import pool
    from engine.serve import create, run

    torch.set_num_threads(os.cpu_count() or 1)
    models = [Model("base", chosen["base"])]
    models += [Model(Path(each).name, chosen["base"], adapter=Path(each)) for each in chosen["adapters"]]
    with pool().hold(models[0]) as held:
        for model in models:
            held.place(model)[0].stop_tokens = frozenset()
        run(
            create(more=models),
            "127.0.0.1",
            0,
            lambda url: print(url.replace("/v1", "").replace("http://localhost:", "port "), flush=True),
        )


def compared(title: str, base: Path, words: Sequence[str], folder: Path, args: argparse.Namespace) -> dict[str, float]:
    """One model: ours, the peers, the ceiling; prints the table and gives the ratios that have floors."""
    widths = [1, 32] if args.quick else [1, 8, 32, 64]
    tokens, small = args.tokens, base.name == "starter"
    orders = [random.Random(i).sample(words, len(words)) for i in range(ROUNDS if small else 1)]
    adapters = make_adapters(base, folder / f"{base.name}-adapters", TARGETS["all-linear"], ADAPTERS)
    names = [each.name for each in adapters]
    print(f"\n{title}: {PROMPT_TOKENS} prompt tokens, {tokens} new ones a stream, {os.cpu_count()} cores; times in ms")
    print(HEAD)
    found: dict[tuple[str, int], dict[str, float]] = {}
    with diptych(base, adapters) as (port, _):
        asyncio.run(together(port, asked(names, words, 8, 8), 8, 60))
        for width in widths:
            bodies = [asked(names, order, width, tokens) for order in orders]
            found["diptych", width] = measured("diptych, 4 adapters", port, bodies, tokens, 120)
    merged = merge(base, adapters[0], folder / f"{base.name}-merged")
    for batching in (False, True):
        way = f"transformers serve{', batching' if batching else ''}"
        try:
            with transformers_serve(merged, "float32" if small else fast_dtype(), batching) as (port, _):
                asyncio.run(together(port, asked([str(merged)], words, 1, 4), 4, 60))
                for width in [w for w in widths if w in (1, 32)]:
                    bodies = [asked([str(merged)], order, width, tokens) for order in orders]
                    for body in itertools.chain(*bodies):
                        body.pop("stream_options")
                    found[way, width] = measured(way, port, bodies, tokens, PEER_SECONDS)
        except SystemExit as error:
            print(f"{way:26} does not run here: {str(error).strip().splitlines()[-1][:160]}")
    for width in [w for w in widths if w != 1]:
        found["static", width] = {"rate": statistics.median(static(base, width, tokens) for _ in orders)}
        print(f"{'static generate, no HTTP':26}{width:8}{found['static', width]['rate']:10.1f}", flush=True)
    return ratios(found)


def ratios(found: dict[tuple[str, int], dict[str, float]]) -> dict[str, float]:
    """What 32 streams come to."""
    ours = found["diptych", 32]["rate"]
    peers = [one["rate"] for (way, width), one in found.items() if way.startswith("transformers") and width == 32]
    made = {"streams32_over_1": ours / found["diptych", 1]["rate"], "vs_static": ours / found["static", 32]["rate"]}
    if peers and max(peers):
        made["vs_transformers_serve"] = ours / max(peers)
    made["errors"] = sum(one["errors"] for (way, _), one in found.items() if way == "diptych")
    return {name: round(value, 2) for name, value in made.items()}


def merge(base: Path, adapter: Path, folder: Path) -> Path:
    """A copy of the base with an adapter in its weights, which never ends by itself."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).merge_and_unload()
    model.generation_config.eos_token_id = model.config.eos_token_id = None
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def static(base: Path, rows: int, tokens: int) -> float:
    """Tokens a second of one `generate` over a batch, from benchmarks.compare, in a process of its own."""
    chosen = {
        "way": "d: static",
        "base": str(base),
        "adapters": str(base),
        "rows": rows,
        "tokens": tokens,
        "repetitions": 1,
    }
    return in_a_process(chosen)["rate"]


def long_prompt(base: Path, words: Sequence[str]) -> dict[str, float]:
    """How much longer the gaps of eight streams get while prompts of 2,000 tokens arrive one after another."""

    async def scene(port: int, disturbed: bool) -> list[Stream]:
        bodies = asked(["base"], words, 8, 200)
        running = asyncio.create_task(together(port, bodies, 200, 120))
        number = 0
        await asyncio.sleep(0.5)
        while disturbed and not running.done():
            long = {"model": "base", "prompt": " ".join([words[number % 64], *(words * 40)][:2000]), "max_tokens": 1}
            await stream(port, long, 1)
            number += 1
            await asyncio.sleep(0.3)
        return await running

    with diptych(base) as (port, _):
        asyncio.run(scene(port, False))
        calm, busy = (asyncio.run(scene(port, disturbed)) for disturbed in (False, True))
    found = [percentile([gap for one in seen for gap in one.gaps], 0.95) * 1000 for seen in (calm, busy)]
    errors = sum(bool(one.error) for one in [*calm, *busy])
    print(f"\nbetween tokens, p95, of 8 streams: {found[0]:.1f} ms; while long prompts arrive: {found[1]:.1f} ms")
    return {"long_prompt_gap_ratio": round(found[1] / found[0], 2), "long_prompt_errors": errors}


def leaving(base: Path, words: Sequence[str], times: int = 30) -> dict[str, float]:
    """How long a row lives on after its client has hung up, in decode and in prefill."""

    async def running(port: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        text = (await reader.read()).decode()
        writer.close()
        found = re.search(r"^diptych_replies_running (\d+)", text, re.MULTILINE)
        return int(found[1]) if found else -1

    async def once(port: int, decoding: bool) -> float:
        prompt = " ".join(words if decoding else [*(words * 40)][:2000])
        body = {"model": "base", "prompt": prompt, "max_tokens": 1500, "stream": True}
        sent = json.dumps(body).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(sent))
        writer.write(sent)
        while decoding and b"text" not in await reader.readline():
            pass
        while not await running(port):
            await asyncio.sleep(0.005)
        writer.transport.abort()
        started = time.perf_counter()
        while await running(port):
            await asyncio.sleep(0.005)
        return time.perf_counter() - started

    async def scene(port: int) -> list[float]:
        return [await once(port, bool(number % 2)) for number in range(times)]

    with diptych(base) as (port, _):
        took = asyncio.run(scene(port))
    print(f"\n{times} clients left in mid-reply: their rows were out after at most {1000 * max(took):.0f} ms")
    return {"leave_longest_ms": round(1000 * max(took))}


def known(count: int, at_once: int = 64, tokens: int = 16) -> dict[str, float]:
    """So many streams of a model that counts: after word n comes word n + 1. What is lost or mixed is seen."""

    async def scene(port: int, numbers: Sequence[int]) -> int:
        queue, wrong = list(numbers), 0

        async def caller() -> None:
            nonlocal wrong
            while queue:
                start = queue.pop()
                body = {"model": "base", "prompt": f"w{start}", "temperature": 0, "max_tokens": tokens}
                seen = await stream(port, body | {"stream_options": {"include_usage": True}}, tokens)
                wrong += bool(seen.error) or seen.text.split() != [
                    f"w{(start + k) % COUNTED}" for k in range(1, tokens + 1)
                ]

        await asyncio.gather(*(caller() for _ in range(at_once)))
        return wrong

    with tempfile.TemporaryDirectory() as folder, diptych(make_counting(Path(folder) / "counting")) as (port, process):
        wrong, levels = 0, []
        for part in range(PARTS):  # Python collects cycles now and then, so memory goes up and down on the way
            numbers = range(count * part // PARTS, count * (part + 1) // PARTS)
            wrong += asyncio.run(scene(port, [n % COUNTED for n in numbers]))
            levels.append(resident(process.pid))
        grown = max(levels[PARTS // 2 :]) / max(levels[: PARTS // 2])
    print(f"\n{count:,} streams of known text, {at_once} at once: {wrong} wrong;", end=" ")
    print(f"the most memory in the second half was {grown:.3f} of that in the first")
    return {"known_streams": count, "known_wrong": wrong, "known_memory": round(grown, 3)}


PARTS = 20  # after each of which memory is looked at
COUNTED = 997  # words of the counting model; prime, so that no start falls into step with another


def make_counting(folder: Path) -> Path:
    """A Llama that counts: its layers add nothing, and the head of word n is the embedding of word n - 1."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    shape = {"hidden_size": 256, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(**shape, vocab_size=COUNTED, bos_token_id=None, eos_token_id=None, pad_token_id=None)
    config.tie_word_embeddings = False
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        table = torch.nn.functional.normalize(torch.randn(COUNTED, 256), dim=-1)
        model.model.embed_tokens.weight.copy_(table)
        model.lm_head.weight.copy_(table.roll(1, 0))
    model.save_pretrained(folder)
    vocabulary = {f"w{i}": i for i in range(COUNTED)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder)
    return folder


def resident(pid: int) -> float:
    """Resident megabytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="1 and 32 streams, 1,000 streams of known text")
    options.add_argument("--tokens", type=int, default=64, help="new tokens a stream")
    options.add_argument("--only", choices=("starter", "135m", "long", "leave", "known"), help="one part alone")
    options.add_argument("--known", type=int, help="streams of known text (default 10,000)")
    options.add_argument("--server", help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.server:
        serve_here(json.loads(args.server))
        return
    starter, found = ROOT / "assets" / "starter", {}
    words = starter_words(starter)
    with tempfile.TemporaryDirectory() as folder:
        if args.only in (None, "starter"):
            found["starter"] = compared("starter, fp32", starter, words, Path(folder), args)
        if args.only in (None, "135m"):
            shape = make_135m(Path(folder) / "135m")
            words_135m = [f"w{100 + i}" for i in range(64)]
            found["135m"] = compared(f"135M shape, {fast_dtype()}", shape, words_135m, Path(folder), args)
    if args.only in (None, "long"):
        found["long"] = long_prompt(starter, words)
    if args.only in (None, "leave"):
        found["leave"] = leaving(starter, words)
    if args.only in (None, "known"):
        found["known"] = known(args.known or (1_000 if args.quick else 10_000))
    print(json.dumps(found))


def starter_words(starter: Path) -> list[str]:
    """Words that are one token of the starter each, so that 64 of them are 64 tokens."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(starter)
    single = [
        word for id in range(300, 2000) if (word := tokenizer.decode([id])).startswith(" ") and word.strip().isalpha()
    ]
    return [word.strip() for word in single[:PROMPT_TOKENS]]


if __name__ == "__main__":
    main()
