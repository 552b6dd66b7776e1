"""Models behind any OpenAI-compatible endpoint, through the openai SDK, as responders."""

from __future__ import annotations

import copy
import logging
import os
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any

import httpx2
import openai

from engine.acting.local_tools import with_calls
from engine.catalog import Model, shipped
from engine.errors import Problem
from engine.hosting.ahead import ahead
from engine.hosting.answer import Answer, whole
from engine.hosting.errors import Complaint, retry_after
from engine.hosting.request import options, readable, refusal, wire_message, without
from engine.hosting.wire import Wire, address, origin, place
from engine.messages import Begin, End, Message, Sampling
from engine.prompts import CHAT
from engine.prompts import style as style_named
from engine.respond import Event

log = logging.getLogger(__name__)

NO_KEY = "none"  # sent to servers that want no key, because the SDK insists on one
LONGEST_WAIT = 3.0  # seconds for which a second try is worth waiting; a longer wait is told instead
WAIT_UNTOLD = 1.0  # seconds before the second try when the server names none
BUSY = frozenset({429, 500, 502, 503, 504, 529})


class HostedResponder:
    """A model at an endpoint, asked in one prompt style. Raises Problem when address or key cannot be used.

    `key` is the visitor's: it stays in memory and goes to this endpoint only. Without one, the server's own key is
    taken from the environment variable `model.key_name`, if the catalogue pairs that variable with this endpoint.
    """

    def __init__(self, model: Model, key: str | None = None, style: str = CHAT):
        self.model = model
        self._refused: set[str] = set()
        self._form: dict | None = None
        self._url = address(model.endpoint)
        self._style = style_named(style)
        self._key = usable_key(model, self._url, key)
        self._complaint = Complaint(place(self._url), model.base, self._key)
        self._wires: set[Wire] = set()

    def reply(self, messages: Sequence[Message], sampling: Sampling, tools: Sequence[dict] = ()) -> Generator[Event]:
        """See Responder.reply. Token counts are the server's; where it sends none they stay unknown."""
        shown, sent = self._prompt(messages)
        body = {"messages": sent, **options(sampling, tools)}
        if self._form is not None:
            body["response_format"] = self._form
        wire = Wire()
        self._wires.add(wire)
        try:
            yield from ahead(self._received(wire, body, shown, tools))
        finally:
            wire.stop()
            self._wires.discard(wire)

    def shaped(self, form: dict) -> HostedResponder:
        """The same model, held to this response_format by the server, where the server knows that option."""
        held = copy.copy(self)
        held._form = form
        return held

    @property
    def left_out(self) -> frozenset[str]:
        """The options that the server refused in earlier replies and that are no longer sent."""
        return frozenset(self._refused - {"max_tokens"})

    def stop(self) -> None:
        """End every reply in progress, also one that waits for the server; any thread may call."""
        for wire in tuple(self._wires):
            wire.stop()

    def _prompt(self, messages: Sequence[Message]) -> tuple[str, list[dict]]:
        """What a person reads of the request, and the messages on the wire.

        A style other than chat is a text of our own: it goes out as one user message.
        """
        if self._style.name == CHAT:
            return "\n\n".join(readable(m) for m in messages), [wire_message(m) for m in messages]
        text = whole(self._style.render(messages, NoTokenizer()))
        return text, [{"role": "user", "content": text}]

    def _received(self, wire: Wire, body: dict, shown: str, tools: Sequence[dict]) -> Generator[Event]:
        with self._client(wire) as client, closing(self._stream(client, wire, body, shown)) as events:
            # some servers pass on as words what their model meant as a call
            yield from with_calls(events, tools) if tools else events

    def _client(self, wire: Wire) -> openai.OpenAI:
        """A client that takes nothing from the environment.

        openai 3.52 reads OPENAI_API_KEY, OPENAI_ADMIN_KEY, OPENAI_ORG_ID, OPENAI_PROJECT_ID and
        OPENAI_WEBHOOK_SECRET wherever its argument is None, and puts OPENAI_CUSTOM_HEADERS on every request, an
        Authorization among them unless one is given here. The wire drops whatever else gets through.
        """
        key = self._key or NO_KEY
        return openai.OpenAI(
            api_key=key,
            admin_api_key="",
            organization="",
            project="",
            webhook_secret="",
            base_url=str(self._url),
            default_headers={"Authorization": f"Bearer {key}"},
            max_retries=0,  # the SDK would sleep up to two minutes on a server's word, and could not be stopped
            http_client=wire.client(),
        )

    def _stream(self, client: openai.OpenAI, wire: Wire, body: dict, shown: str) -> Generator[Event]:
        chunks = self._open(client, wire, body)
        if chunks is None:
            yield End("stopped")
            return
        yield Begin(shown)
        answer = Answer()
        for chunk in self._chunks(chunks, wire, answer):
            yield from answer.take(chunk)
        if wire.stopped.is_set():
            yield End("stopped", answer.usage)
        elif wire.done or answer.finish:
            yield from answer.ending()
        else:
            raise self._complaint.early(wire)

    def _open(self, client: openai.OpenAI, wire: Wire, body: dict) -> openai.Stream | None:
        """The stream of the answer, asked for again without an option that the server refuses, and once more when
        it is busy for a moment; None when stopped meanwhile."""
        tries = 2
        while not wire.stopped.is_set():
            asked = without(body, self._refused)
            try:
                return client.chat.completions.create(
                    model=self.model.base, messages=asked["messages"], stream=True, extra_body=asked
                )
            except openai.APIError as error:
                if name := refusal(error, asked):
                    log.warning("%s refuses %s; asking without it", self._complaint.host, name)
                    self._refused.add(name)
                    continue
                tries -= 1
                wait = pause(error)
                if not wire.stopped.is_set() and (tries == 0 or wait is None):
                    raise self._complaint.about(error, wire) from None
                wire.stopped.wait(wait)
        return None

    def _chunks(self, stream: openai.Stream, wire: Wire, answer: Answer) -> Iterator[Any]:
        """The SDK's chunks; what breaks them off becomes a Problem, unless the answer was complete or stopped."""
        try:
            yield from stream
        except (openai.APIError, ValueError, RecursionError) as error:
            if not wire.stopped.is_set() and not answer.finish:
                raise self._complaint.about(error, wire, begun=True) from None


class NoTokenizer:
    """Stands where a style wants a tokenizer: a hosted model keeps its own."""

    chat_template = None

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
        raise NotImplementedError


def usable_key(model: Model, url: httpx2.URL, typed: str | None) -> str | None:
    """The key to send, None for a server that wants none. Raises Problem rather than send a key elsewhere."""
    key = (typed or "").strip()
    if not key and model.key_name:
        owners = [m for m in shipped().values() if m.key_name == model.key_name and m.endpoint]
        if all(origin(address(m.endpoint)) != origin(url) for m in owners):
            raise Problem(f"This server's {model.key_name} is not sent to {place(url)}. Type a key of your own for it.")
        key = os.environ.get(model.key_name, "").strip()
        if not key:
            raise Problem(f"{place(url)} needs a key. Type yours, or start Diptych with {model.key_name} set.")
    if not re.fullmatch(r"[!-~]{0,4096}", key):
        raise Problem("The key holds a space, a line break or a letter that no key has. Copy it again.")
    return key or None


def pause(error: openai.APIError) -> float | None:
    """Seconds before a second try is worth it; None when it is not, or not that soon."""
    if not isinstance(error, openai.APIStatusError) or error.status_code not in BUSY:
        return None
    wait = retry_after(error)
    if wait is None:
        return WAIT_UNTOLD
    return wait if wait <= LONGEST_WAIT else None
