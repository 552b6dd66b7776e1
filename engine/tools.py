"""Tools: Python functions that a model may call, each with its schema, its limits and a result a model can read."""

from __future__ import annotations

import inspect
import json
import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

import pydantic

from engine.acting.schema import STOP, Unreadable, checked, described, read_object
from engine.acting.within import Stopped, within
from engine.errors import Problem
from engine.messages import ToolCall, ToolResult

log = logging.getLogger(__name__)
SECONDS = 20.0  # for one run of a tool
RESULT_BYTES = 16 * 1024  # of a result, in UTF-8; the rest is cut
ERROR_CHARACTERS = 500  # of what an exception says


@dataclass(frozen=True)
class Tool:
    """A function that a model may call. One with a side effect runs only after the person agreed."""

    name: str
    about: str
    parameters: dict[str, Any]
    function: Callable[..., Any]
    reader: type[pydantic.BaseModel]
    side_effect: bool = False

    @classmethod
    def from_function(cls, function: Callable[..., Any], side_effect: bool = False) -> Tool:
        """The tool that a typed and documented function is; see schema.described. Raises Problem."""
        about, parameters, reader = described(function)
        return cls(function.__name__, about, parameters, function, reader, side_effect)

    @property
    def spec(self) -> dict[str, Any]:
        """The tool in the shape of OpenAI's requests and of chat templates."""
        function = {"name": self.name, "description": self.about, "parameters": self.parameters}
        return {"type": "function", "function": function}

    def read(self, text: str) -> dict[str, Any]:
        """The arguments that a model wrote. Raises Unreadable with a sentence for the model."""
        return checked(self.reader, read_object(text))

    def run(self, arguments: dict[str, Any], seconds: float = SECONDS, stop: threading.Event | None = None) -> str:
        """The result as text of at most RESULT_BYTES. Raises TimeoutError, Stopped, and what the function raises.

        A function with a keyword-only parameter `stop` is given an event that is set at any end of the waiting.
        """
        enough = threading.Event()
        if STOP not in self.parameters["properties"] and STOP in inspect.signature(self.function).parameters:
            arguments = {**arguments, STOP: enough}
        try:
            return cut(written(within(partial(self.function, **arguments), seconds, stop or threading.Event())))
        finally:
            enough.set()


def answer(
    call: ToolCall, tool: Tool | None, known: Collection[str], seconds: float, stop: threading.Event
) -> ToolResult:
    """Read the arguments and run the tool; whatever goes wrong becomes a result that says so. Never raises."""
    began = time.monotonic()

    def result(content: str, error: bool) -> ToolResult:
        return ToolResult(call.id, call.name, cut(content), error, time.monotonic() - began)

    if tool is None:
        return result(f"Error: there is no tool named '{call.name[:64]}'. The tools are: {', '.join(known)}.", True)
    try:
        return result(tool.run(tool.read(call.arguments), seconds, stop), False)
    except Unreadable as error:
        return result(f"Error: {error}", True)
    except TimeoutError:
        return result(f"Error: {call.name} did not answer within {seconds:g} seconds and was given up.", True)
    except Stopped:
        return result("Error: the person stopped this tool.", True)
    except Problem as problem:
        return result(f"Error: {problem}", True)
    except BaseException as error:
        log.warning("the tool %s failed", call.name, exc_info=error)
        return result(f"Error: {call.name} failed: {type(error).__name__}: {str(error)[:ERROR_CHARACTERS]}", True)


def written(value: Any) -> str:
    """What a tool returned as text: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def cut(text: str) -> str:
    """The text within RESULT_BYTES of UTF-8, with a note where something is missing."""
    data = text.encode("utf-8", "replace")
    if len(data) <= RESULT_BYTES:
        return data.decode("utf-8")
    note = f"\n[cut here: the whole result has {len(data):,} bytes]"
    return data[: RESULT_BYTES - len(note)].decode("utf-8", "ignore") + note
