"""Structured output and brochure in the Assistant tab: what is shown of every step, who may do what, Stop."""

from __future__ import annotations

import json
import threading

import gradio as gr
import pytest

from engine.acting.html_links import Link
from engine.acting.shapes import shapes
from engine.acting.steps import Words
from engine.brochure import Chosen, Found, Read, Unread, Written
from engine.messages import Usage
from engine.structured import Shaped, Try
from pages import leaflet, shaping
from pages.errand import Errand
from pages.launch import Launch
from pages.talk import Talk
from tests.pages.assisted import Actor, actor  # noqa: F401 - fixture
from tests.pages.test_assistant_page import FORM, request

GOOD = '{"links": [{"type": "about page", "url": "https://a.example/"}]}'
SCHEMA = json.dumps(shapes()["links"][0].schema)
DEMO = Launch(open_demo=True)
EVIL = "<img src=x onerror=hurt()>"


def extracted(prompt: str = "Which links?", schema: str = SCHEMA, errand: Errand | None = None) -> list:
    return list(shaping.extract(request(), Talk(), errand or Errand(), prompt, schema, *FORM))


def brochure(address: str = "", launch: Launch | None = None) -> list:
    return list(leaflet.make(request(launch or Launch()), Talk(), Errand(), address, *FORM))


def test_a_wrong_try_and_the_right_one_are_shown(actor: Actor):  # noqa: F811
    actor.says([f'{{"link": "{EVIL}"}}'], [GOOD])
    html, value = extracted()[-1]
    assert "Try 1: does not fit" in html and "is a required property" in html and "fits the schema" in html
    assert "Validated after 2 tries · 10 tokens written" in html and EVIL not in html
    assert value["visible"] and json.loads(value["value"]) == json.loads(GOOD)


def test_the_starter_itself_is_held_to_a_schema_and_told_what_it_cannot_follow(empty_pool):
    html, value = extracted("Ann is 31.", '{"type": "array", "minItems": 2, "maxItems": 3, "items": {"enum": [4, 7]}}')[
        -1
    ]
    assert "Validated after 1 try" in html and set(json.loads(value["value"])) <= {4, 7}
    html, value = extracted("Ann is 31.", '{"type": "array", "uniqueItems": true}')[-1]
    assert "cannot be held to this schema: it uses uniqueItems" in html and not value["visible"]


def test_a_model_that_could_not_be_held_says_why():
    html, _ = shaping.shown([Try("{}", None), Shaped({}, (), Usage(), "stop", loose=f"Its tokenizer: {EVIL}")])
    assert "Its tokenizer" in html and EVIL not in html and "Validated after 1 try" in html


def test_words_stand_there_while_they_come():
    html, value = shaping.shown([Words('{"li'), Words(EVIL)])
    assert "Try 1" in html and '{"li' in html.replace("&quot;", '"') and EVIL not in html and not value["visible"]
    assert "Stopped by you." in shaping.shown([Shaped(None, (), Usage(), "stopped")])[0]
    gave_up = shaping.shown([Try("x", "bad"), Shaped(None, (), Usage(), "error", "It did not manage it.")])
    assert "It did not manage it." in gave_up[0] and not gave_up[1]["visible"]


@pytest.mark.parametrize(
    ("prompt", "schema", "why"),
    [(" ", SCHEMA, "it is empty"), ("x", "", "not valid JSON"), ("x", '{"$ref": "http://x"}', "another document")],
)
def test_what_cannot_be_asked_is_told(prompt: str, schema: str, why: str, actor: Actor):  # noqa: F811
    with pytest.raises(gr.Error, match=why):
        extracted(prompt, schema)
    assert not actor.model.asked


def test_examples_fill_in_their_text_and_schema():
    text, schema = shaping.example(request(), "deals")
    assert "Marlow" in text and json.loads(schema) == shapes()["deals"][0].schema
    assert shaping.example(request(), "../x") == [gr.update(), gr.update()]


def test_stop_ends_it_and_one_runs_at_a_time(actor: Actor):  # noqa: F811
    model, errand = actor.says(["{", 60.0]), Errand()
    views = shaping.extract(request(), Talk(), errand, "x", SCHEMA, *FORM)
    next(views)
    with pytest.raises(gr.Error, match="still running"):
        extracted(errand=errand)
    shaping.stop(request(), errand)
    assert "Stopped by you." in list(views)[-1][0] and model.closed.wait(10)


def test_leaving_the_page_stops_the_work(actor: Actor):  # noqa: F811
    model = actor.says(["{", 60.0])
    views = shaping.extract(request(), Talk(), Errand(), "x", SCHEMA, *FORM)
    next(views)
    views.close()
    assert model.closed.wait(10)


def test_a_failure_within_the_work_reaches_the_page():
    def work(stop: threading.Event):
        yield 1
        raise ZeroDivisionError

    seen = []
    with pytest.raises(ZeroDivisionError):
        for events in Errand().events(work):
            seen.append(events)
    assert seen[-1] == [1]


def test_a_brochure_of_the_sample_company_runs_to_its_end(actor: Actor):  # noqa: F811
    actor.says(["no"], ["no"], ["no"], ["# Kites\n\n" + "All about kites. " * 12])
    steps, sheet, save, file = brochure()[-1]
    assert "Read <strong>Larkspur Kites</strong> <code>/</code>" in steps and "A plain rule chose: About us" in steps
    assert "There is no JSON in the answer" in steps and sheet.startswith("# Kites") and save["visible"]
    assert json.loads(file) == {"name": "brochure.md", "type": "text/markdown", "text": sheet}


def test_every_step_of_a_brochure_is_told_and_nothing_of_a_page_is_markup():
    link = Link("https://a.example/<b>", EVIL)
    events = [
        Read("https://a.example/x", EVIL, 1200),
        Found((link, link)),
        Chosen((link,), None, (Try("", "x"), Try("", None))),
        Unread(link.url, f"{EVIL} did not answer."),
        Words("# A"),
    ]
    steps, sheet, save, _ = leaflet.shown(events, "m<b>")
    for words in ("1,200 characters", "Found 2 links", "The model chose after 2 tries", "Not read:", "is writing…"):
        assert words in steps
    assert EVIL not in steps and "m<b>" not in steps and sheet == "# A" and not save["visible"]
    ended = leaflet.shown([*events, Written("# A", "length", Usage(900, 700))], "m")[0]
    assert "reached its token limit" in ended and "900 tokens read, 700 written" in ended
    assert "wrote next to nothing" in leaflet.shown([Written("# A", "stop", Usage(), by_rule=True)], "m")[0]


def test_visitors_get_the_sample_company_and_no_other_address(actor: Actor):  # noqa: F811
    actor.says([GOOD], [GOOD], [GOOD], ["words " * 40])
    assert brochure(launch=DEMO)[-1][1].startswith("words")
    with pytest.raises(gr.Error, match="may not let a model read web pages"):
        brochure("https://example.org", DEMO)
    steps = []
    with pytest.raises(gr.Error, match="not a public one"):
        for step in leaflet.make(request(Launch()), Talk(), Errand(), "http://169.254.169.254/", *FORM):
            steps.append(step[0])
    assert "not a public one" in steps[-1] and "pulse" not in steps[-1], "it says that it still reads"
    for inside in ("127.0.0.1", "http://169.254.169.254/", "localhost:80"):
        with pytest.raises(gr.Error, match=r"not a public one|cannot be read|usual ports|no host"):
            brochure(inside)
