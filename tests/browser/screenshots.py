"""Takes the pictures of the page for README and for looking at: `python -m tests.browser.screenshots OUT_DIR`."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from engine.settings import prepare_process

prepare_process()
os.environ.setdefault("DIPTYCH_HOME", tempfile.mkdtemp(prefix="diptych-home-"))

from playwright.sync_api import Browser, Page, expect, sync_playwright  # noqa: E402

from engine.pool import warm  # noqa: E402
from tests.browser.conftest import QUIET, chromium  # noqa: E402
from tests.pages.scripted import serving  # noqa: E402

SHOTS = {
    "desktop": (1440, 900, "light"),
    "desktop-dark": (1440, 900, "dark"),
    "phone": (390, 844, "light"),
    "phone-dark": (390, 844, "dark"),
}


def opened(browser: Browser, address: str, width: int, height: int, theme: str) -> Page:
    """A fresh tab with the page in it."""
    tab = browser.new_page(viewport={"width": width, "height": height})
    tab.goto(f"{address}/?__theme={theme}")
    tab.wait_for_selector("#send")
    return tab


def ask(tab: Page, prompt: str, lanes: int) -> None:
    """Send a prompt and wait for every lane's end."""
    tab.get_by_label("Prompt for all lanes").fill(prompt)
    tab.keyboard.press("Control+Enter")
    done = ", ".join(f"lane {number} done" for number in range(1, lanes + 1))
    expect(tab.locator("#status")).to_have_text(done.capitalize(), timeout=120_000)
    tab.wait_for_timeout(300)


def main(folder: Path) -> None:
    """One file for each of SHOTS, and `lanes.png` with three lanes and their differences."""
    folder.mkdir(parents=True, exist_ok=True)
    warm()
    with serving() as (address, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=[*QUIET])
        for name, (width, height, theme) in SHOTS.items():
            tab = opened(browser, address, width, height, theme)
            ask(tab, "What is fat-tailedness?", 2)
            tab.evaluate("scrollTo(0, 0)")
            tab.screenshot(path=folder / f"{name}.png")
            tab.close()
        tab = opened(browser, address, 1440, 1500, "light")
        tab.get_by_role("button", name="Base vs prompt vs tuned").click()
        expect(tab.locator("#lane-3")).to_be_visible()
        ask(tab, "What is fat-tailedness?", 3)
        tab.get_by_label("Mark differences from lane 1").check()
        expect(tab.locator(".diff").first).to_be_visible()
        tab.screenshot(path=folder / "lanes.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
