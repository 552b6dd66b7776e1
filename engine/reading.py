"""Prompts on their way into the decode loop: read in pieces, so that a long one does not hold up rows that stream.

What two prompts for the same adapter have in common at their beginning is computed once: keys and values are taken
from a prompt being read or from the last ones that were (`Prefixes`).
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from engine.cache import Kept, RowCache
from engine.messages import Likely, Scores
from engine.sample import likeliest, log_totals

if TYPE_CHECKING:
    from engine.adapters import Adapter
    from engine.rows import Row

SCORED_AT_ONCE = 256  # tokens of prompts that are scored in one pass: each has the logits of a whole vocabulary
WORTH_SHARING = 16  # tokens of a common beginning from which it is copied instead of computed
KEPT_BYTES = 128 * 2**20  # of keys and values of prompts that have been read


class Prompt:
    """One prompt being read: `done` of its tokens are, their keys and values in `kept`.

    Without a row it is read for its logits alone: the base's, to which those of `askers` are compared. `cache` is
    the place of `kept` where transformers computes it; `born` is the loop's turn in which it came. One that is
    `scored` is read from its first token, and its passes hand the logits of every token to `score`.
    """

    def __init__(self, ids: tuple[int, ...], adapter: Adapter | None, row: Row | None, askers: Sequence[Row] = ()):
        self.born = 0
        self.ids, self.adapter, self.row, self.askers = ids, adapter, row, tuple(askers)
        self.done = 0
        self.kept: Kept = []
        self.cache: RowCache | None = None
        self.scored = bool(row and row.request.score)
        self._logprobs: list[float] = []
        self._likeliest: list[Likely] = []

    def score(self, logits: torch.Tensor) -> None:
        """Take the logits [tokens, vocabulary], float32, that its next tokens were read with; the last says nothing."""
        told = list(self.ids[self.done + 1 : self.done + 1 + len(logits)])
        logits = logits[: len(told)]
        if not told:
            return
        chosen = logits.gather(-1, torch.tensor(told, device=logits.device)[:, None])[:, 0] - log_totals(logits)
        self._logprobs += chosen.tolist()
        self._likeliest += likeliest(logits, self.row.request.likeliest) if self.row else []

    @property
    def scores(self) -> Scores:
        """What `score` found, once the prompt is through."""
        return Scores(tuple(self._logprobs), tuple(self._likeliest))

    @property
    def left(self) -> int:
        """Tokens not read yet."""
        return len(self.ids) - self.done

    @property
    def unwanted(self) -> bool:
        """Whether nobody waits for it any more."""
        return all(row.stopping or row.over.is_set() for row in ((self.row,) if self.row else self.askers))


class Prefixes:
    """Keys and values of the last prompts, so that another that begins alike need not compute them again."""

    def __init__(self, most_bytes: int = KEPT_BYTES):
        self.most_bytes, self.bytes = most_bytes, 0
        self._prompts: OrderedDict[tuple[int, tuple[int, ...]], Prompt] = OrderedDict()

    def keep(self, prompt: Prompt) -> None:
        """Remember a prompt that has been read; the least recently used are forgotten."""
        key = (id(prompt.adapter), prompt.ids)  # the prompt holds its adapter, so the id stays its own
        size = weight(prompt.kept)
        if len(prompt.ids) < WORTH_SHARING or size > self.most_bytes or key in self._prompts:
            return
        self._prompts[key] = prompt
        self.bytes += size
        while self.bytes > self.most_bytes:
            self.bytes -= weight(self._prompts.popitem(last=False)[1].kept)

    def best(self, prompt: Prompt) -> tuple[int, Prompt | None]:
        """How many first tokens of `prompt` are known, and from which prompt; the last is never, its logits are due."""
        found = [(common(prompt, one), key) for key, one in self._prompts.items()]
        most, key = max(found, key=lambda pair: pair[0], default=(0, None))
        if key is None or most < WORTH_SHARING:
            return 0, None
        self._prompts.move_to_end(key)
        return most, self._prompts[key]


def common(prompt: Prompt, other: Prompt) -> int:
    """How many tokens of `prompt`, its last not counted, `other` begins with; 0 if their adapters differ."""
    if prompt.adapter is not other.adapter:
        return 0
    most = min(len(prompt.ids) - 1, len(other.ids))
    if prompt.ids[:most] == other.ids[:most]:
        return most
    return next(i for i in range(most) if prompt.ids[i] != other.ids[i])


def weight(kept: Kept) -> int:
    """Bytes of a prompt's keys and values."""
    return sum(keys.nbytes + values.nbytes for keys, values in kept)


class Queue:
    """Prompts in the order in which they came; `pieces()` says which to read on with."""

    def __init__(self, start: Callable[[Prompt, Kept, int], None]):
        self.start = start  # makes a prompt ready: with so many first tokens of another's keys and values
        self.prompts: list[Prompt] = []
        self.prefixes = Prefixes()

    def pieces(self, tokens: int) -> list[tuple[Prompt, int]]:
        """Prompts and how many tokens of each to read next, `tokens` in all at most.

        The shortest come first, but a quarter is the oldest's, so that it cannot be overtaken for ever. A prompt
        that begins like one before it in the queue waits until that beginning has been read.
        """
        found: dict[Prompt, int] = {}
        scored = SCORED_AT_ONCE
        order = sorted(self.prompts, key=lambda prompt: len(prompt.ids))
        for prompt, most in [(self.prompts[0], tokens // 4), *((prompt, tokens) for prompt in order)]:
            count = min(prompt.left - found.get(prompt, 0), most, tokens)
            if prompt.scored:
                count = min(count, scored)
            if count > 0 and (prompt.done or prompt in found or self._started(prompt)):
                count = min(count, prompt.left)
                found[prompt] = found.get(prompt, 0) + count
                tokens -= count
                scored -= count if prompt.scored else 0
        return list(found.items())

    def _started(self, prompt: Prompt) -> bool:
        """Take over what is known of the prompt's beginning; false if more of it will be known soon."""
        if prompt.scored:
            self.start(prompt, [], 0)
            return True
        known, source = self.prefixes.best(prompt)
        for earlier in itertools.takewhile(lambda one: one is not prompt, self.prompts):
            alike = common(prompt, earlier)
            if alike >= WORTH_SHARING and alike > known:
                if earlier.done < alike:
                    return False
                known, source = alike, earlier
        self.start(prompt, source.kept if source else [], known)
        prompt.done = known
        return True

    def finished(self, prompt: Prompt) -> None:
        """A prompt has been read."""
        self.prompts.remove(prompt)
        self.prefixes.keep(prompt)
