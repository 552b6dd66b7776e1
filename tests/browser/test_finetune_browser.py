"""The Fine-tune tab in a real Chromium: start, watch, reload, stop, resume, and find the model in Compare."""

from __future__ import annotations

import io
import json
import re
import time
from pathlib import Path

from PIL import Image, ImageColor
from playwright.sync_api import Locator, Page, expect

from engine import jobs
from engine.teaching.runs import Job, write_json
from pages.teach_render import LINES
from tests.browser.conftest import ready
from tests.engine.teaching import small

TABS = ("Compare", "Fine-tune")
# a machine that draws a frame only now and then
SLOW_FRAMES = """const frame = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = (call) => frame(() => setTimeout(() => frame(call), 400));"""
ENDLESS = 100_000  # steps; no machine gets through them while the test looks on


def open_tab(tab: Page) -> None:
    tab.get_by_role("tab", name="Fine-tune").click()
    expect(tab.locator("#teach-start")).to_be_visible()


def field(tab: Page, name: str) -> Locator:
    """The text field of a knob."""
    return tab.locator(f"#teach-{name} input, #teach-{name} textarea").first


def step(tab: Page) -> int:
    """The step that the page shows."""
    found = re.search(r"step ([\d,]+) of", tab.locator("#run-line").inner_text())
    return int(found[1].replace(",", "")) if found else 0


def told(tab: Page, words: str | re.Pattern[str]) -> None:
    """Wait until the line about the run says so."""
    expect(tab.locator("#run-line")).to_contain_text(words)


def shorten(job: Job, more: int) -> None:
    """Let a stopped run end after some more steps."""
    path = job.folder / "recipe.json"
    write_json(path, {**json.loads(path.read_text()), "steps": int(job.latest("step") or 0) + more})


def test_start_watch_reload_stop_resume_and_find_the_model_in_compare(tab: Page, runs: Path, toy: Path, pairs: Path):
    open_tab(tab)
    field(tab, "model").fill(str(toy))
    tab.keyboard.press("Enter")
    tab.locator("#teach-upload input[type=file]").set_input_files(pairs)
    expect(tab.locator("#teach-upload")).to_contain_text(re.compile(r"pairs\s*\.jsonl"))
    field(tab, "name").fill("browser bot")
    tab.locator("#teach-advanced button").first.click()
    field(tab, "steps").fill(str(ENDLESS))
    field(tab, "max-length").fill("160")
    tab.locator("#teach-start").dblclick()
    told(tab, re.compile(r"step [\d,]+ of 100,000"))
    assert len(jobs.all_jobs()) == 1, "a double click started two jobs"
    early = step(tab)
    expect(tab.locator("#run-line")).not_to_contain_text(f"step {early:,} of")
    expect(tab.locator("#run-plot").locator("canvas, svg.marks").first).to_be_visible()

    tab.reload()
    open_tab(tab)
    told(tab, "browser bot is running")
    tab.locator("#run-stop").click()
    told(tab, "Stopped on request")
    expect(tab.locator("#runs-list")).to_contain_text("stopped")

    shorten(jobs.all_jobs()[0], 20)
    tab.locator("#run-resume").click()
    told(tab, "browser bot is done")
    expect(tab.locator("#run-table th").first).to_have_text("Prompt")
    expect(tab.locator("#run-answers")).to_contain_text("Step 0")

    tab.reload()
    ready(tab)
    tab.locator("#model-2 input").click()
    tab.get_by_role("option", name="browser bot").click()
    expect(tab.locator("#lane-2 .kind.tuned")).to_contain_text("adapter")


def over(name: str, notes: str, toy: Path, pairs: Path) -> Job:
    """A run that is over, with no curve yet."""
    job = jobs.start(small(toy, pairs, name=name), launch=False)
    write_json(job.folder / "state.json", {"state": "done"})
    jobs.rename(job, name, notes)
    return job


def log(job: Job, line: str, start: float) -> None:
    """Write a falling line of losses."""
    with (job.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps({"step": step, line: start - step / 10}) + "\n" for step in range(10))


def drawn(tab: Page) -> int:
    """How many lines the plot shows."""
    picture = Image.open(io.BytesIO(tab.locator("#run-plot").screenshot())).convert("RGB")
    there = set(picture.getdata())
    return sum(ImageColor.getrgb(colour) in there for colour in LINES)


def wait_for_lines(tab: Page, count: int) -> None:
    deadline = time.monotonic() + 60
    while (found := drawn(tab)) != count:
        assert time.monotonic() < deadline, f"the plot shows {found} lines instead of {count}"
        tab.wait_for_timeout(100)


def test_the_plot_draws_every_line_and_the_name_is_that_of_the_chosen_run(
    tab: Page, runs: Path, toy: Path, pairs: Path
):
    first, second = over("first bot", "old notes", toy, pairs), over("second bot", "new notes", toy, pairs)
    for job in (first, second):
        log(job, "eval_loss", 3 if job is first else 5)
    tab.reload()
    open_tab(tab)
    told(tab, "second bot")
    wait_for_lines(tab, 1)
    for job in (first, second):
        log(job, "loss", 4 if job is first else 6)
    wait_for_lines(tab, 2)
    tab.locator("#run-others input").click()
    tab.get_by_role("option", name="first bot").click()
    tab.keyboard.press("Tab")
    expect(tab.get_by_role("option")).to_have_count(0)
    wait_for_lines(tab, 4)
    tab.locator("#run-calling button").first.click()
    expect(tab.locator("#run-name").locator("input, textarea")).to_have_value("second bot")
    tab.locator("#run-choice input").click()
    tab.get_by_role("option", name="first bot").click()
    expect(tab.locator("#run-name").locator("input, textarea")).to_have_value("first bot")
    expect(tab.locator("#run-notes textarea")).to_have_value("old notes")

    tab.locator("#run-delete").click()
    tab.locator("#run-keep").click()
    expect(tab.locator("#run-really")).not_to_be_visible()
    assert len(jobs.all_jobs()) == 2
    tab.locator("#run-delete").click()
    tab.locator("#run-really").click()
    told(tab, "second bot")
    expect(tab.locator("#run-really")).not_to_be_visible()
    assert [job.name for job in jobs.all_jobs()] == ["second bot"]


def test_what_is_typed_while_the_form_opens_is_kept_however_slow_the_machine(tab: Page):
    """Gradio writes the first values into a tab and a fold again, one frame after they are opened."""
    tab.add_init_script(SLOW_FRAMES)
    tab.reload()
    tab.wait_for_selector("#send")
    open_tab(tab)
    field(tab, "name").fill("early")
    tab.locator("#teach-advanced button").first.click()
    field(tab, "steps").fill("123")
    tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    expect(field(tab, "steps")).to_have_value("123")
    expect(field(tab, "name")).to_have_value("early")


def test_recipe_fills_the_form_at_once_and_what_is_typed_next_stays(tab: Page):
    open_tab(tab)
    tab.locator("#teach-advanced button").first.click()
    tab.locator("#teach-recipe input").click()
    tab.get_by_role("option", name="Pricer").click()
    expect(field(tab, "rank")).to_have_value("32")
    field(tab, "batch").fill("3")
    expect(tab.locator("#teach-memory")).to_be_visible()
    expect(field(tab, "targets")).to_have_value("q_proj, k_proj, v_proj, o_proj")
    expect(field(tab, "batch")).to_have_value("3")
