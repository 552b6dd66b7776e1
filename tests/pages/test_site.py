"""The page as a whole: what holds for the events of all tabs."""

from __future__ import annotations

import gradio as gr
from gradio_client import Client

from pages.site import QUEUE_LOOK


def test_events_without_progress_tell_of_it_at_one_place_alone(page: tuple[str, gr.Blocks]):
    blocks = page[1]
    silent = [event for event in blocks.config["dependencies"] if event["show_progress"] == "hidden"]
    assert len(silent) > 200 and max(len(event["outputs"]) for event in silent) > 10
    (place,) = {tuple(event["show_progress_on"]) for event in silent}
    assert [blocks.blocks[each].elem_id for each in place] == ["masthead"]


def test_the_queue_is_bounded_and_cannot_be_gone_round(page: tuple[str, gr.Blocks]):
    blocks = page[1]
    assert (blocks._queue.max_size, blocks._queue.default_concurrency_limit, blocks.api_open) == (64, 8, False)
    assert blocks._queue.sleep_when_free == QUEUE_LOOK, "an idle app would be busy looking"


def test_only_the_chosen_endpoints_are_in_the_api_docs(page: tuple[str, gr.Blocks]):
    info = Client(page[0], verbose=False, httpx_kwargs={"timeout": 60}).view_api(return_format="dict", print_info=False)
    named = {"/compare", "/chat", "/start_job", "/jobs", "/stop_job", "/add_documents", "/search", "/ask"}
    assert set(info["named_endpoints"]) == named and not info["unnamed_endpoints"]


def test_what_is_laid_out_is_described_once_and_whole(page: tuple[str, gr.Blocks]):
    blocks = page[1]
    laid_out = blocks.default_config.get_config()
    assert blocks.default_config.get_config() is laid_out and blocks.config["components"] is laid_out["components"]
    assert {one["id"] for one in laid_out["components"]} == set(blocks.blocks)
    assert {one["id"] for one in laid_out["dependencies"]} == set(blocks.fns)
