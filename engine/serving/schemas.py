"""JSON schemas of callers: checked before use, held to a size, and never a reason to fetch or to hang."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import referencing
import regex
from jsonschema import Draft202012Validator, ValidationError, validators
from referencing.jsonschema import DRAFT202012

from engine.acting.schema import no_constant, once_each

LARGEST = 64 * 1024  # characters of a schema
MOST_REFERENCES = 10_000  # followed in one check
PATTERN_SECONDS = 0.2  # for one pattern on one value; a caller's pattern may take forever


def complaint(schema: dict[str, Any]) -> str | None:
    """What is wrong with a schema, as a clause; None when it can be used."""
    try:
        text = json.dumps(schema)
        if len(text) > LARGEST:
            return f"it is longer than {LARGEST:,} characters"
        if any(not ref.startswith("#") for ref in references(schema)):
            return "a $ref leads out of the schema, and nothing is fetched here"
        if '"patternProperties"' in text:
            return "patternProperties is not supported"
        Draft202012Validator.check_schema(schema)
        resolver = referencing.Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver("")
        for ref in references(schema):
            resolver.lookup(ref)
    except jsonschema.SchemaError as error:
        return f"at {'.'.join(map(str, error.absolute_path)) or 'its root'}, {error.message[:300]}"
    except referencing.exceptions.Unresolvable as error:
        return f"the $ref '{str(error.ref)[:100]}' leads nowhere"
    except RecursionError:
        return "it is nested too deeply"
    return None


def references(value: Any) -> Iterator[str]:
    """Every $ref and $dynamicRef in a schema."""
    if isinstance(value, dict):
        yield from (each for key, each in value.items() if key in ("$ref", "$dynamicRef") and isinstance(each, str))
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def object_of(text: str) -> str:
    """The JSON in a reply: what stands in a Markdown fence if there is one, else all of it."""
    fence = re.fullmatch(r"\s*```(?:json)?\s*(.*?)\s*```\s*", text, re.DOTALL)
    return fence[1] if fence else text.strip()


def mistakes(text: str, schema: dict[str, Any]) -> list[str]:
    """What keeps a reply from fitting a schema, in sentences that a model can act on; empty when it fits."""
    try:
        value = json.loads(text, object_pairs_hook=once_each, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        return [f"It is not valid JSON: {error}."]
    found = []
    try:
        for wrong in checker(schema).iter_errors(value):
            place = ".".join(map(str, wrong.absolute_path))
            found.append(f"At '{place}': {wrong.message[:200]}." if place else f"{wrong.message[:200]}.")
            if len(found) == 5:
                break
    except (RecursionError, referencing.exceptions.Unresolvable) as error:
        found.append(f"The schema cannot be followed: {str(error)[:200]}.")
    return found


def fits_pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[ValidationError]:
    """The keyword `pattern`, ended when it takes too long."""
    if not isinstance(value, str):
        return
    try:
        if not regex.search(pattern, value, timeout=PATTERN_SECONDS):
            yield ValidationError(f"{value[:80]!r} does not match {pattern[:80]!r}")
    except TimeoutError:
        yield ValidationError(f"the pattern {pattern[:80]!r} takes too long")
    except regex.error:
        yield ValidationError(f"the pattern {pattern[:80]!r} is no regular expression")


def checker(schema: dict[str, Any]) -> Any:
    """A validator that follows so many references and no more: few can stand for very many steps."""
    left = MOST_REFERENCES

    def counted(follow: Any) -> Any:
        def reference(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
            nonlocal left
            left -= 1
            if left < 0:
                raise RecursionError("its references lead on and on")
            yield from follow(validator, value, instance, schema)

        return reference

    known = Draft202012Validator.VALIDATORS
    own = {"pattern": fits_pattern} | {name: counted(known[name]) for name in ("$ref", "$dynamicRef")}
    return validators.extend(Draft202012Validator, own)(schema, registry=referencing.Registry())
