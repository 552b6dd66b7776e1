"""Turn a growing list of token ids into text, holding back what may still change or become a stop string."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

CONTEXT_TOKENS = 6  # tokens of the prompt decoded along, so that a leading space or a half letter comes out right


class TextStream:
    """Text of one row. `push` token ids, `flush` at the end; `stopped` turns true at a stop string.

    Token by token decoding is wrong at letters of several bytes and at spaces that a tokenizer drops at the
    start, so every step decodes a short tail twice and takes the difference. Special tokens are dropped, except
    those in `marks`.
    """

    def __init__(self, tokenizer: Any, prompt: Sequence[int], stop: Sequence[str], marks: frozenset[int] = frozenset()):
        self.tokenizer, self.stop = tokenizer, tuple(stop)
        self.dropped = frozenset(tokenizer.all_special_ids) - marks if marks else None
        self.ids = list(prompt[-CONTEXT_TOKENS:])
        self.seen, self.done = 0, len(self.ids)
        self.held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """The text that is certain now that this token has come; often empty."""
        self.ids.append(token)
        fresh = self._decoded(final=False)
        return self._released(fresh) if fresh else ""

    def flush(self) -> str:
        """What was held back, once no more tokens come."""
        text = "" if self.stopped else self._released(self._decoded(final=True)) + self.held
        self.held = ""
        return text

    def _decoded(self, final: bool) -> str:
        before = self._decode(self.ids[self.seen : self.done])
        now = self._decode(self.ids[self.seen :])
        if len(now) <= len(before) or (now.endswith("\ufffd") and not final):
            return ""
        self.seen, self.done = self.done, len(self.ids)
        return now[len(before) :]

    def _decode(self, ids: Sequence[int]) -> str:
        if self.dropped is not None:
            ids = [id for id in ids if id not in self.dropped]
        drop = self.dropped is None
        return self.tokenizer.decode(ids, skip_special_tokens=drop, clean_up_tokenization_spaces=False)

    def _released(self, fresh: str) -> str:
        """`fresh` behind what was held, less what may be the beginning of a stop string."""
        if not self.stop:
            return fresh
        text = self.held + fresh
        found = [at for at in (text.find(stop) for stop in self.stop) if at >= 0]
        if found:
            self.stopped, self.held = True, ""
            return text[: min(found)]
        keep = max(begun(text, stop) for stop in self.stop)
        self.held = text[len(text) - keep :]
        return text[: len(text) - keep]


def begun(text: str, stop: str) -> int:
    """How many characters at the end of `text` are the beginning of `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-length:]):
            return length
    return 0
