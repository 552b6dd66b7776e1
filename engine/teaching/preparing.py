"""What is looked at before a job starts: the recipe, its examples and its model, every complaint at once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from engine.catalog import find
from engine.data.shelf import samples, saved
from engine.datasets import read
from engine.errors import Problem
from engine.recipe import Recipe, fitted
from engine.teaching.shape import count_parameters


def prepared(recipe: Recipe) -> tuple[Recipe, Path, str]:
    """(the recipe as it will run, the file of its examples, why it was changed). Raises Problem with all complaints."""
    wrong = recipe.problems()
    source, note = None, ""
    if recipe.data.strip():
        try:
            source = examples_file(recipe.data)
            wrong += data_problems(source, recipe)
        except Problem as problem:
            wrong.append(str(problem))
    if recipe.model.strip():
        try:
            model = find(recipe.model)
            if model.endpoint or model.adapter is not None:
                what = "runs on somebody's server" if model.endpoint else "is an adapter"
                wrong.append(f"{model.name} {what}; choose a base model that is on this machine or on the Hub.")
            else:
                recipe, note = fitted(recipe, count_parameters(model) or 10**9)
        except Problem as problem:
            wrong.append(str(problem))
    if wrong or source is None:
        raise Problem(" ".join(wrong))
    return recipe, source, note


def in_own_style(recipe: Recipe, given: Collection[str] = ()) -> Recipe:
    """The recipe in the style that its examples were kept with in the Data tab, unless `given` knobs name another."""
    if "style" in given:
        return recipe
    name = recipe.data.strip()
    turn = next((each.style.get("turn") for each in saved() if name in (each.name, each.path.stem)), None)
    return replace(recipe, style=turn) if turn else recipe


def data_problems(source: Path, recipe: Recipe) -> list[str]:
    """What is wrong with the examples."""
    return read(source, recipe.column_map or None).problems()


def examples_file(data: str) -> Path:
    """The file of a sample's name, of a kept dataset's, or of a path. Raises Problem."""
    name = data.strip()
    for each in (*samples(), *saved()):
        if name in (each.name, each.path.stem):
            return each.path
    path = Path(name).expanduser()
    if not path.is_file():
        names = ", ".join(each.name for each in (*samples(), *saved()))
        raise Problem(f"There are no examples at '{name}'. Give a file, or one of: {names}.")
    return path.resolve()
