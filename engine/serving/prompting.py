"""From a request to the rows that answer it: documents, tools and forms written into the prompt, and its tokens."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from engine.acting.local_tools import marks, prepared, takes_tools, with_system
from engine.acting.tool_text import OPEN
from engine.errors import Problem
from engine.grounding import DEFAULT, PASSAGES, TOY_CHARACTERS, form_named, refusal, shortened, toy
from engine.messages import Begin, Message, Sampling, encodable
from engine.prompts import style as style_named
from engine.respond import Passage, Passages
from engine.serving.refusals import Refusal, bad
from engine.serving.seats import Seat
from engine.serving.served import Served
from engine.settings import ASSETS

if TYPE_CHECKING:
    from engine.grammar import Grammar
    from engine.rows import Request

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Conversation:
    """What a chat asks of the model; `call_needed` where the reply must be a call, `grammar` where it must be JSON."""

    served: Served
    messages: Sequence[Message]
    tools: Sequence[dict[str, Any]] = ()
    style: str | None = None
    call_needed: bool = False
    grammar: Grammar | None = None


def chat_rows(seat: Seat, asked: Conversation, sampling: Sampling, count: int) -> tuple[list[Request], str]:
    """The rows of a chat, which differ by their seeds alone, and what their replies begin with. Raises Refusal."""
    tokenizer = seat.base.tokenizer
    style = asked.style or asked.served.style(bool(tokenizer.chat_template))
    messages, native = asked.messages, asked.tools
    if asked.tools or any(m.tool_calls or m.role == "tool" for m in messages):
        describe = bool(asked.tools) and not takes_tools(tokenizer)
        messages, style, native = prepared(messages, tokenizer, style, asked.tools, describe, asked.served.name)
    chosen = style_named(style)
    begun, grammar = "", asked.grammar
    if asked.call_needed:
        grammar = call_grammar(seat, asked.tools)
        begun = forced(asked.tools, bool(native), str(tokenizer.chat_template), grammar is not None)
    text = encodable(chosen.render(messages, tokenizer, native)) + begun
    ids = tokenizer(text, add_special_tokens=chosen.adds_special_tokens())["input_ids"]
    kept = marks(tokenizer) if asked.tools else frozenset()
    return rows(seat, text, ids, sampling, count, kept, grammar), begun


def raw_rows(seat: Seat, prompt: str | list[int], sampling: Sampling, count: int) -> list[Request]:
    """The rows of a raw prompt. Raises Refusal."""
    if isinstance(prompt, str):
        prompt = encodable(prompt)
        return rows(seat, prompt, seat.base.tokenizer(prompt)["input_ids"], sampling, count)
    table = seat.base.network.get_input_embeddings()
    if max(prompt) >= table.num_embeddings:
        raise bad(f"The prompt's token id {max(prompt)} is none of this model's {table.num_embeddings:,}.", "prompt")
    return rows(seat, seat.base.tokenizer.decode(prompt), prompt, sampling, count)


def rows(
    seat: Seat,
    text: str,
    ids: Sequence[int],
    sampling: Sampling,
    count: int,
    kept: frozenset[int] = frozenset(),
    grammar: Grammar | None = None,
) -> list[Request]:
    """Rows with one prompt. Raises Refusal when it is empty, or leaves no room for a reply."""
    context = seat.base.context
    if not ids and (start := seat.base.tokenizer.bos_token_id) is not None:
        ids = [start]
    if not ids:
        raise bad("The prompt is empty.", "prompt")
    if len(ids) >= context:
        told = f"Prompt and reply together may have {context:,} tokens; the prompt alone has {len(ids):,}."
        raise Refusal(400, told, code="context_length_exceeded", param="messages")
    from engine.rows import Request  # torch comes with it

    fitting = replace(sampling, max_tokens=min(sampling.max_tokens, context - len(ids)))
    begin = Begin(text, len(ids))
    seeds = [(sampling.seed + i) % 2**63 for i in range(count)]
    drawn = [replace(fitting, seed=seed) for seed in seeds]
    return [Request(tuple(ids), each, seat.adapter, begin, marks=kept, grammar=grammar) for each in drawn]


def call_grammar(seat: Seat, tools: Sequence[dict[str, Any]]) -> Grammar | None:
    """What holds a call to the parameters of its tool; None where they cannot be followed while it is written."""
    try:
        return seat.loop.grammars.call(tools)
    except Problem as problem:
        log.warning("a call is forced, and its arguments are not: %s", problem)
        return None


def forced(tools: Sequence[dict[str, Any]], native: bool, template: str, held: bool) -> str:
    """What the reply is made to begin with, so that it is a call; less of it where a grammar holds the rest.

    Raises Refusal for templates of another form.
    """
    if native and OPEN not in template:
        raise bad("This model marks its calls in a form that cannot be forced. Use tool_choice 'auto'.", "tool_choice")
    if len(tools) == 1:
        return f'{OPEN}\n{{"name": "{tools[0]["function"]["name"]}", "arguments":' + ("" if held else " {")
    return f'{OPEN}\n{{"name":' + ("" if held else ' "')


def looked_up(messages: Sequence[Message], passages: Passages) -> tuple[tuple[Passage, ...], str]:
    """What the documents hold on the last question, or the sentence that says that they do not. Raises Refusal."""
    last = last_question(messages)
    found = tuple(passages.search(messages[last].content, PASSAGES))
    return found, "" if found else refusal(passages.nearest(messages[last].content))


def last_question(messages: Sequence[Message]) -> int:
    """Where the last message of the person stands. Raises Refusal where there is none."""
    last = max((i for i, m in enumerate(messages) if m.role == "user"), default=None)
    if last is None:
        raise bad("A question to documents needs a message of the role 'user'.", "messages")
    return last


def grounded(
    seat: Seat, asked: Conversation, found: Sequence[Passage], sampling: Sampling
) -> tuple[Conversation, tuple[Passage, ...]]:
    """The conversation with numbered passages before its last question, and the passages as the model reads them."""
    last, form = last_question(asked.messages), form_named(DEFAULT)
    question = asked.messages[last]

    def with_text(text: str) -> Conversation:
        turn = replace(question, content=text)
        return replace(asked, messages=[*asked.messages[:last], turn, *asked.messages[last + 1 :]])

    def fits(text: str) -> bool:
        try:
            rows, _ = chat_rows(seat, with_text(text), sampling, 1)
        except Refusal:
            return False
        return rows[0].sampling.max_tokens >= min(sampling.max_tokens, seat.base.context // 4)

    most = TOY_CHARACTERS if toy(asked.served.model) else None
    kept = shortened(question.content, found, form, fits, most)
    return with_text(form.write(question.content, kept)), kept


def held(seat: Seat, asked: Conversation, schema: dict[str, Any]) -> Conversation | None:
    """The conversation whose reply can only fit the schema; None where the model's tokenizer cannot be followed.

    Raises Refusal for a schema that cannot be followed.
    """
    try:
        grammar = seat.loop.grammars.reply(schema)
    except Problem as problem:
        raise bad(str(problem), "response_format") from None
    return replace(asked, messages=in_form(asked.messages, schema), grammar=grammar) if grammar else None


def in_form(messages: Sequence[Message], schema: dict[str, Any]) -> list[Message]:
    """The conversation with the schema that the reply must fit."""
    return with_system(messages, words("json").replace("{schema}", json.dumps(schema, ensure_ascii=False)))


def once_more(messages: Sequence[Message], reply: str, mistakes: Sequence[str]) -> list[Message]:
    """The conversation with a reply that does not fit, and what is wrong with it."""
    told = words("again").replace("{mistakes}", " ".join(mistakes))
    return [*messages, Message("assistant", reply), Message("user", told)]


@functools.cache
def words(name: str) -> str:
    """A text of assets/serving."""
    return (ASSETS / "serving" / f"{name}.txt").read_text(encoding="utf-8").strip()
