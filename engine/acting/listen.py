"""One reply of a model, listened to in a way that a stop or a deadline can end at any moment."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace

from engine.acting.history import fitted
from engine.acting.steps import Clock, Reply, Words
from engine.messages import End, Message, Piece, Sampling, ToolCall
from engine.respond import Event, Responder

BEAT = 0.1  # seconds between two looks at the clock while the model is silent
MOST_CHARACTERS = 100_000  # of a conversation for a model that cannot tell what fits it; about 25,000 tokens


def listen(
    responder: Responder, messages: Sequence[Message], sampling: Sampling, specs: Sequence[dict], clock: Clock
) -> Generator[Words, None, Reply]:
    """Yields the words of one reply and returns the reply, with what the model failed of in its `error`.

    The model speaks in a thread of its own: nothing could end the silence of a generator that is waiting.
    """
    inbox: queue.SimpleQueue[Event | Exception | int] = queue.SimpleQueue()
    reply, enough = Reply(), threading.Event()
    speak = (responder, list(messages), sampling, specs, inbox, enough)
    threading.Thread(target=speaking, args=speak, daemon=True, name="reply").start()
    over = False
    try:
        while not (over or clock.ended):
            try:
                event = inbox.get(timeout=BEAT)
            except queue.Empty:
                continue
            over = take(event, reply)
            if isinstance(event, Piece) and event.text:
                yield Words(event.text)
    finally:
        enough.set()
        if not over and (silence := getattr(responder, "stop", None)):
            silence()
    return reply if over else replace(reply, calls=[], reason=clock.ended or "stopped")


def take(event: Event | Exception | int, reply: Reply) -> bool:
    """Put what came into the reply; true when it was the last of it."""
    match event:
        case int():
            reply.left_out = event
        case Exception():
            reply.error, reply.calls = event, []
        case Piece():
            reply.text += event.text
        case ToolCall():
            reply.calls.append(event)
        case End():
            reply.reason, reply.usage = event.reason, event.usage
    return isinstance(event, End | Exception)


def speaking(
    responder: Responder,
    messages: list[Message],
    sampling: Sampling,
    specs: Sequence[dict],
    inbox: queue.SimpleQueue[Event | Exception | int],
    enough: threading.Event,
) -> None:
    """Put the number of messages left out and then the events of a reply into the inbox, until there is enough."""
    try:
        sent = fitted(messages, lambda some: fits(responder, some, sampling, specs))
        inbox.put(len(messages) - len(sent))
        with closing(responder.reply(sent, sampling, specs)) as events:
            for event in events:
                inbox.put(event)
                if enough.is_set():
                    return
    except Exception as error:
        inbox.put(error)


def fits(responder: Responder, messages: Sequence[Message], sampling: Sampling, specs: Sequence[dict]) -> bool:
    """Whether a model can read these messages whole; by length for one that cannot tell."""
    own = getattr(responder, "fits", None)
    return own(messages, sampling, specs) if own else sum(len(m.content) for m in messages) <= MOST_CHARACTERS
