"""A brochure from a site's front page to its last word: the sample company, the plain rule, and what pages try."""

from __future__ import annotations

import json
import threading

import pytest

from engine import brochure as brochures
from engine.acting.company import FOLDER, company_site
from engine.acting.html_links import Link, links_of, same_site
from engine.brochure import Chosen, Found, Read, Unread, Written, brochure, by_rule, put_together, unfenced
from engine.errors import Problem
from engine.headless_agent import main
from engine.net import fetch
from tests.engine.scripted_model import ScriptedModel
from tests.fake_openai import FakeOpenAI, words

SHEET = "# Larkspur Kites\n\n" + "Kites that are mended, not thrown away. " * 6
PAGES = {"about.html", "products.html", "customers.html", "careers.html", "contact.html"}


def chooser(*names: str, sheet: str = SHEET):
    """A model that chooses the pages of these names and writes the sheet."""

    def answer(messages):
        if "JSON schema" not in messages[0].content:
            return [sheet]
        listed = [line.split(" ")[0] for line in messages[1].content.splitlines()[1:]]
        urls = [url for url in listed if url.rpartition("/")[2] in names] or list(names)
        return [json.dumps({"links": [{"type": "page", "url": url} for url in urls]})]

    return ScriptedModel(answer=answer)


def written(model, url: str = "", **options) -> tuple[list, Written]:
    events = list(brochure(model, url, **options))
    assert isinstance(events[-1], Written) and not any(isinstance(event, Written) for event in events[:-1])
    return events, events[-1]


def only(events: list, kind: type) -> list:
    return [event for event in events if isinstance(event, kind)]


def test_the_models_choice_is_read_and_its_words_are_the_brochure():
    model = chooser("about.html", "careers.html")
    events, end = written(model)
    found, chosen = only(events, Found)[0], only(events, Chosen)[0]
    assert {link.url.rpartition("/")[2] for link in found.links} >= PAGES and chosen.by_rule is None
    assert [page.title for page in only(events, Read)] == ["Larkspur Kites", "About Larkspur Kites", "Work with us"]
    assert end.markdown == SHEET.strip() and end.reason == "stop" and not end.by_rule
    asked = model.asked[-1][-1].content
    assert "Ida Morrow" in asked and "Sailmaker" in asked and "Wren" not in asked


def test_a_model_without_a_usable_choice_gets_the_plain_rules():
    events, end = written(chooser("https://evil.example/steal"))
    chosen = only(events, Chosen)[0]
    assert "'https://evil.example/steal' is not in the list" in chosen.by_rule and len(chosen.tries) == 3
    assert {link.url.rpartition("/")[2] for link in chosen.links} == PAGES and end.markdown == SHEET.strip()


def test_a_model_that_writes_next_to_nothing_leaves_the_pages_to_speak():
    _, end = written(chooser("about.html", sheet="I do not know."))
    assert end.by_rule and end.markdown.startswith("# Larkspur Kites") and "Ida Morrow" in end.markdown


def test_the_starter_comes_to_the_end_of_a_brochure(empty_pool, capsys: pytest.CaptureFixture[str]):
    code = main(["brochure", "--json", "--max-new-tokens", "60"])
    steps = json.loads(capsys.readouterr().out)
    kinds = [step["kind"] for step in steps]
    assert code == 0 and kinds[:3] == ["read", "found", "chosen"] and kinds[-1] == "written"
    assert steps[2]["by"] in ("model", "rule") and kinds.count("read") == 1 + len(steps[2]["urls"]) > 1
    assert steps[-1]["markdown"].strip() and steps[-1]["by"] in ("model", "rule")


def test_the_sample_site_lives_only_as_long_as_its_brochure_and_serves_nothing_else():
    with company_site() as (url, allow):
        assert "Larkspur" in fetch(url, allow=allow).text and fetch(f"{url}about.html", allow=allow).text
        for name in ("../models.toml", "..%2fmodels.toml", "/etc/passwd", "nothing.html", "%2e%2e/models.toml"):
            with pytest.raises(Problem, match="status 404"):
                fetch(f"{url}{name}", allow=allow)
        with pytest.raises(Problem):
            fetch(url)
    with pytest.raises(Problem, match="connection failed"):
        fetch(url, allow=allow)


def test_every_link_of_the_sample_site_leads_somewhere():
    pages = {path.name for path in FOLDER.glob("*.html")}
    assert len(pages) >= 6
    for path in FOLDER.glob("*.html"):
        links = links_of(path.read_text(encoding="utf-8"), "http://127.0.0.1:1/")
        own = {link.url.rpartition("/")[2] for link in links if same_site(link.url, "http://127.0.0.1:1/")}
        assert own - {"", "login.html"} <= pages


def test_a_page_that_cannot_be_read_costs_only_itself():
    events, end = written(chooser("login.html", "about.html"))
    assert [one.why for one in only(events, Unread)] and "status 404" in only(events, Unread)[0].why
    assert "About Larkspur Kites" in [page.title for page in only(events, Read)] and end.markdown


def test_an_address_inside_is_not_read_and_nothing_is_asked():
    model = chooser("about.html")
    for url in ("http://127.0.0.1/", "http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "nonsense"):
        with pytest.raises(Problem):
            list(brochure(model, url))
    assert not model.asked


def test_stop_ends_it_wherever_it_is():
    for model in (ScriptedModel([30.0]), ScriptedModel(answer=lambda m: ["{}"] if "JSON" in m[0].content else [30.0])):
        stop = threading.Event()
        threading.Timer(1.0, stop.set).start()
        _, end = written(model, stop=stop)
        assert end.reason == "stopped" and model.closed.wait(5)
    stopped = threading.Event()
    stopped.set()
    assert list(brochure(chooser("about.html"), stop=stopped))[-1].reason == "stopped"


def test_long_pages_are_shortened_until_the_model_can_read_them():
    model = chooser("about.html")
    model.fits = lambda messages, *_: sum(len(m.content) for m in messages) < 3000
    pages = [("A", "a" * 9000), ("B", "b" * 9000)]
    asked = brochures.fitted(model, pages, brochures.SAMPLING)
    assert 1000 < len(asked[1].content) < 3000 and "aaa" in asked[1].content and "bbb" in asked[1].content


def test_links_are_read_whole_once_and_without_what_is_no_page():
    html = """<base href="/shop/"><a href="one#x">First <b>page</b></a><a href=one>again</a><a href="mailto:a@b">m</a>
    <a href="javascript:x()">j</a><a name=here>n</a><a href=""></a><a href="//other.example/"><img alt="Their site"></a>
    <a href="http://[">bad</a><a href="two">last"""
    found = links_of(html, "https://www.site.example/index.html#top")
    assert found == (
        Link("https://www.site.example/shop/one", "First page"),
        Link("https://other.example/", "Their site"),
        Link("https://www.site.example/shop/two", "last"),
    )
    assert same_site(found[0].url, "https://site.example/") and not same_site(found[0].url, "http://site.example/")


def test_the_rule_leaves_out_what_is_no_part_of_a_brochure():
    links = [
        Link(f"https://a.example/{n}", n) for n in ("privacy", "login", "zebra", "careers", "about-us", "cart", "x.pdf")
    ]
    assert [link.words for link in by_rule(links)] == ["about-us", "careers", "zebra"]


def test_fences_around_markdown_are_taken_off():
    assert (
        unfenced("```markdown\n# A\n\ntext\n```") == "# A\n\ntext"
        and unfenced("# A\n```\nx\n```") == "# A\n```\nx\n```"
    )
    assert put_together([("T", "short\n" + "long " * 20), ("U", "- " + "item " * 20)]).splitlines()[0] == "# T"


def test_headless_tells_who_chose(capsys: pytest.CaptureFixture[str]):
    with FakeOpenAI(words('{"links": []}'), words("no"), words("no"), words(SHEET)) as server:
        assert main(["brochure", "--endpoint", server.url, "--endpoint-model", "m"]) == 0
        assert "response_format" in server.requests[0].json and "response_format" not in server.requests[3].json
    out = capsys.readouterr().out
    assert "chosen   by a plain rule" in out and "There is no JSON" in out and "Kites that are mended" in out
    assert main(["brochure", "http://127.0.0.1/"]) == 2 and "not a public one" in capsys.readouterr().err
