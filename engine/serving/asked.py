"""Request bodies as OpenAI's API defines them, read strictly; what this server cannot do is refused, not ignored."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from engine.messages import Sampling
from engine.serving.parts import Body, Format, NamedTool, StreamOptions, ToolOffer, Turn

MOST_CHOICES = 16  # rows of one request
MOST_LIKELIEST = 20  # of the likeliest tokens at a place
COLDEST = 1e-4  # below this temperature, dividing by it overflows; greedy is what it means
DEFAULT_TOKENS = 512  # of a chat reply that names no limit; OpenAI's own default for completions is 16
TokenIds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class Drawing(Body):
    """The fields that chats and raw completions share. top_k, repetition_penalty and style are no part of OpenAI's."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(None, ge=1, le=MOST_CHOICES)
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    max_tokens: int | None = Field(None, ge=1)
    stop: str | list[str] | None = None
    seed: int | None = None
    frequency_penalty: float | None = Field(None, ge=0, le=0)
    presence_penalty: float | None = Field(None, ge=0, le=0)
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None
    user: str | None = None

    @property
    def usage_wanted(self) -> bool:
        """Whether a stream ends with its token counts."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def sampling(self, most: int) -> Sampling:
        """How the reply is drawn; without a seed every request draws its own. Values are OpenAI's defaults."""
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        default = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}
        values = default | {name: getattr(self, name) for name in default if getattr(self, name) is not None}
        if 0 < values["temperature"] < COLDEST:
            values["temperature"] = 0.0
        seed = secrets.randbits(62) if self.seed is None else self.seed % 2**63
        return Sampling(**values, max_tokens=most, stop=stop, seed=seed)


class ChatRequest(Drawing):
    """The body of /v1/chat/completions."""

    messages: list[Turn] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    tools: list[ToolOffer] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: Format | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MOST_LIKELIEST)
    style: str | None = None
    modalities: list[Literal["text"]] | None = None
    # taken, and without effect here
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: str | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None

    @model_validator(mode="after")
    def whole(self) -> Self:
        """A choice of tools needs the tools, and likeliest tokens need log probabilities."""
        names = [tool.function.name for tool in self.tools or ()]
        if len(set(names)) < len(names):
            raise ValueError("Two tools have the same name.")
        if isinstance(self.tool_choice, NamedTool) and self.tool_choice.function.name not in names:
            raise ValueError(f"tool_choice names '{self.tool_choice.function.name[:64]}', which is none of the tools.")
        if self.tool_choice == "required" and not names:
            raise ValueError("tool_choice 'required' needs tools.")
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true.")
        return self

    @property
    def offered(self) -> list[dict[str, Any]]:
        """The tools that the model is shown: those that it may call."""
        if self.tool_choice == "none":
            return []
        named = self.tool_choice.function.name if isinstance(self.tool_choice, NamedTool) else None
        return [tool.spec() for tool in self.tools or () if named in (None, tool.function.name)]

    @property
    def call_needed(self) -> bool:
        """Whether the reply must be a call."""
        return self.tool_choice == "required" or isinstance(self.tool_choice, NamedTool)

    @property
    def limit(self) -> int:
        """The most tokens of the reply."""
        return self.max_completion_tokens or self.max_tokens or DEFAULT_TOKENS


class CompletionRequest(Drawing):
    """The body of /v1/completions: raw prompts, as text or as token ids."""

    prompt: str | list[str] | TokenIds | list[TokenIds]
    max_tokens: int | None = Field(None, ge=0)
    logprobs: int | None = Field(None, ge=0, le=MOST_LIKELIEST)
    echo: bool | None = None
    best_of: Annotated[int, Field(ge=1, le=1)] | None = None
    suffix: None = None

    @property
    def prompts(self) -> list[str | list[int]]:
        """The prompts one by one."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        ids = [each for each in self.prompt if isinstance(each, int)]
        return [ids] if ids else [each for each in self.prompt if not isinstance(each, int)]

    @model_validator(mode="after")
    def whole(self) -> Self:
        """Every prompt is a row, and so is every choice; no tokens at all are of use with the prompt alone."""
        if not 1 <= len(self.prompts) * (self.n or 1) <= MOST_ROWS_ASKED:
            raise ValueError(f"One request may ask for 1 to {MOST_ROWS_ASKED} replies (prompts times n).")
        if self.max_tokens == 0 and not self.echo:
            raise ValueError("max_tokens 0 asks for nothing. Set it to 1 or more, or set echo for the prompt itself.")
        return self

    @property
    def limit(self) -> int:
        """The most tokens of a reply; 16 where nothing is said, as in OpenAI's API; for 0, one that is not told."""
        return 16 if self.max_tokens is None else max(1, self.max_tokens)


MOST_ROWS_ASKED = 64
MOST_TEXTS = 2048  # OpenAI's own limit


class EmbeddingRequest(Body):
    """The body of /v1/embeddings."""

    model: str
    input: str | list[str] | TokenIds | list[TokenIds]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None

    @model_validator(mode="after")
    def texts_alone(self) -> Self:
        """The model here has a tokenizer of its own, so foreign token ids would mean other words."""
        given = [self.input] if isinstance(self.input, str) else self.input
        if not given or not all(isinstance(text, str) for text in given):
            raise ValueError(
                "Send texts, not token ids (in LangChain: OpenAIEmbeddings(..., check_embedding_ctx_length=False))."
            )
        if not all(given) or len(given) > MOST_TEXTS:
            raise ValueError(f"Send 1 to {MOST_TEXTS:,} texts, none of them empty.")
        return self

    @property
    def texts(self) -> list[str]:
        """The texts one by one."""
        return [self.input] if isinstance(self.input, str) else list(self.input)  # type: ignore[arg-type]
