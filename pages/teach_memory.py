"""The memory before a start as a chart: full training, LoRA and QLoRA, part by part, under both conventions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from html import escape

from engine.memory import METHODS, WHY, Convention, Part, estimate, floating_operations, total
from engine.recipe import METHODS as METHOD_TITLES
from engine.recipe import Recipe
from engine.teaching.recipe_checks import computes_in_bf16, optimizer_used
from engine.teaching.shape import Shape
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
    words = (
        f"{name} trains {trained:,} of {shape.parameters:,} weights ({share:.2%}) and takes about {size(needed)}; "
        f"this machine has {size(machine)}, of which {size(free)} are free now.{fits}{note}"
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
    words = ", ".join(f"{part.name} {size(part.bytes)}" for part in parts)
    name = METHOD_TITLES[method].split(":")[0]
    mark = ' class="chosen"' if chosen else ""
    return (
        f'<div{mark}><span class="method">{name}</span><span class="bar" aria-hidden="true">{pieces}</span>'
        f'<span class="sum">{size(total(parts))}</span><small>{words}</small></div>'
    )


def work_ahead(shape: Shape, recipe: Recipe, rows: int, speed: float) -> str:
    """How much there is to compute, and how long that takes at a speed in operations a second; 0 where none is known.

    Every row is taken to be as long as it may be, so it is the most there can be.
    """
    learned = min(recipe.rows or rows, round(rows * (1 - recipe.validation - recipe.test))) if rows else 0
    if not (recipe.steps or learned):
        return ""
    steps = recipe.steps or max(1, round(recipe.epochs * -(-learned // (recipe.batch * recipe.accumulation))))
    tokens = steps * recipe.batch * recipe.accumulation * recipe.max_length
    work = floating_operations(shape, tokens, recipe.method)
    time = f", about {duration(work / speed)} at the speed of your last run here" if speed else ""
    return f'<p class="hint">{steps:,} steps, at most {operations(work)}{time}.</p>'


def size(number: float) -> str:
    """Bytes in words, powers of ten."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if number >= scale:
            return f"{number / scale:.1f} {unit}"
    return f"{number / 1e3:.0f} kB"
