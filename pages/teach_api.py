"""The named endpoints /start_job, /jobs and /stop_job, for gradio_client and plain HTTP."""

from __future__ import annotations

from typing import Any

import gradio as gr

from engine import jobs
from engine.errors import Problem
from engine.recipe import from_mapping, preset
from engine.teaching.preparing import in_own_style
from pages.parts import asks, visitor
from pages.teach_form import examples
from pages.teach_moves import chosen, seen_by


@asks("train")
def start_job(
    request: gr.Request, model: str, data: str, recipe: str = "quick", knobs: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Start a job with a recipe's name, knobs over it, and the name of examples or, on one's own machine, a file."""
    who = visitor(request)
    names = [value for _, value in examples(own=True)]
    if who.mode != "local" and data not in names:
        raise Problem(
            f"From afar, files cannot be named. Upload them on the page, or choose one of: {', '.join(names)}."
        )
    made = from_mapping({**(knobs or {}), "model": model, "data": data}, preset(recipe))
    return jobs.describe(jobs.start(in_own_style(made, knobs or {}), owner=who.name))


@asks("see jobs")
def job_list(request: gr.Request) -> list[dict[str, Any]]:
    """Every run that the caller may see, newest first."""
    return [jobs.describe(job) for job in seen_by(visitor(request))]


@asks("stop job")
def stop_job(request: gr.Request, run: str) -> dict[str, Any]:
    """Ask a run to save and end within one step."""
    job = chosen(visitor(request), run)
    jobs.stop(job)
    return jobs.describe(job)
