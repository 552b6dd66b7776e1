"""The memory before a start as a chart: full training, LoRA and QLoRA, part by part, under both conventions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from html import escape

from engine.memory import METHODS, WHY, Convention, Part, estimate, total
from engine.recipe import METHODS as METHOD_TITLES
from engine.recipe import Recipe
from engine.teaching.recipe_checks import optimizer_used
from engine.teaching.shape import Shape

CONVENTIONS: tuple[Convention, ...] = ("this machine", "textbook")


def memory_chart(shape: Shape, recipe: Recipe, machine: float) -> str:
    """What full training, LoRA and QLoRA take, part by part, under both conventions, against what there is."""
    text = ""
    for convention in CONVENTIONS:
        parts = {method: estimate(shape, method, convention, recipe) for method in METHODS}
        most = max(total(each) for each in parts.values())
        bars = "".join(bar(method, each, most, method == recipe.method) for method, each in parts.items())
        caption = f"<strong>{convention.capitalize()}.</strong> {WHY[convention]}"
        text += f'<figure class="memory"><figcaption>{caption}</figcaption>{bars}</figure>'
    share = shape.trained / shape.parameters if recipe.method != "full" else 1
    needed = total(estimate(shape, recipe.method, "this machine", recipe))
    fits = "" if needed < machine else " <strong>It will not fit.</strong>"
    used, why = optimizer_used(recipe, has_gpu())
    note = f" Optimizer: {escape(why or used)}"
    trained = shape.parameters if recipe.method == "full" else shape.trained
    name = METHOD_TITLES[recipe.method].split(":")[0]
    words = (
        f"{name} trains {trained:,} of {shape.parameters:,} weights ({share:.2%}) and takes about {size(needed)}; "
        f"this machine has {size(machine)}. LoRA and QLoRA on a processor were seen to take more: leave "
        f"room.{fits}{note}"
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


def size(number: float) -> str:
    """Bytes in words, powers of ten."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if number >= scale:
            return f"{number / scale:.1f} {unit}"
    return f"{number / 1e3:.0f} kB"
