"""The settings of a lane as form fields, and how filled-in fields become lanes."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import fields
from typing import Any

import gradio as gr
from gradio.components import Component

from engine.access import Visitor, require
from engine.catalog import Model, all_models, find
from engine.compare import Lane
from engine.errors import Problem
from engine.grounding import DEFAULT as STRICT
from engine.grounding import forms
from engine.messages import Sampling
from engine.prompts import styles
from pages.desk import Desk
from pages.shelf import collections
from rag.lane import Documents

DEFAULTS: dict[str, Any] = {f.name: f.default for f in fields(Sampling)}
LABELS = {
    "temperature": "Temperature",
    "top_p": "Top-p",
    "top_k": "Top-k",
    "repetition_penalty": "Repetition penalty",
    "max_tokens": "Token limit",
    "seed": "Seed",
    "stop": "Stop strings",
    "system": "System prompt",
    "form": "How passages are given",
    "style": "Prompt style",
    "collection": "Documents",
}
WHOLE = frozenset({"top_k", "max_tokens", "seed"})
SHARED = tuple(LABELS)  # the order in which the shared fields reach a handler
PER_LANE = ("model", "own", *LABELS)  # and those of each lane
OWN = tuple(name for name in LABELS if name not in ("style", "collection"))  # these two can say "as shared" themselves
AS_SHARED = ""
NO_DOCUMENTS = "\t"  # as the name of a collection: names are printable, so none is this

Fields = dict[str, Component]


def chosen_fields(of: str, style: str, there: Sequence[tuple[str, str]], may_share: bool = False) -> Fields:
    """Style, documents and, in a lane, whether the rest is its own. `of` ('shared', 'lane-1') begins their ids.

    `there` are the collections as (label, name).
    """
    titles = [("As in the shared settings", AS_SHARED)] * may_share
    titles += [(each.title, name) for name, each in styles().items()]
    made: Fields = {"style": gr.Dropdown(titles, value=style, label=LABELS["style"], elem_id=f"{of}-style")}
    made["collection"] = gr.Dropdown(
        shelf_choices(there, may_share),
        value=AS_SHARED if may_share else NO_DOCUMENTS,
        label=LABELS["collection"],
        info="what lanes read before they answer: a collection of the Knowledge tab" if not may_share else None,
        allow_custom_value=True,  # the list grows while the page is open; what is not on it is told by the lane
        elem_id=f"{of}-collection",
    )
    if may_share:
        made["own"] = gr.Checkbox(label="Own system prompt and sampling", elem_id=f"{of}-own")
    return made


def shelf_choices(there: Sequence[tuple[str, str]], may_share: bool) -> list[tuple[str, str]]:
    """Collections as (label, name), after none of them and, in a lane, what all lanes read."""
    return [*[("As in the shared settings", AS_SHARED)] * may_share, ("None", NO_DOCUMENTS), *there]


def drawn_fields(of: str) -> Fields:
    """One field for each name in OWN: how passages are given, system prompt and sampling."""
    titles = [(each.title, name) for name, each in forms().items()]
    made: Fields = {
        "form": gr.Dropdown(
            titles, value=STRICT, label=LABELS["form"], info="where documents are chosen", elem_id=f"{of}-form"
        ),
        "system": gr.Textbox(label=LABELS["system"], lines=2, max_lines=6, placeholder="None", elem_id=f"{of}-system"),
    }
    with gr.Row():
        made["temperature"] = slider("temperature", 0, 2, "0 always takes the likeliest token", of)
        made["top_p"] = slider("top_p", 0.05, 1, "1 switches it off", of)
        made["repetition_penalty"] = slider("repetition_penalty", 1, 2, "1 switches it off", of)
    with gr.Row():
        made["max_tokens"] = whole("max_tokens", "the longest answer", of)
        made["seed"] = whole("seed", "same seed, same draw", of)
        made["top_k"] = whole("top_k", "0 switches it off", of)
    made["stop"] = gr.Textbox(
        label=LABELS["stop"], lines=2, placeholder="One per line; \\n is a new line", elem_id=f"{of}-stop"
    )
    return made


def slider(name: str, least: float, most: float, info: str, of: str) -> Component:
    """A field for a number within limits."""
    return gr.Slider(
        least, most, DEFAULTS[name], step=0.05, label=LABELS[name], info=info, elem_id=f"{of}-{name}", min_width=150
    )


def whole(name: str, info: str, of: str) -> Component:
    """A field for a whole number. Its limits are Sampling's: Gradio's would count where the field is hidden, too."""
    return gr.Number(
        DEFAULTS[name],
        label=LABELS[name],
        precision=0,
        info=info,
        elem_id=f"{of}-{name}",
        min_width=100,
    )


def lanes_from(values: Sequence[Any], count: int, desk: Desk, visitor: Visitor) -> list[Lane]:
    """The first `count` lanes from the values of SHARED and then of PER_LANE for each lane. Raises Problem."""
    shared, rest = values[: len(SHARED)], values[len(SHARED) :]
    size, read = len(PER_LANE), dict[str, Documents]()
    return [
        lane_from(shared, rest[place * size : (place + 1) * size], place, desk, visitor, read) for place in range(count)
    ]


def lane_from(
    shared: Sequence[Any],
    own: Sequence[Any],
    place: int,
    desk: Desk,
    visitor: Visitor,
    read: MutableMapping[str, Documents] | None = None,
) -> Lane:
    """One lane from the values of SHARED and of PER_LANE. Raises Problem that names the lane.

    `read` are the documents of the lanes before it: lanes that read one collection search it together.
    """
    common, mine = dict(zip(SHARED, shared, strict=True)), dict(zip(PER_LANE, own, strict=True))
    of = f"lane {place + 1}"
    model, key = resolve(mine["model"], of, desk, visitor)
    values, whose = (mine, of) if mine["own"] else (common, "all lanes")
    style = mine["style"] if mine["style"] != AS_SHARED else common["style"]
    name = mine["collection"] if mine["collection"] != AS_SHARED else common["collection"]
    passages = documents(name, visitor, {} if read is None else read)
    form = values["form"] or STRICT
    return Lane(model, style, values["system"] or "", sampling(values, whose), passages, key, form)


def documents(name: str | None, visitor: Visitor, read: MutableMapping[str, Documents]) -> Documents | None:
    """The collection that a lane reads, or None. One that is not there is told by the lane, when it looks into it."""
    if name is None or not name.strip():
        return None
    require(visitor, "ask documents")
    if name not in read:
        known = name in [each for _, each in collections(visitor)]
        problem = "" if known else f"There is no collection '{name}' (any more). Choose another, or none."
        read[name] = Documents(name, problem=problem)
    return read[name]


def sampling(values: Mapping[str, Any], whose: str) -> Sampling:
    """The filled-in values as a Sampling. Raises Problem with every complaint, each naming whose field it is."""
    numbers = [name for name in DEFAULTS if name != "stop"]
    if empty := [LABELS[name] for name in numbers if values[name] is None]:
        raise Problem(f"Fill in {', '.join(empty)} in the settings of {whose}.")
    lines = (line.replace("\\n", "\n") for line in (values["stop"] or "").splitlines())
    drawn: dict[str, Any] = {name: int(values[name]) if name in WHOLE else float(values[name]) for name in numbers}
    made = Sampling(**drawn, stop=tuple(line for line in lines if line))
    if problems := made.problems():
        raise Problem(f"In the settings of {whose}: {' '.join(problems)}")
    return made


def resolve(name: str | None, of: str, desk: Desk, visitor: Visitor) -> tuple[Model, str | None]:
    """The model of that name and its key: from the list, this visitor's endpoints, or (owners only) anywhere."""
    name = (name or "").strip()
    if not name:
        raise Problem(f"Choose a model for {of}.")
    if name in desk.endpoints:
        require(visitor, "use endpoint")
        return desk.endpoints[name]
    for model in all_models():
        if model.name == name:
            return model, None
    require(visitor, "add model")
    try:
        return find(name), None
    except Problem as wrong:
        raise Problem(f"{of[:1].upper()}{of[1:]}: {wrong}") from wrong
