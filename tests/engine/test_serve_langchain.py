"""The server through LangChain: chat, streams, an agent with a tool, forms, embeddings."""

from __future__ import annotations

import pytest
from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from engine import embed
from tests.engine.served import Stand, stand
from tests.engine.test_serve import CALL


def model(server: Stand, **options) -> ChatOpenAI:
    return ChatOpenAI(base_url=server.url, api_key="none", model="scripted", max_retries=0, **options)


def test_langchain_chats_and_streams():
    with stand() as server:
        llm = model(server, temperature=0, seed=3, stream_usage=True)
        reply = llm.invoke([("system", "Be brief."), ("user", "Hello")])
        chunks = list(llm.stream("Hello"))
        assert server.pool.loop.asked[0].sampling.seed == 3
    assert reply.content == "Hello there." and reply.usage_metadata["output_tokens"] == 3
    assert "".join(chunk.content for chunk in chunks) == "Hello there."
    assert sum((chunk.usage_metadata or {}).get("output_tokens", 0) for chunk in chunks) == 3


@pytest.mark.parametrize("streaming", [False, True])
def test_an_agent_of_langchain_calls_its_tool_and_answers(streaming: bool):
    asked: list[tuple[str, str]] = []

    @tool
    def get_ticket_price(origin: str, destination: str) -> str:
        """Get the price of a return ticket to a city."""
        asked.append((origin, destination))
        return "$89"

    def answer(prompt: str):
        return ["A ticket costs ", "$89."] if "<|tool|>$89" in prompt else [CALL]

    with stand(answer) as server:
        agent = create_agent(model(server, temperature=0, streaming=streaming), [get_ticket_price])
        found = agent.invoke({"messages": [("user", "flight price from Delhi to Mumbai")]}, {"recursion_limit": 8})
    assert asked == [("Delhi", "Mumbai")] and found["messages"][-1].content == "A ticket costs $89."


class Weather(BaseModel):
    """The weather of a city."""

    city: str
    degrees: int


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_langchain_gets_a_form_filled(method: str):
    fields = '"city": "Oslo", "degrees": -3}'

    def answer(prompt: str):
        return [fields + "}</tool_call>"] if prompt.endswith("{") else ["{" + fields]  # a forced call has begun already

    with stand(answer) as server:
        found = model(server).with_structured_output(Weather, method=method).invoke("How is Oslo?")
    assert found == Weather(city="Oslo", degrees=-3)


def test_langchain_embeds_texts():
    with stand() as server:
        embeddings = OpenAIEmbeddings(
            base_url=server.url, api_key="none", model=embed.NAME, check_embedding_ctx_length=False
        )
        found = embeddings.embed_query("A cat sat on the mat.")
    assert found == pytest.approx(embed.embed(["A cat sat on the mat."])[0].tolist(), abs=1e-5)
