"""The Compare tab over HTTP, with scripted comparisons: order, stop, retry, several visitors, trouble."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from engine.access import Visitor
from engine.catalog import Model, all_models, find
from engine.errors import Problem
from engine.headless import lanes_from, parser
from engine.lanes import Lane, Note
from engine.messages import Sampling
from engine.pool import pool
from pages import board as boards
from pages.desk import Desk
from pages.form import AS_SHARED, LABELS, NO_DOCUMENTS, OWN, PER_LANE, SHARED, documents
from pages.launch import Launch
from pages.presets import PRESETS
from rag import sample
from rag.lane import Documents
from rag.opened import forgotten
from rag.store import Store
from tests.pages.scripted import Script, Stage, free_port, serving
from tests.tiny import make_tiny_llama

Page = tuple[str, gr.Blocks]


def event(blocks: gr.Blocks, name: str) -> Any:
    return next(fn for fn in blocks.fns.values() if fn.api_name == name)


class Guest:
    """One visitor: a session of its own, and the form's values as the page would send them."""

    def __init__(self, page: Page):
        address, blocks = page
        self.client = Client(address, verbose=False, httpx_kwargs={"timeout": 60})
        parts = [part for part in event(blocks, "send").inputs if not isinstance(part, gr.State)]
        self.values = [part.value for part in parts][1:]

    def put(self, lane: int | None, name: str, value: Any) -> None:
        """Fill in a field of a lane (from 0), or a shared one."""
        at = SHARED.index(name) if lane is None else len(SHARED) + lane * len(PER_LANE) + PER_LANE.index(name)
        self.values[at] = value

    def send(self, prompt: str) -> Any:
        return self.client.submit(prompt, *self.values, api_name="/send")

    def retry(self, lane: int) -> Any:
        start = len(SHARED) + lane * len(PER_LANE)
        values = self.values[: len(SHARED)] + self.values[start : start + len(PER_LANE)]
        return self.client.submit(*values, api_name="/retry_lane" + (f"_{lane}" if lane else ""))

    def stop(self, lane: int | None = None) -> None:
        self.client.predict(api_name="/stop_lane" + ("" if lane is None else f"_{lane + 1}"))


def lane_of(view: tuple, lane: int) -> tuple[str, list[str], str]:
    """(heading, everything said, foot) of a lane in one streamed view of Send."""
    head, said, foot = view[1 + 3 * lane : 4 + 3 * lane]
    return head, [message["content"][0]["text"] for message in said], foot


def wait_for(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """The tab alone, whose description a client reads faster."""
    with serving(tabs=("Compare",)) as served:
        yield served


@pytest.fixture
def guest(page: Page) -> Guest:
    return Guest(page)


def test_both_lanes_stream_together_and_a_slow_one_holds_up_nobody(guest: Guest, stage: Stage):
    stage.scripts = {"starter": Script("a b c d", 0.15), "starter-shawgpt": Script("v w x y z", 0.4)}
    job = guest.send("hi")
    final = job.result(timeout=60)
    views = job.outputs()
    grown = [len("".join(lane_of(view, 0)[1][1:])) for view in views]
    assert grown == sorted(grown) and len(set(grown)) > 2, "lane 1 did not grow step by step"
    feet = [(lane_of(view, 0)[2], lane_of(view, 1)[2]) for view in views]
    between = [one for one, other in feet if "finished by itself" in one and "so far" in other]
    assert between, "lane 1 was not shown as done while lane 2 still spoke"
    assert lane_of(final, 0)[1] == ["hi", "a b c d"] and lane_of(final, 1)[1] == ["hi", "v w x y z"]
    assert "same rendered prompt" in final[-2] and "0123456789ab" in final[-2]
    assert final[-1] == "Lane 1 done, lane 2 done"


def test_base_and_tuned_are_asked_the_same(guest: Guest, stage: Stage):
    guest.send("hi").result(timeout=60)
    base, tuned = stage.started[0].lanes
    assert base.model.adapter is None and tuned.model.adapter is not None
    assert (base.style, base.system, base.sampling) == (tuned.style, tuned.system, tuned.sampling)
    assert base.style == "shawgpt" and base.sampling == Sampling()


def test_a_lane_can_have_settings_of_its_own(guest: Guest, stage: Stage):
    for name, value in {"own": True, "temperature": 0.0, "stop": "END\n\\n\\n", "system": "Be brief."}.items():
        guest.put(1, name, value)
    guest.put(1, "style", "plain")
    guest.send("hi").result(timeout=60)
    base, tuned = stage.started[0].lanes
    assert base.sampling == Sampling() and base.style == "shawgpt" and base.system == ""
    assert tuned.sampling == Sampling(temperature=0.0, stop=("END", "\n\n"))
    assert (tuned.style, tuned.system) == ("plain", "Be brief.")


def test_fields_are_those_of_sampling():
    assert set(LABELS) == set(Sampling.__dataclass_fields__) | {"style", "system", "collection", "form"}


@pytest.fixture
def read_sample() -> None:
    sample.built()


def documents_of(stage: Stage, run: int = 0) -> list[str]:
    return [boards.collection(lane) for lane in stage.started[run].lanes]


def test_lanes_read_no_documents_until_one_is_chosen(guest: Guest, stage: Stage, read_sample: None):
    stage.scripts = {"starter-shawgpt": Script("It is rare [1], they say [7].")}
    guest.send("What is fat-tailedness?").result(timeout=60)
    assert [lane.passages for lane in stage.started[0].lanes] == [None, None]
    guest.put(1, "collection", sample.NAME)
    final = guest.send("What is fat-tailedness?").result(timeout=60)
    assert documents_of(stage, 1) == ["", sample.NAME]
    assert "lane-sources" not in lane_of(final, 0)[2]
    foot = lane_of(final, 1)[2]
    assert "3 passages" in foot and "statistics/fat-tails.pdf" in foot and ", page 1" in foot
    assert lane_of(final, 1)[1][-1] == "It is rare [1], they say." and "1 mark that pointed to no passage" in foot
    assert "the rendered prompts differ because lane 2 reads 3 passages of “sample”" in final[-2]


def test_documents_of_all_lanes_and_a_lane_without(guest: Guest, stage: Stage, read_sample: None):
    guest.put(None, "collection", sample.NAME)
    guest.put(None, "form", "shawgpt")
    guest.send("What is fat-tailedness?").result(timeout=60)
    one, other = stage.started[0].lanes
    assert one.passages is other.passages and one.form == other.form == "shawgpt"
    for name, value in {"collection": NO_DOCUMENTS, "own": True, "form": "strict"}.items():
        guest.put(0, name, value)
    guest.send("And in two words?").result(timeout=60)
    assert documents_of(stage, 1) == ["", sample.NAME] and stage.started[1].lanes[1].form == "shawgpt"


def test_collection_that_is_gone_costs_its_lane_alone(guest: Guest, stage: Stage):
    guest.put(1, "collection", "last year's papers")
    final = guest.send("hi").result(timeout=60)
    assert "There is no collection &#x27;last year&#x27;s papers&#x27;" in lane_of(final, 1)[2]
    assert final[-1] == "Lane 1 done, lane 2 failed"
    guest.put(1, "collection", NO_DOCUMENTS)
    final = (None, *guest.retry(1).result(timeout=60))
    assert "failed" not in lane_of(final, 1)[2]


def test_visitors_read_the_sample_alone(read_sample: None):
    Store.create("The owner's diary").close()
    try:
        stranger, read = Visitor("visitor"), dict[str, Documents]()
        assert documents(sample.NAME, stranger, read).collection().store.count()
        with pytest.raises(Problem, match="There is no collection 'The owner's diary'"):
            documents("The owner's diary", stranger, read).collection()
        with pytest.raises(Problem, match="'The owner's diary' is empty"):
            documents("The owner's diary", Visitor("local"), {}).collection()
    finally:
        forgotten("The owner's diary")
        Store.open("The owner's diary").delete()


def test_follow_up_goes_on_in_each_lane_with_its_own_history(guest: Guest, stage: Stage):
    stage.scripts = {"starter": Script("base says"), "starter-shawgpt": Script("tuned says")}
    guest.send("one").result(timeout=60)
    final = guest.send("two").result(timeout=60)
    histories = [[m.content for m in history] for history in stage.started[1].histories]
    assert histories == [["one", "base says"], ["one", "tuned says"]]
    assert lane_of(final, 1)[1] == ["one", "tuned says", "two", "tuned says"]


def test_stop_of_one_lane_leaves_the_other_running(guest: Guest, stage: Stage):
    stage.scripts = {"starter": Script(" ".join("abcdefghij"), 0.4), "starter-shawgpt": Script("x y z", 0.4)}
    job = guest.send("hi")
    wait_for(lambda: stage.started and stage.started[0].said[0] >= 2)
    guest.stop(0)
    final = job.result(timeout=60)
    assert "stopped by you" in lane_of(final, 0)[2] and len(lane_of(final, 0)[1][1]) < 19
    assert lane_of(final, 1)[1][1] == "x y z"


def test_stop_all_ends_a_hanging_lane(guest: Guest, stage: Stage):
    stage.scripts = {"starter": Script("a b c"), "starter-shawgpt": Script("x y z", hangs_after=1)}
    job = guest.send("hi")
    wait_for(lambda: stage.started and 0 not in stage.started[0].open)
    guest.stop()
    final = job.result(timeout=60)
    assert lane_of(final, 0)[1][1] == "a b c"
    assert lane_of(final, 1)[1][1] == "x" and "stopped by you" in lane_of(final, 1)[2]


@pytest.mark.parametrize("words", [0, 2])
def test_failing_lane_is_a_card_of_its_own(guest: Guest, stage: Stage, words: int):
    stage.scripts = {"starter": Script("a b c d", fails_after=words), "starter-shawgpt": Script("x y z")}
    final = guest.send("hi").result(timeout=60)
    assert "This lane failed." in lane_of(final, 0)[2] and "scripted server" in lane_of(final, 0)[2]
    assert lane_of(final, 1)[1][1] == "x y z" and "failed" not in lane_of(final, 1)[2]
    assert final[-1] == "Lane 1 failed, lane 2 done"


def test_waiting_for_the_weights_is_told(guest: Guest, stage: Stage):
    stage.scripts = {"starter": Script("a", wait=1.0)}
    job = guest.send("hi")
    job.result(timeout=60)
    assert any("loading the weights…" in lane_of(view, 0)[2] for view in job.outputs())


def test_retry_asks_one_lane_again_with_another_seed_and_marks_it(guest: Guest, stage: Stage):
    guest.send("hi").result(timeout=60)
    stage.scripts = {"starter-shawgpt": Script("another answer")}
    final = (None, *guest.retry(1).result(timeout=60))
    again = stage.started[1]
    assert [lane.model.name for lane in again.lanes] == ["starter-shawgpt"]
    assert again.lanes[0].sampling.seed == 1 and again.prompt == "hi" and again.histories == [[]]
    assert lane_of(final, 1)[1] == ["hi", "another answer"] and "retried, seed 1" in lane_of(final, 1)[2]
    assert lane_of(final, 0)[1] == ["hi", "one two three four five"]


def test_retry_after_a_failure_keeps_the_seed(guest: Guest, stage: Stage):
    stage.scripts = {"starter": Script(fails_after=0)}
    guest.send("hi").result(timeout=60)
    guest.retry(0).result(timeout=60)
    assert stage.started[1].lanes[0].sampling.seed == 0


def test_retry_while_the_other_lane_still_runs(guest: Guest, stage: Stage):
    stage.scripts = {"starter": Script("a b"), "starter-shawgpt": Script(" ".join("vwxyz" * 3), 0.3)}
    job = guest.send("hi")
    wait_for(lambda: stage.started and 0 not in stage.started[0].open)
    time.sleep(0.2)
    guest.retry(0).result(timeout=60)
    final = job.result(timeout=60)
    assert "retried" in lane_of(final, 0)[2] and lane_of(final, 1)[1][1] == " ".join("vwxyz" * 3)


def test_two_visitors_do_not_mix(page: Page, stage: Stage):
    one, other = Guest(page), Guest(page)
    stage.scripts = {"starter": Script(" ".join("abcdefghij"), 0.4), "starter-shawgpt": Script("x")}
    first = one.send("from one")
    wait_for(lambda: len(stage.started) == 1)
    second = other.send("from the other")
    wait_for(lambda: len(stage.started) == 2 and stage.started[1].said[0] >= 1)
    other.stop()
    assert lane_of(first.result(timeout=60), 0)[1] == ["from one", "a b c d e f g h i j"]
    assert lane_of(second.result(timeout=60), 0)[1][0] == "from the other"
    assert "stopped by you" in lane_of(second.result(), 0)[2]


def test_leaving_stops_the_rows_within_a_second(guest: Guest, stage: Stage):
    stage.scripts = {"starter": Script("a b c", hangs_after=1), "starter-shawgpt": Script("x y", hangs_after=1)}
    job = guest.send("hi")
    wait_for(lambda: stage.started and stage.started[0].said == [1, 1])
    left = time.perf_counter()
    job.cancel()
    wait_for(lambda: stage.started[0].stopped_at is not None, 3)
    assert stage.started[0].stopped_at - left < 1


def refused(job: Any) -> str:
    with pytest.raises(AppError) as caught:
        job.result(timeout=60)
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("prompt", ["", "  \n\t "])
def test_empty_prompt_is_answered_with_a_sentence(guest: Guest, stage: Stage, prompt: str):
    assert "Write a prompt first" in refused(guest.send(prompt))


def test_bad_fields_are_named(guest: Guest, stage: Stage):
    guest.put(None, "seed", None)
    assert "Fill in Seed in the settings of all lanes." in refused(guest.send("hi"))
    guest.put(None, "seed", -1)
    assert "In the settings of all lanes: The seed must be a whole number" in refused(guest.send("hi"))
    guest.put(None, "seed", 0)
    guest.put(1, "max_tokens", -1)  # in a drawer that is shut
    assert guest.send("hi").result(timeout=60)
    guest.put(1, "model", "")
    assert "Choose a model for lane 2." in refused(guest.send("hi"))
    for nonsense in ("no such model!", "x! " * 1000, "~nobody/at/all"):
        guest.put(1, "model", nonsense)
        assert "neither a model in the list" in refused(guest.send("hi"))


def test_second_send_waits_for_the_first(guest: Guest, stage: Stage):
    stage.scripts = {"starter": Script("a b c", hangs_after=1)}
    job = guest.send("hi")
    wait_for(lambda: stage.started and stage.started[0].said[0] == 1)
    assert "still answering" in refused(guest.send("again"))
    guest.stop()
    job.result(timeout=60)


def test_a_bug_is_logged_and_told_in_one_sentence(guest: Guest, stage: Stage, monkeypatch, caplog):
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("a secret detail")

    monkeypatch.setattr(stage, "start", broken)
    monkeypatch.setattr("pages.desk.start", broken)
    said = refused(guest.send("hi"))
    assert "Something went wrong inside Diptych" in said and "secret" not in said
    assert "a secret detail" in caplog.text


def test_lanes_from_two_to_eight_and_no_ninth(guest: Guest, stage: Stage):
    assert "two lanes at least" in refused(guest.client.submit(api_name="/fewer"))
    for _ in range(6):
        guest.client.predict(api_name="/more")
    assert "8 lanes are the most" in refused(guest.client.submit(api_name="/more"))
    final = guest.send("hi").result(timeout=60)
    assert len(stage.started[0].lanes) == 8 and all(lane_of(final, lane)[1] for lane in range(8))
    assert "are the same weights" in final[-2]
    guest.client.predict(api_name="/fewer")
    guest.send("hi").result(timeout=60)
    assert len(stage.started[1].lanes) == 7


def test_lane_added_later_is_exported_under_the_prompt_it_answered(guest: Guest, stage: Stage):
    guest.send("FIRST").result(timeout=60)
    guest.client.predict(api_name="/more")
    guest.send("SECOND").result(timeout=60)
    guest.retry(2).result(timeout=60)
    page = json.loads(guest.client.predict(api_name="/export_results_2"))["text"]
    first, second = page.split("## Prompt 2")
    assert "FIRST" in first and "### Lane 3" not in first and "SECOND" in second and "### Lane 3" in second
    rows = json.loads(json.loads(guest.client.predict(api_name="/export_results"))["text"])["results"]
    assert [(row["turn"], row["lane"], row["prompt"]) for row in rows if row["lane"] == 3] == [(2, 3, "SECOND")]


EQUAL = "are the same weights, asked in the same way: their answers must be equal."


def test_retry_renews_the_notes_on_equal_weights(guest: Guest, stage: Stage):
    guest.put(1, "model", "starter")
    assert f"Lanes 1 and 2 {EQUAL}" in guest.send("hi").result(timeout=60)[-2]
    assert "Lanes 1 and 2 are the same weights, asked in different ways." in guest.retry(1).result(timeout=60)[-2]
    guest.put(1, "model", "starter-shawgpt")
    assert "same weights" not in guest.retry(1).result(timeout=60)[-2]
    guest.put(1, "model", "starter")
    assert "Lanes 1 and 2 are the same weights" in guest.retry(1).result(timeout=60)[-2], "the note did not come back"


def test_equal_weights_with_other_histories_are_not_said_to_answer_equally(guest: Guest, stage: Stage):
    guest.put(1, "model", "starter")
    stage.scripts = {"starter-shawgpt": Script("tuned says")}
    guest.put(0, "model", "starter-shawgpt")
    guest.send("hi").result(timeout=60)
    guest.put(0, "model", "starter")
    final = guest.send("and then?").result(timeout=60)
    assert "Lanes 1 and 2 are the same weights, asked in different ways." in final[-2]


def test_lane_that_goes_takes_its_notes_along(guest: Guest, stage: Stage):
    guest.client.predict(api_name="/more")
    guest.put(2, "model", "starter-shawgpt")
    assert f"Lanes 2 and 3 {EQUAL}" in guest.send("hi").result(timeout=60)[-2]
    assert "same weights" not in guest.client.predict(api_name="/fewer")[-2]


def test_note_on_a_single_lane_follows_it_through_a_retry(stage: Stage):
    desk = Desk(all_models()[:2])
    lanes = [Lane(model) for model in all_models()[:2]]
    run = desk.ask(lanes, "hi")
    wait_for(lambda: not desk.drain(run))
    said = "the server of far takes no top_k."
    run = desk.retry(1, lanes[1])
    stage.started[-1].ready.append(Note(f"Lane 1: {said}"))
    wait_for(lambda: not desk.drain(run))
    assert desk.board.notes == (f"Lane 2: {said}",)
    run = desk.retry(0, lanes[0])
    wait_for(lambda: not desk.drain(run))
    assert desk.board.notes == (f"Lane 2: {said}",), "a retry of another lane took the note away"
    run = desk.retry(1, lanes[1])
    wait_for(lambda: not desk.drain(run))
    assert desk.board.notes == ()
    run = desk.retry(1, lanes[1])
    desk.clear()
    stage.started[-1].ready.append(Note(f"Lane 1: {said}"))
    desk.leave(run)
    assert desk.board.notes == (), "a note came back onto a cleared board"


def test_clear_empties_the_lanes_and_stops_them(guest: Guest, stage: Stage):
    stage.scripts = {"starter": Script("a b c", hangs_after=1)}
    job = guest.send("hi")
    wait_for(lambda: stage.started and stage.started[0].said[0] == 1)
    view = guest.client.predict(api_name="/clear")
    assert lane_of((None, *view), 0)[1] == []
    assert lane_of(job.result(timeout=60), 0)[1] == [], "the stopped stream brought its words back"
    assert stage.started[0].done


@pytest.mark.parametrize(
    ("name", "lanes"), [("arrange", 2), ("arrange_1", 3), ("arrange_2", 3)], ids=["two", "three", "adapters"]
)
def test_presets_arrange_the_lanes(guest: Guest, stage: Stage, name: str, lanes: int):
    outputs = guest.client.predict(api_name=f"/{name}")
    style, models = outputs[0], outputs[1:9]
    for place, model in enumerate(models):
        guest.put(place, "model", model if isinstance(model, str) else "starter")
    if name == "arrange_1":
        assert outputs[9] == "plain", "the first lane should ask the bare base"
        guest.put(0, "style", outputs[9])
    guest.send("hi").result(timeout=60)
    asked = stage.started[0].lanes
    assert len(asked) == lanes and style == asked[-1].style == "shawgpt"
    assert asked[0].model.adapter is None and asked[-1].model.adapter is not None
    if name == "arrange_2":
        assert [lane.model.name for lane in asked] == ["starter", "starter-shawgpt", "starter-pirate"]


def tuned(base: str, count: int) -> list[Model]:
    """A base and that many adapters on it."""
    return [Model(base, base), *(Model(f"{base}-{n}", base, adapter=Path(f"{base}-{n}")) for n in range(count))]


@pytest.mark.parametrize(
    ("listed", "lanes"),
    [
        ([*tuned("a", 2)], ["a", "a-0", "a-1"]),
        ([*tuned("a", 5)], ["a", "a-0", "a-1", "a-2"]),
        ([*tuned("a", 2), *tuned("b", 3)], ["b", "b-0", "b-1", "b-2"]),
        ([*tuned("a", 1), *tuned("b", 2)], ["a", "a-0"]),
    ],
    ids=["two", "more than three", "three on another base", "three on none"],
)
def test_base_stands_beside_three_adapters_of_its_own_where_there_are(listed: list[Model], lanes: list[str]):
    assert [each.model.name for each in PRESETS["Base and its adapters"](listed).lanes] == lanes


def test_preset_takes_the_settings_of_every_lane_away(page: Page):
    arrange, sent = event(page[1], "arrange"), event(page[1], "send").inputs
    somebody = gr.Request(SimpleNamespace(scope={"diptych.launch": Launch()}))
    filled = dict(zip([part._id for part in arrange.outputs], arrange.fn(somebody, Desk([])), strict=True))
    fields = [part for part in sent if not isinstance(part, gr.State)][1 + len(SHARED) :]
    for lane in range(8):
        own = dict(zip(PER_LANE, fields[lane * len(PER_LANE) :], strict=False))
        told = {name: filled[part._id] for name, part in own.items()}
        assert told["own"] is False and told["style"] == told["collection"] == AS_SHARED
        assert {name: told[name] for name in OWN} == {name: own[name].value for name in OWN}
    drawers = [part for part in arrange.outputs if isinstance(part, gr.Column) and not part.elem_id]
    assert len(drawers) == 8 and not any(filled[part._id].visible for part in drawers), "a drawer stayed open"


def test_preset_puts_one_model_beside_itself_with_the_sample(guest: Guest, stage: Stage, read_sample: None):
    outputs = guest.client.predict(api_name="/arrange_3")
    read = outputs[17:25]
    assert outputs[1] == outputs[2] == "starter" and read[:2] == (NO_DOCUMENTS, sample.NAME) and outputs[0] == "chat"
    for place in (0, 1):
        guest.put(place, "model", outputs[1 + place])
        guest.put(place, "collection", read[place])
    guest.send("What is fat-tailedness?").result(timeout=60)
    assert documents_of(stage) == ["", sample.NAME]
    again = guest.client.predict(api_name="/arrange")
    assert again[17:19] == (AS_SHARED, AS_SHARED), "the sample stayed in a lane"


def test_export_holds_what_was_said_and_nothing_else(guest: Guest, stage: Stage):
    assert "nothing to export" in refused(guest.client.submit(api_name="/export_results"))
    stage.scripts = {"starter": Script("=1+1 is two")}
    guest.send("hi").result(timeout=60)
    file = json.loads(guest.client.predict(api_name="/export_results"))
    assert file["name"].endswith(".json") and file["type"] == "application/json"
    rows = json.loads(file["text"])["results"]
    assert [row["model"] for row in rows] == ["starter", "starter-shawgpt"] and rows[0]["answer"] == "=1+1 is two"
    table = json.loads(guest.client.predict(api_name="/export_results_1"))["text"]
    assert ",'=1+1 is two," in table


def test_export_carries_collection_and_sources(guest: Guest, stage: Stage, read_sample: None):
    guest.put(0, "collection", sample.NAME)
    stage.scripts = {"starter": Script("Rare events [1].")}
    guest.send("What is fat-tailedness?").result(timeout=60)
    one, other = json.loads(json.loads(guest.client.predict(api_name="/export_results"))["text"])["results"]
    assert (one["collection"], one["form"], one["searched_for"]) == ("sample", "strict", "What is fat-tailedness?")
    assert one["answer"] == "Rare events [1]." and len(one["sources"]) == 3
    assert one["sources"][0]["file"] == "statistics/fat-tails.pdf" and one["sources"][0]["page"] == "1"
    assert other["collection"] == "" and other["sources"] == [] and set(one) == set(other)
    page = json.loads(guest.client.predict(api_name="/export_results_2"))["text"]
    assert "Documents: `sample`" in page and "- [1] `statistics/fat-tails.pdf`, page 1, cosine" in page
    table = json.loads(guest.client.predict(api_name="/export_results_1"))["text"]
    assert "statistics/fat-tails.pdf" in table


def test_named_endpoint_reads_documents_behind_an_at(page: Page, stage: Stage, read_sample: None):
    stage.scripts = {"starter": Script("No no [9].")}
    client = Client(page[0], verbose=False, httpx_kwargs={"timeout": 60})
    asked = ["starter", "starter@sample", "starter@gone"]
    bare, found, gone = client.predict("What is fat-tailedness?", asked, api_name="/compare")
    assert "sources" not in bare and found["text"] == "No no [9]." and found["checked_text"] == "No no."
    assert [one["number"] for one in found["sources"]] == [1, 2, 3] and found["collection"] == "sample"
    assert "There is no collection 'gone'" in gone["error"] and bare["error"] is None


def test_differences_at_will(guest: Guest, stage: Stage):
    stage.scripts = {"starter": Script("a b"), "starter-shawgpt": Script("a c")}
    final = guest.send("hi").result(timeout=60)
    assert "<ins>" not in lane_of(final, 1)[2]
    view = (None, *guest.client.predict(True, api_name="/mark_differences"))
    assert "<del>b</del><ins>c</ins>" in lane_of(view, 1)[2] and "<ins>" not in lane_of(view, 0)[2]


def test_named_endpoint_compare(page: Page, stage: Stage):
    stage.scripts = {"starter": Script("base"), "starter-shawgpt": Script("x", fails_after=0)}
    client = Client(page[0], verbose=False, httpx_kwargs={"timeout": 60})
    found = client.predict("hi", ["starter", "starter-shawgpt"], seed=7, max_new_tokens=9, api_name="/compare")
    assert [one["model"] for one in found] == ["starter", "starter-shawgpt"]
    assert found[0]["text"] == "base" and found[0]["end"] == "stop" and found[0]["error"] is None
    assert found[1]["error"] and stage.started[0].lanes[0].sampling.seed == 7
    assert stage.started[0].lanes[0].style == "shawgpt" and stage.started[0].lanes[0].sampling.max_tokens == 9


def test_named_endpoint_and_command_ask_in_the_same_way(page: Page, stage: Stage, bare: Model):
    asked = [bare.base, "starter-shawgpt", "starter"]
    client = Client(page[0], verbose=False, httpx_kwargs={"timeout": 60})
    client.predict("hi", asked, api_name="/compare")
    command = ["--prompt", "hi", *(word for name in asked for word in ("--lane", name))]
    told = lanes_from(parser().parse_args(command))
    assert [lane.style for lane in told] == ["shawgpt"] * 3 and told[0].sampling == Sampling()
    assert [(lane.model.base, lane.style, lane.sampling) for lane in stage.started[0].lanes] == [
        (lane.model.base, lane.style, lane.sampling) for lane in told
    ]


@pytest.fixture
def bare(tmp_path: Path) -> Model:
    """A base in a folder, without a style of its own."""
    return Model("bare", str(make_tiny_llama(tmp_path / "bare")))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("", ["starter"]), "Write a prompt first"),
        (("hi", []), "between 1 and 8 lanes"),
        (("hi", ["starter"] * 9), "between 1 and 8 lanes; there are 9"),
        (("hi", ["starter"], "nonsense"), "no prompt style 'nonsense'"),
        (("hi", ["starter"], "", 0), "token limit must lie"),
        (("hi", "starter"), "list of model names"),
    ],
)
def test_named_endpoint_refuses_with_a_sentence(page: Page, stage: Stage, arguments: tuple, sentence: str):
    assert sentence in refused(
        Client(page[0], verbose=False, httpx_kwargs={"timeout": 60}).submit(*arguments, api_name="/compare")
    )


# With the real starter.


def test_named_endpoint_with_the_real_starter(page: Page):
    client = Client(page[0], verbose=False, httpx_kwargs={"timeout": 60})
    asked = {"max_new_tokens": 40, "style": "shawgpt", "api_name": "/compare"}
    base, tuned = client.predict("Great content, thank you!", ["starter", "starter-shawgpt"], **asked)
    assert base["error"] is None and tuned["error"] is None
    assert base["prompt"] == tuned["prompt"] and base["seed"] == tuned["seed"]
    assert base["text"] != tuned["text"] and base["adapter"] is None
    assert len(tuned["adapter"]) == 12 and tuned["logit_difference"] > 0


def test_visitor_who_leaves_takes_real_rows_out_within_a_second(guest: Guest, tmp_path: Path):
    """A model of random weights that, greedily, never ends."""
    folder = str(make_tiny_llama(tmp_path / "endless", hidden=64, layers=3, context=16_384))
    for lane in (0, 1):
        guest.put(lane, "model", folder)
    for name, value in {"max_tokens": 15_000, "temperature": 0}.items():
        guest.put(None, name, value)
    job = guest.send("the cat")
    with pool().hold(find(folder)) as base:
        wait_for(lambda: len(base.loop.rows) == 2 and job.outputs() and lane_of(job.outputs()[-1], 1)[1][1:])
        left = time.perf_counter()
        job.cancel()
        while base.loop.rows:
            assert time.perf_counter() - left < 1, "rows went on after the visitor had left"
            time.sleep(0.005)
        assert base.loop.steps < 15_000 - 1


def test_unreachable_endpoint_fails_alone_with_a_sentence(page: Page, guest: Guest):
    address = f"http://127.0.0.1:{free_port()}/v1"
    desk_event = event(page[1], "add_endpoint")
    assert desk_event.api_visibility == "private"
    with pytest.raises(ValueError, match="Cannot find a function"):
        guest.client.predict("mine", address, "m", "", api_name="/add_endpoint")
    desk = Desk(all_models()[:1])
    desk.endpoints["mine"] = (Model("mine", "m", endpoint=address), None)
    run = desk.ask([Lane(all_models()[0], sampling=Sampling(max_tokens=3)), Lane(desk.endpoints["mine"][0])], "hi")
    wait_for(lambda: not desk.drain(run), 30)
    fine, failed = (view.last.result for view in desk.board.lanes[:2])
    assert fine.error is None and fine.tokens == 3
    assert failed.error and "Traceback" not in failed.error and "went wrong inside" not in failed.error
