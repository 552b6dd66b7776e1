"""What each click on the Compare tab does: handlers from widget values to the tab's view."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import gradio as gr

from engine.catalog import all_models
from engine.compare import MOST_LANES
from engine.errors import Problem
from pages import board as boards
from pages import render
from pages.desk import Desk, Run
from pages.export import FORMATS
from pages.fairness import fairness
from pages.form import AS_SHARED, SHARED, lane_from, lanes_from, resolve, shelf_choices
from pages.lane_sources import sources
from pages.parts import asks, visitor
from pages.presets import PRESETS
from pages.shelf import collections

VIEW_OF_A_LANE = ("head", "talk", "figures")


def show(desk: Desk) -> list[Any]:
    """Every lane's heading, talk and figures, then the proof and the status line."""
    shown = []
    for place, view in enumerate(desk.board.lanes):
        foot = render.foot(view) + sources(view) + render.difference(desk.board, place)
        shown += [render.head(place, view), boards.chat(view), foot]
    return [*shown, fairness(desk.board), render.status(desk.board)]


def beat(desk: Desk) -> list[Any]:
    """As show, but without the lanes that are hidden: each output that changes costs the browser time."""
    view, each = show(desk), len(VIEW_OF_A_LANE)
    shown = len(desk.board.lanes[: desk.board.shown]) * each
    return [*view[:shown], *[gr.skip()] * (MOST_LANES * each - shown), *view[MOST_LANES * each :]]


def stream(desk: Desk, run: Run) -> Iterator[list[Any]]:
    """The view, beat by beat, until the run is over; a closed tab or a lost connection ends the run."""
    try:
        yield beat(desk)
        while desk.drain(run):
            yield beat(desk)
    finally:
        desk.leave(run)
    yield beat(desk)


@asks("compare")
def send(request: gr.Request, desk: Desk, prompt: str, *values: Any) -> Iterator[list[Any]]:
    """Send the prompt through the lanes on the page; the box is emptied once it is accepted."""
    lanes = lanes_from(values, desk.board.shown, desk, visitor(request))
    run = desk.ask(lanes, prompt or "")
    box: Any = ""
    for view in stream(desk, run):
        yield [box, *view]
        box = gr.skip()


def retry(place: int) -> Callable[..., Iterator[list[Any]]]:
    """The Retry of one lane."""

    @asks("compare")
    def retry_lane(request: gr.Request, desk: Desk, *values: Any) -> Iterator[list[Any]]:
        shared, own = values[: len(SHARED)], values[len(SHARED) :]
        yield from stream(desk, desk.retry(place, lane_from(shared, own, place, desk, visitor(request))))

    return retry_lane


def stop(place: int | None) -> Callable[..., None]:
    """The Stop of one lane, or of all."""

    @asks("stop own")
    def stop_lane(request: gr.Request, desk: Desk) -> None:
        desk.stop(place)

    return stop_lane


@asks("stop own")
def clear(request: gr.Request, desk: Desk) -> list[Any]:
    """Empty every lane."""
    desk.clear()
    return show(desk)


def pick(place: int) -> Callable[..., list[Any]]:
    """Show what the model chosen for a lane is, and which model gave the answers that stand there."""

    @asks("look")
    def pick_model(request: gr.Request, desk: Desk, name: str) -> list[Any]:
        desk.pick(place, resolve(name, f"lane {place + 1}", desk, visitor(request))[0])
        view = desk.board.lanes[place]
        return [render.head(place, view), boards.chat(view)]

    return pick_model


@asks("look")
def open_drawer(request: gr.Request, own: bool, *shared: Any) -> list[Any]:
    """Show a lane's own fields, beginning as the shared ones, or hide them."""
    return [gr.Column(visible=own), *(shared if own else [gr.skip()] * len(shared))]


@asks("compare")
def more(request: gr.Request, desk: Desk) -> list[Any]:
    """One lane more."""
    if desk.board.shown == MOST_LANES:
        raise Problem(f"{MOST_LANES} lanes are the most.")
    desk.show(desk.board.shown + 1)
    return [*columns(desk), *show(desk)]


@asks("compare")
def fewer(request: gr.Request, desk: Desk) -> list[Any]:
    """One lane less, from the right."""
    if desk.board.shown == boards.FEWEST_LANES:
        raise Problem("A comparison needs two lanes at least.")
    desk.show(desk.board.shown - 1)
    return [*columns(desk), *show(desk)]


def preset(name: str, fresh: Sequence[Any]) -> Callable[..., list[Any]]:
    """Arrange the lanes anew; the conversations in them end.

    Settings of a lane's own do not outlive the lane they were made for: `fresh` are the first values of its drawer.
    """

    @asks("compare")
    def arrange(request: gr.Request, desk: Desk) -> list[Any]:
        arrangement = PRESETS[name](all_models())
        desk.clear()
        desk.show(len(arrangement.lanes))
        for place, placement in enumerate(arrangement.lanes):
            desk.pick(place, placement.model)
        absent = MOST_LANES - len(arrangement.lanes)
        names = [*(placement.model.name for placement in arrangement.lanes), *[gr.skip()] * absent]
        styles = [*(placement.style or AS_SHARED for placement in arrangement.lanes), *[AS_SHARED] * absent]
        read = [AS_SHARED if each.collection is None else each.collection for each in arrangement.lanes]
        drawers = [False, gr.Column(visible=False), *fresh] * MOST_LANES
        settings = [arrangement.style, *names, *styles, *read, *[AS_SHARED] * absent, *drawers]
        return [*settings, *columns(desk), *show(desk)]

    return arrange


def columns(desk: Desk) -> list[Any]:
    """Which lanes are on the page."""
    return [gr.update(visible=place < desk.board.shown) for place in range(MOST_LANES)]


@asks("look")
def mark_differences(request: gr.Request, desk: Desk, diff: bool) -> list[Any]:
    """Mark what differs from the first lane, or not."""
    desk.mark_differences(diff)
    return show(desk)


def export(name: str) -> Callable[..., str]:
    """The results as a file's name, type and text, which the page's script offers as a download.

    Nothing is written on the server: what lies in Gradio's cache can be read by every visitor who knows its path.
    """
    ending, media, make = FORMATS[name]

    @asks("export own")
    def export_results(request: gr.Request, desk: Desk) -> str:
        if not any(view.turns for view in desk.board.lanes[: desk.board.shown]):
            raise Problem("There is nothing to export yet. Send a prompt and wait for the answers.")
        file = f"diptych-{datetime.now():%Y%m%d-%H%M%S}.{ending}"
        return json.dumps({"name": file, "type": media, "text": make(desk.board)})

    return export_results


@asks("look")
def offer(request: gr.Request) -> list[gr.Dropdown]:
    """The pickers with the models that there are now."""
    return [gr.Dropdown(choices=[model.name for model in all_models()]) for _ in range(MOST_LANES)]


@asks("look")
def offer_documents(request: gr.Request, last: list[tuple[str, str]]) -> list[Any]:
    """The collections there are now, for the shared field and each lane's; unchanged ones are left alone."""
    now = collections(visitor(request))
    if now == [tuple(each) for each in last]:
        return [gr.skip()] * (MOST_LANES + 2)
    in_lanes = [gr.Dropdown(choices=shelf_choices(now, True)) for _ in range(MOST_LANES)]
    return [now, gr.Dropdown(choices=shelf_choices(now, False)), *in_lanes]
