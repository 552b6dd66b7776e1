"""The Fine-tune tab in a real Chromium: start, watch, reload, stop, resume, and find the model in Compare."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from engine import jobs


def open_tab(tab: Page) -> None:
    tab.get_by_role("tab", name="Fine-tune").click()
    expect(tab.locator("#teach-start")).to_be_visible()


def step(tab: Page) -> int:
    """The step that the page shows."""
    found = re.search(r"step ([\d,]+) of", tab.locator("#run-line").inner_text())
    return int(found[1].replace(",", "")) if found else 0


def test_start_watch_reload_stop_resume_and_find_the_model_in_compare(
    tab: Page,
    runs: Path,
    toy: Path,
    pairs: Path,
):
    open_tab(tab)
    tab.locator("#teach-model input").fill(str(toy))
    tab.keyboard.press("Enter")
    tab.locator("#teach-upload input[type=file]").set_input_files(pairs)
    expect(tab.locator("#teach-upload")).to_contain_text(re.compile(r"pairs\s*\.jsonl"))
    tab.locator("#teach-name input, #teach-name textarea").first.fill("browser bot")
    tab.locator("#teach-advanced button").first.click()
    tab.locator("#teach-steps input").fill("120")
    tab.locator("#teach-max-length input").fill("160")
    tab.locator("#teach-start").dblclick()
    expect(tab.locator("#run-line")).to_contain_text("step", timeout=60_000)
    assert len(jobs.all_jobs()) == 1, "a double click started two jobs"
    early = step(tab)
    expect(tab.locator("#run-line")).not_to_contain_text(f"step {early} of", timeout=20_000)
    expect(tab.locator("#run-plot").locator("canvas, svg.marks").first).to_be_visible()

    tab.reload()
    open_tab(tab)
    expect(tab.locator("#run-line")).to_contain_text("browser bot is running", timeout=20_000)
    tab.locator("#run-stop").click()
    expect(tab.locator("#run-line")).to_contain_text("Stopped on request", timeout=20_000)
    expect(tab.locator("#runs-list")).to_contain_text("stopped")

    tab.locator("#run-resume").click()
    expect(tab.locator("#run-line")).to_contain_text("browser bot is done", timeout=90_000)
    expect(tab.locator("#run-table th").first).to_have_text("Prompt")
    expect(tab.locator("#run-answers")).to_contain_text("Step 0")

    tab.reload()
    tab.wait_for_selector("#send")
    tab.locator("#model-2 input").click()
    tab.get_by_role("option", name="browser bot").click()
    expect(tab.locator("#lane-2 .kind.tuned")).to_contain_text("adapter")
