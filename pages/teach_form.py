"""The fields of a recipe as form fields, generated from Recipe, and how filled-in fields become a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import gradio as gr
from gradio.components import Component

from engine.catalog import all_models
from engine.data.shelf import samples, saved
from engine.errors import Problem
from engine.prompts import styles
from engine.recipe import KNOBS, Recipe, from_mapping, preset, presets
from engine.teaching.devices import gpus
from pages.launch import Launch

FIRST_RECIPE = "quick"
FIRST_DATA = "shawgpt"
OUTSIDE = ("model", "data", "name", "notes")  # what a preset leaves as it is
ABOVE = ("model", "data", "name")  # fields that a beginner sees
SIZES = (
    "model", "data", "method", "rank", "targets", "dropout", "batch", "accumulation", "devices", "max_length", "epochs",
    "steps", "rows", "activation_checkpointing", "optimizer",
)  # fmt: skip

Fields = dict[str, Component]


def bases() -> list[str]:
    """The models that can be taught: local ones that are no adapters."""
    return [model.name for model in all_models() if not model.endpoint and model.adapter is None]


def examples(own: bool) -> list[tuple[str, str]]:
    """What can be learned from, as (label, value): samples, and the datasets that were kept in the Data tab."""
    shipped = [(f"Sample: {each.name}, {each.rows} rows", each.name) for each in samples()]
    kept = [(f"{each.name}, {each.rows:,} rows", each.path.stem) for each in saved()] if own else []
    return shipped + kept


def beginner_fields(launch: Launch) -> tuple[Fields, gr.Dropdown, gr.File]:
    """Model, examples, recipe and name: all that one needs to start."""
    own = launch.mode != "visitor"
    made: Fields = {
        "model": gr.Dropdown(
            bases(), value="starter", label="Model", info=KNOBS["model"].metadata["about"],
            allow_custom_value=own, elem_id="teach-model",
        ),
        "data": gr.Dropdown(
            examples(own), value=FIRST_DATA, label="Examples",
            info="A sample, a dataset kept in the Data tab, or your own file below.",
            elem_id="teach-data",
        ),
    }  # fmt: skip
    upload = gr.File(
        label="Your own examples: jsonl, json, csv, tsv, parquet or txt",
        file_types=[".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt"],
        height=150,
        elem_id="teach-upload",
    )
    recipe = gr.Dropdown(
        [(title, name) for name, (title, _, _) in presets().items()],
        value=FIRST_RECIPE,
        label="Recipe",
        info="A set of values for everything under Advanced.",
        elem_id="teach-recipe",
    )
    made["name"] = field("name", "", launch)
    return made, recipe, upload


def advanced_fields(launch: Launch) -> Fields:
    """A field for every other knob, in groups, with the first recipe's values."""
    values = asdict(preset(FIRST_RECIPE))
    made: Fields = {}
    groups: dict[str, list[str]] = {}
    for name, knob in KNOBS.items():
        if name not in ABOVE:
            groups.setdefault(knob.metadata["group"], []).append(name)
    for group, names in groups.items():
        gr.HTML(f'<h4 class="group">{group}</h4>')
        with gr.Row(elem_classes="knobs"):
            for name in names:
                made[name] = field(name, values[name], launch)
    return made


def field(name: str, value: Any, launch: Launch) -> Component:
    """The form field of one knob: its kind follows from the default's type and from the choices."""
    knob = KNOBS[name]
    common: dict[str, Any] = {
        "label": name.replace("_", " ").capitalize(),
        "info": knob.metadata["about"],
        "elem_id": f"teach-{name.replace('_', '-')}",
        "min_width": 190,
    }
    if name == "devices":
        there = gpus()
        common["info"] += f" This machine has {there}." if there > 1 else " This machine has no second one."
        return gr.Number(value, precision=0, minimum=1, interactive=there > 1, **common)
    choices = {key: each.title for key, each in styles().items()} if name == "style" else knob.metadata["choices"]
    if choices:
        own = name == "style"  # a turn may be written out: {prompt} … {response}
        pairs = [(title, key) for key, title in choices.items()]
        return gr.Dropdown(pairs, value=value, allow_custom_value=own, **common)
    if isinstance(knob.default, bool):
        return gr.Checkbox(value=value, **common)
    if isinstance(knob.default, int | float):
        return gr.Number(value, precision=0 if isinstance(knob.default, int) else None, **common)
    lines = 3 if name == "notes" else 1
    return gr.Textbox(value, lines=lines, max_length=4000 if name == "notes" else 300, **common)


def recipe_from(values: Sequence[Any], upload: str | None) -> Recipe:
    """The recipe of the fields in KNOBS' order; an uploaded file takes the place of the sample. Raises Problem."""
    named = dict(zip(KNOBS, values, strict=True))
    if empty := [name for name, value in named.items() if value is None and not isinstance(KNOBS[name].default, str)]:
        raise Problem(f"Fill in {', '.join(name.replace('_', ' ') for name in empty)}.")
    if upload:
        named["data"] = upload
    elif named["data"] not in [value for _, value in examples(own=True)]:
        raise Problem("Choose a sample, or add a file of your own examples.")
    return from_mapping(named)
