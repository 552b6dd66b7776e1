"""What travels between a person, a page and a model: messages, sampling and the events of one reply."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]
Reason = Literal["stop", "length", "stopped", "tool_calls", "content_filter"]


def encodable(text: str) -> str:
    """The text with halves of surrogate pairs, which no UTF-8 and no tokenizer can hold, turned into "?"."""
    return text.encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True)
class ToolCall:
    """A model's wish to run a tool; `arguments` is the JSON text exactly as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class ToolResult:
    """What the tool with call id `id` answered in so many seconds.

    `error` says that `content` tells of a failure; `refused` that the tool was not run because the person said no.
    """

    id: str
    name: str
    content: str
    error: bool = False
    seconds: float = 0.0
    refused: bool = False


@dataclass(frozen=True)
class Message:
    """One turn of a conversation in OpenAI's sense of the roles."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn. Temperature 0 is greedy; top_p 1 and top_k 0 switch those filters off.

    `repetition_penalty` is that of Keskar et al. 2019 (CTRL): logits of tokens already in the prompt or the
    reply are divided by it when positive and multiplied by it when negative. 1 switches it off.
    """

    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 0
    repetition_penalty: float = 1.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    seed: int = 0

    def problems(self) -> list[str]:
        """Every complaint about these values, each a sentence; empty when they can be used."""
        checks = (
            (0 <= self.temperature <= 5, "Temperature must lie between 0 (greedy) and 5."),
            (0 < self.top_p <= 1, "Top-p must be above 0 and at most 1."),
            (self.top_k >= 0, "Top-k must be 0 (off) or a positive whole number."),
            (0.1 <= self.repetition_penalty <= 10, "Repetition penalty must lie between 0.1 and 10; 1 is off."),
            (1 <= self.max_tokens <= 32_768, "The token limit must lie between 1 and 32,768."),
            (len(self.stop) <= 16 and all(self.stop), "At most 16 stop strings, none of them empty."),
            (0 <= self.seed < 2**63, "The seed must be a whole number from 0 to 2^63 - 1."),
        )
        return [sentence for fine, sentence in checks if not fine]


@dataclass(frozen=True)
class Usage:
    """Token counts of one reply; None where a server did not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True)
class Happening:
    """An event and when it came about, which is when it was made: `at` seconds of time.perf_counter.

    What is made of an event later on keeps its time. Events that differ in nothing else are equal.
    """

    at: float = field(default_factory=time.perf_counter, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True)
class Begin(Happening):
    """The request is accepted: the exact text the model reads, and how many tokens were cut from its left."""

    prompt: str
    prompt_tokens: int | None = None
    cut_tokens: int = 0


Likely = tuple[tuple[int, float], ...]  # token ids with their natural-log probabilities, the likeliest first


@dataclass(frozen=True)
class Scores(Happening):
    """How likely the prompt itself is: each of its tokens but the first, given those before it.

    `logprobs` are natural-log probabilities; `likeliest` holds for the same places the tokens the model expected.
    """

    logprobs: tuple[float, ...]
    likeliest: tuple[Likely, ...]


@dataclass(frozen=True)
class Piece(Happening):
    """The next words, with the tokens they are made of.

    Where a request asks for them, `logprobs` are the tokens' natural-log probabilities and `likeliest` the tokens that
    were most probable at each place.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    likeliest: tuple[Likely, ...] = ()


@dataclass(frozen=True)
class End(Happening):
    """The reply is over. `logit_difference`: largest |tuned - base| logit of the first step, if it was asked for."""

    reason: Reason
    usage: Usage = field(default_factory=Usage)
    logit_difference: float | None = None
