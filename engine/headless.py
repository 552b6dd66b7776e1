"""Comparisons from the command line: `python -m engine.compare --prompt TEXT --lane starter --lane starter-shawgpt`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence

from engine.catalog import all_models, find
from engine.compare import CompareEvent, Comparison, Lane, LaneEnded, LaneResult, Note
from engine.errors import Problem
from engine.lanes import common_style
from engine.messages import Sampling
from engine.prompts import styles

PRINTED = ("model", "text", "tokens", "seconds", "first_token_seconds", "end", "adapter", "logit_difference")


def parser() -> argparse.ArgumentParser:
    """The options of this module."""
    options = argparse.ArgumentParser(prog="python -m engine.compare", description=__doc__)
    add_options(options)
    return options


def add_options(options: argparse.ArgumentParser) -> None:
    """What a comparison can be told; defaults are Sampling's own."""
    default = Sampling()
    options.add_argument("--prompt", required=True, help="what every lane is asked")
    options.add_argument("--lane", action="append", metavar="MODEL", help="a model's name, folder or Hub id; repeat")
    options.add_argument(
        "--style",
        choices=list(styles()),
        help="prompt style of all lanes; without it, that of the first lane that has one of its own",
    )
    options.add_argument("--system", default="", help="system prompt of all lanes")
    options.add_argument("--max-new-tokens", type=int, default=default.max_tokens)
    options.add_argument("--temperature", type=float, default=default.temperature)
    options.add_argument("--top-p", type=float, default=default.top_p)
    options.add_argument("--top-k", type=int, default=default.top_k)
    options.add_argument("--repetition-penalty", type=float, default=default.repetition_penalty)
    options.add_argument("--stop", action="append", default=[], help="end a reply at this text; repeat")
    options.add_argument("--seed", type=int, default=default.seed)
    options.add_argument("--json", action="store_true", help="print a JSON list, one object a lane")


def lanes_from(args: argparse.Namespace) -> list[Lane]:
    """One lane for each --lane; without any, the first two models of the catalogue. Raises Problem."""
    models = [find(name) for name in args.lane or [model.name for model in all_models()[:2]]]
    style = args.style or common_style(models)
    sampling = Sampling(
        temperature=args.temperature,
        top_p=args.top_p,
        top_k=args.top_k,
        repetition_penalty=args.repetition_penalty,
        max_tokens=args.max_new_tokens,
        stop=tuple(args.stop),
        seed=args.seed,
    )
    return [Lane(model, style, args.system, sampling) for model in models]


def printed(result: LaneResult) -> dict[str, object]:
    """What a lane prints as JSON; `error` only where there is one."""
    fields = dataclasses.asdict(result)
    names = (*PRINTED, "error") if result.error else PRINTED
    return {name: fields[name] for name in names}


def readable(result: LaneResult) -> str:
    """A lane for people: heading, words, figures."""
    tokens = "tokens not reported" if result.tokens is None else f"{result.tokens} tokens"
    figures = [tokens, f"{result.seconds:.2f} s", f"end: {result.end}"]
    if result.adapter:
        figures.append(f"adapter {result.adapter}")
    if result.logit_difference is not None:
        figures.append(f"largest first-step logit difference {result.logit_difference:.2f}")
    return f"== {result.model}\n{result.error or result.text.strip()}\n-- {', '.join(figures)}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one comparison; 0 when every lane answered, 1 when one failed, 2 when the request was wrong."""
    args = parser().parse_args(arguments)
    try:
        results = compared(lanes_from(args), args.prompt)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps([printed(result) for result in results], ensure_ascii=False, indent=2))
    else:
        print("\n".join(readable(result) for result in results))
    return 1 if any(result.error for result in results) else 0


def compared(
    lanes: Sequence[Lane], prompt: str, tell: Callable[[CompareEvent], None] = lambda event: None
) -> list[LaneResult]:
    """The results in the order of the lanes; notes go to the error stream, every event to `tell`. Raises Problem."""
    results: dict[int, LaneResult] = {}
    for event in Comparison(lanes, prompt):
        tell(event)
        if isinstance(event, Note):
            print(event.text, file=sys.stderr)
        elif isinstance(event, LaneEnded):
            results[event.lane] = event.result
    return [results[lane] for lane in sorted(results)]
