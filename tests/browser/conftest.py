"""A real Chromium on the app."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.pages.conftest import stage  # noqa: F401 - fixture
from tests.pages.scripted import serving

CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
PATIENCE = 60_000  # milliseconds; a condition that comes late on a busy machine is no failure
expect.set_options(timeout=PATIENCE)


def chromium() -> str:
    """The path of an installed Chromium. Fails with what to do where there is none."""
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        pytest.fail("The browser tests need Chromium. Install it with: apt-get install chromium", pytrace=False)
    return found


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=[*QUIET])
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the tabs that a file names in TABS are served: the whole page takes three times as long to load as one."""
    with serving(tabs=request.module.TABS) as (found, _):
        yield found


@pytest.fixture
def tab(browser: Browser, address: str) -> Iterator[Page]:
    """A fresh tab on the app."""
    with fresh(browser, address) as opened:
        yield opened


@contextmanager
def fresh(browser: Browser, address: str) -> Iterator[Page]:
    """A tab 1440 wide that nobody used before; at the end it must have neither script errors nor foreign requests."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    troubles: list[str] = []
    opened.on("pageerror", lambda error: troubles.append(f"script error: {error}"))
    opened.on("request", lambda request: troubles.extend(foreign(request.url, address)))
    opened.goto(address)
    ready(opened)
    yield opened
    context.close()
    assert not troubles, troubles


def ready(tab: Page) -> None:
    """Wait until the page is built, its script runs and its fields may be filled."""
    tab.wait_for_selector("#masthead")
    tab.wait_for_function("window.diptych && new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    expect(tab.locator("body")).not_to_have_attribute("aria-disabled", "true")


def foreign(url: str, home: str) -> list[str]:
    """The address if it is not the app's own."""
    return [] if url.startswith((home, "data:", "blob:")) else [f"foreign request: {url}"]
