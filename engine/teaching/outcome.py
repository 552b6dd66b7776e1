"""What a finished run leaves behind: weights, the table of replies before and after, and a model card."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from engine.recipe import KNOBS, Recipe
from engine.teaching.answers import Asked, answers
from engine.teaching.checkpoints import checkpoint_folder
from engine.teaching.lesson import Lesson
from engine.teaching.pupil import Pupil, name_base
from engine.teaching.runs import Job, read_json, write_json
from engine.teaching.trainer import JobTrainer
from engine.teaching.watch import Watch

SHOWN_ON_CARD = 4  # rows of the table
UNUSED_WHEN_FULL = ("rank", "alpha", "dropout", "targets", "rslora", "dora")


def leave(folder: Path, lesson: Lesson, pupil: Pupil, watch: Watch, table: Asked) -> dict[str, Any]:
    """Save weights, table and card; what done.json says of them."""
    trainer = watch.trainer
    step = load_best(trainer, folder) if lesson.recipe.keep_best else trainer.state.global_step
    made = save_weights(trainer, pupil, folder)
    rows = compared(table, read_json(folder / "base.json").get("answers", []), answers(trainer.model, table))
    write_json(folder / "comparison.json", {"rows": rows})
    figures = summary(trainer, step, watch.seconds) | {"parameters": pupil.parameters}
    text = card(lesson.recipe, Job.read(folder).name, figures, rows, read_json(folder / "data.json"))
    (folder / "README.md").write_text(text, encoding="utf-8")
    return {"model": made, **figures}


def load_best(trainer: JobTrainer, folder: Path) -> int:
    """Put the weights of the lowest validation loss into the network; the step they are from."""
    step = trainer.state.global_step
    if trainer.best is None or trainer.best[1] == step:
        return step
    best = checkpoint_folder(folder / "checkpoints", trainer.best[1])
    if not best.is_dir():
        return step
    trainer._load_from_checkpoint(str(best))
    return trainer.best[1]


def save_weights(trainer: JobTrainer, pupil: Pupil, folder: Path) -> dict[str, Any]:
    """Save adapter or model in one step, with the tokenizer; what `done.json` says of it."""
    network: Any = trainer.model
    full = not hasattr(network, "peft_config")
    place = "model" if full else "adapter"
    partial, final = folder / f".{place}", folder / place
    for old in (partial, final):
        shutil.rmtree(old, ignore_errors=True)
    network.save_pretrained(partial, safe_serialization=True)
    (partial / "README.md").unlink(missing_ok=True)
    if full or network.peft_config["default"].modules_to_save:
        pupil.tokenizer.save_pretrained(partial)
    if not full:
        name_base(partial, pupil.model)
    partial.rename(final)
    if full:
        return {"kind": "model", "place": place}
    return {"kind": "adapter", "place": place, "base": pupil.model.base, "revision": pupil.model.revision}


def compared(asked: Asked, base: Sequence[str], tuned: Sequence[str]) -> list[dict[str, str]]:
    """The table: what was asked, what the data wanted, and both replies."""
    rows = zip(asked.prompts, base, tuned, strict=False)
    return [{"prompt": p.shown, "wanted": p.wanted, "base": before, "tuned": after} for p, before, after in rows]


def summary(trainer: JobTrainer, step: int, seconds: float) -> dict[str, Any]:
    """The figures of a finished run."""
    network: Any = trainer.model
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return {
        "steps": trainer.state.global_step,
        "step_of_weights": step,
        "train_loss": trainer.mean_loss,
        "eval_loss": trainer.best[0] if trainer.best and trainer.best[1] == step else last_eval(trainer),
        "tokens": trainer._total_train_tokens,
        "seconds": round(seconds, 2),
        "trained_parameters": trained,
    }


def last_eval(trainer: JobTrainer) -> float | None:
    """The validation loss that was measured last; None where there is none."""
    return next((line["eval_loss"] for line in reversed(trainer.state.log_history) if "eval_loss" in line), None)


def card(
    recipe: Recipe,
    job_name: str,
    figures: Mapping[str, Any],
    rows: Sequence[Mapping[str, str]],
    data: Mapping[str, Any],
) -> str:
    """The model card, from the run: what it was made of, how, what came out, and how to ask it."""
    unused = UNUSED_WHEN_FULL if recipe.method == "full" else ()
    knobs = [name for name in KNOBS if name not in ("name", "notes", "report", "data", *unused)]
    lines = [
        "---",
        "library_name: " + ("transformers" if recipe.method == "full" else "peft"),
        "tags: [diptych, " + recipe.method + "]",
        "---",
        f"# {job_name}",
        "",
        recipe.notes.strip() or f"A model taught with Diptych on {data.get('name', 'examples')}.",
        "",
        f"- Base: `{recipe.model}`; ask it in the prompt style `{recipe.style}`.",
        f"- Data: {data.get('training')} examples to learn from, {data.get('validation')} kept back "
        f"(SHA-256 {str(data.get('fingerprint'))[:12]}).",
        f"- Result: mean training loss {figures['train_loss']:.4f}, validation loss {number(figures['eval_loss'])}, "
        f"weights of step {figures['step_of_weights']} of {figures['steps']}, {figures['seconds']:.0f} s.",
        f"- Made on {time.strftime('%Y-%m-%d', time.gmtime())}.",
        "",
        "## Replies before and after",
        "",
        "| Prompt | Base | Tuned |",
        "|---|---|---|",
        *(f"| {cell(row['prompt'])} | {cell(row['base'])} | {cell(row['tuned'])} |" for row in rows[:SHOWN_ON_CARD]),
        "",
        "## Recipe",
        "",
        "| Knob | Value |",
        "|---|---|",
        *(f"| {name} | {cell(str(getattr(recipe, name)))} |" for name in knobs),
        "",
    ]
    return "\n".join(lines)


def number(value: float | None) -> str:
    """A loss in words."""
    return "not measured" if value is None else f"{value:.4f}"


def cell(text: str) -> str:
    """Text that stays in its cell of a Markdown table."""
    return " ".join(text.replace("|", "\\|").split())[:200]


def environment() -> dict[str, Any]:
    """What the run ran on."""
    import platform
    from importlib.metadata import version

    names = ("torch", "transformers", "trl", "peft", "bitsandbytes", "datasets", "accelerate")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    libraries = {name: version(name) for name in names}
    return {"python": platform.python_version(), "device": device, "threads": torch.get_num_threads(), **libraries}


def finish(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write done.json, the last file of a run."""
    write_json(folder / "state.json", {**read_json(folder / "state.json"), "state": "done", "phase": ""})
    write_json(folder / "done.json", {"format": 1, "finished": time.time(), **facts})
