"""A brochure from the command line: `python -m engine.agent brochure [URL] --model starter --json`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Any

from engine.brochure import SAMPLING, BrochureEvent, Chosen, Found, Read, Unread, Written, brochure
from engine.errors import Problem
from engine.headless_agent import asked, model_options


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog="python -m engine.agent brochure", description=__doc__)
    options.add_argument("url", nargs="?", default="", help="a public web site; without it the sample company's")
    model_options(options)
    options.add_argument("--max-new-tokens", type=int, default=SAMPLING.max_tokens, help="of the brochure")
    options.add_argument("--temperature", type=float, default=SAMPLING.temperature)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--json", action="store_true", help="print a JSON list, one object a step")
    return options


def described(event: BrochureEvent) -> dict[str, Any] | None:
    """An event as plain data; None for words, which come again as a whole."""
    match event:
        case Read() | Unread():
            return {"kind": type(event).__name__.lower(), **dataclasses.asdict(event)}
        case Found(links=links):
            return {"kind": "found", "links": [dataclasses.asdict(link) for link in links]}
        case Chosen():
            return {
                "kind": "chosen",
                "by": "model" if event.by_rule is None else "rule",
                "why": event.by_rule,
                "urls": [link.url for link in event.links],
                "tries": len(event.tries),
            }
        case Written():
            by = "rule" if event.by_rule else "model"
            return {"kind": "written", "by": by, "reason": event.reason, "markdown": event.markdown}
    return None


def readable(step: dict[str, Any]) -> str:
    """A step for people."""
    match step["kind"]:
        case "read":
            return f"read     {step['url']}  {step['title']} ({step['characters']:,} characters)"
        case "unread":
            return f"not read {step['url']}: {step['why']}"
        case "found":
            return f"found    {len(step['links'])} links"
        case "chosen" if step["by"] == "model":
            return f"chosen   by the model: {', '.join(step['urls'])}"
        case "chosen":
            return f"chosen   by a plain rule: {', '.join(step['urls']) or 'nothing'}\n         {step['why']}"
    note = "(The model wrote next to nothing, so this is put together from the pages.)\n\n"
    return f"\n{note if step['by'] == 'rule' else ''}{step['markdown']}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write one brochure; 0 when it came to its end, 1 when the writing failed, 2 for a bad request."""
    args = parser().parse_args(arguments)
    sampling = dataclasses.replace(
        SAMPLING, temperature=args.temperature, max_tokens=args.max_new_tokens, seed=args.seed
    )
    steps: list[dict[str, Any]] = []
    last: BrochureEvent | None = None
    try:
        if wrong := sampling.problems():
            raise Problem(" ".join(wrong))
        for last in brochure(asked(args), args.url, sampling):
            if (step := described(last)) is None:
                continue
            steps.append(step)
            if not args.json:
                sys.stdout.write(f"{readable(step)}\n")
    except Problem as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    if args.json:
        sys.stdout.write(f"{json.dumps(steps, ensure_ascii=False, indent=2)}\n")
    if isinstance(last, Written) and last.reason in ("stop", "length"):
        return 0
    sys.stderr.write(f"{(isinstance(last, Written) and last.problem) or 'The brochure was not finished.'}\n")
    return 1
