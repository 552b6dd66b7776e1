"""Checks JSON against a schema that anybody may have written: strictly, without a network, and within bounds."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from engine.errors import Problem

MOST_REFERENCES = 2_000  # followed for one answer; nested ones could otherwise take for ever
MOST_COMPLAINTS = 5  # told to the model at once
LONGEST_COMPLAINT = 240  # characters


class Unfit(Exception):
    """An answer that is not what was asked for, told in sentences that a model can act on."""


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raise Problem where the schema is none, or holds what is not followed or could take for ever."""
    import jsonschema

    try:
        jsonschema.Draft202012Validator.check_schema(schema)
        for key, value in entries(schema):
            if key in ("$ref", "$dynamicRef") and isinstance(value, str) and not value.startswith("#"):
                raise Problem("The schema refers to another document. Only references within it (#/$defs/…) are read.")
            if key == "patternProperties":
                raise Problem("The keyword patternProperties is not supported; name the properties.")
            if key == "pattern" and isinstance(value, str):
                expression(value)
    except jsonschema.SchemaError as error:
        raise Problem(f"This is not a JSON schema: {place(error.path) or 'it'}: {error.message[:200]}.") from None
    except RecursionError:
        raise Problem("The schema is nested too deeply.") from None


def entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key of every object in a JSON value, with what it holds."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield key, inner
            yield from entries(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from entries(inner)


@functools.lru_cache(64)
def expression(pattern: str) -> Any:
    """A regular expression in an engine whose time is linear: Python's own can be made to run for hours."""
    from pydantic_core import SchemaError, SchemaValidator, core_schema

    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern))
    except SchemaError:
        raise Problem(
            f"The pattern '{pattern[:80]}' in the schema cannot be used; look-arounds are not known."
        ) from None


def checked(schema: Mapping[str, Any], value: Any) -> Any:
    """The value itself, where it fits the schema. Raises Unfit with what does not."""
    from referencing.exceptions import Unresolvable

    try:
        found = sorted(validator(schema).iter_errors(value), key=lambda error: list(map(str, error.path)))
    except RecursionError:
        raise Unfit("It is nested too deeply.") from None
    except Unresolvable as error:
        raise Problem(f"The schema refers to '{str(error.ref)[:80]}', which it does not hold.") from None
    if found:
        raise Unfit(listed((place(error.path), error.message) for error in found))
    return value


def validator(schema: Mapping[str, Any]) -> Any:
    """A checker of values that follows no reference out of the schema, and only so many within it."""
    import jsonschema
    import referencing
    from pydantic import ValidationError

    base = jsonschema.Draft202012Validator
    follow, left = base.VALIDATORS["$ref"], [MOST_REFERENCES]

    def reference(checker: Any, target: str, instance: Any, inner: Any) -> Iterator[Any]:
        left[0] -= 1
        if left[0] < 0:
            raise Unfit("It is too long to be checked.")
        yield from follow(checker, target, instance, inner) or ()

    def pattern(checker: Any, text: str, instance: Any, inner: Any) -> Iterator[Any]:
        if isinstance(instance, str):
            try:
                expression(text).validate_python(instance)
            except ValidationError:
                yield jsonschema.ValidationError(f"{instance[:60]!r} does not match {text!r}")

    made = jsonschema.validators.extend(base, {"$ref": reference, "pattern": pattern})
    return made(schema, registry=referencing.Registry())


def place(path: Any) -> str:
    """Where something stands in a value, as in links.0.url."""
    return ".".join(map(str, path))


def listed(found: Any) -> str:
    """Complaints as sentences, the first few of them."""
    told = [f"{where + ': ' if where else ''}{what}"[:LONGEST_COMPLAINT].rstrip(".") + "." for where, what in found]
    more = len(told) - MOST_COMPLAINTS
    return " ".join([*told[:MOST_COMPLAINTS], *([f"And {more} more."] if more > 0 else [])])
