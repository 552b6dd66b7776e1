"""How likely a prompt is and what the model expected instead, against transformers' own logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
import torch

from engine.catalog import Model
from engine.decode import DecodeLoop
from engine.messages import Piece, Scores
from engine.reading import SCORED_AT_ONCE
from engine.respond import Event
from tests.engine.rows import TOKENIZER, VOCABULARY, greedy, network, request, run, tokens
from tests.engine.served import HELLO, Stand, real_stand


@pytest.fixture(scope="module")
def tiny_stand(tiny: Path) -> Iterator[Stand]:
    with real_stand(Model("tiny", str(tiny))) as made:
        yield made


def expected(model: Any, ids: Sequence[int]) -> torch.Tensor:
    """Log probabilities [tokens, vocabulary] at each place of a prompt, as transformers computes them."""
    with torch.inference_mode():
        return model(torch.tensor([list(ids)])).logits[0].float().log_softmax(-1)


def scores(events: Sequence[Event | Exception]) -> Scores:
    return next(event for event in events if isinstance(event, Scores))


@pytest.mark.parametrize("kind", ["Llama", "GPT2"])
def test_a_prompt_is_scored_as_transformers_scores_it_among_rows_that_are_not(kind: str) -> None:
    model = network(kind)
    ids = torch.randint(7, VOCABULARY, (400,), generator=torch.Generator().manual_seed(3)).tolist()
    others = [request(ids[:60], max_tokens=40), request(ids[:33], max_tokens=40)]
    asked = [others[0], replace(request(ids, max_tokens=3), likeliest=4, score=True), others[1]]
    asked += [replace(request(ids[:1], max_tokens=2), likeliest=2, score=True)]
    loop = DecodeLoop(model, TOKENIZER, 512)
    loop.stop_tokens = frozenset()
    events = run(loop, asked)
    loop.close()
    right = expected(model, ids)
    found = scores(events[1])
    assert found.logprobs == pytest.approx([right[i, ids[i + 1]].item() for i in range(399)], abs=1e-3)
    values, best = right[:-1].topk(4)
    assert [[id for id, _ in place] for place in found.likeliest] == best.tolist()
    assert [chance for place in found.likeliest for _, chance in place] == pytest.approx(
        values.flatten().tolist(), abs=1e-3
    )
    assert scores(events[3]) == Scores((), ()), "nothing stands before a first token"
    for i in (0, 2):
        assert tokens(events[i]) == greedy(model, asked[i].ids, 40)
        assert not any(isinstance(event, Scores) for event in events[i])


def test_a_prompt_is_scored_anew_though_its_beginning_is_known() -> None:
    loop = DecodeLoop(network(), TOKENIZER, 512)
    ids = list(range(10, 110))
    first, again = (
        scores(run(loop, [replace(request(ids, max_tokens=1), likeliest=1, score=True)])[0]) for _ in range(2)
    )
    loop.close()
    assert len(again.logprobs) == 99 and again == first


def test_many_prompts_that_are_scored_share_one_pass_worth_of_logits() -> None:
    loop = DecodeLoop(network(), TOKENIZER, 512)
    sizes = []
    read = loop.passes.read

    def noted(pieces: Any) -> torch.Tensor:
        sizes.append(sum(count for prompt, count in pieces if prompt.scored))
        return read(pieces)

    loop.passes.read = noted
    asked = [replace(request(range(10 + i, 130 + i), max_tokens=1), score=True) for i in range(6)]
    events: list[list] = [[] for _ in asked]
    for row in loop.submit(asked, [one.append for one in events]):
        assert row.over.wait(60)
    loop.close()
    assert max(sizes) <= SCORED_AT_ONCE and sum(sizes) == 6 * 120
    assert all(len(scores(one).logprobs) == 119 for one in events)


def test_the_likeliest_tokens_of_a_reply_begin_with_the_greedy_one() -> None:
    loop = DecodeLoop(network(), TOKENIZER, 512)
    loop.stop_tokens = frozenset()
    events = run(loop, [replace(request(range(10, 40), max_tokens=12), likeliest=3)])[0]
    loop.close()
    pieces = [event for event in events if isinstance(event, Piece)]
    drawn = [(id, chance) for piece in pieces for id, chance in zip(piece.token_ids, piece.logprobs, strict=True)]
    likely = [place for piece in pieces for place in piece.likeliest]
    assert len(drawn) == len(likely) == 12 and [place[0] for place in likely] == drawn
    assert all(len(place) == 3 and place[0][1] >= place[1][1] >= place[2][1] for place in likely)


def test_the_openai_client_gets_the_prompt_back_with_its_log_probabilities(tiny_stand: Stand, tiny: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    completions = tiny_stand.client().completions
    tokenizer, model = AutoTokenizer.from_pretrained(tiny), AutoModelForCausalLM.from_pretrained(tiny)
    text = "The cat sat on the mat. What is a tail?"
    ids = tokenizer(text)["input_ids"]
    right = expected(model, ids)
    for prompt in (text, ids, [ids]):
        choice = completions.create(
            model="tiny", prompt=prompt, echo=True, logprobs=2, max_tokens=1, temperature=0
        ).choices[0]
        told = choice.logprobs
        assert choice.text.startswith(text) and told.token_logprobs[0] is None and told.top_logprobs[0] is None
        assert len(told.tokens) == len(ids) + 1, "the prompt's tokens and one more, even where it ends the reply"
        assert told.token_logprobs[1 : len(ids)] == pytest.approx(
            [right[i, ids[i + 1]].item() for i in range(len(ids) - 1)], abs=1e-3
        )
        assert told.text_offset[:3] == [0, len(told.tokens[0]), len(told.tokens[0]) + len(told.tokens[1])]
        for word, chance, others in list(zip(told.tokens, told.token_logprobs, told.top_logprobs, strict=True))[1:]:
            assert others[word] == chance and max(others.values()) >= chance
    alone = completions.create(model="tiny", prompt=text, echo=True, logprobs=0, max_tokens=0)
    assert alone.choices[0].text == text and alone.usage.completion_tokens == 0
    assert len(alone.choices[0].logprobs.tokens) == len(ids) and alone.choices[0].logprobs.top_logprobs is None
    plain = completions.create(model="tiny", prompt=text, echo=True, max_tokens=4, temperature=0)
    assert plain.choices[0].text.startswith(text) and plain.choices[0].logprobs is None
    streamed = list(completions.create(model="tiny", prompt=text, echo=True, max_tokens=4, temperature=0, stream=True))
    assert "".join(chunk.choices[0].text for chunk in streamed) == plain.choices[0].text


def test_a_chat_tells_the_likeliest_tokens_too(tiny_stand: Stand) -> None:
    chat = tiny_stand.client().chat.completions
    ask: dict[str, Any] = {"model": "tiny", "messages": HELLO, "max_tokens": 5, "temperature": 0, "logprobs": True}
    found = chat.create(**ask, top_logprobs=3).choices[0].logprobs.content
    assert found and all(len(one.top_logprobs) == 3 for one in found)
    assert all((one.token, one.logprob) == (one.top_logprobs[0].token, one.top_logprobs[0].logprob) for one in found)
    for change in ({"top_logprobs": 21}, {"top_logprobs": 3, "logprobs": False}):
        with pytest.raises(openai.BadRequestError, match="top_logprobs"):
            chat.create(**ask | change)
    with pytest.raises(openai.BadRequestError, match="max_tokens 0"):
        tiny_stand.client().completions.create(model="tiny", prompt="x", max_tokens=0)
