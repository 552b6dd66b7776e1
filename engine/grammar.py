"""JSON schemas as grammars: which tokens may come next, so that a reply can only become JSON of its schema.

The library is llguidance (github.com/guidance-ai/llguidance): it keeps a tokenizer's vocabulary as a trie and walks
it along with a parser of the schema, in microseconds a step. It is imported with the first schema.
"""

from __future__ import annotations

import json
import logging
import math
import re
import threading
from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from engine.acting.shape_check import entries
from engine.acting.tool_text import CLOSE
from engine.errors import Problem

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

log = logging.getLogger(__name__)
# between two signs of JSON: a space, or a new line with its indent, as llama.cpp has it. JSON itself allows any run
# of blanks, and a small model would fill its whole reply with them.
OPTIONS = {"whitespace_pattern": r"\x20|\x0A[\x20\x09]{0,20}", "lenient": False, "coerce_one_of": False}
# an eighth to a half of llguidance's own: what a schema of a stranger may take (a mask 15 ms, a lexer 60 MB)
LIMITS: dict[str, Any] = {"initial_lexer_fuel": 200_000, "step_lexer_fuel": 100_000, "step_max_items": 20_000}
LIMITS |= {"max_lexer_states": 30_000, "max_grammar_size": 200_000}
END = "}\n"  # of a call, before its closing mark
MOST_MULTIPLES = 20_000  # states for multipleOf: so many stand for each divisor, and their product for several
SPELLING = '{"Name": [1.5, true, "a b"]}'  # what a tokenizer must give back sign by sign
BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
OPEN_OR_SHUT = np.where(BITS, np.float32(0), np.float32(-np.inf))  # [byte, bit] -> 0 or -inf
UNWRAPPED = "This model could not be held to the schema while it wrote, only checked afterwards: {}."
UNKNOWN = "Models here cannot be held to this schema: {}. Change that part of it, or leave it out."


class Grammars:
    """The grammars of one tokenizer, whose trie is built with the first and kept. `ends` are the stop tokens."""

    def __init__(self, tokenizer: Any, ends: Collection[int]):
        self.tokenizer, self.ends = tokenizer, sorted(ends)
        self.problem: str | None = None  # why there are none, in a sentence; known after the first was asked for
        self._trie: LLTokenizer | None = None
        self._lock = threading.Lock()

    def reply(self, schema: dict[str, Any]) -> Grammar | None:
        """That of a JSON value; None where the tokenizer cannot be followed. Raises Problem for such a schema."""
        return self._made({"json_schema": guided(schema)}, schema)

    def call(self, tools: Sequence[dict[str, Any]]) -> Grammar | None:
        """That of a call of one of the tools, as it stands behind an opening mark; else like `reply`.

        What is written already is {"name": and, of a single tool, also the name and "arguments":.
        """
        functions = [tool["function"] for tool in tools]
        rules = [f"arguments_{i}: %json {json.dumps(guided(one['parameters']))}" for i, one in enumerate(functions)]
        heads = ["/ ?/"] if len(functions) == 1 else [named(one["name"]) for one in functions]
        ways = " | ".join(f"{head} arguments_{i}" for i, head in enumerate(heads))
        lark = "\n".join([f"start: ({ways}) {quoted(END)} {self._close()}", *rules])
        return self._made({"lark_grammar": lark}, [one["parameters"] for one in functions])

    def _close(self) -> str:
        """The mark that ends a call, in Lark: by its id where the tokenizer holds it as a token of its own."""
        own, trie = self.tokenizer.get_vocab().get(CLOSE), self._wrapped()
        return f"<[{own}]>" if own is not None and trie and trie.is_special_token(own) else quoted(CLOSE)

    def _made(self, grammar: dict[str, Any], written: Any) -> Grammar | None:
        trie = self._wrapped()
        if trie is None:
            return None
        from llguidance import LLMatcher, LLParserLimits

        if multiples(written) > MOST_MULTIPLES:
            raise Problem(UNKNOWN.format("its multipleOf is too large"))
        try:
            text = json.dumps({"grammars": [grammar]})
            matcher = LLMatcher(trie, text, log_level=0, limits=LLParserLimits(**LIMITS, verbose_errors=False))
        except ValueError as error:  # nested deeper than the library reads
            raise Problem(UNKNOWN.format(told(first_line(error)))) from None
        matcher.compute_bitmask()  # the first takes the longest, and shows what can never be written
        if matcher.is_error():
            raise Problem(UNKNOWN.format(told(first_line(matcher.get_error()))))
        return Grammar(matcher)

    def _wrapped(self) -> LLTokenizer | None:
        """The trie; None where the tokenizer does not spell text out of its tokens."""
        with self._lock:
            if self._trie is None and self.problem is None:
                try:
                    self._trie = wrapped(self.tokenizer, self.ends)
                except Exception as error:  # the library knows many kinds of tokenizer and fails at others in many ways
                    self.problem = UNWRAPPED.format(first_line(error))
                    log.warning(self.problem)
            return self._trie


class Grammar:
    """A grammar ready to be followed, by any number of rows at once."""

    def __init__(self, matcher: LLMatcher):
        self._matcher = matcher

    def begin(self) -> Held:
        """A reply's place in it, at its start."""
        return Held(self._matcher.deep_copy())


class Held:
    """One reply's place in its grammar."""

    def __init__(self, matcher: LLMatcher):
        self._matcher = matcher

    def mask(self) -> torch.Tensor:
        """0 for the tokens that may come next and -inf for all others [the tokenizer's vocabulary], float32."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        return torch.from_numpy(OPEN_OR_SHUT.take(bits, axis=0).reshape(-1))

    def take(self, token: int) -> bool:
        """Go on by the token that was drawn; false where the grammar could not be followed to here."""
        if self._matcher.consume_token(token):
            return True
        log.warning("a reply left its schema: %s", first_line(self._matcher.get_error()))
        return False

    @property
    def complete(self) -> bool:
        """Whether nothing can come any more."""
        return self._matcher.is_stopped()


def wrapped(tokenizer: Any, ends: Sequence[int]) -> LLTokenizer:
    """The vocabulary as a trie of bytes. Raises ValueError where that is not how the tokenizer spells."""
    from llguidance.hf import from_tokenizer

    size = len(tokenizer)
    trie = from_tokenizer(tokenizer, eos_token=[end for end in ends if end < size] or None)
    spelt = trie.decode_str(tokenizer(SPELLING, add_special_tokens=False)["input_ids"]).strip()
    if spelt != SPELLING:
        raise ValueError(f"it spells {SPELLING} as {spelt[:40]}")
    return trie


def guided(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with this house's options, whatever others it came with."""
    return {**schema, "x-guidance": OPTIONS}


def named(name: str) -> str:
    """The head of a call, as a Lark string."""
    return "/ ?/ " + quoted(f'"{name}", "arguments": ')


def quoted(text: str) -> str:
    """A text as a Lark string."""
    return json.dumps(text)


def multiples(written: Any) -> int:
    """How many states the multipleOf of a schema may take together: several can meet in one number."""
    found = {value for key, value in entries(written) if key == "multipleOf" and isinstance(value, int | float)}
    return math.prod(int(scaled(Decimal(str(value)))) or 1 for value in found)


def scaled(value: Decimal) -> Decimal:
    """A number without its decimal point: 0.25 as 25."""
    return value.scaleb(max(0, -int(value.as_tuple().exponent)))


def told(complaint: str) -> str:
    """A complaint of the library about a schema, as a clause."""
    if found := re.match(r"Unimplemented keys: \[(.*)\]", complaint):
        return f"it uses {found[1].replace(chr(34), '')}"
    kinds = {"oneOf": "the cases of its oneOf overlap (anyOf may)", "NoExtension": "nothing that fits can be written"}
    return next((clause for start, clause in kinds.items() if complaint.startswith(start)), complaint)


def first_line(error: object) -> str:
    """The first line of a complaint of the library."""
    return str(error).strip().split("\n")[0][:200].rstrip(".: ")
