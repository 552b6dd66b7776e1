"""The Assistant tab: bubbles, turns, approval, stop, retry, export and import, and the endpoint /chat over HTTP."""

from __future__ import annotations

import copy
import json
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from engine.acting.assistants import assistants
from engine.acting.shipped_tools import TOOLS
from engine.acting.steps import Done, Words
from engine.errors import Problem
from engine.messages import Message, ToolCall, ToolResult, Usage
from pages import asking, converse, kept
from pages.bubbles import Fold, Remark, Said, after, bubble, explained, replayed
from pages.launch import Launch
from pages.talk import Chosen, Talk
from pages.transcript import as_json, read
from tests.engine.scripted_model import call
from tests.pages.assisted import PRICE, Actor, actor  # noqa: F401 - fixture

LOCAL = Launch()
FORM = ("starter", "flight", "Be accurate.", ["get_ticket_price"], "", False, 0, 64)
KEPT = FORM[:4]


def request(launch: Launch = LOCAL) -> gr.Request:
    return gr.Request(SimpleNamespace(scope={"diptych.launch": launch}))


def asked(talk: Talk, prompt: str = "price?", tools=("get_ticket_price",), launch: Launch = LOCAL) -> list:
    """The views of one streamed turn."""
    form = (*FORM[:3], list(tools), *FORM[4:])
    return list(converse.send(request(launch), talk, prompt, *form))


def titles(talk: Talk) -> list[str]:
    return [bubble(step)["metadata"]["title"] for step in talk.shown if isinstance(step, Fold)]


def test_every_step_becomes_one_message():
    steps = after((Said("user", "hi"),), Words("I "))
    steps = after(after(steps, Words("look.")), PRICE)
    assert bubble(steps[1]) == {"role": "assistant", "content": [{"type": "text", "text": "I look."}]}
    running = bubble(steps[2])
    assert running["metadata"] == {"title": "get_ticket_price · running", "id": "c1", "status": "pending"}
    assert '"origin": "Delhi"' in running["content"][0]["text"]
    done = bubble(after(steps, ToolResult("c1", "get_ticket_price", "$89", seconds=1.234))[2])
    assert done["metadata"] == {"title": "get_ticket_price · done · 1.23 s", "id": "c1", "status": "done"}
    assert "$89" in done["content"][0]["text"]
    for result, state in (
        (ToolResult("c1", "x", "Error", True), "failed"),
        (ToolResult("c1", "x", "", True, 0, True), "refused"),
    ):
        assert f"x · {state}" in bubble(after(steps, result)[2])["metadata"]["title"].replace("get_ticket_price", "x")
    assert "waiting" in bubble(Fold(PRICE, "waiting"))["metadata"]["title"]


def test_a_result_cannot_break_out_of_its_fence_and_bad_arguments_are_shown_as_written():
    text = bubble(Fold(ToolCall("1", "f", '{"a": '), "done", "```\n# hi\n````"))["content"][0]["text"]
    assert "`````\n```\n# hi\n````\n`````" in text and '{"a": ' in text
    assert len(bubble(Fold(PRICE, "done", "x" * 50_000))["content"][0]["text"]) < 7000


def test_endings_are_told():
    for reason, words in (("stopped", "Stopped by you"), ("rounds", "8 replies"), ("time", "two minutes")):
        assert words in after((), Done(reason, (), Usage()))[0].text
    assert after((), Done("stop", (), Usage())) == ()
    told = after((), Done("error", (), Usage(), "No key.", 3))
    assert told == (Remark("No key."), Remark("The first 3 messages did not fit the model and were left out."))


def test_assistants_name_tools_that_there_are():
    assert next(iter(assistants())) == "flight" and len(assistants()) >= 4
    for each in assistants().values():
        assert set(each.tools) <= {tool.name for tool in TOOLS} and each.system and each.example


def test_a_word_in_the_question_adds_a_fact_to_this_turn_only(actor: Actor):  # noqa: F811
    model, talk = actor.says(["ok"]), Talk()
    for prompt in ("Do you sell BELTS?", "And hats?", "Thanks!"):
        list(converse.send(request(), talk, prompt, "starter", "support", "Be kind.", [], "", False, 0, 64))
    systems = [sent[0].content for sent in model.asked]
    assert "belts" in systems[0] and "Hats" in systems[1] and "belts" not in systems[1] and systems[2] == "Be kind."


def test_a_turn_streams_with_its_tool(actor: Actor):  # noqa: F811
    actor.says(["Let me look.", PRICE, 0.15], ["It costs $89."])
    talk = Talk()
    views = asked(talk)
    assert views[0][0] == gr.update(value="") and views[1][0] == gr.update()
    assert "answering" in views[0][2] and "20 tokens read · 10 written" in views[-1][2]
    assert [m["content"][0]["text"] for m in views[-1][1]][-1] == "It costs $89."
    assert titles(talk)[0].startswith("get_ticket_price · done · 0.") and talk.messages[2].content == "$89"
    asked(talk, "and to london?")
    assert [m.role for m in actor.model.asked[-1]][:5] == ["system", "user", "assistant", "tool", "assistant"]


def test_a_side_effect_waits_and_its_answers_count(actor: Actor):  # noqa: F811
    talk = Talk()
    for verdict, state, mails in (("refuse", "refused", 0), ("once", "done", 1), ("conversation", "done", 2)):
        actor.says([call("send_mail", '{"to": "<b>ann</b>"}')], ["ok"])
        views = converse.send(request(), talk, "mail ann", *FORM[:3], ["send_mail"], *FORM[4:])
        waiting = next(view for view in views if "Let the assistant run" in view[4])
        assert waiting[3] == gr.update(visible=True) and "<b>" not in waiting[4] and "waiting" in titles(talk)[-1]
        assert len(actor.mails) == max(0, mails - 1)
        converse.answer("once")(request(), talk, "another call")
        assert talk.run is not None and talk.run.waiting is not None, "an answer to one call counted for another"
        converse.answer(verdict)(request(), talk, waiting[5])
        last = list(views)[-1]
        assert last[3] == gr.update(visible=False) and last[4:6] == ["", ""]
        assert f"send_mail · {state}" in titles(talk)[-1] and len(actor.mails) == mails
    actor.says([call("send_mail", '{"to": "bob"}')], ["ok"])
    asked(talk, "again", ["send_mail"])
    assert len(actor.mails) == 3, "it was asked again although it was allowed for the conversation"
    talk.clear()
    assert not talk.allowed


def test_stop_ends_a_running_tool(actor: Actor):  # noqa: F811
    actor.says([call("hang", "")], ["never"])
    talk = Talk()
    views = converse.send(request(), talk, "hi", *FORM[:3], ["hang"], *FORM[4:])
    next(views)
    assert actor.begun.wait(5)
    converse.stop(request(), talk)
    list(views)
    assert actor.ended.wait(8) and talk.shown[-1] == Remark("Stopped by you.") and "hang · failed" in titles(talk)[0]


def test_leaving_the_page_stops_the_turn(actor: Actor):  # noqa: F811
    model = actor.says(["a", 60.0])
    views = converse.send(request(), Talk(), "hi", *FORM)
    next(views)
    views.close()
    assert model.closed.wait(5)


def test_one_turn_at_a_time_and_clearing_in_between(actor: Actor):  # noqa: F811
    actor.says(["a", 60.0])
    talk = Talk()
    views = converse.send(request(), talk, "hi", *FORM)
    next(views)
    for busy in (
        lambda: asked(talk),
        lambda: converse.undo(request(), talk),
        lambda: kept.export(request(), talk, *KEPT),
    ):
        with pytest.raises(gr.Error, match="still answering"):
            busy()
    converse.clear(request(), talk)
    assert talk.shown == [] and list(views)[-1][1] == []


def test_retry_draws_another_answer_and_undo_gives_the_question_back(actor: Actor):  # noqa: F811
    model, talk = actor.says(["one"], ["two"], ["three"]), Talk()
    asked(talk)
    list(converse.retry(request(), talk, "", *FORM))
    last = list(converse.retry(request(), talk, "", *FORM))[-1]
    assert model.seeds == [0, 1, 2] and "retried 2×" in last[2] and len(talk.turns) == 1
    assert converse.undo(request(), talk)[0] == "price?" and not talk.turns
    for empty in (lambda: converse.undo(request(), talk), lambda: list(converse.retry(request(), talk, "", *FORM))):
        with pytest.raises(gr.Error, match="Ask something first"):
            empty()


@pytest.mark.parametrize(
    ("prompt", "change", "sentence"),
    [
        ("  ", {}, "it is empty"),
        ("hi", {3: ["rm"]}, "There is no tool"),
        ("hi", {0: ""}, "Choose a model"),
        ("hi", {6: 9}, "Temperature must lie"),
        ("hi", {7: 0}, "token limit"),
    ],
)
def test_what_is_missing_is_said(prompt: str, change: dict, sentence: str, actor: Actor):  # noqa: F811
    form = [change.get(at, value) for at, value in enumerate(FORM)]
    with pytest.raises(gr.Error, match=sentence):
        list(converse.send(request(), Talk(), prompt, *form))


def test_visitors_chat_and_call_tools_but_read_no_pages(actor: Actor):  # noqa: F811
    demo = Launch(open_demo=True)
    asked(Talk(), launch=demo)
    with pytest.raises(gr.Error, match="may not let a model read web pages"):
        asked(Talk(), tools=["read_page"], launch=demo)
    with pytest.raises(gr.Error, match="may not use a model"):
        list(converse.send(request(demo), Talk(), "hi", "/etc", *FORM[1:]))


def test_the_owners_own_tools_are_for_this_machine_alone(tmp_path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "dice.py").write_text('def dice() -> int:\n    """Throw a die."""\n    return 4\n')
    monkeypatch.setattr(asking, "settings", lambda: SimpleNamespace(tools=tmp_path))
    assert [tool.name for tool in asking.offered("local")][-1] == "dice"
    assert asking.offered("owner") == asking.offered("visitor") == TOOLS
    assert "Throw a die." in explained(asking.offered("local"), ["<b>"]) and "<b>" not in explained([], ["<b>"])


def test_a_failing_model_is_told_and_its_question_is_left_out_of_the_history(actor: Actor):  # noqa: F811
    model, talk = actor.says([Problem("The key was refused.")], ["ok"]), Talk()
    asked(talk)
    assert talk.shown[-1] == Remark("The key was refused.")
    asked(talk, "again")
    assert [m.content for m in model.asked[1]] == ["Be accurate.", "again"]


def test_export_and_import_give_the_same_conversation(actor: Actor):  # noqa: F811
    actor.says(["Let me look.", PRICE], ["It costs $89."])
    talk, other = Talk(), Talk()
    asked(talk)
    file = json.loads(kept.export(request(), talk, *KEPT))
    assert file["name"].endswith(".json") and json.loads(file["text"])["format"] == 1
    model, preset, system, tools, *view = kept.take_in(request(), other, file["text"].encode())
    assert (model["value"], preset["value"], tools) == ("starter", "flight", ["get_ticket_price"])
    assert system == "Be accurate." and other.messages == talk.messages and len(view[0]) == 4
    assert other.id != talk.id, "an imported conversation took the place of the one it was exported from"
    assert [type(step) for step in other.shown] == [type(step) for step in talk.shown]
    assert [title.split(" · ")[1] for title in titles(other)] == ["done"]


GOOD = json.loads(as_json([Message("user", "hi"), Message("assistant", "ho")], Chosen("m")))


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"hi", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 5000),
        *({**GOOD, "format": 2}, {**GOOD, "extra": 1}, {**GOOD, "messages": 3}, {"lc": 1, "type": "constructor"}),
        {**GOOD, "messages": [{"role": "system", "content": "x"}]},
        {**GOOD, "messages": [{"role": "assistant", "content": "x"}]},
        {**GOOD, "messages": [{"role": "user", "content": {"lc": 1}}]},
        {**GOOD, "messages": [{"role": "user", "content": "x"}, {"role": "tool", "content": "x", "tool_call_id": "1"}]},
        {
            **GOOD,
            "messages": [{"role": "user", "content": "x", "tool_calls": [{"id": "1", "name": "f", "arguments": ""}]}],
        },
        b" " * (5 * 2**20),
    ],
    ids=range(17),
)
def test_what_is_no_conversation_is_refused_in_words(data):
    with pytest.raises(gr.Error) as caught:
        kept.take_in(request(), Talk(), data if isinstance(data, bytes) else json.dumps(data).encode())
    assert "Traceback" not in caught.value.message and "Something went wrong" not in caught.value.message


def test_imported_markup_and_half_letters_do_no_harm():
    file = {**GOOD, "messages": [{"role": "user", "content": "<script>x</script>"}]}
    turns, *_ = read(json.dumps(file).encode())
    assert replayed(turns[0].messages) == (Said("user", "<script>x</script>"),)


def test_more_than_three_tools_on_a_small_model_get_a_word():
    names = [tool.name for tool in TOOLS]
    assert "more than 3 tools" in converse.warn(request(), Talk(), "starter", names[:4])
    assert converse.warn(request(), Talk(), "starter", names[:3]) == ""
    talk = Talk()
    converse.add_endpoint(request(), talk, "mine", "http://localhost:1/v1", "m", "sk-secret")
    assert converse.warn(request(), talk, "mine", names) == ""


def test_presets_fill_in_words_and_tools():
    system, tools, _, box = converse.preset(request(), "helper")
    assert "Use the tools" in system and "calculator" in tools and "12 * 7" in box["placeholder"]


def test_chat_over_http_with_history(page, actor: Actor):  # noqa: F811
    actor.says(["I look.", PRICE], ["It costs $89."], ["Also $612."])
    client = Client(page[0], verbose=False)
    found = client.predict("price?", "starter", ["get_ticket_price"], "Be accurate.", api_name="/chat")
    assert found["answer"] == "It costs $89."
    assert [step["kind"] for step in found["steps"]] == ["words", "tool_call", "tool_result", "words"]
    assert found["steps"][2]["content"] == "$89" and found["steps"][2]["state"] == "done"
    later = client.predict("and to london?", "starter", [], "", found["history"], api_name="/chat")
    assert later["answer"] == "Also $612." and len(later["history"]) == len(found["history"]) + 2
    with pytest.raises(AppError, match="does not hold together"):
        client.predict("x", "starter", [], "", found["history"][1:], api_name="/chat")


def test_nobody_agrees_to_side_effects_over_http(page, actor: Actor):  # noqa: F811
    actor.says([call("send_mail", '{"to": "evil"}')], ["ok"])
    found = Client(page[0], verbose=False).predict("mail", "starter", ["send_mail"], api_name="/chat")
    assert not actor.mails and found["steps"][1]["state"] == "refused"


def test_two_visitors_have_their_own_conversations(page, actor: Actor):  # noqa: F811
    actor.says(["hello"])
    states = [
        each.value for each in page[1].blocks.values() if isinstance(each, gr.State) and isinstance(each.value, Talk)
    ]
    one, two = (copy.deepcopy(states[0]) for _ in range(2))
    asked(one)
    assert len(states) == 1 and one.shown and not two.shown and not states[0].shown
