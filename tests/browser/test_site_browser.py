"""The whole page in a real Chromium: every tab opens, on a desktop and on a phone, and the first one still answers."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.pages.scripted import Script, Stage

TABS = ()
LANDMARKS = {
    "Data": "#data-open", "Fine-tune": "#teach-start", "Knowledge": "#knowledge-ask", "Assistant": "#assistant-talk",
    "Models": "#models-look", "Serve": "#serve-address", "Compare": "#send",
}  # fmt: skip


@pytest.mark.parametrize("width", [1440, 390])
def test_every_tab_opens_and_the_first_still_answers(tab: Page, stage: Stage, width: int):
    stage.scripts = {"starter": Script("one two"), "starter-shawgpt": Script("three four")}
    tab.set_viewport_size({"width": width, "height": 844})
    tab.get_by_label("Prompt for all lanes").fill("typed before looking round")
    for name, landmark in LANDMARKS.items():
        button = tab.get_by_role("tab", name=name, exact=True)
        if not button.first.is_visible():  # what does not fit on a phone stands in a menu
            tab.locator(".overflow-menu > button").first.click()
            button = tab.locator(".overflow-dropdown button", has_text=name)
        button.first.click()
        expect(tab.locator(landmark)).to_be_visible()
        wide = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 1, f"{name} can be scrolled sideways by {wide} pixels"
    tab.keyboard.press("Escape")
    tab.locator("#prompt textarea").press("Control+Enter")
    expect(tab.locator("#status")).to_have_text("Lane 1 done, lane 2 done")
    assert stage.started[-1].prompt == "typed before looking round"
