"""Conversations kept in the browser: what is handed to it, what is taken back from it, edit, rename, delete."""

from __future__ import annotations

import json
from types import SimpleNamespace

import gradio as gr
import jsonschema
import pytest

from engine.acting.shipped_tools import TOOLS
from engine.catalog import Model
from engine.messages import Message, Usage
from engine.settings import ASSETS, Settings
from pages import asking, converse, kept, shelf
from pages.as_python import script
from pages.bubbles import Fold, Said
from pages.launch import Launch
from pages.talk import Talk, Turn
from pages.transcript import json_schema, record
from tests.engine.scripted_model import call
from tests.pages.assisted import PRICE, Actor, actor  # noqa: F401 - fixture
from tests.pages.test_assistant_page import FORM, KEPT, LOCAL, asked, request

DEMO = Launch(open_demo=True)


def store(*talks: Talk, open_one: Talk | None = None, trouble: str = "") -> str:
    """What assets/talks.js hands over."""
    lines = [json.loads(record(talk)) for talk in talks]
    entries = [{name: line[name] for name in ("id", "title", "changed")} for line in lines]
    return json.dumps({"talks": entries, "trouble": trouble, "record": record(open_one) if open_one else ""})


def edited(talk: Talk, index: int, words, launch: Launch = LOCAL) -> list:
    """The views of a turn that an edit began."""
    event = gr.EditData(None, {"index": index, "previous_value": "", "value": words})
    return list(converse.edit(request(launch), talk, event, *FORM))


@pytest.fixture
def talked(actor: Actor) -> Talk:  # noqa: F811
    """A conversation of one turn with a tool."""
    actor.says(["Let me look.", PRICE], ["It costs $89."], ["fine"])
    talk = Talk()
    asked(talk, "flight price?")
    return talk


def test_what_is_kept_opens_as_it_was(talked: Talk):
    other = Talk()
    model, preset, system, tools, *view = kept.reopen(request(), other, store(open_one=talked))
    assert (model["value"], preset["value"], system, tools) == (
        "starter",
        "flight",
        "Be accurate.",
        ["get_ticket_price"],
    )
    assert (other.id, other.messages, other.changed) == (talked.id, talked.messages, talked.changed)
    assert [type(step) for step in other.shown] == [Said, Said, Fold, Said] and len(view) == len(converse.show(other))


def test_a_turn_is_handed_over_when_it_begins_and_when_it_ends(actor: Actor):  # noqa: F811
    actor.says(["one", 0.2, "two"])
    views = asked(Talk())
    first, last = json.loads(views[0][-1]), json.loads(views[-1][-1])
    assert first["id"] == last["id"] and not first["empty"] and last["title"] == "price?"
    assert [m["content"] for m in first["file"]["messages"]] == ["price?"]
    assert [m["content"] for m in last["file"]["messages"]] == ["price?", "onetwo"]
    assert all(view[-1] == gr.skip() for view in views[1:-1]) and len(views) > 2


def test_a_reload_does_not_take_the_place_of_what_was_begun_meanwhile(talked: Talk, actor: Actor):  # noqa: F811
    actor.says(["hello"])
    begun = Talk()
    asked(begun)
    before = begun.id
    kept.reopen(request(), begun, store(open_one=talked))
    assert begun.id == before and begun.turns[0].prompt == "price?"
    empty = Talk()
    kept.reopen(request(), empty, store())
    assert not empty.turns


def test_a_question_whose_answer_a_reload_cut_off_says_so(talked: Talk):
    assert "no answer" not in converse.status(talked)
    talked.turns = (*talked.turns, Turn("and?", (Said("user", "and?"),), (Message("user", "and?"),)))
    other = Talk()
    *_, status, _, _, _, _ = kept.reopen(request(), other, store(open_one=talked))
    assert other.turns[-1].prompt == "and?"
    assert "this question has no answer; Retry asks it again" in status


@pytest.mark.parametrize("text", ["", "null", "[]", "{", '{"talks": 3}', '{"talks": [{"id": "../x"}]}', "[" * 50_000])
def test_a_storage_that_cannot_be_read_is_an_empty_one(text: str):
    radio, title, _ = kept.listed(request(), Talk(), text)
    assert radio["choices"] == [] and title == ""
    kept.reopen(request(), Talk(), text)
    with pytest.raises(gr.Error, match="no longer in this browser"):
        kept.open_talk(request(), Talk(), text)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "x" * 32},
        {"file": {"lc": 1}},
        {"file": {"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}},
        {"file": 3},
        {"file": {"messages": [], "format": 9}},
    ],
)
def test_a_record_that_was_tampered_with_is_refused_in_words(change: dict, talked: Talk):
    text = json.dumps({"record": json.dumps({**json.loads(record(talked)), **change})})
    talk = Talk()
    with pytest.raises(gr.Error) as caught:
        kept.open_talk(request(), talk, text)
    assert "Something went wrong" not in caught.value.message and not talk.turns


def test_the_list_shows_the_newest_first_and_marks_the_open_one(talked: Talk):
    older = Talk()
    older.take_over([Turn("old <b>?", (Said("user", "old?"),), (Message("user", "old <b>?"),))], changed=86_400.0)
    radio, title, note = kept.listed(request(), talked, store(older, talked))
    assert [value for _, value in radio["choices"]] == [talked.id, older.id] and radio["value"] == talked.id
    assert title == "flight price?" and note == "" and radio["choices"][1][0].startswith("old <b>? · ")
    assert "in this browser alone" in kept.listed(request(), Talk(), store())[2]
    for trouble, words in (("full", "storage is full"), ("shut", "keeps nothing")):
        assert words in kept.listed(request(), talked, store(trouble=trouble))[2]


def test_a_title_that_is_being_written_outlives_the_end_of_an_answer(talked: Talk):
    assert kept.listed(request(), talked, store(talked))[1] == "flight price?"
    assert kept.listed(request(), talked, store(talked))[1] == gr.update(), "the field was written over"
    talked.rename("Trip")
    assert kept.listed(request(), talked, store(talked))[1] == "Trip"
    talked.rename("Trip ")
    assert kept.listed(request(), talked, store(talked))[1] == "Trip", "a title is not shown as it was taken"
    assert kept.listed(request(), talked, store())[1] == "", "the title of a conversation that is gone stays"


def test_a_title_is_given_and_taken_back(talked: Talk):
    assert json.loads(kept.rename(request(), talked, " Trip ")[-1])["title"] == "Trip"
    assert json.loads(kept.rename(request(), talked, "  ")[-1])["title"] == "flight price?"
    with pytest.raises(gr.Error, match="nothing to name"):
        kept.rename(request(), Talk(), "x")


def test_only_the_open_conversation_is_deleted_and_only_when_the_person_is_sure(talked: Talk):
    before = talked.id
    kept.delete(request(), talked, "")
    kept.delete(request(), talked, "0" * 32)
    assert talked.turns
    last = json.loads(kept.delete(request(), talked, before)[-1])
    assert not talked.turns and last["empty"] and last["id"] == talked.id != before


def test_a_new_conversation_leaves_the_old_one_in_the_list(talked: Talk):
    before = talked.id
    view = converse.clear(request(), talked)
    assert json.loads(view[-1]) == {**json.loads(record(talked)), "empty": True} and talked.id != before


def test_an_earlier_question_is_asked_anew_in_other_words(talked: Talk, actor: Actor):  # noqa: F811
    model = actor.says(["second"], ["third"])
    asked(talked, "and to london?")
    assert [turn.prompt for turn in talked.turns] == ["flight price?", "and to london?"]
    last = edited(talked, 4, [{"type": "text", "text": "and to paris?"}])[-1]
    assert [turn.prompt for turn in talked.turns] == ["flight price?", "and to paris?"]
    assert [m.role for m in model.asked[-1]] == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert json.loads(last[-1])["file"]["messages"][-1]["content"] == "third"
    edited(talked, 0, "all anew")
    assert [turn.prompt for turn in talked.turns] == ["all anew"]


def test_an_edit_that_cannot_be_made_changes_nothing(talked: Talk):
    before = talked.turns
    for index, words, why in ((1, "x", "Only your own questions"), (0, "  ", "empty now"), (99, "x", "Only your own")):
        with pytest.raises(gr.Error, match=why):
            edited(talked, index, words)
    assert talked.turns == before and converse.look(request(), talked)[0] == converse.show(talked)[0]


def test_the_published_schema_is_the_one_that_is_read_by(talked: Talk):
    published = json.loads((ASSETS / "conversation.schema.json").read_text(encoding="utf-8"))
    assert published == json_schema(), (
        "write it anew: python -c 'import json; from pages.transcript import json_schema; "
        "print(json.dumps(json_schema(), indent=2))' > assets/conversation.schema.json"
    )
    file = json.loads(json.loads(kept.export(request(), talked, *KEPT))["text"])
    jsonschema.Draft202012Validator(published).validate(file)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(published).validate({**file, "format": 2})


def test_tools_that_a_visitor_may_not_use_are_not_chosen_by_a_kept_conversation(talked: Talk):
    file = json.loads(record(talked))
    file["file"]["tools"] = ["read_page", "rm", "now"]
    text = json.dumps({"record": json.dumps(file)})
    assert kept.open_talk(request(DEMO), Talk(), text)[3] == ["now"]
    assert kept.open_talk(request(LOCAL), Talk(), text)[3] == ["read_page", "now"]


# who may read pages


def test_the_owner_can_let_visitors_read_pages(actor: Actor, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    assert Settings.from_environment({"DIPTYCH_VISITORS_READ": "1"}).visitors_read
    assert not Settings.from_environment({}).visitors_read
    with pytest.raises(gr.Error, match="may not let a model read web pages"):
        asked(Talk(), tools=["read_page"], launch=DEMO)
    monkeypatch.setattr(asking, "settings", lambda: SimpleNamespace(visitors_read=True, tools=None))
    asked(Talk(), tools=["read_page"], launch=DEMO)
    assert asking.may_read_pages(DEMO.visitor(None))


# documents


def library(built: list[str]) -> shelf.Librarian:
    """Stands for rag: the sample, and a collection of the owner's."""

    def search_tool(name: str):
        assert name in ("sample", "Terms")
        return TOOLS[2]

    tool = SimpleNamespace(collections=lambda: ["sample", "Terms"], search_tool=search_tool)
    sample = SimpleNamespace(NAME="sample", TITLE="Sample", digest=lambda: "x", built=lambda: built.append("sample"))
    return shelf.Librarian(tool, sample)


def test_collections_are_offered_where_there_are_any(actor: Actor, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    built: list[str] = []
    monkeypatch.setattr(shelf, "librarian", lambda: None)
    assert converse.documents(request())["visible"] is False
    monkeypatch.setattr(shelf, "librarian", lambda: library(built))
    every = [("None", ""), ("Sample", "sample"), ("Terms", "Terms")]
    assert converse.documents(request())["choices"] == every
    assert converse.documents(request(DEMO))["choices"] == every[:2], "a visitor saw the owner's collection"
    assert converse.preset(request(), "documents")[2]["value"] == "sample"
    assert converse.preset(request(), "flight")[2]["value"] == ""
    model = actor.says(["ok"])
    for name, launch in (("Terms", LOCAL), ("sample", DEMO)):
        list(converse.send(request(launch), Talk(), "hi", *FORM[:4], name, *FORM[5:]))
        assert [tool["function"]["name"] for tool in model.tools[-1]] == ["get_ticket_price", TOOLS[2].name]
    assert built == ["sample"]
    for name, launch in (("Gone", LOCAL), ("Terms", DEMO)):
        with pytest.raises(gr.Error, match=f"no collection '{name}'"):
            list(converse.send(request(launch), Talk(), "hi", *FORM[:4], name, *FORM[5:]))


def test_a_library_that_fails_costs_no_more_than_its_collections(monkeypatch: pytest.MonkeyPatch):
    broken = SimpleNamespace(collections=lambda: 1 / 0)
    monkeypatch.setattr(shelf, "librarian", lambda: shelf.Librarian(broken, library([]).sample))
    assert shelf.collections(LOCAL.visitor(None)) == []


# counts, cost, and the script


def test_cost_stands_beside_the_tokens_where_there_is_a_price(actor: Actor):  # noqa: F811
    actor.says(["ok"])
    talk = Talk()
    asked(talk)
    assert talk.turns[-1].cost is None
    assert "$" not in converse.status(talk) and "10 tokens read · 5 written" in converse.status(talk)
    talk.turns = tuple(Turn("q", (), (), Usage(1000, 10), cost=cost) for cost in (0.25, 0.5))
    assert "$0.50 · in all 2,000 tokens read, 20 written, $0.75" in converse.status(talk)
    talk.turns = (*talk.turns, Turn("q", (), (), Usage(1000, 10)))
    assert "3,000 tokens read, 30 written</p>" in converse.status(talk)
    priced = Talk()
    paid = Model("paid", "m", endpoint="http://localhost:1/v1", input_price=0.15, output_price=0.6)
    priced.desk.endpoints["paid"] = (paid, None)
    actor.says(["ok"])
    list(converse.send(request(), priced, "hi", "paid", *FORM[1:]))
    assert priced.turns[-1].cost == pytest.approx((10 * 0.15 + 5 * 0.6) / 1e6)


def test_the_script_holds_the_question_its_history_and_its_tools(talked: Talk, actor: Actor):  # noqa: F811
    asked(talked, "and to london?")
    fold, code = script(request(), talked, *FORM)
    compile(code, "script", "exec")
    assert fold["visible"] and "and to london?" in code and "flight price?" in code and "'$89'" in code
    assert "Be accurate." in code and "get_ticket_price" in code and "model='starter'" in code
    talked.desk.endpoints["mine"] = (Model("mine", "m", endpoint="http://localhost:1/v1"), "sk-secret")
    _, code = script(request(), talked, "mine", *FORM[1:])
    assert "http://localhost:1/v1" in code and "sk-secret" not in code
    assert "Hello!" in script(request(), Talk(), *FORM)[1]


def test_a_side_effect_in_an_edited_turn_waits_as_well(talked: Talk, actor: Actor):  # noqa: F811
    actor.says([call("send_mail", '{"to": "eve"}')], ["ok"])
    event = gr.EditData(None, {"index": 0, "previous_value": "", "value": "mail eve"})
    views = converse.edit(request(), talked, event, *FORM[:3], ["send_mail"], *FORM[4:])
    waiting = next(view for view in views if "Let the assistant run" in view[4])
    assert not actor.mails
    converse.answer("refuse")(request(), talked, waiting[5])
    list(views)
    assert not actor.mails
