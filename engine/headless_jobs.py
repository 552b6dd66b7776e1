"""Jobs from the command line: `python -m engine.jobs start|list|show|stop|resume|delete`."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from engine import jobs
from engine.errors import Problem
from engine.recipe import from_mapping, preset, presets
from engine.teaching.runs import Job, all_jobs, find_job

FAILED_STATES = ("failed", "lost")


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="python -m engine.jobs", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", help="start a job; --sweep starts one for each value")
    start.add_argument("--recipe", default="quick", help=f"one of {', '.join(presets())}, or a TOML file")
    start.add_argument("--model", default="starter", help="the base: a name, a folder or a Hub id")
    start.add_argument("--data", required=True, help="a file of examples, or a sample's name")
    start.add_argument("--set", action="append", default=[], metavar="KNOB=VALUE", help="change a knob; repeat")
    start.add_argument("--sweep", action="append", default=[], metavar="KNOB=A,B,C", help="a run for each; repeat")
    start.add_argument("--name", default="", help="what the new model is called")
    commands.add_parser("list", help="every run, newest first").add_argument("--json", action="store_true")
    for name, about in (
        ("show", "one run"),
        ("resume", "go on with a run"),
        ("stop", "save and end a run"),
        ("delete", "remove a run with what it made"),
    ):
        command = commands.add_parser(name, help=about)
        command.add_argument("run", help="a run's id or name")
        command.add_argument("--json", action="store_true", help="print JSON")
        if name == "stop":
            command.add_argument("--now", action="store_true", help="kill it; what is unsaved is lost")
        if name in ("resume", "stop"):
            command.add_argument("--wait", action="store_true", help="return when the job is over")
    start.add_argument("--json", action="store_true", help="print JSON")
    start.add_argument("--wait", action="store_true", help="return when the job is over")
    return top


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """KNOB=VALUE texts as a mapping. Raises Problem."""
    if wrong := [text for text in texts if "=" not in text]:
        raise Problem(f"Write KNOB=VALUE, such as learning_rate=1e-3; '{wrong[0]}' is not of that form.")
    return {key.strip(): value.strip() for key, value in (text.split("=", 1) for text in texts)}


def start(args: argparse.Namespace) -> list[Job]:
    """Start what was asked for: one job, or one for each combination of the swept values."""
    given = {"model": args.model, "data": args.data, "name": args.name, **pairs(args.set)}
    recipe = from_mapping(given, preset(args.recipe))
    swept = {name: values.split(",") for name, values in pairs(args.sweep).items()}
    if not swept:
        return [jobs.start(recipe)]
    made = []
    for values in itertools.product(*swept.values()):
        chosen = dict(zip(swept, values, strict=True))
        named = " ".join(f"{key} {value}" for key, value in chosen.items())
        made.append(replace(from_mapping(chosen, recipe), name=f"{args.name or 'sweep'} {named}"))
    for each in made:
        jobs.prepared(each)
    return [jobs.start(each) for each in made]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Runs as aligned columns."""
    names = ("run", "name", "state", "step", "of", "train_loss", "eval_loss")
    lines = [names, *(tuple(shown(row[name]) for name in names) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in lines)


def shown(value: Any) -> str:
    """A value for people."""
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def report(found: Sequence[Job], as_json: bool, many: bool) -> int:
    """Print runs; 1 when one of them has failed."""
    rows = [jobs.describe(job) for job in found]
    if as_json:
        print(json.dumps(rows if many else rows[0], ensure_ascii=False, indent=2))
    elif many:
        print(table(rows))
    else:
        print("\n".join(f"{key + ':':<12}{shown(value)}" for key, value in rows[0].items()))
    return 1 if any(job.state in FAILED_STATES for job in found) else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command: 0 when all is well, 1 when a job failed, 2 when the request was wrong."""
    args = parser().parse_args(arguments)
    try:
        if args.command == "list":
            return report(all_jobs(), args.json, many=True) and 0
        found = start(args) if args.command == "start" else [find_job(args.run)]
        if args.command == "resume":
            found = [jobs.resume(found[0])]
        elif args.command == "stop":
            jobs.stop(found[0], args.now)
        elif args.command == "delete":
            jobs.delete(found[0])
            print(f"{found[0].name} is deleted.")
            return 0
        if getattr(args, "wait", False):
            found = [jobs.wait(job) for job in found]
        return report([Job.read(job.folder) for job in found], args.json, many=len(found) > 1)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 2
