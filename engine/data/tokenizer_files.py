"""A model's tokenizer from its files on this machine, for looking only: no torch, no weights, no network.

transformers' own tokenizers write and count what a model reads in the end (engine.local); they bring torch along.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from engine.catalog import Model
from engine.errors import Problem

SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
Find = Callable[[str], Path | None]  # the path of a file of the model, by its name


class FileTokenizer:
    """The tokenizer in a tokenizer.json, with the chat template beside it. See engine.prompts.Tokenizer."""

    def __init__(self, find: Find) -> None:
        from tokenizers import Tokenizer

        self._tokens = Tokenizer.from_file(str(find("tokenizer.json")))
        self._tokens.no_truncation()
        self._tokens.no_padding()
        config = read_object(find("tokenizer_config.json"))
        self.special = special_tokens(config, read_object(find("special_tokens_map.json")))
        self.chat_template = template(config, find("chat_template.jinja"))

    def apply_chat_template(self, conversation: Sequence[dict[str, Any]], **options: Any) -> str:
        """The conversation as the template writes it. Raises Problem where the template refuses it."""
        from jinja2 import TemplateError

        given = {"tools": options.get("tools"), "add_generation_prompt": options.get("add_generation_prompt", False)}
        given |= {"messages": conversation, "documents": None, **self.special}
        try:
            return compiled(self.chat_template or "").render(given)
        except TemplateError as error:
            raise Problem(f"The model's chat template refuses this conversation: {error}") from error

    def count(self, text: str, special: bool) -> int:
        """How many tokens a text has; with `special` those count that the tokenizer itself puts around it."""
        return len(self._tokens.encode(text, add_special_tokens=special).ids)


def tokenizer_here(model: Model) -> FileTokenizer | None:
    """The tokenizer of a model in a folder or in the Hub's cache; None where no tokenizer.json of it is here.

    None, too, for an adapter with a tokenizer of its own: which of the two counts shows once the adapter is loaded.
    Raises Problem where a file is damaged.
    """
    if model.endpoint or (model.adapter and (model.adapter / "tokenizer.json").is_file()):
        return None
    path = found(model.base, model.revision, "tokenizer.json")
    return kept(model.base, model.revision, path.stat().st_mtime_ns) if path else None


@functools.lru_cache(maxsize=4)
def kept(base: str, revision: str | None, changed: int) -> FileTokenizer:
    """A tokenizer, read again only when its file has `changed`, in nanoseconds since 1970. Raises Problem."""
    try:
        return FileTokenizer(functools.partial(found, base, revision))
    except Exception as error:  # the tokenizers library raises nothing more special
        raise Problem(f"The tokenizer of {base} cannot be read ({error}). Get its files again.") from error


def found(base: str, revision: str | None, name: str) -> Path | None:
    """A file of a folder, or of a Hub id that was fetched before; None where it is not on this machine."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if Path(base).is_dir():
        path = Path(base) / name
        return path if path.is_file() else None
    try:
        cached = try_to_load_from_cache(base, name, revision=revision)
    except HFValidationError:  # a folder that is gone
        return None
    return Path(cached) if isinstance(cached, str) else None


def read_object(path: Path | None) -> dict[str, Any]:
    """The JSON object in a file; empty where there is no such file."""
    read = json.loads(path.read_text(encoding="utf-8")) if path else {}
    return read if isinstance(read, dict) else {}


def special_tokens(*files: dict[str, Any]) -> dict[str, str]:
    """What templates know by the names in SPECIAL, from the first file that tells it, as text or as {"content"}."""
    told: dict[str, str] = {}
    for name, file in ((name, file) for name in SPECIAL for file in files):
        value = file.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str):
            told.setdefault(name, text)
    return told


def template(config: dict[str, Any], path: Path | None) -> str | None:
    """The chat template: a file of its own, else in tokenizer_config.json, there one text or a list of named ones."""
    if path:
        return path.read_text(encoding="utf-8")
    told = config.get("chat_template")
    if isinstance(told, list):
        told = {each.get("name"): each.get("template") for each in told}.get("default")
    return told if isinstance(told, str) else None


@functools.lru_cache(maxsize=8)
def compiled(text: str) -> Any:
    """A chat template, in the sandbox and with the names that transformers gives it (utils/chat_template_utils.py)."""
    from jinja2.ext import Extension, loopcontrols
    from jinja2.nodes import Node
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """{% generation %} marks what an assistant says; the text is not changed by it."""

        tags = {"generation"}  # noqa: RUF012 - jinja2's own way

        def parse(self, parser: Parser) -> list[Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    made.filters["tojson"] = as_json
    made.globals |= {"raise_exception": refuse, "strftime_now": lambda form: datetime.now().strftime(form)}
    return made.from_string(text)


def as_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    """A value as JSON; jinja2's own filter would write marks of HTML in another way."""
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def refuse(message: str) -> None:
    """What a template calls for a conversation that its model was not made for."""
    from jinja2 import TemplateError

    raise TemplateError(message)
