"""Every way in which an endpoint goes wrong ends in words for the person, and in nothing else."""

from __future__ import annotations

import random
import time

import pytest

from engine import hosted
from engine.errors import Problem
from engine.hosted import HostedResponder
from engine.hosting import wire as hosted_wire
from engine.messages import End, Sampling
from tests.engine.asking import ASK, KEY, ask, at, collect, complaint, text
from tests.fake_openai import (
    DONE,
    FakeOpenAI,
    Script,
    chunk,
    complain,
    cut,
    event,
    forever,
    fragment,
    hang,
    raw,
    refuse,
    start,
    stream,
    words,
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosted, "WAIT_UNTOLD", 0.01)


# ---- streams that are odd, broken or hostile ----


def test_missing_reason_is_a_stop_when_done_arrived():
    assert ask(stream([chunk("Hi")]))[0][-1] == End("stop")


def test_missing_done_is_fine_when_a_reason_arrived():
    events, problem = ask(stream([chunk("Hi"), chunk(finish="length")], done=False))
    assert problem is None and events[-1].reason == "length"


@pytest.mark.parametrize(
    "script",
    [
        cut("Hel", "lo"),
        stream([chunk("Hel"), chunk("lo")], done=False),
        raw(event(chunk("Hello")), b'data: {"cho'),
    ],
    ids=["chunked", "plain", "within a line"],
)
def test_cut_stream_keeps_its_words_and_says_so(script: Script):
    events, problem = ask(script)
    assert text(events) == "Hello"
    assert "closed the connection in the middle of the answer" in str(problem)


def test_a_connection_that_breaks_after_the_reason_has_lost_nothing():
    events, problem = ask(cut("Hi", finish="length"))
    assert problem is None and text(events) == "Hi" and events[-1].reason == "length"


def test_invalid_utf8_split_across_packets_is_replaced_not_fatal():
    whole = event(chunk("é")).replace(b"\\u00e9", "é€".encode() + b"\xff\xf0\x9f!")
    at_euro = whole.index("€".encode()) + 1
    events, problem = ask(raw(whole[:at_euro], whole[at_euro : at_euro + 1], whole[at_euro + 1 :], DONE, gap=0.05))
    assert problem is None and text(events) == "é€\ufffd\ufffd!"


def test_surrogate_pair_split_across_events_is_joined():
    halves = [event(chunk("@")).replace(b"@", half) for half in (rb"a\ud83d", rb"\ude00b")]
    assert text(ask(raw(*halves, DONE))[0]) == "a😀b"


def test_lone_surrogates_become_writable_text():
    events, _ = ask(raw(event(chunk("@")).replace(b"@", rb"\ude00x\ud83d"), DONE))
    assert text(events) == "\ufffdx\ufffd"


def test_comments_pings_bare_fields_and_windows_line_ends_are_no_trouble():
    parts = [b": hello\n\n", b"event: ping\n\n", b"retry: 3000\nid: 4\n\n", b"data:\n\n", b"\xef\xbb\xbf"]
    parts += [
        event(chunk("Hi")).replace(b"\n", b"\r\n"),
        b"event: message\n",
        event(chunk("!")),
        b"data:[DONE]",
    ]
    events, problem = ask(raw(*parts))
    assert problem is None and text(events) == "Hi!"


def test_slow_drip_of_single_bytes_still_makes_words():
    data = event(chunk("Hi")) + DONE
    events, problem = ask(raw(*[data[i : i + 1] for i in range(len(data))], gap=0.002))
    assert problem is None and text(events) == "Hi"


def test_chunks_of_any_shape_do_not_break_the_stream():
    odd = [[], 5, None, "x", {}, {"choices": None}, {"choices": [None, 3, {}]}, {"choices": [{"delta": 7}]}]
    odd += [chunk({"a": 1}), chunk(7), chunk(tool_calls=5), chunk(tool_calls=[None, {}]), {"usage": "many"}]
    events, problem = ask(stream([*odd, chunk("ok"), {**chunk(), "usage": {"prompt_tokens": -1}}]))
    assert problem is None and text(events) == "ok"


def test_a_second_answer_that_nobody_asked_for_is_left_out():
    second = chunk("no")
    second["choices"][0]["index"] = 1
    assert text(ask(stream([chunk("yes"), second]))[0]) == "yes"


@pytest.mark.parametrize("line", [b"a" * 2**16, b"<p>hello</p>\n" * 2**12], ids=["one line", "many lines"])
def test_an_endless_answer_without_events_is_hung_up_on(line: bytes):
    with FakeOpenAI(forever(line, gap=0)) as server:
        _, problem = collect(HostedResponder(at(server.url)).reply(ASK, Sampling()))
        assert "sent 4 MiB without one readable event" in str(problem)
        assert server.gone.wait(8)


def test_a_huge_line_after_words_is_hung_up_on():
    with FakeOpenAI(forever(b"a" * 2**16, gap=0, first=event(chunk("Hi")) + b"data: ")) as server:
        events, problem = collect(HostedResponder(at(server.url)).reply(ASK, Sampling()))
    assert text(events) == "Hi" and "without one readable event" in str(problem)


def test_an_endless_stream_of_events_is_ended_by_size(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hosted_wire, "REPLY_BYTES", 2**20)
    with FakeOpenAI(forever(event(chunk("ha " * 2000)), gap=0)) as server:
        events, problem = collect(HostedResponder(at(server.url)).reply(ASK, Sampling()))
    assert text(events).startswith("ha ha") and "without coming to an end" in str(problem)


def test_a_reply_that_drips_for_ever_is_ended_by_the_clock(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hosted_wire, "REPLY_SECONDS", 0.5)
    with FakeOpenAI(forever(b": still here\n\n", first=event(chunk("Hi")))) as server:
        started = time.monotonic()
        events, problem = collect(HostedResponder(at(server.url)).reply(ASK, Sampling()))
        assert time.monotonic() - started < 8
        assert server.gone.wait(8)
    assert text(events) == "Hi" and "for one reply" in str(problem)


@pytest.mark.parametrize("before_status", [True, False])
def test_silence_is_told_after_the_time_limit(before_status: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hosted_wire, "READ_SECONDS", 0.3)
    assert "sent nothing for" in complaint(hang(before_status))


def test_an_error_within_the_stream_is_told_after_the_words():
    for body in ({"error": {"message": "out of memory"}}, {"error": "out of memory"}):
        events, problem = ask(stream([chunk("Hi"), body], done=False))
        assert text(events) == "Hi" and 'It says: "out of memory"' in str(problem)


@pytest.mark.parametrize("data", [b"{oops}", b"[" * 200_000, b"9" * 5000, b'"'])
def test_invalid_json_in_a_stream_is_told_and_words_are_kept(data: bytes):
    events, problem = ask(raw(event(chunk("Hi")), b"data: " + data + b"\n\n", DONE))
    assert text(events) == "Hi"
    assert problem is None or "invalid JSON" in str(problem)


def test_empty_body_is_told():
    assert "sent an empty answer" in complaint(raw(b""))


def test_a_web_page_instead_of_json_is_told():
    said = complaint(raw(b"<!doctype html><title>Log in</title>", mark="text/html"))
    assert "web page" in said and "/v1" in said and "<" not in said


def test_an_answer_in_one_piece_is_told():
    assert "did not send a stream" in complaint(raw(b'{"choices": []}', mark="application/json"))


def test_a_compressed_answer_is_refused_unread():
    assert "compressed" in complaint(raw(b"\x1f\x8b" * 99, Content_Encoding="gzip"))
    assert "It says" not in complaint(raw(b"zipped" * 99, status=401, Content_Encoding="gzip"))


def test_mangled_streams_end_in_words_or_a_problem_and_nothing_else():
    chance = random.Random(0)
    good = b"".join(map(event, [chunk("Hi"), fragment(0, "c", "f", "{}"), chunk(finish="stop")])) + DONE
    mangled = []
    for _ in range(60):
        data = bytearray(good)
        for _ in range(chance.randint(1, 8)):
            spot = chance.randrange(len(data))
            data[spot : spot + chance.randint(0, 6)] = chance.randbytes(chance.randint(0, 4))
        mangled.append(raw(bytes(data)))
    with FakeOpenAI(*mangled) as server:
        responder = HostedResponder(at(server.url))
        for _ in mangled:
            collect(responder.reply(ASK, Sampling()))


# ---- refusals ----


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (400, "does not accept the request"),
        (401, "did not accept the key sk-…WXYZ"),
        (403, "Choose another model or key"),
        (404, "does not know the model 'tiny-model'"),
        (413, "does not accept the request (413)"),
        (429, "takes no more requests for now"),
        (500, "trouble of its own"),
        (502, "trouble of its own"),
        (503, "trouble of its own"),
    ],
)
@pytest.mark.parametrize("body", [{"error": {"message": "no luck"}}, {"error": "no luck"}, "no luck", "<h1>no luck"])
def test_refusal_says_what_happened_and_names_the_host(status: int, hint: str, body):
    said = complaint(refuse(status, body))
    assert hint in said and "127.0.0.1:" in said and str(status) in said
    assert ('It says: "no luck"' in said) == (body != "<h1>no luck")


def test_missing_key_is_told_as_missing():
    with FakeOpenAI(complain(401, "missing")) as server:
        _, problem = collect(HostedResponder(at(server.url)).reply(ASK, Sampling()))
    assert "wants a key" in str(problem)


def test_wrong_path_gets_the_hint_about_v1():
    assert "usually ends in /v1" in complaint(refuse(404, "<html>nginx</html>"))


def test_a_busy_server_is_asked_once_more():
    for status in (429, 503):
        with FakeOpenAI(refuse(status, Retry_After="0"), words("ok")) as server:
            events, problem = collect(HostedResponder(at(server.url)).reply(ASK, Sampling()))
        assert problem is None and text(events) == "ok" and len(server.requests) == 2


def test_a_busy_server_is_not_asked_a_third_time():
    with FakeOpenAI(refuse(503)) as server:
        assert collect(HostedResponder(at(server.url)).reply(ASK, Sampling()))[1] is not None
        assert len(server.requests) == 2


def test_a_long_wait_is_told_and_not_waited():
    with FakeOpenAI(complain(429, "slow down", Retry_After="42")) as server:
        started = time.monotonic()
        _, problem = collect(HostedResponder(at(server.url)).reply(ASK, Sampling()))
        assert "asks to wait 42 seconds" in str(problem)
        assert time.monotonic() - started < 8 and len(server.requests) == 1


def test_long_and_dirty_messages_are_cut_and_cleaned():
    said = complaint(complain(400, "a\x1b[31m\n\u202eb " + "x" * 5000))
    assert len(said) < 600 and all(c.isprintable() for c in said)


def test_an_error_body_without_end_is_not_read_to_the_end():
    with FakeOpenAI(forever(b"x" * 2**12, gap=0, status=404)) as server:
        assert "404" in str(collect(HostedResponder(at(server.url)).reply(ASK, Sampling()))[1])
        assert server.gone.wait(8)


def test_an_error_body_that_breaks_off_is_still_told_by_its_status():
    def script(handler):
        start(handler, 403, {"Content-Length": "1000"})
        handler.wfile.write(b"half of")

    assert "403" in complaint(script)


# ---- no connection ----


def test_nothing_listening_is_told():
    with FakeOpenAI() as server:
        url = server.url
    _, problem = collect(HostedResponder(at(url)).reply(ASK, Sampling()))
    assert "Nothing listens at 127.0.0.1:" in str(problem)


def test_unknown_host_is_told():
    _, problem = collect(HostedResponder(at("http://no-such-host.invalid/v1")).reply(ASK, Sampling()))
    assert "no host called no-such-host.invalid" in str(problem)


def test_https_towards_a_plain_server_is_told():
    with FakeOpenAI() as server:
        _, problem = collect(HostedResponder(at(server.url.replace("http:", "https:"))).reply(ASK, Sampling()))
    assert "http:// instead of https://" in str(problem)


def test_a_server_that_hangs_up_at_once_is_told():
    assert "closed the connection without an answer" in complaint(lambda handler: None)


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "localhost:11434/v1",
        "ftp://host/v1",
        "file:///etc/passwd",
        "http:///v1",
        "http://[::1/v1",
        "http://a..b/v1",
        f"http://{'a' * 64}.example/v1",
        "http://host:0/v1",
        "http://host:99999/v1",
        f"https://user:{KEY}@host/v1",
        f"https://{KEY}@host/v1",
        f"https://host/v1?key={KEY}",
        f"https://host/v1#{KEY}",
        "http://api.openai.com\\@evil.example/v1",
        "http://host/\x00",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_repeating_it(endpoint: str):
    with pytest.raises(Problem) as caught:
        HostedResponder(at(endpoint))
    assert KEY not in str(caught.value) and "address" in str(caught.value)
