"""The Assistant tab in a real Chromium: a price is asked, a fold opened, a call approved, a running tool stopped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.engine.scripted_model import call
from tests.pages.assisted import PRICE, Actor, actor  # noqa: F401 - fixture
from tests.pages.scripted import serving


@pytest.fixture
def chat(browser: Browser, actor: Actor) -> Iterator[Page]:  # noqa: F811
    """The tab, with tools of this test among its own."""
    with serving() as (address, _):
        context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
        tab = context.new_page()
        tab.set_default_timeout(10_000)
        tab.goto(address)
        tab.get_by_role("tab", name="Assistant").click()
        yield tab
        context.close()


def ask(tab: Page, prompt: str) -> None:
    box = tab.get_by_label("Your question")
    box.fill(prompt)
    box.press("Enter")


def test_price_fold_approval_stop_export_and_import(chat: Page, actor: Actor, tmp_path):  # noqa: F811
    status, log = chat.locator("#assistant-status"), chat.locator("#assistant-chat")
    actor.says(["Let me look.", PRICE], ["It costs $5 or $89."])
    ask(chat, "flight price for delhi to mumbai")
    expect(log.get_by_text("It costs $5 or $89.")).to_be_visible()
    expect(status).to_contain_text("20 tokens read")
    fold = log.get_by_text("get_ticket_price · done")
    fold.click()
    expect(log.get_by_text('"origin": "Delhi"')).to_be_visible()
    expect(log.get_by_text("$89", exact=True)).to_be_visible()

    actor.says(
        [call("send_mail", '{"to": "ann"}')],
        ["Sent. <img src=x onerror='window.hurt=1'><script>window.hurt=1</script>"],
    )
    chat.get_by_label("send_mail").check()
    ask(chat, "mail it")
    expect(chat.locator("#approval")).to_contain_text("Let the assistant run send_mail")
    assert not actor.mails
    chat.get_by_role("button", name="Allow once").click()
    expect(log.get_by_text("Sent.").first).to_be_visible()
    assert actor.mails == ["ann"] and chat.evaluate("window.hurt") is None
    expect(chat.locator("#approval")).to_be_hidden()

    actor.says([call("hang", "")], ["never said"])
    chat.get_by_label("hang").check()
    ask(chat, "take long")
    expect(log.get_by_text("hang · running")).to_be_visible()
    chat.locator("#assistant-stop").click()
    expect(log.get_by_text("Stopped by you.")).to_be_visible()
    assert actor.ended.wait(5), "the tool still runs"

    with chat.expect_download() as saved:
        chat.locator("#assistant-files").get_by_role("button", name="Export").click()
    saved.value.save_as(tmp_path / "conversation.json")
    chat.get_by_role("button", name="Clear").last.click()
    expect(log.get_by_text("Sent.")).to_have_count(0)
    chat.locator("#assistant-files input[type=file]").set_input_files(tmp_path / "conversation.json")
    expect(log.get_by_text("Sent.").first).to_be_visible()
