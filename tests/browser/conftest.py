"""A real Chromium on the app."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.pages.conftest import page, stage  # noqa: F401 - fixtures

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
expect.set_options(timeout=30_000)  # a condition that comes late on a busy machine is no failure
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


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


@pytest.fixture
def tab(browser: Browser, page: tuple[str, object]) -> Iterator[Page]:  # noqa: F811
    """A fresh tab on the app, 1440 wide; at the end it must have neither script errors nor foreign requests."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    opened = context.new_page()
    opened.set_default_timeout(30_000)
    troubles: list[str] = []
    opened.on("pageerror", lambda error: troubles.append(f"script error: {error}"))
    opened.on("request", lambda request: troubles.extend(foreign(request.url, page[0])))
    opened.goto(page[0])
    opened.wait_for_selector("#send")
    yield opened
    context.close()
    assert not troubles, troubles


def foreign(url: str, home: str) -> list[str]:
    """The address if it is not the app's own."""
    return [] if url.startswith((home, "data:", "blob:")) else [f"foreign request: {url}"]
