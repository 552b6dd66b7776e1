"""The Compare tab in a real Chromium: typing, streaming, stop, retry, export, differences, dark, phone, leaving."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from engine.catalog import find
from engine.pool import pool
from tests.browser.conftest import ready
from tests.pages.scripted import Script, Stage
from tests.tiny import make_tiny_llama

TABS = ("Compare",)
SLOW = {"starter": Script(" ".join("abcdefghijklmnop"), 0.12), "starter-shawgpt": Script("v w x y z", 0.12)}


def ask(tab: Page, prompt: str) -> None:
    """Type a prompt and send it with the keyboard."""
    tab.get_by_label("Prompt for all lanes").fill(prompt)
    tab.keyboard.press("Control+Enter")


def lane(tab: Page, number: int) -> Locator:
    return tab.locator(f"#lane-{number}")


def answer(tab: Page, number: int) -> str:
    """The newest answer of a lane as it reads."""
    found = lane(tab, number).get_by_test_id("bot")
    return found.last.inner_text() if found.count() else ""


def wait_for(tab: Page, condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        tab.wait_for_timeout(30)


def both_done(tab: Page) -> None:
    expect(tab.locator("#status")).to_have_text("Lane 1 done, lane 2 done")


def test_lists_of_choices_close_when_the_tab_key_leads_on(tab: Page):
    models = [tab.get_by_role("combobox", name=f"Model of lane {number}") for number in (1, 2)]
    chosen = [model.input_value() for model in models]
    for model in models:
        model.focus()
        expect(model).to_have_attribute("aria-expanded", "true")
        expect(tab.get_by_role("option")).not_to_have_count(0)
        model.press("Tab")
        expect(model).not_to_be_focused()
        expect(model).to_have_attribute("aria-expanded", "false")
        expect(tab.get_by_role("option")).to_have_count(0)
    assert [model.input_value() for model in models] == chosen


def test_type_send_and_see_both_columns_grow(tab: Page, stage: Stage):
    stage.scripts = SLOW
    ask(tab, "What is fat-tailedness?")
    wait_for(tab, lambda: answer(tab, 1) and answer(tab, 2))
    early = len(answer(tab, 1)), len(answer(tab, 2))
    expect(lane(tab, 1).locator(".stats")).to_contain_text("so far")
    assert tab.get_by_label("Prompt for all lanes").input_value() == "", "the sent prompt still stands in the box"
    both_done(tab)
    wait_for(tab, lambda: len(answer(tab, 1)) > early[0] and len(answer(tab, 2)) > early[1])
    wait_for(tab, lambda: answer(tab, 1) == " ".join("abcdefghijklmnop"))
    expect(lane(tab, 2).locator(".stats")).to_contain_text("finished by itself")
    expect(tab.locator("#proof")).to_contain_text("same rendered prompt")


def test_typing_ahead_survives_the_stream(tab: Page, stage: Stage):
    stage.scripts = SLOW
    ask(tab, "hi")
    wait_for(tab, lambda: answer(tab, 1))
    tab.get_by_label("Prompt for all lanes").fill("my next thought")
    both_done(tab)
    assert tab.get_by_label("Prompt for all lanes").input_value() == "my next thought"


def test_example_fills_the_prompt_and_send_works_at_once(tab: Page, stage: Stage):
    tab.get_by_role("button", name="A thank-you").click()
    expect(tab.get_by_label("Prompt for all lanes")).to_have_value("Great content, thank you!")
    tab.get_by_role("button", name="Send").click()
    both_done(tab)
    assert stage.started[0].prompt == "Great content, thank you!"


def test_stop_of_one_lane_and_then_retry(tab: Page, stage: Stage):
    stage.scripts = SLOW
    ask(tab, "hi")
    wait_for(tab, lambda: len(answer(tab, 1)) > 3)
    lane(tab, 1).get_by_role("button", name="Stop").click()
    expect(lane(tab, 1).locator(".stats")).to_contain_text("stopped by you")
    both_done(tab)
    wait_for(tab, lambda: answer(tab, 2) == "v w x y z")
    assert len(answer(tab, 1)) < 25
    expect(lane(tab, 1).get_by_role("button", name="Stop")).to_be_hidden()
    stage.scripts = {"starter": Script("once more")}
    lane(tab, 1).get_by_role("button", name="Retry").click()
    expect(lane(tab, 1).locator(".retried")).to_have_text("retried, seed 1")
    wait_for(tab, lambda: answer(tab, 1) == "once more")
    assert answer(tab, 2) == "v w x y z"


def test_failing_lane_shows_its_card_alone(tab: Page, stage: Stage):
    stage.scripts = {"starter": Script("a b c", fails_after=2)}
    ask(tab, "hi")
    expect(lane(tab, 1).locator(".lane-error")).to_contain_text("The scripted server broke off.")
    wait_for(tab, lambda: answer(tab, 2) == "one two three four five")
    wait_for(tab, lambda: answer(tab, 1) == "a b")
    assert lane(tab, 2).locator(".lane-error").count() == 0


def test_follow_up_and_clear(tab: Page, stage: Stage):
    for prompt in ("one", "two"):
        ask(tab, prompt)
        wait_for(tab, lambda prompt=prompt: stage.started and stage.started[-1].prompt == prompt)
        both_done(tab)
    expect(lane(tab, 1).get_by_test_id("bot")).to_have_count(2)
    assert len(stage.started[1].histories[0]) == 2
    tab.get_by_role("button", name="Clear", exact=True).last.click()
    expect(lane(tab, 1).get_by_test_id("bot")).to_have_count(0)


def test_exports_download_what_was_said(tab: Page, stage: Stage, tmp_path: Path):
    stage.scripts = {"starter": Script("=1+1")}
    ask(tab, "hi")
    both_done(tab)
    saved = {}
    for name in ("JSON", "CSV", "Markdown"):
        with tab.expect_download() as caught:
            tab.get_by_role("button", name=f"Export {name}").click()
        target = tmp_path / caught.value.suggested_filename
        caught.value.save_as(target)
        saved[target.suffix] = target.read_text(encoding="utf-8")
    assert json.loads(saved[".json"])["results"][0]["answer"] == "=1+1"
    assert "'=1+1" in saved[".csv"] and "### Lane 1: starter" in saved[".md"]


def test_differences_are_marked_and_unmarked(tab: Page, stage: Stage):
    stage.scripts = {"starter": Script("I like big dogs"), "starter-shawgpt": Script("I love big dogs")}
    ask(tab, "hi")
    both_done(tab)
    tab.get_by_label("Mark differences from lane 1").check()
    expect(lane(tab, 2).locator(".diff > div ins")).to_have_text("love")
    expect(lane(tab, 2).locator(".diff > div del")).to_have_text("like")
    line = lane(tab, 2).locator(".diff > div del").evaluate("e => getComputedStyle(e).textDecorationLine")
    assert line == "line-through", "differences are told by colour alone"
    tab.get_by_label("Mark differences from lane 1").uncheck()
    expect(lane(tab, 2).locator(".diff")).to_have_count(0)


def test_code_keeps_its_indentation_and_markup_is_not_run(tab: Page, stage: Stage):
    code = '```python\ndef f():\n    return 1\n```\n\n<img src=x onerror="window.hit=1"><script>window.hit=1</script>'
    stage.scripts = {"starter": Script(code), "starter-shawgpt": Script("costs $5 and $6")}
    ask(tab, "<img src=x onerror='window.hit=1'>")
    both_done(tab)
    wait_for(tab, lambda: "def f():\n    return 1" in answer(tab, 1))
    wait_for(tab, lambda: answer(tab, 2) == "costs $5 and $6")
    tab.get_by_label("Mark differences from lane 1").check()
    expect(lane(tab, 2).locator(".diff")).to_be_visible()
    assert tab.evaluate("window.hit") is None


def test_empty_prompt_says_so(tab: Page, stage: Stage):
    tab.get_by_role("button", name="Send").click()
    expect(tab.get_by_text("Write a prompt first; it is empty.")).to_be_visible()
    expect(tab.locator(".lane .error:visible, #composer .error:visible")).to_have_count(0)


def test_presets_and_lanes_change_the_row(tab: Page, stage: Stage):
    tab.get_by_role("button", name="Base vs prompt vs tuned").click()
    expect(lane(tab, 3)).to_be_visible()
    tab.get_by_role("button", name="Add a lane").click()
    expect(lane(tab, 4)).to_be_visible()
    tops = [lane(tab, n).bounding_box()["y"] for n in range(1, 5)]
    assert len(set(tops)) == 1, "four lanes should stand side by side on a desktop"
    tab.get_by_role("button", name="Add a lane").click()
    expect(lane(tab, 5)).to_be_visible()
    assert lane(tab, 5).bounding_box()["y"] > tops[0]
    ask(tab, "hi")
    expect(tab.locator("#status")).to_contain_text("lane 5 done")
    assert [one.style for one in stage.started[0].lanes[:3]] == ["plain", "shawgpt", "shawgpt"]
    expect(tab.locator("#proof")).to_contain_text("are the same weights")


def test_settings_of_a_lane_start_from_the_shared_ones(tab: Page, stage: Stage):
    tab.get_by_role("button", name="Shared settings").click()
    seed = tab.locator("#shared-seed input")
    seed.fill("41")
    seed.blur()
    lane(tab, 2).get_by_role("button", name="This lane only").click()
    lane(tab, 2).get_by_label("Own system prompt and sampling").check()
    expect(tab.locator("#lane-2-seed input")).to_have_value("41")
    tab.locator("#lane-2-seed input").fill("42")
    tab.locator("#lane-2-seed input").blur()
    ask(tab, "hi")
    both_done(tab)
    assert [one.sampling.seed for one in stage.started[0].lanes] == [41, 42]


def test_prompt_style_is_previewed_as_it_will_be_read(tab: Page, stage: Stage):
    tab.get_by_role("button", name="Shared settings").click()
    expect(tab.locator("#preview pre")).to_contain_text("Comment: Great content, thank you! [/INST]")
    tab.get_by_label("Prompt for all lanes").fill("<b>Why?</b>")
    tab.get_by_label("Prompt style").first.click()
    tab.get_by_role("option", name="Plain").click()
    expect(tab.locator("#preview pre")).to_have_text("<b>Why?</b>")


def test_preset_takes_own_settings_out_of_lane_and_preview(tab: Page, stage: Stage):
    lane(tab, 2).get_by_role("button", name="This lane only").click()
    lane(tab, 2).get_by_label("Own system prompt and sampling").check()
    lane(tab, 2).get_by_label("System prompt", exact=True).fill("Be a pirate.")
    tab.get_by_role("button", name="Shared settings").click()
    preview = tab.locator("#preview")
    expect(preview).to_contain_text("Lane 2")
    expect(preview.locator("pre").nth(1)).to_contain_text("Be a pirate.")
    expect(preview).to_contain_text(re.compile(r"A model reads, \d+ tokens:"))
    tab.get_by_role("button", name="Base vs tuned", exact=True).click()
    expect(lane(tab, 2).get_by_label("Own system prompt and sampling")).not_to_be_checked()
    expect(lane(tab, 2).get_by_label("System prompt", exact=True)).to_be_hidden()
    expect(preview.locator("pre")).to_have_count(1)


def test_picking_a_model_renames_the_lane(tab: Page, stage: Stage):
    tab.get_by_label("Model of lane 2").click()
    tab.get_by_role("option", name="starter", exact=True).click()
    expect(lane(tab, 2).get_by_role("heading")).to_contain_text("starter")
    expect(lane(tab, 2).locator(".kind")).to_have_text("base")


def test_endpoint_joins_the_models_of_every_lane(tab: Page, stage: Stage):
    tab.get_by_role("button", name="Use an OpenAI-compatible endpoint").click()
    for field, text in {"Name in the list": "mine", "Base URL": "http://localhost:1/v1", "Model": "m"}.items():
        tab.get_by_label(field, exact=True).fill(text)
    tab.get_by_label("API key").fill("sk-1")
    tab.get_by_role("button", name="Add to my models").click()
    expect(tab.locator("#endpoint-told")).to_contain_text("Added.")
    expect(tab.get_by_label("API key")).to_have_value("")
    tab.get_by_label("Model of lane 2").click()
    tab.get_by_role("option", name="mine").click()
    expect(lane(tab, 2).locator(".kind")).to_have_text("endpoint · m")
    ask(tab, "hi")
    both_done(tab)
    assert stage.started[0].lanes[1].key == "sk-1"


def test_screen_readers_get_names_and_one_live_line(tab: Page, stage: Stage):
    stage.scripts = SLOW
    ask(tab, "hi")
    both_done(tab)
    for number in (1, 2):
        log = tab.get_by_role("log", name=f"Conversation of lane {number}")
        expect(log).to_have_attribute("aria-live", "off")
        expect(lane(tab, number).get_by_role("heading", name=re.compile(f"^Lane {number}: "))).to_be_visible()
    expect(tab.locator("#status")).to_have_attribute("aria-live", "polite")
    unnamed = tab.evaluate(
        "[...document.querySelectorAll('button, input, textarea')].filter(e => e.offsetParent && !(e.innerText || "
        "e.ariaLabel || e.labels?.length || e.title || e.getAttribute('aria-labelledby'))).map(e => e.outerHTML)"
    )
    assert not unnamed, unnamed


def test_closing_the_page_stops_the_rows_within_a_second(tab: Page, stage: Stage):
    stage.scripts = {"starter": Script("a b c", hangs_after=1), "starter-shawgpt": Script("x " * 500, 0.1)}
    ask(tab, "hi")
    wait_for(tab, lambda: stage.started and stage.started[0].said[0] == 1)
    closed = time.perf_counter()
    tab.close()
    while stage.started[0].stopped_at is None:
        assert time.perf_counter() - closed < 5, "the rows went on after the page was closed"
        time.sleep(0.02)
    assert stage.started[0].stopped_at - closed < 1


def luminance(colour: str) -> float:
    """Relative luminance of a CSS rgb() colour (WCAG 2.2)."""
    parts = [float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(element: Locator) -> float:
    """Contrast of an element's text against the first solid background behind it."""
    colours = element.evaluate(
        "e => { const text = getComputedStyle(e).color; while (e && /rgba\\(0, 0, 0, 0\\)|transparent/.test("
        "getComputedStyle(e).backgroundColor)) e = e.parentElement; return [text, getComputedStyle(e || "
        "document.body).backgroundColor]; }"
    )
    light, dark = sorted((luminance(colour) for colour in colours), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_can_be_read_in_light_and_dark(tab: Page, stage: Stage, address: str):
    stage.scripts = {"starter-shawgpt": Script("x", fails_after=0)}
    for theme, dark in (("light", False), ("dark", True)):
        tab.goto(f"{address}/?__theme={theme}")
        ready(tab)
        ask(tab, "hi")
        expect(tab.locator("#status")).to_have_text("Lane 1 done, lane 2 failed")
        background = tab.evaluate("getComputedStyle(document.querySelector('gradio-app')).backgroundColor")
        assert (luminance(background) < 0.1) == dark
        for part in ("h1", ".masthead p", "#lane-1 h3", "#lane-1 .kind", "#lane-2 .kind", ".stats", ".hint",
                     "#lane-1 [data-testid=user] p", "#lane-1 [data-testid=bot] p", ".lane-error", "#send",
                     "#lane-1 .lane-retry", "#fewer", "#status", "#prompt textarea"):  # fmt: skip
            assert contrast(tab.locator(part).first) >= 4.5, f"{part} is hard to read in {theme}"


def inside(tab: Page, number: int) -> bool:
    """Whether everything that is visible of a lane lies within its panel."""
    outer = lane(tab, number).bounding_box()
    parts = lane(tab, number).locator(".lane-head, .model, .talk, .stats, .lane-buttons, .label-wrap").all()
    boxes = [part.bounding_box() for part in parts if part.is_visible()]
    assert len(boxes) == 6
    return all(
        outer["x"] - 1 <= box["x"]
        and box["x"] + box["width"] <= outer["x"] + outer["width"] + 1
        and box["y"] + box["height"] <= outer["y"] + outer["height"] + 1
        for box in boxes
    )


def test_lanes_hold_everything_that_is_theirs(tab: Page, stage: Stage):
    stage.scripts = {"starter": Script("many words " * 300, 0.0001)}
    ask(tab, "hi")
    both_done(tab)
    for width, height in ((1440, 900), (1024, 768), (390, 844)):
        tab.set_viewport_size({"width": width, "height": height})
        tab.wait_for_timeout(100)
        assert inside(tab, 1) and inside(tab, 2), f"at {width} x {height}"
    tab.set_viewport_size({"width": 1440, "height": 900})
    figures, composer = lane(tab, 1).locator(".stats").bounding_box(), tab.locator("#composer").bounding_box()
    assert figures["y"] + figures["height"] < composer["y"], "the figures are hidden behind the composer"


def test_phone_stacks_the_lanes_and_nothing_sticks_out(tab: Page, stage: Stage):
    tab.set_viewport_size({"width": 390, "height": 844})
    ask(tab, "hi")
    both_done(tab)
    first, second = lane(tab, 1).bounding_box(), lane(tab, 2).bounding_box()
    assert second["y"] >= first["y"] + first["height"] and abs(first["width"] - second["width"]) < 1
    assert first["width"] > 340
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    send = tab.get_by_role("button", name="Send").bounding_box()
    assert send["y"] + send["height"] <= 844, "Send is out of sight"


# With the real starter.


def test_real_starter_answers_in_both_columns(tab: Page):
    tab.get_by_role("button", name="A thank-you").click()
    tab.get_by_role("button", name="Send").click()
    expect(tab.locator("#status")).to_have_text("Lane 1 done, lane 2 done", timeout=90_000)
    wait_for(tab, lambda: answer(tab, 1) and "ShawGPT" in answer(tab, 2))
    proof = tab.locator("#proof")
    expect(proof).to_contain_text("same rendered prompt")
    expect(proof).to_contain_text(re.compile(r"adapter [0-9a-f]{12} moves first-step logits by up to \d"))
    tab.get_by_text("The exact prompt that was read").click()
    expect(proof.locator("pre")).to_contain_text("Comment: Great content, thank you! [/INST]")


def test_preset_with_and_without_documents_shows_the_sources_of_one_lane(tab: Page):
    tab.get_by_role("button", name="With and without documents").click()
    for number, name in ((1, "None"), (2, "Sample: fat tails, LoRA, causality")):
        lane(tab, number).get_by_role("button", name="This lane only").click()
        expect(tab.locator(f"#lane-{number}-collection input")).to_have_value(name)
        lane(tab, number).get_by_role("button", name="This lane only").click()
    ask(tab, "What is fat-tailedness?")
    expect(tab.locator("#status")).to_have_text("Lane 1 done, lane 2 done", timeout=120_000)
    rows = lane(tab, 2).locator(".lane-sources .sources > li")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("statistics/fat-tails.pdf, page 1")
    expect(lane(tab, 1).locator(".lane-sources")).to_have_count(0)
    expect(rows.first.locator(".excerpt")).to_be_hidden()
    rows.first.locator("summary").click()
    expect(rows.first.locator(".excerpt")).to_contain_text("Fat-tailedness is the degree")
    why = "the rendered prompts differ because lane 2 reads 3 passages of “sample”"
    expect(tab.locator("#proof")).to_contain_text(why)
    ask(tab, "Why does it matter?")
    expect(lane(tab, 2).locator(".lane-sources")).to_contain_text("Searched for: Why does fat-tailedness matter?")
    both_done(tab)
    tab.get_by_text("The exact prompt that was read").click()
    expect(tab.locator("#proof pre").nth(1)).to_contain_text("Question: Why does fat-tailedness matter?")
    for width, height in ((1440, 900), (390, 844)):
        tab.set_viewport_size({"width": width, "height": height})
        tab.wait_for_timeout(100)
        assert inside(tab, 2), f"at {width} x {height}"
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_closing_the_page_takes_real_rows_out_within_a_second(tab: Page, tmp_path: Path):
    """A model of random weights that, greedily, never ends; its folder is typed into the picker."""
    folder = str(make_tiny_llama(tmp_path / "endless", hidden=64, layers=3, context=16_384))
    for number in (1, 2):
        picker = tab.get_by_label(f"Model of lane {number}")
        picker.fill(folder)
        picker.press("Enter")
        expect(lane(tab, number).get_by_role("heading")).to_contain_text("endless")
    tab.get_by_role("button", name="Shared settings").click()
    for name, value in {"max_tokens": "15000", "temperature": "0"}.items():
        tab.locator(f"#shared-{name} input[type=number]").fill(value)
        tab.locator(f"#shared-{name} input[type=number]").blur()
    ask(tab, "the cat")
    wait_for(tab, lambda: answer(tab, 1) and answer(tab, 2), 60)
    with pool().hold(find(folder)) as base:
        assert len(base.loop.rows) == 2
        closed = time.perf_counter()
        tab.close()
        while base.loop.rows:
            assert time.perf_counter() - closed < 1, "rows went on after the page was closed"
            time.sleep(0.005)


def test_what_is_refused_is_told_also_by_buttons_that_do_not_queue(tab: Page):
    notices = tab.locator("#notices")
    tab.get_by_role("button", name="Remove a lane").click()
    expect(notices).to_contain_text("A comparison needs two lanes at least.")
    tab.get_by_role("button", name="Remove a lane").click()
    tab.get_by_role("button", name="Export JSON").click()
    expect(notices).to_contain_text("There is nothing to export yet.")
    expect(notices.get_by_role("button", name="Close")).to_have_count(2)
    notices.get_by_role("button", name="Close").first.click()
    expect(notices).not_to_contain_text("two lanes at least")


def test_prompt_is_shown_as_it_was_typed(tab: Page, stage: Stage):
    stage.scripts = {"starter": Script("a"), "starter-shawgpt": Script("b")}
    prompt = "# <b>bold</b> **x**\ndef f():\n    return 1\n\n1. one $$y$$ ![t](http://tracker.invalid/a.png)"
    ask(tab, prompt)
    both_done(tab)
    said = lane(tab, 1).get_by_test_id("user")
    assert said.inner_text().strip().replace("\xa0", " ").replace("\n \n", "\n\n") == prompt
    assert not said.locator("img, b, strong, h1, ol, .katex").count()
