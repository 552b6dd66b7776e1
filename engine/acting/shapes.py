"""What an answer in JSON must look like: a JSON schema or a pydantic model, checked strictly and within bounds."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from engine.acting.schema import no_constant, once_each
from engine.acting.shape_check import Unfit, check_schema, checked, listed, place
from engine.acting.tool_json import json_end
from engine.errors import Problem
from engine.settings import ASSETS

FOLDER = ASSETS / "shapes"
ENDING = ".schema.json"
MOST_BYTES = 32 * 1024  # of a schema
# what OpenAI's strict mode takes (platform.openai.com/docs/guides/structured-outputs), by keyword
STRICT = frozenset(
    {
        *("type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "$ref", "$defs"),
        *("title", "description", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minItems", "maxItems", "pattern", "format"),
    }
)


@dataclass(frozen=True)
class Shape:
    """The form of an answer: a name, a JSON schema, and what turns JSON into the value. `read` raises Unfit.

    `narrowed` is the schema with limits that the prompt need not tell, for models that can be held to one.
    """

    name: str
    schema: dict[str, Any]
    read: Callable[[Any], Any]
    narrowed: dict[str, Any] | None = None

    @property
    def strict(self) -> bool:
        """Whether OpenAI's strict mode takes the schema: every object closed, every name in it required."""
        return is_strict(self.narrowed or self.schema)

    @property
    def response_format(self) -> dict[str, Any]:
        """The schema as the parameter response_format of OpenAI's chat completions."""
        form = {"name": self.name, "schema": self.narrowed or self.schema, "strict": self.strict}
        return {"type": "json_schema", "json_schema": form}


def shape_of(asked: type[pydantic.BaseModel] | Mapping[str, Any] | str, name: str = "answer") -> Shape:
    """The shape that a pydantic model, a JSON schema, or the text of one describes. Raises Problem."""
    if isinstance(asked, type):
        return from_model(asked)
    schema = written(asked) if isinstance(asked, str) else dict(asked)
    check_schema(schema)
    return Shape(named(schema.get("title"), name), schema, functools.partial(checked, schema))


def from_model(model: type[pydantic.BaseModel]) -> Shape:
    """The shape of a pydantic model; its objects are closed, so that servers can hold a model to it."""

    def read(value: Any) -> pydantic.BaseModel:
        try:
            return model.model_validate_json(json.dumps(value), strict=True)
        except pydantic.ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            raise Unfit(listed((place(one["loc"]), one["msg"]) for one in found)) from None

    return Shape(named(model.__name__, "answer"), closed(model.model_json_schema()), read)


def closed(schema: Any) -> Any:
    """The schema with every object that lists its names closed to others."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    if isinstance(made.get("properties"), dict) and made.get("type") == "object":
        made.setdefault("additionalProperties", False)
    return made


def is_strict(schema: Any) -> bool:
    """Whether a schema keeps to what strict modes know."""
    if not isinstance(schema, dict):
        return True
    if not set(schema) <= STRICT:
        return False
    inner = [schema.get("items"), schema.get("additionalProperties"), *schema.get("anyOf", ())]
    inner += [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
    if schema.get("type") == "object" or "properties" in schema:
        names = set(schema.get("properties", {}))
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != names:
            return False
    return all(map(is_strict, inner))


def named(title: Any, default: str) -> str:
    """A name that servers take: letters, digits, "_" and "-", at most 64."""
    text = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_-") else "_" for sign in str(title or ""))
    return text.strip("_")[:64] or default


def written(text: str) -> dict[str, Any]:
    """The JSON schema in a text. Raises Problem."""
    if len(text.encode("utf-8", "replace")) > MOST_BYTES:
        raise Problem(f"The schema is longer than {MOST_BYTES // 1024} KiB; make it shorter.")
    try:
        found = json.loads(text, object_pairs_hook=once_each, parse_constant=no_constant)
    except RecursionError:
        raise Problem("The schema is nested too deeply.") from None
    except ValueError as error:
        raise Problem(f"The schema is not valid JSON: {error}.") from None
    if not isinstance(found, dict):
        raise Problem('The schema must be a JSON object, such as {"type": "object", "properties": {…}}.')
    return found


def json_in(text: str) -> Any:
    """The JSON value in a reply: all of it, or what a fence holds, or from its first bracket on. Raises Unfit.

    A thought before it is passed over. Nothing is repaired: what is cut off or wrong is told.
    """
    said = text.rpartition("</think>")[2].strip()
    starts = [at for at in (said.find("{"), said.find("[")) if at >= 0]
    if not starts:
        raise Unfit("There is no JSON in the answer.")
    end = json_end(said, min(starts))
    if end is None:
        raise Unfit("The JSON does not come to its end; it was cut off, or a bracket is missing.")
    try:
        return json.loads(said[min(starts) : end], object_pairs_hook=once_each, parse_constant=no_constant)
    except RecursionError:
        raise Unfit("The JSON is nested too deeply.") from None
    except ValueError as error:
        raise Unfit(f"The JSON is not valid: {error}.") from None


@functools.cache
def shapes() -> dict[str, tuple[Shape, str]]:
    """(shape, a text to try it with) by name, of every NAME.schema.json in assets/shapes and NAME.txt beside it."""
    found = {}
    for path in sorted(FOLDER.glob(f"*{ENDING}")):
        name = path.name.removesuffix(ENDING)
        example = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").strip()
        found[name] = (shape_of(path.read_text(encoding="utf-8"), name), example)
    return found


def shape_named(name: str) -> Shape:
    """The shape of that name, or that of the file with a JSON schema. Raises Problem."""
    if name in shapes():
        return shapes()[name][0]
    path = Path(name).expanduser()
    if not path.is_file():
        raise Problem(f"There is no shape '{name}', and no such file. The shapes are: {', '.join(shapes())}.")
    return shape_of(path.read_text(encoding="utf-8", errors="replace"), path.stem)
