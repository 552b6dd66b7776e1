"""The Assistant tab in a real Chromium: a price is asked, a fold opened, a call approved, a running tool stopped;
conversations come back after a reload and nowhere else; structured output and a brochure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import fresh, ready
from tests.engine.scripted_model import call
from tests.pages.assisted import PRICE, Actor, actor  # noqa: F401 - fixture
from tests.pages.scripted import serving

TABS = ("Assistant",)


@pytest.fixture
def chat(browser: Browser, actor: Actor) -> Iterator[Page]:  # noqa: F811
    """The tab, with tools of this test among its own."""
    with serving(tabs=TABS) as (address, _), fresh(browser, address) as tab:
        opened(tab)
        yield tab


def opened(tab: Page) -> None:
    """Open the Assistant tab, and wait until its fields may be filled."""
    ready(tab)
    tab.get_by_role("tab", name="Assistant").click()
    expect(tab.get_by_label("Your question")).to_be_visible()


def region(tab: Page, name: str) -> None:
    """Open one of the tab's own pages."""
    tab.get_by_role("tab", name=name, exact=True).click()
    ready(tab)


def ask(tab: Page, prompt: str) -> None:
    box = tab.get_by_label("Your question")
    box.fill(prompt)
    box.press("Enter")


def test_price_fold_approval_stop_export_and_import(chat: Page, actor: Actor, tmp_path):  # noqa: F811
    status, log = chat.locator("#assistant-status"), chat.locator("#assistant-chat")
    actor.says(["Let me look.", PRICE], ["It costs $5 or $89."])
    chat.get_by_role("button", name="Try the example").click()
    expect(chat.locator("#assistant-prompt textarea")).to_have_value("flight price from Delhi to Mumbai")
    chat.locator("#assistant-send").click()
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
    assert actor.ended.wait(30), "the tool still runs"
    expect(status.locator(".pulse")).to_have_count(0)

    with chat.expect_download() as saved:
        chat.locator("#assistant-buttons").get_by_role("button", name="Export").click()
    saved.value.save_as(tmp_path / "conversation.json")
    chat.get_by_role("button", name="New conversation").click()
    expect(log.get_by_text("Sent.")).to_have_count(0)
    chat.locator("#assistant-buttons input[type=file]").set_input_files(tmp_path / "conversation.json")
    expect(log.get_by_text("Sent.").first).to_be_visible()


def test_conversations_come_back_after_a_reload_and_to_nobody_else(chat: Page, actor: Actor, browser: Browser):  # noqa: F811
    log, talks = chat.locator("#assistant-chat"), chat.locator("#assistant-talks")
    actor.says(["Let me look.", PRICE], ["It costs $89."])
    ask(chat, "flight price for delhi to mumbai")
    expect(talks.get_by_role("radio")).to_have_count(1)
    actor.says(["The second talk."])
    chat.get_by_role("button", name="New conversation").click()
    expect(log.get_by_text("It costs $89.")).to_have_count(0)
    ask(chat, "something else")
    expect(talks.get_by_role("radio")).to_have_count(2)
    expect(talks.get_by_role("radio", checked=True)).to_have_count(1)

    chat.reload()
    opened(chat)
    expect(log.get_by_text("The second talk.")).to_be_visible()
    expect(talks.get_by_role("radio")).to_have_count(2)
    talks.get_by_text("flight price for delhi to mumbai").click()
    expect(log.get_by_text("It costs $89.")).to_be_visible()
    expect(log.get_by_text("get_ticket_price · done")).to_be_visible()
    expect(chat.get_by_label("Title")).to_have_value("flight price for delhi to mumbai")
    chat.reload()
    opened(chat)
    expect(log.get_by_text("It costs $89.")).to_be_visible()
    model = actor.says(["And $612."])
    ask(chat, "and to london?")
    expect(log.get_by_text("And $612.")).to_be_visible()
    assert [m.role for m in model.asked[-1]] == ["system", "user", "assistant", "tool", "assistant", "user"]

    expect(chat.get_by_label("Title")).to_have_value("flight price for delhi to mumbai")
    chat.get_by_label("Title").fill("Trip to the sea")
    chat.get_by_role("button", name="Rename").click()
    expect(talks.get_by_text("Trip to the sea")).to_be_visible()

    stranger = browser.new_context()
    other = stranger.new_page()
    other.set_default_timeout(60_000)
    other.goto(chat.url)
    opened(other)
    expect(other.get_by_text("None yet. What you ask is kept here")).to_be_visible()
    assert other.locator("#assistant-talks").get_by_role("radio").count() == 0
    seen = other.locator("#assistant").inner_text()
    assert "Trip to the sea" not in seen and "$89" not in seen
    stranger.close()

    chat.once("dialog", lambda dialog: dialog.dismiss())
    chat.get_by_role("button", name="Delete").click()
    expect(talks.get_by_role("radio")).to_have_count(2)
    chat.once("dialog", lambda dialog: dialog.accept())
    chat.get_by_role("button", name="Delete").click()
    expect(talks.get_by_role("radio")).to_have_count(1)
    expect(log.get_by_text("It costs $89.")).to_have_count(0)
    kept = chat.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('diptych.talk.'))")
    assert len(kept) == 1 and "something else" in chat.evaluate("(key) => localStorage.getItem(key)", kept[0])


def test_an_earlier_question_is_edited_in_place(chat: Page, actor: Actor):  # noqa: F811
    log = chat.locator("#assistant-chat")
    for prompt, reply in (("first question", "first answer"), ("second question", "second answer")):
        actor.says([reply])
        ask(chat, prompt)
        expect(log.get_by_text(reply)).to_be_visible()
        expect(chat.locator("#assistant-status")).to_contain_text("tokens read")
    actor.says(["another answer"])
    row = log.locator(".user-row").first
    row.hover()
    row.get_by_role("button", name="Edit").click()
    row.locator("textarea").fill("first question, better put")
    row.get_by_role("button", name="Submit").click()
    expect(log.get_by_text("another answer")).to_be_visible()
    expect(log.get_by_text("second question")).to_have_count(0)
    expect(log.get_by_text("first question, better put")).to_be_visible()
    assert [m.content for m in actor.model.asked[-1][1:]] == ["first question, better put"]


def test_the_persons_words_stand_as_typed_and_are_edited_and_copied_so(chat: Page, actor: Actor):  # noqa: F811
    words = "<h1>big</h1> **bold** &lt; [a](b)\n\n    if x < 1:  # a_b_c\n1. one"
    actor.says(["an answer"])
    ask(chat, words)
    row = chat.locator("#assistant-chat .user-row").first
    expect(chat.locator("#assistant-chat").get_by_text("an answer")).to_be_visible()
    shown = row.locator(".prose").first.inner_text().replace("\u00a0", " ")
    assert [line.rstrip() for line in shown.strip().splitlines()] == words.splitlines()
    expect(row.locator("h1, strong, a[href], li, code")).to_have_count(0)
    chat.context.grant_permissions(["clipboard-read", "clipboard-write"])
    row.hover()
    row.get_by_role("button", name="Copy").click()
    assert chat.evaluate("navigator.clipboard.readText()") == words

    actor.says(["another answer"])
    row.hover()
    row.get_by_role("button", name="Edit").click()
    expect(row.locator("textarea")).to_have_value(words)
    row.locator("textarea").fill(f"{words} & two")
    row.get_by_role("button", name="Submit").click()
    expect(chat.locator("#assistant-chat").get_by_text("another answer")).to_be_visible()
    assert actor.model.asked[-1][-1].content == f"{words} & two"


def answer_example(tab: Page, name: str, text: str) -> None:
    """Choose an example of structured output, see its text come, and ask for the answer."""
    tab.get_by_label("Example").click()
    tab.get_by_role("option", name=name).click()
    expect(tab.get_by_label("Text", exact=True)).to_have_value(re.compile(text))
    tab.get_by_role("button", name="Answer in JSON").click()


def test_the_starter_itself_answers_in_json_at_the_first_try(tab: Page):
    opened(tab)
    region(tab, "Structured output")
    answer_example(tab, "Trip", "seats to Paris")
    expect(tab.get_by_text("Validated after 1 try")).to_be_visible()
    expect(tab.locator("#shape-value")).to_contain_text("Paris")


def test_structured_output_and_a_brochure_in_the_browser(chat: Page, actor: Actor):  # noqa: F811
    actor.says(['{"link": []}'], ['{"links": [{"type": "about", "url": "https://a.example"}]}'])
    region(chat, "Structured output")
    expect(chat.get_by_label("Text", exact=True)).to_have_value(re.compile("Alder"))
    answer_example(chat, "Links", "Which of these links")
    expect(chat.get_by_text("Validated after 2 tries")).to_be_visible()
    expect(chat.locator("#shape-tries")).to_contain_text("Try 1: does not fit")
    expect(chat.locator("#shape-value")).to_contain_text("https://a.example")

    actor.says(["{", 60.0])
    chat.get_by_role("button", name="Answer in JSON").click()
    expect(chat.locator("#shape-tries").get_by_text("answering")).to_be_visible()
    chat.locator("#shape-stop").click()
    expect(chat.get_by_text("Stopped by you.")).to_be_visible()
    assert actor.model.closed.wait(10), "the model still speaks"

    words = "All about kites, and <img src=x onerror='window.hurt=1'> more. " * 5
    actor.says(["no"], ["no"], ["no"], ["# A brochure\n\n", words])
    region(chat, "Brochure")
    chat.get_by_role("button", name="Write brochure").click()
    expect(chat.locator("#brochure-sheet").get_by_role("heading", name="A brochure")).to_be_visible()
    steps = chat.locator("#brochure-steps")
    expect(steps).to_contain_text("A plain rule chose: About us")
    expect(steps).to_contain_text("Larkspur Kites")
    with chat.expect_download() as saved:
        chat.get_by_role("button", name="Save as Markdown").click()
    assert saved.value.suggested_filename == "brochure.md" and chat.evaluate("window.hurt") is None


def test_the_script_is_shown_on_demand(chat: Page, actor: Actor):  # noqa: F811
    actor.says(["hello"])
    ask(chat, "a question of mine")
    expect(chat.locator("#assistant-chat").get_by_text("hello")).to_be_visible()
    chat.get_by_role("button", name="Copy as Python").click()
    expect(chat.locator("#assistant-code")).to_contain_text("from openai import OpenAI")
    expect(chat.locator("#assistant-code")).to_contain_text("a question of mine")
