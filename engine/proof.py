"""The proof that a tuned lane differs from its base: first-step logits of both, for the same prompt."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch

from engine.reading import Prompt
from engine.rows import Row

MOST = 16  # prompts whose logits are kept


class References:
    """The base's first-step logits of the last prompts."""

    def __init__(self) -> None:
        self._logits: OrderedDict[tuple[int, ...], torch.Tensor] = OrderedDict()

    def missing(self, joining: Sequence[Row]) -> list[Prompt]:
        """Prompts to be read by the base only to be compared with, once for each that rows ask about."""
        asking = [row for row in joining if row.request.prove]
        known = {row.request.ids for row in joining if row.request.adapter is None} | self._logits.keys()
        asked = dict.fromkeys(row.request.ids for row in asking if row.request.ids not in known)
        return [Prompt(ids, None, None, [row for row in asking if row.request.ids == ids]) for ids in asked]

    def keep(self, ids: tuple[int, ...], logits: torch.Tensor) -> None:
        """Note the base's logits [vocabulary] for a prompt."""
        self._logits[ids] = logits.clone()
        self._logits.move_to_end(ids)
        if len(self._logits) > MOST:
            self._logits.popitem(last=False)

    def difference(self, ids: tuple[int, ...], logits: torch.Tensor, compute: Callable[[], torch.Tensor]) -> float:
        """The largest difference of `logits` from the base's, which are computed if they are not known."""
        if ids not in self._logits:
            self.keep(ids, compute())
        reference = self._logits[ids]
        shared = min(len(reference), len(logits))
        return (logits[:shared] - reference[:shared]).abs().max().item()
