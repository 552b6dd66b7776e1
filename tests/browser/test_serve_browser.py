"""The Serve tab in a real Chromium: the address, code for each client, a key made, shown once and revoked, phone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from engine.serving import keys
from engine.settings import settings

TABS = ("Serve",)


@pytest.fixture(autouse=True)
def no_keys() -> Iterator[None]:
    place = settings().home / "keys.json"
    place.unlink(missing_ok=True)
    yield
    place.unlink(missing_ok=True)


def opened(tab: Page) -> None:
    tab.get_by_role("tab", name="Serve").click()
    expect(tab.locator("#serve-address")).to_be_visible(timeout=30_000)
    expect(tab.locator("#key-table")).to_contain_text("No keys yet")
    expect(tab.locator("#serve-figures")).to_contain_text("Replies running")


def test_the_address_that_is_shown_answers_and_stands_in_the_code(tab: Page):
    opened(tab)
    address = tab.locator("#serve-address").inner_text()
    assert httpx.get(f"{address}/models").status_code == 200
    expect(tab.locator("#serve-code")).to_contain_text(f'base_url="{address}"')
    tab.get_by_role("tab", name="curl").click()
    expect(tab.locator("#serve-code")).to_contain_text(f"curl -N {address}/chat/completions")


def test_a_key_is_made_used_and_revoked(tab: Page):
    opened(tab)
    tab.locator("#key-name textarea, #key-name input").fill("<b>class</b>")
    tab.get_by_role("button", name="Make a key").click()
    shown = tab.locator("#key-shown textarea, #key-shown input").first
    expect(shown).to_have_value(re.compile("^sk-diptych-"))
    secret = shown.input_value()
    expect(tab.locator("#key-table")).to_contain_text("<b>class</b>")
    expect(tab.locator("#key-which input")).to_have_value(re.compile("class"))
    address = tab.locator("#serve-address").inner_text()
    used = {"Authorization": f"Bearer {secret}"}
    assert httpx.get(f"{address}/models", headers=used).status_code == 200
    tab.get_by_role("button", name="Revoke").click()
    expect(tab.locator('#key-table tr[data-state="revoked"]')).to_have_count(1)
    expect(tab.locator("#key-shown")).to_have_count(0)
    assert httpx.get(f"{address}/models", headers=used).status_code == 401
    assert keys.key_of(secret).revoked


def test_the_tab_fits_a_phone(tab: Page):
    opened(tab)
    tab.set_viewport_size({"width": 390, "height": 844})
    tab.wait_for_function("document.documentElement.clientWidth <= 390")
    wide = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"the page is {wide} pixels too wide"
