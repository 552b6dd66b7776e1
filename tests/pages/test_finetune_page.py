"""The Fine-tune tab without a browser: its fields, its handlers, its endpoints, and who may use them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from engine import jobs
from engine.data.shelf import save
from engine.datasets import Dataset, Example
from engine.memory import Shape
from engine.messages import Message
from engine.recipe import KNOBS, Recipe, preset, presets
from engine.teaching.identity import boot
from engine.teaching.runs import Job, write_json
from engine.teaching.shape import shape_of
from pages import teach_form
from pages import teach_moves as moves
from pages import teach_render as render
from pages import teach_share as sharing
from pages.launch import Launch
from pages.teach_form import OUTSIDE, SIZES, advanced_fields, beginner_fields, examples, recipe_from
from pages.teach_memory import memory_chart, work_ahead
from tests.engine.teaching import at_step, small, wait_until
from tests.pages.scripted import serving

LOCAL, DEMO = Launch(), Launch(open_demo=True)


def request(launch: Launch = LOCAL) -> gr.Request:
    made = gr.Request(SimpleNamespace(scope={"diptych.launch": launch}), session_hash="session")
    return made


def values(recipe: Recipe, **changes: object) -> list:
    return list({**asdict(recipe), **changes}.values())


@pytest.fixture(scope="module")
def demo() -> Iterator[tuple[str, gr.Blocks]]:
    with serving("--open-demo", tabs=("Fine-tune",)) as served:
        yield served


def test_form_has_a_field_for_every_knob_and_no_other():
    with gr.Blocks():
        made, *_ = beginner_fields(LOCAL)
        made = {**made, **advanced_fields(LOCAL)}
    assert made.keys() == KNOBS.keys()
    assert all(field.info.startswith(KNOBS[name].metadata["about"]) or name == "data" for name, field in made.items())
    assert set(SIZES) <= KNOBS.keys() >= set(OUTSIDE)


def test_untouched_form_is_the_first_recipe():
    recipe = preset("quick")
    assert recipe_from(values(recipe, model="starter", data="shawgpt"), None) == replace(recipe, data="shawgpt")


@pytest.mark.parametrize("name", list(presets()))
def test_choosing_a_recipe_fills_every_knob_that_it_decides(name: str):
    table = json.loads(moves.filling().removeprefix("(name) => (").removesuffix(")[name]"))
    about, *filled = table[name]
    expected = {knob: value for knob, value in asdict(presets()[name][2]).items() if knob not in OUTSIDE}
    assert filled == list(expected.values()) and presets()[name][1][:20].split('"')[0] in about


def test_paths_cannot_be_typed_where_samples_are_chosen():
    with pytest.raises(gr.Error, match="Choose a sample"):
        moves.start(request(), "t", None, "", *values(preset("quick"), data="/etc/passwd"))
    with pytest.raises(gr.Error, match="Fill in rank"):
        moves.start(request(), "t", None, "", *values(preset("quick"), data=examples(True)[0][1], rank=None))


def test_two_clicks_on_start_make_one_job_and_the_view_follows_it(runs: Path, toy: Path, pairs: Path):
    given = values(small(toy, pairs, steps=3000, eval_steps=1000, save_steps=1000))
    ticket, run = moves.start(request(), "first", str(pairs), "", *given)
    assert moves.start(request(), "first", str(pairs), "", *given)[1] == run and ticket != "first"
    job = wait_until(jobs.find_job(run), at_step(3))
    last, *updates = moves.look(request(), run, [], {})
    assert last["stop"] and not last["resume"] and "running" in last["line"] and len(last["plot"]["step"]) >= 3
    assert len(updates) == len(moves.VIEW)
    moves.stop(request(), run)
    job = wait_until(job, lambda job: job.over)
    after, *_ = moves.look(request(), run, [], last)
    assert after["resume"] and "Stopped on request" in after["line"]
    again, *updates = moves.look(request(), run, [], after)
    assert again == after and all(each == gr.skip() for each in updates), "an unchanged view was sent again"
    reused = dict(zip([name for name in KNOBS if name != "data"], moves.reuse(request(), run), strict=True))
    assert (reused["steps"], reused["rank"]) == (3000, 4)
    assert moves.rename(request(), run, "my bot", "the good one") == "my bot"
    assert moves.named(request(), run) == ("my bot", "the good one")
    assert "the good one" in moves.look(request(), run, [], {})[0]["line"]
    moves.delete(request(), run)
    assert not jobs.all_jobs()


def test_visitors_of_an_open_demo_see_no_runs_and_start_none(
    runs: Path,
    toy: Path,
    pairs: Path,
    demo: tuple[str, gr.Blocks],
):
    job = jobs.start(small(toy, pairs), launch=False)
    assert "No runs yet" in moves.look(request(DEMO), job.id, [], {})[0]["list"]
    for handler in (moves.stop, moves.resume, moves.delete):
        with pytest.raises(gr.Error, match="Visitors of an open demo may not"):
            handler(request(DEMO), job.id)
    client = Client(demo[0], verbose=False)
    assert client.predict(api_name="/jobs") == []
    for name, arguments in (("/start_job", ("starter", "shawgpt")), ("/stop_job", (job.id,))):
        with pytest.raises(AppError, match="Visitors of an open demo may not"):
            client.predict(*arguments, api_name=name)
    assert len(jobs.all_jobs()) == 1


def skipped(update: object) -> bool:
    return update == gr.skip()


def test_glance_tells_of_changes_only(runs: Path, toy: Path, pairs: Path):
    empty = moves.glance(request(), "")
    assert isinstance(empty, str) and skipped(moves.glance(request(), empty))
    job = jobs.start(small(toy, pairs), launch=False)
    waiting = moves.glance(request(), empty)
    assert waiting != empty and skipped(moves.glance(request(), waiting))
    with (job.folder / "metrics.jsonl").open("a") as file:
        file.write("{}\n")
    written = moves.glance(request(), waiting)
    assert written != waiting
    write_json(job.folder / "process.json", {"pid": 1, "started": "never", "boot": boot()})
    killed = moves.glance(request(), written)
    assert killed != written and Job.read(job.folder).state == "stopped"
    assert skipped(moves.glance(request(DEMO), moves.glance(request(DEMO), "")))


def test_devices_are_offered_where_there_is_a_second_gpu(monkeypatch: pytest.MonkeyPatch):
    for there, offered, told in ((0, False, "no second one"), (1, False, "no second one"), (4, True, "has 4.")):
        monkeypatch.setattr(teach_form, "gpus", lambda there=there: there)
        made = teach_form.field("devices", 1, None)
        assert made.interactive is offered and told in made.info and made.value == 1


def test_named_endpoints_start_list_and_stop(
    runs: Path,
    toy: Path,
    pairs: Path,
    page: tuple[str, gr.Blocks],
):
    client = Client(page[0], verbose=False)
    knobs = {"steps": 3000, "max_length": 160, "eval_steps": 1000}
    started = client.predict(str(toy), str(pairs), "quick", knobs, api_name="/start_job")
    wait_until(jobs.find_job(started["run"]), at_step(1))
    assert [each["run"] for each in client.predict(api_name="/jobs")] == [started["run"]]
    client.predict(started["run"], api_name="/stop_job")
    assert wait_until(jobs.find_job(started["run"]), lambda job: job.over).state == "stopped"
    with pytest.raises(AppError, match="Rank must lie between"):
        client.predict(str(toy), str(pairs), "quick", {"rank": 0}, api_name="/start_job")


def test_words_of_people_and_models_are_escaped(runs: Path, toy: Path, pairs: Path):
    evil = "<img src=x onerror=alert(1)>"
    job = jobs.start(small(toy, pairs, name=evil), launch=False)
    write_json(job.folder / "state.json", {"state": "failed", "reason": evil})
    write_json(job.folder / "comparison.json", {"rows": [dict.fromkeys(("prompt", "base", "tuned", "wanted"), evil)]})
    (job.folder / "samples.jsonl").write_text('{"step": 1, "prompt": "<b>p", "answer": "<b>a"}\n')
    job = Job.read(job.folder)
    html = render.runs_table([job]) + render.headline(job) + render.answers(job) + render.before_after(job)
    assert "<img" not in html and "<b>p" not in html and html.count("&lt;img") >= 6


def test_memory_chart_shows_both_conventions_and_marks_the_method(toy: Path):
    from engine.catalog import find

    recipe = preset("shawgpt")
    chart = memory_chart(shape_of(find(str(toy)), recipe), recipe, 8e9, 4e9)
    assert "This machine." in chart and "Textbook." in chart and chart.count('class="chosen"') == 2
    assert "adamw_torch" in chart and "will not fit" not in chart
    assert "will not fit" in memory_chart(shape_of(find(str(toy)), recipe), recipe, 1.0, 1.0)
    assert "rank 8 on q_proj" in moves.fits(request(), *values(recipe, model="starter", data="shawgpt"))


def test_long_curves_are_thinned_and_keep_their_ends(tmp_path: Path):
    write_json(tmp_path / "run.json", {"format": 1, "name": "long"})
    lines = "".join(f'{{"step": {step}, "loss": {1 / step}}}\n' for step in range(1, 10_001))
    (tmp_path / "metrics.jsonl").write_text(lines)
    began = time.perf_counter()
    points = render.points([Job.read(tmp_path)])
    assert len(points["step"]) <= 401 and points["step"][-1] == 10_000 and time.perf_counter() - began < 1


def test_sweep_from_the_form_is_one_table(runs: Path, toy: Path, pairs: Path):
    given = values(small(toy, pairs, steps=2))
    with pytest.raises(gr.Error, match="Write KNOB=VALUE"):
        moves.start(request(), "t", str(pairs), "rank", *given)
    _, run = moves.start(request(), "t", str(pairs), "rank=2,4 rows=10", *given)
    assert moves.start(request(), "t", str(pairs), "rank=2,4 rows=10", *given)[1] == run
    started = jobs.all_jobs()
    assert len(started) == 2, "a double click started the sweep twice"
    for job in started:
        wait_until(job, lambda job: job.over)
    table = moves.look(request(), run, [], {})[0]["sweep"]
    assert table.count("<tr") == 3 and table.count('class="dot"') == 2 and table.count('class="best"') >= 1
    assert ">rank<" in table and ">rows<" in table


def test_work_ahead_is_told_with_the_time_it_takes():
    shape, recipe = Shape(10**9, 9 * 10**8, 10**6), preset("shawgpt")
    told = work_ahead(shape, recipe, 50, 1e12)
    assert "30 steps" in told and "984.5 TFLOP" in told and "about 16 min" in told
    assert work_ahead(shape, recipe, 0, 1e12) == "" and "last run" not in work_ahead(shape, recipe, 50, 0)
    assert moves.rows_of("shawgpt") > 50 and moves.rows_of("/tmp/some.jsonl") == 0


def test_kept_style_is_put_into_the_form_and_visitors_see_none(tmp_path: Path):
    turn = "Q {prompt} A {response}"
    rows = (Example((Message("user", "a"), Message("assistant", "b")), 1),)
    kept = save(Dataset("styled", rows), "styled", "", {"title": "Mine", "turn": turn, "system": "{system}"})
    try:
        assert moves.in_style(request(), kept.path.stem) == turn
        assert moves.in_style(request(), "shawgpt") == gr.skip() == moves.in_style(request(DEMO), kept.path.stem)
    finally:
        for path in kept.path.parent.glob("styled.*"):
            path.unlink()


def test_runs_are_merged_from_the_page(runs: Path, toy: Path, pairs: Path):
    job = wait_until(jobs.start(small(toy, pairs, steps=2)), lambda job: job.over)
    *_, told = sharing.merge(request(), job.id)
    assert "the first token is the same" in told and (job.folder / "merged").is_dir()
    with pytest.raises(gr.Error, match="no repository on the Hub"):
        list(sharing.push(request(), job.id, "nowhere", True, False))
    for handler, arguments in ((sharing.merge, (job.id,)), (sharing.pull, ("me/bot", ""))):
        with pytest.raises(gr.Error, match="Visitors of an open demo may not"):
            list(handler(request(DEMO), *arguments))
