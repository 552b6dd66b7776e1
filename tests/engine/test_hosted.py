"""Hosted models against a scripted server: answers, tool calls and stopping."""

from __future__ import annotations

import re
import threading
import time

import pytest

from engine import catalog, hosted
from engine.hosted import HostedResponder
from engine.hosting import wire as hosted_wire
from engine.messages import Begin, End, Message, Piece, Sampling, ToolCall, Usage
from engine.respond import Generation
from tests.engine.asking import ASK, ask, at, collect, complaint, text
from tests.fake_openai import (
    FakeOpenAI,
    Script,
    chunk,
    complain,
    event,
    forever,
    fragment,
    hang,
    refuse,
    stream,
    words,
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosted, "WAIT_UNTOLD", 0.01)


# ---- good answers ----


def test_reply_streams_words_then_ends_with_the_servers_counts():
    events, problem = ask(words("Hel", "lo", counts=(3, 2)))
    assert problem is None
    assert events == [Begin("user: Hi"), Piece("Hel"), Piece("lo"), End("stop", Usage(3, 2))]


def test_counts_that_the_server_does_not_send_stay_unknown():
    events, _ = ask(words("Hi"))
    assert events[-1] == End("stop", Usage(None, None))
    generation = Generation(iter(events))
    assert [piece.token_ids for piece in generation] == [()] and generation.tokens == 0


def test_words_arrive_as_they_are_sent():
    with FakeOpenAI(words("a", "b", "c", gap=0.15)) as server:
        generation = Generation(HostedResponder(at(server.url)).reply(ASK, Sampling()))
        assert [p.text for p in generation] == ["a", "b", "c"]
    assert generation.first_token_seconds is not None
    assert generation.seconds - generation.first_token_seconds > 0.3


@pytest.mark.parametrize("finish", ["stop", "length", "tool_calls", "content_filter"])
def test_reasons_are_told_as_the_server_gives_them(finish: str):
    assert ask(words("x", finish=finish))[0][-1].reason == finish


def test_unknown_reason_counts_as_a_stop():
    assert ask(words("x", finish="eos_token"))[0][-1].reason == "stop"


def test_request_carries_sampling_and_conversation_in_openai_shape():
    call = ToolCall("call_1", "add", '{"a": 1}')
    talk = [
        Message("system", "Be brief."),
        Message("user", "1+1?"),
        Message("assistant", "", (call,)),
        Message("tool", "2", tool_call_id="call_1"),
    ]
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    sampling = Sampling(0.3, 0.9, max_tokens=7, stop=("\n",), seed=5)
    with FakeOpenAI() as server:
        events, _ = collect(HostedResponder(at(server.url)).reply(talk, sampling, [tool]))
        sent = server.requests[0]
    assert sent.path == "/v1/chat/completions"
    wire_call = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    assert sent.json == {
        "model": "tiny-model",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "1+1?"},
            {"role": "assistant", "content": None, "tool_calls": [wire_call]},
            {"role": "tool", "content": "2", "tool_call_id": "call_1"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.3,
        "top_p": 0.9,
        "max_tokens": 7,
        "seed": 5,
        "stop": ["\n"],
        "tools": [tool],
    }
    assert events[0] == Begin('system: Be brief.\n\nuser: 1+1?\n\nassistant: \nadd({"a": 1})\n\ntool: 2')


def test_another_style_goes_out_as_one_user_message_holding_the_rendered_text():
    talk = [Message("user", "a"), Message("assistant", "b"), Message("user", "c")]
    with FakeOpenAI() as server:
        events, _ = collect(HostedResponder(at(server.url), style="question-answer").reply(talk, Sampling()))
        sent = server.requests[0].json["messages"]
    assert sent == [{"role": "user", "content": "Q: a\nA: b\nQ: c\nA:"}]
    assert events[0] == Begin("Q: a\nA: b\nQ: c\nA:")


def test_address_may_end_in_a_slash_or_in_the_whole_path():
    with FakeOpenAI() as server:
        for tail in ("", "/", "/chat/completions", "/chat/completions/"):
            assert collect(HostedResponder(at(server.url + tail)).reply(ASK, Sampling()))[1] is None
        assert {r.path for r in server.requests} == {"/v1/chat/completions"}


def test_a_refused_option_is_left_out_and_named_and_not_sent_again():
    refusals = [
        complain(400, "Unrecognized request argument supplied: stream_options"),
        complain(400, "Unsupported value", param="seed"),
        refuse(422, {"detail": "Unexpected fields in the request: {'repetition_penalty'}"}),
        complain(400, "`temperature` and `top_p` cannot both be specified for this model."),
        complain(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "max_tokens"),
        words("ok"),
    ]
    with FakeOpenAI(*refusals) as server:
        responder = HostedResponder(at(server.url))
        sampling = Sampling(repetition_penalty=1.2, top_k=4)
        assert text(collect(responder.reply(ASK, sampling))[0]) == "ok"
        assert set(server.requests[-1].json) == {
            "model", "messages", "stream", "temperature", "max_completion_tokens", "top_k",
        }  # fmt: skip
        assert responder.left_out == {"stream_options", "seed", "repetition_penalty", "top_p"}
        count = len(server.requests)
        assert text(collect(responder.reply(ASK, sampling))[0]) == "ok"
        assert len(server.requests) == count + 1
        assert server.requests[-1].json == server.requests[-2].json


def test_a_refusal_that_names_nothing_dispensable_is_told():
    assert 'It says: "stop is not supported"' in complaint(complain(400, "stop is not supported", param="stop"))


# ---- tool calls ----


def calls(*chunks: dict, finish: str | None = "tool_calls") -> tuple[list[ToolCall], End]:
    events, problem = ask(stream([*chunks, chunk(finish=finish)]))
    assert problem is None and isinstance(events[-1], End)
    return [e for e in events if isinstance(e, ToolCall)], events[-1]


def test_tool_call_is_put_together_from_fragments():
    got, end = calls(fragment(0, "c1", "add", ""), fragment(0, None, None, '{"a"'), fragment(0, None, None, ": 1}"))
    assert got == [ToolCall("c1", "add", '{"a": 1}')] and end.reason == "tool_calls"


def test_parallel_calls_whose_fragments_alternate_stay_apart():
    got, _ = calls(
        fragment(0, "c1", "add", "{"),
        fragment(1, "c2", "sub", "["),
        fragment(0, arguments="}"),
        fragment(1, arguments="]"),
    )
    assert got == [ToolCall("c1", "add", "{}"), ToolCall("c2", "sub", "[]")]


def test_parallel_calls_that_share_an_index_are_told_apart_by_id():
    got, _ = calls(fragment(0, "c1", "add", "{}"), fragment(0, "c2", "sub", "[]"))
    assert got == [ToolCall("c1", "add", "{}"), ToolCall("c2", "sub", "[]")]


def test_calls_without_index_go_on_with_the_last_one_until_an_id_or_a_name_comes():
    got, _ = calls(
        fragment(None, "c1", "add", "{"),
        fragment(None, arguments="}"),
        fragment(None, "c2", "sub", "[]"),
        fragment(None, None, "mul", "1"),
    )
    assert got[:2] == [ToolCall("c1", "add", "{}"), ToolCall("c2", "sub", "[]")]
    assert (got[2].name, got[2].arguments) == ("mul", "1")


def test_missing_ids_are_made_up_and_differ():
    got, _ = calls(fragment(0, None, "add", "{}"), fragment(1, "", "add", "{}"))
    assert all(re.fullmatch(r"call_[0-9a-f]{24}", call.id) for call in got) and got[0].id != got[1].id


def test_empty_tool_call_lists_are_no_calls():
    got, end = calls(chunk("a", tool_calls=[]), chunk("b", tool_calls=None), finish="stop")
    assert got == [] and end.reason == "stop"


def test_calls_with_a_stop_or_no_reason_still_end_as_tool_calls():
    assert calls(fragment(0, "c1", "add", "{}"), finish="stop")[1].reason == "tool_calls"
    assert calls(fragment(0, "c1", "add", "{}"), finish=None)[1].reason == "tool_calls"


def test_a_call_cut_at_the_token_limit_says_length():
    got, end = calls(fragment(0, "c1", "add", '{"a": '), finish="length")
    assert got == [ToolCall("c1", "add", '{"a": ')] and end.reason == "length"


def test_arguments_that_come_as_an_object_become_json():
    got, _ = calls(chunk(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": {"a": "é"}}}]))
    assert got == [ToolCall("c", "f", '{"a": "é"}')]


# ---- stopping ----


def test_closing_the_reply_hangs_up_within_a_second():
    with FakeOpenAI(forever(event(chunk("ha ")))) as server:
        reply = HostedResponder(at(server.url)).reply(ASK, Sampling())
        assert isinstance(next(reply), Begin) and isinstance(next(reply), Piece)
        started = time.monotonic()
        reply.close()
        assert server.gone.wait(8) and time.monotonic() - started < 8


@pytest.mark.parametrize("script", [hang(True), hang(False), forever(b": wait\n\n")], ids=["status", "body", "pings"])
def test_stop_from_another_thread_ends_a_waiting_reply_within_a_second(script: Script):
    with FakeOpenAI(script) as server:
        responder = HostedResponder(at(server.url))
        threading.Timer(0.3, responder.stop).start()
        started = time.monotonic()
        events, problem = collect(responder.reply(ASK, Sampling()))
        assert problem is None and events[-1] == End("stopped")
        assert time.monotonic() - started < 8 and server.gone.wait(8)


def test_stop_ends_the_wait_before_a_second_try(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hosted, "WAIT_UNTOLD", 30)
    with FakeOpenAI(refuse(503)) as server:
        responder = HostedResponder(at(server.url))
        threading.Timer(0.3, responder.stop).start()
        assert collect(responder.reply(ASK, Sampling())) == ([End("stopped")], None)
        assert len(server.requests) == 1


def test_finished_replies_leave_nothing_behind():
    before = threading.active_count()
    with FakeOpenAI(words("ok"), refuse(404)) as server:
        responder = HostedResponder(at(server.url))
        for _ in range(5):
            collect(responder.reply(ASK, Sampling()))
        time.sleep(0.1)
    assert threading.active_count() <= before and responder._wires == set()


def test_the_shipped_catalogues_endpoints_have_usable_addresses():
    for model in catalog.shipped().values():
        if model.endpoint:
            assert hosted_wire.place(hosted_wire.address(model.endpoint))
