"""A function's JSON schema from its type hints and docstring, and arguments read strictly against it."""

from __future__ import annotations

import inspect
import json
import re
import threading
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin

import pydantic

from engine.errors import Problem

PLAIN: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}
NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")  # what OpenAI takes, less what Python does not
LONGEST = 64 * 1024  # characters of arguments; a longer text is not parsed at all
STOP = "stop"  # a keyword-only parameter of this name is the app's own: an Event that is set when time is up


class Unreadable(Exception):
    """Arguments that cannot be used, told in a sentence that a model can act on."""


def described(function: Callable[..., Any]) -> tuple[str, dict[str, Any], type[pydantic.BaseModel]]:
    """(what the function does, the JSON schema of its parameters, a strict reader of arguments).

    The docstring is Google's: a summary, then "Args:" with a line for every parameter. Raises Problem with every
    complaint when types or docstring are missing or go beyond plain JSON.
    """
    name = function.__name__
    about, told = documented(inspect.getdoc(function) or "")
    hints = typing.get_type_hints(function)
    wrong = [] if about else ["it has no docstring"]
    properties: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    for each in inspect.signature(function).parameters.values():
        if own(each, hints):
            continue
        wrong += complaints(each, hints, told)
        hint = hints.get(each.name, str)
        about_it = told.pop(each.name, "")
        required = each.default is inspect.Parameter.empty
        fields[each.name] = (hint, ... if required else each.default)
        properties[each.name] = {**(shape(hint) or {}), "description": about_it}
    wrong += [f"its docstring tells of '{extra}', which is no parameter" for extra in told]
    if not NAME.fullmatch(name):
        wrong.append("its name must be letters, digits and underscores")
    if wrong:
        raise Problem(f"The function {name} cannot be a tool: {'; '.join(wrong)}.")
    required_names = [each for each, (_, default) in fields.items() if default is ...]
    schema = {"type": "object", "properties": properties, "required": required_names}
    strict = pydantic.ConfigDict(extra="forbid", strict=True, protected_namespaces=())
    return about, schema, pydantic.create_model(name, __config__=strict, **fields)


def own(parameter: inspect.Parameter, hints: dict[str, Any]) -> bool:
    """Whether the parameter is the app's stop flag, which no model sees."""
    keyword_only = parameter.kind is inspect.Parameter.KEYWORD_ONLY
    return keyword_only and parameter.name == STOP and hints.get(STOP) in (threading.Event, threading.Event | None)


def complaints(parameter: inspect.Parameter, hints: dict[str, Any], told: dict[str, str]) -> list[str]:
    """What keeps a parameter from being one of a tool."""
    name, kinds = parameter.name, inspect.Parameter
    if parameter.kind in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD, kinds.POSITIONAL_ONLY):
        return [f"'{name}' cannot be given by name"]
    found = []
    if name not in hints:
        found.append(f"'{name}' has no type")
    elif shape(hints[name]) is None:
        found.append(f"the type of '{name}' is none of str, int, float, bool, Literal, list, dict, or one with None")
    if not told.get(name):
        found.append(f"its docstring does not tell of '{name}' under Args:")
    return found


def documented(text: str) -> tuple[str, dict[str, str]]:
    """The description and the lines under "Args:" of a docstring, by parameter."""
    summary, _, rest = text.partition("\nArgs:\n")
    body = re.split(r"\n(?=\S)", rest)[0]  # up to the next heading, which is not indented
    told: dict[str, str] = {}
    last = ""
    for line in body.splitlines():
        if found := re.match(r" {4}(\w+):\s*(.*)", line):
            last, told[found[1]] = found[1], found[2].strip()
        elif last and line.strip():
            told[last] += f" {line.strip()}"
    return " ".join(summary.split()), told


def shape(hint: Any) -> dict[str, Any] | None:
    """The JSON schema of a type; None for types that plain JSON cannot hold."""
    if hint in PLAIN:
        return {"type": PLAIN[hint]}
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal and len({type(value) for value in inner}) == 1 and type(inner[0]) in PLAIN:
        return {"type": PLAIN[type(inner[0])], "enum": list(inner)}
    if origin in (Union, types.UnionType):
        rest = [each for each in inner if each is not types.NoneType]
        return shape(rest[0]) if len(rest) == 1 else None
    if origin is list and (items := shape(inner[0])):
        return {"type": "array", "items": items}
    if origin is dict and inner[0] is str and (values := shape(inner[1])):
        return {"type": "object", "additionalProperties": values}
    return None


def read_object(text: str) -> dict[str, Any]:
    """A model's arguments as an object; "" counts as {}, and nothing is repaired. Raises Unreadable."""
    if not text.strip():
        return {}
    if len(text) > LONGEST:
        raise Unreadable(f"The arguments are longer than {LONGEST:,} characters. Nothing was run.")
    try:
        found = json.loads(text, object_pairs_hook=once_each, parse_constant=no_constant)
    except RecursionError:
        raise Unreadable("The arguments are nested too deeply. Nothing was run.") from None
    except ValueError as error:
        raise Unreadable(f"The arguments are not valid JSON ({error}). Nothing was run.") from None
    if not isinstance(found, dict):
        raise Unreadable("The arguments must be one JSON object. Nothing was run.")
    return found


def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object none of whose names comes twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice in one object")
    return found


def no_constant(name: str) -> None:
    """NaN and Infinity, which Python reads and JSON does not know."""
    raise ValueError(f"{name} is not JSON")


def checked(reader: type[pydantic.BaseModel], given: dict[str, Any]) -> dict[str, Any]:
    """The arguments by parameter, those left out with their defaults. Raises Unreadable with every complaint."""
    try:
        made = reader.model_validate(given)
    except pydantic.ValidationError as error:
        told = [complaint(one, list(reader.model_fields)) for one in error.errors(include_url=False)]
        raise Unreadable(f"{' '.join(told)} Nothing was run.") from None
    return {name: getattr(made, name) for name in reader.model_fields}


def complaint(error: Any, known: list[str]) -> str:
    """One finding of pydantic as a sentence."""
    place = ".".join(map(str, error["loc"]))
    if error["type"] == "missing":
        return f"The argument '{place}' is missing."
    if error["type"] == "extra_forbidden":
        return f"There is no argument '{place}'; the arguments are: {', '.join(known) or 'none'}."
    return f"The argument '{place}' is wrong: {error['msg'][:1].lower()}{error['msg'][1:]}."
