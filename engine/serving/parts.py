"""The parts that request bodies are made of, read strictly: messages, tools, forms."""

from __future__ import annotations

from typing import Any, Literal, Self

import pydantic
from pydantic import Field, model_validator

from engine.messages import Message, ToolCall

TOOL_NAME = r"^[a-zA-Z0-9_-]{1,64}$"


class Body(pydantic.BaseModel):
    """A part of a request. Types are not converted, and unknown names are errors."""

    # built when first needed: the page need not wait for it
    model_config = pydantic.ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=(), defer_build=True
    )


class Said(Body):
    """A part of what was said before. Clients send our replies back with fields of their own, which are let be."""

    model_config = pydantic.ConfigDict(extra="ignore")


class Part(Said):
    """A piece of a message; this server reads text alone."""

    type: Literal["text"]
    text: str


class CalledFunction(Said):
    """What a model wrote earlier."""

    name: str
    arguments: str


class Called(Said):
    """A tool call of an earlier reply."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class Turn(Said):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    tool_calls: list[Called] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    refusal: str | None = None

    @model_validator(mode="after")
    def whole(self) -> Self:
        """Refuse what cannot stand in a prompt."""
        if self.content is None and not (self.role == "assistant" and (self.tool_calls or self.refusal)):
            raise ValueError(f"a message of the role '{self.role}' needs content")
        if self.role == "tool" and not self.tool_call_id:
            raise ValueError("a message of the role 'tool' needs the tool_call_id that it answers")
        return self

    def message(self) -> Message:
        """The turn as the engine reads it."""
        text = self.content if isinstance(self.content, str) else "\n".join(p.text for p in self.content or ())
        calls = tuple(ToolCall(c.id, c.function.name, c.function.arguments) for c in self.tool_calls or ())
        role = "system" if self.role == "developer" else self.role
        return Message(role, text, calls, self.tool_call_id if role == "tool" else None)


class Function(Body):
    """A tool's name, what it is for, and the JSON schema of its parameters."""

    name: str = Field(pattern=TOOL_NAME)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    @model_validator(mode="after")
    def fine(self) -> Self:
        """Check the schema before a model has to read it."""
        from engine.serving.schemas import complaint

        if self.parameters is not None and (wrong := complaint(self.parameters)):
            raise ValueError(f"the parameters of '{self.name}' are no JSON schema: {wrong}")
        return self


class ToolOffer(Body):
    """A tool that the model may call."""

    type: Literal["function"]
    function: Function

    def spec(self) -> dict[str, Any]:
        """The tool as chat templates read it."""
        nothing: dict[str, Any] = {"type": "object", "properties": {}}
        about, parameters = self.function.description or "", self.function.parameters or nothing
        return {
            "type": "function",
            "function": {"name": self.function.name, "description": about, "parameters": parameters},
        }


class NamedFunction(Body):
    """The name of a tool."""

    name: str


class NamedTool(Body):
    """The one tool that must be called."""

    type: Literal["function"]
    function: NamedFunction


class Shape(Body):
    """The JSON schema that a reply must fit."""

    name: str = Field(pattern=TOOL_NAME)
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None

    @model_validator(mode="after")
    def fine(self) -> Self:
        """Check the schema before a model has to follow it."""
        from engine.serving.schemas import complaint

        if self.schema_ is not None and (wrong := complaint(self.schema_)):
            raise ValueError(f"it is no JSON schema: {wrong}")
        return self


class Format(Body):
    """What form the reply is to have."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: Shape | None = None

    @model_validator(mode="after")
    def whole(self) -> Self:
        """A schema stands where its type says so."""
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema belongs to the type 'json_schema', and must be there")
        return self

    @property
    def schema_(self) -> dict[str, Any] | None:
        """The schema to hold the reply to; None for plain text."""
        if self.type == "text":
            return None
        return (self.json_schema.schema_ if self.json_schema else None) or {"type": "object"}


class StreamOptions(Body):
    """What a stream sends along."""

    include_usage: bool = False
    include_obfuscation: bool | None = None
