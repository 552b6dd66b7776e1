"""Jobs from the command line: `python -m engine.jobs start|list|show|stop|resume|delete|merge|push|pull`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from engine import jobs
from engine.errors import Problem
from engine.recipe import from_mapping, preset, presets
from engine.teaching import sweeps
from engine.teaching.preparing import in_own_style
from engine.teaching.runs import Job, all_jobs, find_job
from engine.teaching.sweeps import pairs

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
        ("merge", "merge the adapter of a run into its base"),
        ("push", "put a run on the Hub, private unless --public"),
        ("pull", "fetch a run from the Hub"),
    ):
        command = commands.add_parser(name, help=about)
        command.add_argument("run", help="OWNER/NAME on the Hub" if name == "pull" else "a run's id or name")
        command.add_argument("--json", action="store_true", help="print JSON")
        if name == "stop":
            command.add_argument("--now", action="store_true", help="kill it; what is unsaved is lost")
        if name == "push":
            command.add_argument("repository", help="OWNER/NAME on the Hub")
            command.add_argument("--public", action="store_true", help="let everybody see it")
            command.add_argument("--merged", action="store_true", help="the merged model instead of the adapter")
        if name == "pull":
            command.add_argument("--revision", default="", help="a branch, tag or commit")
        if name in ("resume", "stop"):
            command.add_argument("--wait", action="store_true", help="return when the job is over")
    start.add_argument("--json", action="store_true", help="print JSON")
    start.add_argument("--wait", action="store_true", help="return when the job is over")
    return top


def start(args: argparse.Namespace) -> list[Job]:
    """Start what was asked for: one job, or one for each combination of the swept values."""
    given = pairs(args.set)
    recipe = from_mapping({"model": args.model, "data": args.data, "name": args.name, **given}, preset(args.recipe))
    return sweeps.start(in_own_style(recipe, given), pairs(args.sweep))


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


def shared(args: argparse.Namespace) -> int:
    """Merge, push or pull; 0."""
    from engine.teaching import merge, sharing

    if args.command == "pull":
        return report([sharing.pull(args.run, args.revision)], args.json, many=False)
    job = find_job(args.run)
    facts: dict[str, Any]
    if args.command == "merge":
        facts = merge.merge(job)
        text = merge.told(facts)
    else:
        facts = sharing.push(job, args.repository, not args.public, args.merged)
        text = f"{job.name} is at {facts['address']}, revision {facts['revision']}."
    print(json.dumps(facts) if args.json else text)
    return 0


def waited_for(found: list[Job]) -> list[Job]:
    """The jobs once they are over. A job is a process of its own: Ctrl+C ends the waiting, not the job."""
    try:
        return [jobs.wait(job) for job in found]
    except KeyboardInterrupt:
        runs = ", ".join(job.folder.name for job in found if not Job.read(job.folder).over)
        if runs:
            print(f"Still training: {runs}. To end it: python -m engine.jobs stop RUN", file=sys.stderr)
        raise


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command: 0 when all is well, 1 when a job failed, 2 when the request was wrong."""
    args = parser().parse_args(arguments)
    try:
        if args.command == "list":
            return report(all_jobs(), args.json, many=True) and 0
        if args.command in ("merge", "push", "pull"):
            return shared(args)
        found = start(args) if args.command == "start" else [find_job(args.run)]
        if args.command == "resume":
            found = [jobs.resume(found[0])]
        elif args.command == "stop":
            jobs.stop(found[0], args.now)
            if not args.now:
                print(f"{found[0].name} saves and ends after the step that it is in.", file=sys.stderr)
        elif args.command == "delete":
            jobs.delete(found[0])
            print(f"{found[0].name} is deleted.")
            return 0
        if getattr(args, "wait", False):
            found = waited_for(found)
        return report([Job.read(job.folder) for job in found], args.json, many=len(found) > 1)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 2
