"""The server through the openai SDK: chats, streams, tools, forms, raw prompts, embeddings, documents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import openai
import pytest
from pydantic import BaseModel

from engine import embed
from engine.catalog import Model
from engine.respond import Passage
from tests.engine.served import HELLO, MODEL, PRICE, Stand, real_stand, stand

CALL = '<tool_call>{"name": "get_ticket_price", "arguments": {"origin": "Delhi", "destination": "Mumbai"}}</tool_call>'
QUESTION = [{"role": "user", "content": "flight price from Delhi to Mumbai"}]


class Weather(BaseModel):
    """A form for a reply."""

    city: str
    degrees: int
    sky: Literal["clear", "cloudy"]


RIGHT = '{"city": "Oslo", "degrees": -3, "sky": "clear"}'


@pytest.fixture(scope="module")
def tiny_stand(tiny: Path) -> Iterator[Stand]:
    with real_stand(Model("tiny", str(tiny))) as made:
        yield made


def test_a_chat_is_answered_whole():
    with stand() as server:
        reply = server.client().chat.completions.create(model="scripted", messages=HELLO)
        asked = server.pool.loop.asked[0]
    assert reply.choices[0].message.content == "Hello there." and reply.choices[0].finish_reason == "stop"
    assert reply.usage and (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (len(asked.ids), 3)
    assert (
        reply.model == "scripted" and reply.object == "chat.completion" and reply.choices[0].message.role == "assistant"
    )
    assert (asked.sampling.temperature, asked.sampling.top_p, asked.sampling.max_tokens) == (1.0, 1.0, 512)
    assert asked.begin.prompt == "<|user|>Hello<|end|><|assistant|>"


def test_a_stream_holds_the_same_words_and_counts_only_when_asked():
    with stand() as server:
        chat = server.client().chat.completions
        chunks = list(chat.create(model="scripted", messages=HELLO, stream=True))
        counted = list(
            chat.create(model="scripted", messages=HELLO, stream=True, stream_options={"include_usage": True})
        )
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Hello there."
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[-1].choices[0].finish_reason == "stop"
    assert len({c.id for c in chunks}) == 1 and all(c.usage is None for c in chunks)
    assert not counted[-1].choices and counted[-1].usage and counted[-1].usage.completion_tokens == 3


def test_sampling_reaches_the_row_and_every_choice_has_a_seed_of_its_own():
    with stand() as server:
        server.client().chat.completions.create(
            model="scripted", messages=HELLO, n=3, seed=7, temperature=0.3, top_p=0.5, stop=["a", "b"],
            max_completion_tokens=9, extra_body={"top_k": 4, "repetition_penalty": 1.5},
        )  # fmt: skip
        rows = server.pool.loop.asked
    assert [row.sampling.seed for row in rows] == [7, 8, 9]
    sampling = rows[0].sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.repetition_penalty) == (0.3, 0.5, 4, 1.5)
    assert sampling.stop == ("a", "b") and sampling.max_tokens == 9


def test_roles_and_parts_reach_the_prompt():
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "two"}]},
    ]
    with stand() as server:
        server.client().chat.completions.create(model="scripted", messages=messages)
        assert (
            server.pool.loop.asked[0].begin.prompt == "<|system|>Be brief.<|end|><|user|>One\ntwo<|end|><|assistant|>"
        )


def test_n_choices_stream_side_by_side():
    with stand() as server:
        chunks = list(server.client().chat.completions.create(model="scripted", messages=HELLO, n=2, stream=True))
    for number in (0, 1):
        mine = [c.choices[0] for c in chunks if c.choices[0].index == number]
        assert "".join(c.delta.content or "" for c in mine) == "Hello there." and mine[-1].finish_reason == "stop"


@pytest.mark.parametrize("stream", [False, True])
def test_tools_make_a_round_trip(stream: bool):
    def answer(prompt: str):
        return ["It costs ", "$89."] if "<|tool|>$89" in prompt else ["Let me see. ", CALL[:30], CALL[30:]]

    with stand(answer) as server:
        chat = server.client().chat.completions
        if stream:
            with chat.stream(model="scripted", messages=QUESTION, tools=[PRICE]) as events:
                reply = events.get_final_completion()
        else:
            reply = chat.create(model="scripted", messages=QUESTION, tools=[PRICE])
        message = reply.choices[0].message
        call = message.tool_calls[0]
        assert reply.choices[0].finish_reason == "tool_calls" and (message.content or "").strip() == "Let me see."
        assert call.function.name == "get_ticket_price" and call.id.startswith("call_")
        assert json.loads(call.function.arguments) == {"origin": "Delhi", "destination": "Mumbai"}
        result = {"role": "tool", "tool_call_id": call.id, "content": "$89"}
        final = chat.create(model="scripted", messages=[*QUESTION, message, result], tools=[PRICE])
    assert (
        final.choices[0].message.content == "It costs $89."
        and "get_ticket_price" in server.pool.loop.asked[0].begin.prompt
    )


def test_tool_choice_none_hides_the_tools_and_a_named_one_is_forced():
    with stand([' "Delhi", "destination": "Goa"}}</tool_call>']) as server:
        chat = server.client().chat.completions
        plain = chat.create(model="scripted", messages=QUESTION, tools=[PRICE], tool_choice="none")
        assert (
            not plain.choices[0].message.tool_calls and "get_ticket_price" not in server.pool.loop.asked[0].begin.prompt
        )
        named = {"type": "function", "function": {"name": "get_ticket_price"}}
        other = {"type": "function", "function": {"name": "other", "parameters": None}}
        server.pool.loop.answer = lambda prompt: ['"origin": "Delhi", "destination": "Goa"}}</tool_call>']
        reply = chat.create(model="scripted", messages=QUESTION, tools=[PRICE, other], tool_choice=named)
        assert server.pool.loop.asked[1].begin.prompt.endswith(
            '<tool_call>\n{"name": "get_ticket_price", "arguments": {'
        )
        assert "other" not in server.pool.loop.asked[1].begin.prompt.split("Write")[0]
        assert json.loads(reply.choices[0].message.tool_calls[0].function.arguments)["destination"] == "Goa"
        server.pool.loop.answer = lambda prompt: ['other", "arguments": {}}</tool_call>']
        reply = chat.create(model="scripted", messages=QUESTION, tools=[PRICE, other], tool_choice="required")
        assert reply.choices[0].message.tool_calls[0].function.name == "other"


def test_one_call_at_a_time_where_that_is_asked_for():
    with stand([CALL, CALL]) as server:
        chat = server.client().chat.completions
        both = chat.create(model="scripted", messages=QUESTION, tools=[PRICE])
        one = chat.create(model="scripted", messages=QUESTION, tools=[PRICE], parallel_tool_calls=False)
    assert [len(reply.choices[0].message.tool_calls) for reply in (both, one)] == [2, 1]
    assert len({call.id for call in both.choices[0].message.tool_calls}) == 2


def test_a_form_is_filled_and_read_by_the_sdk():
    with stand([f"```json\n{RIGHT}\n```"]) as server:
        reply = server.client().chat.completions.parse(model="scripted", messages=HELLO, response_format=Weather)
        assert '"sky"' in server.pool.loop.asked[0].begin.prompt, "the model was not shown the schema"
    assert reply.choices[0].message.parsed == Weather(city="Oslo", degrees=-3, sky="clear")


def test_a_reply_that_does_not_fit_is_sent_back_with_what_is_wrong():
    def answer(prompt: str):
        return [RIGHT] if "is not of type 'integer'" in prompt else [RIGHT.replace("-3", '"cold"')]

    with stand(answer) as server:
        with server.client().chat.completions.stream(
            model="scripted", messages=HELLO, response_format=Weather
        ) as events:
            reply = events.get_final_completion()
        assert len(server.pool.loop.asked) == 2
    assert reply.choices[0].message.parsed.degrees == -3


def test_a_form_that_is_never_filled_ends_as_a_refusal():
    with stand(["I would rather talk."]) as server:
        chat = server.client().chat.completions
        reply = chat.parse(model="scripted", messages=HELLO, response_format=Weather)
        assert len(server.pool.loop.asked) == 3 and reply.usage.completion_tokens == 3, "spent replies were not counted"
        plain = chat.create(model="scripted", messages=HELLO, response_format={"type": "json_object"})
    message = reply.choices[0].message
    assert message.parsed is None and message.content is None and "in 3 tries" in (message.refusal or "")
    assert "not valid JSON" in (plain.choices[0].message.refusal or "")


def test_a_form_that_is_cut_off_says_so():
    with stand(["{", '"city"', ":"]) as server, pytest.raises(openai.LengthFinishReasonError):
        server.client().chat.completions.parse(
            model="scripted", messages=HELLO, response_format=Weather, max_completion_tokens=2
        )


LAMP = Passage("The lamp is\nblue.", "lamp.pdf", 3, 0.8)


class Shelf:
    """A collection that knows one thing."""

    def search(self, question: str, k: int) -> list[Passage]:
        return [LAMP] if "lamp" in question else []

    def nearest(self, question: str) -> Passage:
        return LAMP


@pytest.mark.parametrize("stream", [False, True])
def test_a_collection_is_answered_from_with_its_sources(stream: bool):
    with stand(["Blue [1]."], passages={"house": Shelf()}) as server:
        client = server.client()
        assert "scripted@house" in [model.id for model in client.models.list()]
        ask = [{"role": "user", "content": "Which colour has the lamp?"}]
        reply = client.chat.completions.create(model="scripted@house", messages=ask, stream=stream)
        first = next(iter(reply)) if stream else reply
        sources = first.model_extra["sources"]
        assert sources == [{"number": 1, "source": "lamp.pdf", "page": 3, "score": 0.8, "text": "The lamp is\nblue."}]
        prompt = server.pool.loop.asked[0].begin.prompt
        assert (
            "[1] The lamp is blue.\n\nQuestion: Which colour has the lamp?" in prompt
            and "Use only the passages below" in prompt
        )


def test_a_model_is_not_asked_where_the_documents_hold_nothing():
    with stand(passages={"house": Shelf()}) as server:
        reply = server.client().chat.completions.create(model="scripted@house", messages=HELLO)
        assert not server.pool.loop.asked and reply.model_extra["sources"] == []
        with pytest.raises(openai.NotFoundError):
            server.client().chat.completions.create(model="scripted@attic", messages=HELLO)
    assert "The documents do not say" in (reply.choices[0].message.content or "")


def test_local_models_are_listed_and_hosted_ones_are_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-somebody-elses")
    with stand() as server:
        names = [model.id for model in server.client().models.list()]
        assert server.client().models.retrieve("starter").owned_by == "diptych"
        with pytest.raises(openai.NotFoundError):
            server.client().models.retrieve("gpt-4o-mini")
    assert {"starter", "starter-shawgpt", MODEL.name, embed.NAME} <= set(names) and "gpt-4o-mini" not in names


def test_embeddings_are_the_embedders_own():
    texts = ["A cat sat on the mat.", "Stocks fell."]
    with stand() as server:
        client = server.client()
        found = client.embeddings.create(model=embed.NAME, input=texts)  # the SDK asks for base64
        plain = client.embeddings.create(model=embed.NAME, input=texts[0], encoding_format="float", dimensions=384)
        for wrong in ({"input": [[1, 2]]}, {"input": ""}, {"input": "a", "dimensions": 99}, {"input": []}):
            with pytest.raises(openai.BadRequestError):
                client.embeddings.create(model=embed.NAME, **wrong)
    right = embed.embed(texts)
    assert found.data[1].embedding == pytest.approx(right[1].tolist(), abs=1e-5) and found.usage.prompt_tokens > 8
    assert plain.data[0].embedding == pytest.approx(right[0].tolist(), abs=1e-5)


def test_a_real_model_repeats_itself_with_a_seed_whole_or_streamed(tiny_stand: Stand):
    chat = tiny_stand.client().chat.completions
    ask = {"model": "tiny", "messages": HELLO, "seed": 5, "max_tokens": 12}
    whole = chat.create(**ask, logprobs=True)
    streamed = list(chat.create(**ask, stream=True, logprobs=True))
    text = whole.choices[0].message.content
    assert text == "".join(c.choices[0].delta.content or "" for c in streamed)
    logprobs = whole.choices[0].logprobs.content
    told = [entry for c in streamed if c.choices[0].logprobs for entry in c.choices[0].logprobs.content]
    assert [e.logprob for e in told] == pytest.approx([e.logprob for e in logprobs]) and all(
        e.logprob <= 0 for e in told
    )
    assert len(logprobs) == whole.usage.completion_tokens or whole.choices[0].finish_reason == "stop"


def test_raw_prompts_go_in_as_text_or_tokens_many_at_once(tiny_stand: Stand):
    completions = tiny_stand.client().completions
    ask = {"model": "tiny", "temperature": 0, "max_tokens": 6}
    both = completions.create(prompt=["The cat", "What is"], n=2, **ask)
    assert [choice.index for choice in both.choices] == [0, 1, 2, 3]
    assert both.choices[0].text == both.choices[1].text != both.choices[2].text
    one = completions.create(prompt="The cat", logprobs=0, **ask)
    assert one.choices[0].text == both.choices[0].text
    assert "".join(one.choices[0].logprobs.tokens).strip() and len(one.choices[0].logprobs.token_logprobs) == 6
    ids = tiny_stand.pool._bases[next(iter(tiny_stand.pool.loaded()))].tokenizer("The cat")["input_ids"]
    for prompt in (ids, [ids]):
        assert completions.create(prompt=prompt, **ask).choices[0].text == one.choices[0].text
    streamed = list(completions.create(prompt="The cat", stream=True, stream_options={"include_usage": True}, **ask))
    assert "".join(c.choices[0].text for c in streamed if c.choices) == one.choices[0].text
    assert streamed[-1].usage.completion_tokens == 6 and streamed[-2].choices[0].finish_reason == "length"


def test_a_prompt_that_does_not_fit_is_refused_and_the_rest_is_left_to_the_reply(tiny_stand: Stand):
    client = tiny_stand.client()
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="tiny", prompt=[5] * 512)
    assert caught.value.code == "context_length_exceeded" and "512 tokens" in str(caught.value)
    found = client.completions.create(model="tiny", prompt=[5] * 500, max_tokens=400, temperature=0)
    assert found.usage.completion_tokens <= 12
    with pytest.raises(openai.BadRequestError, match="token id 900"):
        client.completions.create(model="tiny", prompt=[5, 900])


def test_an_adapter_is_asked_as_it_was_taught_and_a_base_in_its_template(tiny: Path):
    from engine.serving.served import Served

    tuned = Served("a", Model("a", "b", adapter=tiny, style="shawgpt"))
    base = Served("b", Model("b", "b", style="shawgpt"))
    assert (tuned.style(True), base.style(True), base.style(False)) == ("shawgpt", "chat", "shawgpt")
    assert Served("c", Model("c", "c")).style(False) == "plain"
