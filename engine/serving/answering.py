"""How chats and raw completions are answered: read, seated, decoded, sent."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.messages import End, Piece, Sampling, ToolCall
from engine.respond import Passage
from engine.serving import prompting
from engine.serving.asked import ChatRequest, CompletionRequest, Drawing
from engine.serving.call import Call
from engine.serving.choices import Choice, Echo
from engine.serving.flow import Flow
from engine.serving.intake import checked, in_thread, read
from engine.serving.keys import Key
from engine.serving.prompting import Conversation
from engine.serving.refusals import Refusal, bad
from engine.serving.seats import Seat
from engine.serving.wire import DONE, ChatWire, CompletionWire

if TYPE_CHECKING:
    from engine.rows import Request
    from engine.serving.service import Service

TRIES = 3  # replies in all that may be spent on one that fits a schema
ONCE = "A JSON reply of this model, or beside tools, comes once: leave n out."
UNFORMED = "The model gave no reply that fits the schema, in {} tries. The last one was wrong in this: {}"


async def chat(service: Service, call: Call, key: Key | None, body: bytes) -> None:
    """POST /v1/chat/completions."""
    asked = read(ChatRequest, body)
    served = await in_thread(service.listing.find, asked.model)
    sampling = checked(asked, asked.limit)
    messages = [turn.message() for turn in asked.messages]
    wire = ChatWire(asked.model, asked.usage_wanted, {})
    found: Sequence[Passage] = ()
    if served.passages is not None:
        found, nothing = await in_thread(prompting.looked_up, messages, served.passages)
        wire.extra["sources"] = []
        if not found:
            await send_whole(call, asked, wire, said(nothing))
            return
    conversation = Conversation(served, messages, asked.offered, asked.style, asked.call_needed)
    schema = asked.response_format.schema_ if asked.response_format else None
    async with service.seats.take(served.model, asked.n or 1, key) as seat:
        if found:
            conversation, kept = await in_thread(prompting.grounded, seat, conversation, found, sampling)
            wire.extra["sources"] = [source(number, each) for number, each in enumerate(kept, 1)]
        held = None
        if schema is not None and not asked.offered:  # beside tools the model may also call one
            held = await in_thread(prompting.held, seat, conversation, schema)
        if held or schema is None:
            conversation = held or conversation
            rows, begun = await in_thread(prompting.chat_rows, seat, conversation, sampling, asked.n or 1)
            rows = telling(asked, rows)
            await delivered(service, call, asked, seat, rows, [reply(asked, seat, begun) for _ in rows], wire)
            return
        if asked.n not in (None, 1):
            raise bad(ONCE, "n")
        spent, refusal = await formed(service, call, asked, seat, conversation, sampling, schema, wire)
    await send_whole(call, asked, wire, spent[-1], spent[:-1], refusal)


async def complete(service: Service, call: Call, key: Key | None, body: bytes) -> None:
    """POST /v1/completions."""
    asked = read(CompletionRequest, body)
    served = await in_thread(service.listing.find, asked.model)
    if served.passages is not None:
        raise bad("Raw completions have no documents. Use /v1/chat/completions, or the model's name alone.", "model")
    sampling, count = checked(asked, asked.limit), asked.n or 1
    wire = CompletionWire(asked.model, asked.usage_wanted, {})
    async with service.seats.take(served.model, len(asked.prompts) * count, key) as seat:
        rows: list[Request] = []
        for prompt in asked.prompts:
            rows += await in_thread(prompting.raw_rows, seat, prompt, sampling, count)
        told = asked.logprobs is not None
        rows = [replace(row, logprobs=told, likeliest=asked.logprobs or 0, score=bool(asked.echo)) for row in rows]
        tokenizer = seat.base.tokenizer if told else None
        alone = asked.max_tokens == 0
        echoes = [Echo(row.begin.prompt, row.ids, alone) if asked.echo else None for row in rows]
        await delivered(service, call, asked, seat, rows, [Choice(tokenizer=tokenizer, echo=e) for e in echoes], wire)


async def delivered(
    service: Service,
    call: Call,
    asked: Drawing,
    seat: Seat,
    rows: Sequence[Request],
    choices: Sequence[Choice],
    wire: ChatWire,
) -> None:
    """Decode rows and send what they say, as a stream or whole; the seat is free once they end."""
    flow = service.flow(seat, whole=not asked.stream)
    flow.submit(seat.loop, rows)
    seat.leave()
    try:
        if asked.stream:
            await call.stream()
            await call.send(wire.first(len(choices)))
        async for out in heard(service, call, flow, choices, wire, bool(asked.stream)):
            if asked.stream and out:
                await call.send(out)
    finally:
        service.done(flow)
    if not asked.stream:
        await call.respond(200, wire.whole(choices))
        return
    await call.send((wire.count(choices) if asked.usage_wanted else b"") + DONE)
    await call.end()


async def heard(
    service: Service, call: Call, flow: Flow, choices: Sequence[Choice], wire: ChatWire, stream: bool
) -> AsyncIterator[bytes]:
    """The bytes of each batch of events: a client that lags gets the words of several steps in one chunk."""
    last: dict[int, float] = {}
    async for batch in flow.batches():
        fresh: dict[int, list[str | ToolCall]] = {}
        tokens: dict[int, int] = {}
        ended = []
        for number, event in batch:
            fresh.setdefault(number, []).extend(choices[number].take(event))
            if isinstance(event, Piece):
                tokens[number] = tokens.get(number, 0) + len(event.token_ids)
            elif isinstance(event, End):
                ended.append(number)
        now = time.perf_counter()
        for number, count in tokens.items() if stream else ():
            service.metrics.heard(now, call.arrived, last.get(number), count)
            last[number] = now
        out = []
        if stream:
            out += [wire.piece(number, items, choices[number]) for number, items in fresh.items() if items]
            out += [wire.last(number, choices[number]) for number in ended]
        for number in ended:
            service.metrics.counted(choices[number].usage)
        yield b"".join(out)


async def formed(
    service: Service,
    call: Call,
    asked: ChatRequest,
    seat: Seat,
    conversation: Conversation,
    sampling: Sampling,
    schema: dict[str, Any],
    wire: ChatWire,
) -> tuple[list[Choice], str | None]:
    """Replies until one fits a schema, each but the first asked for with what was wrong; and a refusal if none did."""
    from engine.serving.schemas import mistakes, object_of

    messages = prompting.in_form(conversation.messages, schema)
    spent: list[Choice] = []
    refusal: str | None = None
    for attempt in range(TRIES):
        asking, drawn = replace(conversation, messages=messages), replace(sampling, seed=sampling.seed + attempt)
        try:
            rows, begun = await in_thread(prompting.chat_rows, seat, asking, drawn, 1)
            rows = telling(asked, rows)
        except Refusal:
            if not attempt:
                raise
            break  # the conversation about the mistakes has outgrown the model
        spent.append(reply(asked, seat, begun))
        flow = service.flow(seat, whole=True)
        flow.submit(seat.loop, rows)
        try:
            async for _ in heard(service, call, flow, spent[-1:], wire, False):
                pass
        finally:
            service.done(flow)
        if spent[-1].calls or spent[-1].reason == "length":
            return spent, None
        text = object_of(spent[-1].text)
        wrong = await in_thread(mistakes, text, schema)
        if not wrong:
            spent[-1].text = text
            return spent, None
        refusal = UNFORMED.format(attempt + 1, " ".join(wrong))
        messages = prompting.once_more(messages, spent[-1].text, wrong)
    return spent, refusal


async def send_whole(
    call: Call,
    asked: ChatRequest,
    wire: ChatWire,
    choice: Choice,
    spent: Sequence[Choice] = (),
    refusal: str | None = None,
) -> None:
    """Send a reply that is there already; as a stream it is one chunk."""
    if not asked.stream:
        await call.respond(200, wire.whole([choice], spent, refusal))
        return
    await call.stream()
    items: list[str | ToolCall] = [] if refusal else [*([choice.text] if choice.text else []), *choice.calls]
    out = [wire.first(1), wire.piece(0, items, choice) if items else b"", wire.last(0, choice, refusal)]
    out += [wire.count([*spent, choice])] if asked.usage_wanted else []
    await call.send(b"".join(out) + DONE)
    await call.end()


def telling(asked: ChatRequest, rows: Sequence[Request]) -> list[Request]:
    """The rows, with the log probabilities that a chat asks for."""
    return [replace(row, logprobs=bool(asked.logprobs), likeliest=asked.top_logprobs or 0) for row in rows]


def reply(asked: ChatRequest, seat: Seat, begun: str) -> Choice:
    """An empty reply to a chat, ready to take events."""
    names = [tool["function"]["name"] for tool in asked.offered]
    tokenizer = seat.base.tokenizer if asked.logprobs else None
    return Choice(names, begun, asked.parallel_tool_calls is False, tokenizer)


def said(text: str) -> Choice:
    """A reply that no model had to give."""
    choice = Choice()
    choice.text, choice.reason = text, "stop"
    return choice


def source(number: int, passage: Passage) -> dict[str, Any]:
    """A passage as the extra field `sources` holds it; `number` is the n of a mark [n]."""
    return {
        "number": number,
        "source": passage.source,
        "page": passage.page,
        "score": passage.score,
        "text": passage.text,
    }
