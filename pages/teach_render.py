"""Runs as HTML and as points of a plot; every piece of text from a person or a model is escaped here."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from html import escape
from typing import Any

from engine.jobs import Job
from engine.recipe import presets
from engine.teaching.sweeps import siblings
from pages.words import duration

WORDS = {
    "queued": "waiting for its turn", "running": "running", "stopped": "stopped", "failed": "failed", "done": "done",
    "lost": "lost",
}  # fmt: skip
HEADS = ("Run", "State", "Step", "Loss", "Validation", "Model", "Started")
MOST_POINTS = 400  # of one line of the plot
LINES = ("#4f6bd8", "#c98a1b", "#2f9e77", "#b0529c", "#c2553d", "#3a97b8", "#8a6fc9", "#7a8292")
MOST_RUNS = 50
LOG_LINES = 40


def about_recipe(name: str) -> str:
    """What a preset is for."""
    return f'<p class="hint">{escape(presets()[name][1])}</p>' if name in presets() else ""


def runs_table(jobs: Sequence[Job]) -> str:
    """Every run in a row."""
    if not jobs:
        return '<p class="quiet">No runs yet. Press Start: the sample and the quick recipe take about a minute.</p>'
    rows = "".join(
        f'<tr data-state="{job.state}"><th scope="row">{escape(job.name)}</th><td>{WORDS[job.state]}</td>'
        f"<td>{progress(job)}</td><td>{loss(job.latest('loss'))}</td><td>{loss(job.latest('eval_loss'))}</td>"
        f"<td>{escape(str(job.recipe.get('model', '')))}</td><td>{when(job.record.get('created'))}</td></tr>"
        for job in jobs[:MOST_RUNS]
    )
    heads = "".join(f'<th scope="col">{head}</th>' for head in HEADS)
    return table(heads, rows, "runs")


def progress(job: Job) -> str:
    """How far a run is, such as '12 of 60'."""
    step, of = job.latest("step"), job.latest("of")
    return f"{step:,.0f} of {of:,.0f}" if step is not None and of else "–"


def loss(value: float | None) -> str:
    """A loss with four digits."""
    return "–" if value is None else f"{value:.4f}"


def when(created: Any) -> str:
    """A time in words, in the server's zone."""
    return time.strftime("%d %b %H:%M", time.localtime(created)) if isinstance(created, int | float) else ""


def headline(job: Job | None) -> str:
    """One run's state, figures, and what went wrong with it."""
    if job is None:
        return '<p class="quiet">Choose a run to see how it goes.</p>'
    phase = f", {escape(job.phase)}" if job.phase and job.state == "running" and job.phase != "training" else ""
    parts = [f"<strong>{escape(job.name)}</strong> is {WORDS[job.state]}{phase}"]
    if job.latest("step") is not None:
        parts.append(f"step {progress(job)}")
    if job.state == "running" and (eta := job.latest("eta")) is not None:
        parts.append(f"about {duration(eta)} left")
    for name, form in (
        ("loss", "loss {:.4f}"), ("eval_loss", "validation {:.4f}"), ("learning_rate", "rate {:.2e}"),
        ("grad_norm", "gradient {:.2f}"), ("tokens_per_second", "{:,.0f} tokens/s"),
    ):  # fmt: skip
        if (value := job.latest(name)) is not None:
            parts.append(form.format(value))
    if (work := job.latest("operations")) and (seconds := job.latest("seconds")):
        parts.append(f"{operations(work)}, {operations(work / seconds)}/s")
    if memory := job.latest("memory"):
        parts.append(f"{memory / 2**30:.2f} GB")
    pulse = '<span class="pulse" aria-hidden="true"></span>' if not job.over else ""
    text = f'<p class="run-line" data-state="{job.state}">{pulse}{" · ".join(parts)}</p>'
    if job.reason:
        text += f'<div class="lane-error" data-state="{job.state}">{escape(job.reason)}</div>'
    if notes := str(job.record.get("notes") or ""):
        text += f'<p class="hint run-notes">{escape(notes)}</p>'
    if fitted := job.record.get("fitted"):
        text += f'<p class="hint">{escape(str(fitted))}</p>'
    if job.state == "done" and job.model:
        text += f'<p class="hint fine">{escape(job.name)} is a model now: choose it in Compare.</p>'
    return text


def operations(number: float) -> str:
    """Floating point operations in words."""
    for unit, scale in (("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9)):
        if number >= scale:
            return f"{number / scale:,.1f} {unit}"
    return f"{number / 1e6:,.1f} MFLOP"


def sweep(job: Job | None, among: Sequence[Job]) -> str:
    """The runs that vary the same knobs, with their losses as numbers and as dots on a common scale."""
    runs = siblings(job, among) if job else []
    if len(runs) < 2:
        return ""
    names = list(runs[0].record["sweep"])
    last = {each.id: each.done.get("eval_loss", each.latest("eval_loss")) for each in runs}
    known = [value for value in last.values() if value is not None]
    least, most = (min(known), max(known)) if known else (0.0, 0.0)
    rows = ""
    for each in runs:
        value = last[each.id]
        at = 100 * (value - least) / ((most - least) or 1) if value is not None else None
        dot = "" if at is None else f'<span class="scale"><span class="dot" style="left:{at:.1f}%"></span></span>'
        cells = "".join(f"<td>{escape(str(each.record['sweep'].get(name, '')))}</td>" for name in names)
        best = ' class="best"' if value is not None and value == least else ""
        learned = loss(each.done.get("train_loss", each.latest("loss")))
        rows += (
            f"<tr{best}>{cells}<td>{WORDS[each.state]}</td><td>{learned}</td><td>{loss(value)}</td><td>{dot}</td></tr>"
        )
    heads = "".join(f'<th scope="col">{escape(name.replace("_", " "))}</th>' for name in names)
    ends = f"Validation, from {loss(least)} to {loss(most)}" if known else "Validation"
    heads += "".join(f'<th scope="col">{head}</th>' for head in ("State", "Training loss", "Validation", ends))
    return f'<h4 class="group">This sweep</h4>{table(heads, rows, "runs sweep")}'


def points(jobs: Sequence[Job]) -> dict[str, list]:
    """The columns of the loss plot: step, loss and whose line it is."""
    columns: dict[str, list] = {"step": [], "loss": [], "line": []}
    for job in jobs:
        for name, title in (("loss", "training"), ("eval_loss", "validation")):
            line = [(entry["step"], entry[name]) for entry in job.metrics if entry.get(name) is not None]
            stride = -(-len(line) // MOST_POINTS) or 1
            for step, value in [*line[:-1:stride], *line[-1:]]:
                columns["step"].append(step)
                columns["loss"].append(value)
                columns["line"].append(f"{job.name}, {title}" if len(jobs) > 1 else title)
    return columns


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each line of the loss plot."""
    return dict(zip(names, itertools.cycle(LINES)))


def answers(job: Job | None) -> str:
    """What the model said to the fixed prompts at its first and its newest evaluations."""
    if job is None or not job.samples:
        return '<p class="quiet">Answers to three fixed prompts appear here at every evaluation.</p>'
    steps = sorted({sample["step"] for sample in job.samples})
    shown = steps if len(steps) <= 4 else [steps[0], *steps[-3:]]
    heads = "".join(f'<th scope="col">Step {step}</th>' for step in shown)
    rows = ""
    for prompt in dict.fromkeys(sample["prompt"] for sample in job.samples):
        said = {s["step"]: s["answer"] for s in job.samples if s["prompt"] == prompt}
        rows += f'<tr><th scope="row">{escape(prompt)}</th>' + "".join(
            f"<td>{escape(said.get(step, ''))}</td>" for step in shown
        )
        rows += "</tr>"
    return table(f'<th scope="col">Prompt</th>{heads}', rows)


def before_after(job: Job | None) -> str:
    """Replies of base and tuned model to examples that were held back."""
    if job is None or not job.comparison:
        return '<p class="quiet">When the run is done, replies of base and tuned model stand here side by side.</p>'
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("Prompt", "Base", "Tuned", "In the data"))
    names = ("prompt", "base", "tuned", "wanted")
    cells = [[f"<td>{escape(str(row[name]))}</td>" for name in names] for row in job.comparison]
    rows = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
    return table(heads, rows)


def table(heads: str, rows: str, kind: str = "replies") -> str:
    """A table that scrolls by itself where it is too wide."""
    body = f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody>"
    return f'<div class="scroll"><table class="{kind}">{body}</table></div>'


def log_tail(job: Job | None) -> str:
    """The last lines of what the process printed."""
    return "\n".join(job.log.splitlines()[-LOG_LINES:]) if job else ""
