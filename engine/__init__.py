"""Models, comparison and training; knows nothing of gradio or of rag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.teaching.runs import Job


def teach(model: str, data: str, recipe: str = "quick", **knobs: Any) -> Job:
    """Teach a model from Python: `run = teach("starter", "pairs.jsonl"); print(run.model.reply("Great video!"))`.

    Runs a job with the recipe of that name, with `knobs` over it, and returns once it is done. Raises Problem when
    it cannot start, fails or is stopped.
    """
    from engine import jobs
    from engine.errors import Problem
    from engine.recipe import from_mapping, preset
    from engine.teaching.preparing import in_own_style

    made = from_mapping({**knobs, "model": model, "data": data}, preset(recipe))
    job = jobs.wait(jobs.start(in_own_style(made, knobs)))
    if job.state != "done":
        raise Problem(f"{job.name} ended as {job.state}. {job.reason}")
    return job
