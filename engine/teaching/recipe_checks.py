"""What can be wrong with a recipe, all of it at once and in words."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from engine.errors import Problem
from engine.recipe import KNOBS, TOY_PARAMETERS
from engine.teaching.devices import devices_trouble

if TYPE_CHECKING:
    from engine.recipe import Recipe

# knob: (least, most, what to write instead)
LIMITS: dict[str, tuple[float, float, str]] = {
    "max_length": (8, 131_072, "Max length must lie between 8 and 131,072 tokens."),
    "rank": (1, 1024, "Rank must lie between 1 and 1024; 8 to 64 is usual."),
    "alpha": (0.01, 100_000, "Alpha must be above 0; twice the rank is usual."),
    "dropout": (0, 0.9, "Dropout must lie between 0 and 0.9; 0.05 is usual."),
    "learning_rate": (1e-9, 10, "The learning rate must be above 0 and at most 10; 2e-4 is usual for adapters."),
    "warmup": (0, 1e6, "Warm-up must be 0 or more: steps, or a share of all steps below 1."),
    "weight_decay": (0, 1, "Weight decay must lie between 0 and 1; 0.01 is usual."),
    "max_grad_norm": (0, 1000, "The limit on the gradient's norm must lie between 0 (off) and 1000."),
    "batch": (1, 1024, "Batch must lie between 1 and 1024 examples."),
    "accumulation": (1, 4096, "Accumulation must lie between 1 and 4096 passes."),
    "devices": (1, 1024, "Devices must be 1 or more; more than 1 needs as many GPUs."),
    "epochs": (0.001, 10_000, "Epochs must be above 0 and at most 10,000."),
    "steps": (0, 10_000_000, "Steps must be 0 (go by the epochs) or a positive whole number."),
    "validation": (0, 0.9, "The share for validation must lie between 0 and 0.9."),
    "rows": (0, 1e9, "The number of examples to learn from must be 0 (all) or more."),
    "test": (0, 0.9, "The share for the table at the end must lie between 0 and 0.9."),
    "eval_steps": (0, 10_000_000, "Steps between evaluations must be 0 (about ten in all) or positive."),
    "save_steps": (0, 10_000_000, "Steps between checkpoints must be 0 (at evaluations) or positive."),
    "log_steps": (1, 100_000, "Steps between two log lines must be 1 or more."),
    "seed": (0, 2**32 - 1, "The seed must be a whole number from 0 to 4,294,967,295."),
}
LONGEST_NAME = 80
LONGEST_NOTES = 4000


def complaints(recipe: Recipe) -> list[str]:
    """Every complaint, each a sentence; the model and the data themselves are looked at when the job starts."""
    found = [text for name, (least, most, text) in LIMITS.items() if not least <= getattr(recipe, name) <= most]
    found += [wrong for name, each in KNOBS.items() if (wrong := unchosen(name, getattr(recipe, name), each.metadata))]
    if recipe.validation + recipe.test >= 1:
        found.append("The shares for validation and test leave nothing to train on; make them smaller.")
    if not recipe.model.strip():
        found.append("Choose a model to teach.")
    if not recipe.data.strip():
        found.append("Choose the examples to learn from.")
    if trouble := devices_trouble(recipe.devices):
        found.append(trouble)
    if len(recipe.name) > LONGEST_NAME or len(recipe.notes) > LONGEST_NOTES:
        found.append(f"A name may have {LONGEST_NAME} characters and notes {LONGEST_NOTES:,}.")
    if recipe.method != "full" and not recipe.target_modules:
        found.append("Name the layers that get an adapter, such as q_proj, v_proj, or all-linear.")
    if recipe.dora and recipe.method == "full":
        found.append("DoRA is a kind of adapter; choose QLoRA or LoRA for it, or switch it off.")
    if recipe.columns.strip() and not recipe.column_map:
        found.append("Columns are written as pairs, such as prompt=comment, response=reply.")
    if recipe.stop_token and len(recipe.stop_token.split()) != 1:
        found.append("The stop token must be one token without spaces.")
    try:
        from engine.prompts import style

        style(recipe.style)
    except Problem as problem:
        found.append(str(problem))
    if recipe.report and importlib.util.find_spec(recipe.report) is None:
        found.append(f"{recipe.report} is not installed. Run `pip install {recipe.report}`, or switch it off.")
    return found


def unchosen(name: str, value: Any, metadata: Any) -> str:
    """The complaint about a value that is not among a knob's choices; "" for none."""
    choices = metadata["choices"]
    if not choices or value in choices:
        return ""
    return f"{name} is '{value}'; choose one of: {', '.join(choice or 'none' for choice in choices)}."


def optimizer_used(recipe: Recipe, cuda: bool) -> tuple[str, str]:
    """The optimizer that runs on this machine, and why it is another than asked for ("" where it is not)."""
    if cuda or not (recipe.optimizer.startswith("paged_") or recipe.optimizer == "adamw_8bit"):
        return recipe.optimizer, ""
    return "adamw_torch", (
        f"{recipe.optimizer} is made for GPUs; on a processor the run uses adamw_torch, its form in 32 bits."
    )


def computes_in_bf16(recipe: Recipe, parameters: int | None) -> bool:
    """Whether a run computes in bf16: where it is asked for, or native and the model is no toy."""
    from engine.weights import fast_bf16

    toy = (parameters or TOY_PARAMETERS) < TOY_PARAMETERS
    return recipe.precision == "bf16" or (recipe.precision == "auto" and fast_bf16() and not toy)
