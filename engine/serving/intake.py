"""Bodies read into requests, and work that must not hold the event loop up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import pydantic

from engine.messages import Sampling
from engine.serving.asked import Drawing
from engine.serving.parts import Body
from engine.serving.refusals import bad, first_complaint, refusal_of

Asked = TypeVar("Asked", bound=Body)
Found = TypeVar("Found")


def read(kind: type[Asked], body: bytes) -> Asked:
    """The body as a request. Raises Refusal naming the first field that is wrong."""
    try:
        return kind.model_validate_json(body)
    except pydantic.ValidationError as error:
        raise first_complaint(error) from None


def checked(asked: Drawing, limit: int) -> Sampling:
    """How the reply is drawn. Raises Refusal with every complaint."""
    sampling = asked.sampling(limit)
    if wrong := sampling.problems():
        raise bad(" ".join(wrong))
    return sampling


async def in_thread(function: Callable[..., Found], *arguments: Any) -> Found:
    """A function that blocks or computes, beside the event loop; a Problem of its own is the request's fault."""
    try:
        return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)
    except Exception as error:
        raise refusal_of(error, status=400) from error
