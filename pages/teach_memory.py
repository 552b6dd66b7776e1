"""The memory before a start as a chart: full training, LoRA and QLoRA, part by part, under both conventions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from html import escape

from engine.amounts import amount
from engine.memory import METHODS, WHY, Convention, Part, estimate, floating_operations, total
from engine.recipe import METHODS as METHOD_TITLES
from engine.recipe import Recipe
from engine.teaching.recipe_checks import computes_in_bf16, optimizer_used
from engine.teaching.shape import Shape
from pages.render import count
from pages.teach_render import operations
from pages.words import duration

CONVENTIONS: tuple[Convention, ...] = ("this machine", "textbook")


def memory_chart(shape: Shape, recipe: Recipe, machine: float, free: float) -> str:
    """What full training, LoRA and QLoRA take, part by part, under both conventions, against what there is."""
    text, cuda = "", has_gpu()
    number = 2 if computes_in_bf16(recipe, shape.parameters) else 4
    for convention in CONVENTIONS:
        parts = {method: estimate(shape, method, convention, recipe, number, cuda=cuda) for method in METHODS}
        most = max(total(each) for each in parts.values())
        bars = "".join(bar(method, each, most, method == recipe.method) for method, each in parts.items())
        caption = f"<strong>{convention.capitalize()}.</strong> {WHY[convention]}"
        text += f'<figure class="memory"><figcaption>{caption}</figcaption>{bars}</figure>'
    share = shape.trained / shape.parameters if recipe.method != "full" else 1
    needed = total(estimate(shape, recipe.method, "this machine", recipe, number, cuda=cuda))
    fits = "" if needed < machine else " <strong>It will not fit.</strong>"
    used, why = optimizer_used(recipe, cuda)
    note = f" Optimizer: {escape(why or used)}"
    trained = shape.parameters if recipe.method == "full" else shape.trained
    name = METHOD_TITLES[recipe.method].split(":")[0]
    apiece = f" on each of {recipe.devices} devices" if recipe.devices > 1 else ""
    words = (
        f"{name} trains {trained:,} of {shape.parameters:,} weights ({share:.2%}) and takes about "
        f"{amount(needed)}{apiece}; "
        f"this machine has {amount(machine)}, of which {amount(free)} are free now.{fits}{note}"
    )
    return f'<p class="hint">{words}</p>{text}'


def has_gpu() -> bool:
    """Whether torch is loaded and sees a GPU; a page does not wait for torch to be imported."""
    torch = sys.modules.get("torch")
    return bool(torch and torch.cuda.is_available())


def bar(method: str, parts: Sequence[Part], most: float, chosen: bool) -> str:
    """One method's parts as a bar, with the figures in words."""
    pieces = "".join(
        f'<span class="part part-{place}" style="width:{100 * part.bytes / most:.2f}%"></span>'
        for place, part in enumerate(parts)
    )
    words = ", ".join(f"{part.name} {amount(part.bytes)}" for part in parts)
    name = METHOD_TITLES[method].split(":")[0]
    mark = ' class="chosen"' if chosen else ""
    return (
        f'<div{mark}><span class="method">{name}</span><span class="bar" aria-hidden="true">{pieces}</span>'
        f'<span class="sum">{amount(total(parts))}</span><small>{words}</small></div>'
    )


def work_ahead(shape: Shape, recipe: Recipe, rows: int, speed: float) -> str:
    """How much there is to compute, and how long that takes at a speed in operations a second; 0 where none is known.

    Every row is taken to be as long as it may be, so it is the most there can be.
    """
    learned = min(recipe.rows or rows, round(rows * (1 - recipe.validation - recipe.test))) if rows else 0
    if not (recipe.steps or learned):
        return ""
    batch = recipe.batch * recipe.accumulation * recipe.devices
    steps = recipe.steps or max(1, round(recipe.epochs * -(-learned // batch)))
    tokens = steps * batch * recipe.max_length
    work = floating_operations(shape, tokens, recipe.method)
    time = f", about {duration(work / speed)} at the speed of your last run here" if speed else ""
    told = f"{count(steps, 'step')} of {count(batch, 'example')} each, at most {operations(work)}{time}."
    return f'<p class="hint">{told}</p>'
