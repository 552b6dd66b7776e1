"""The two kinds of forward pass of the decode loop, a step and the reading of prompts, in two ways to compute them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.nn.functional import scaled_dot_product_attention

from engine import fused
from engine.adapters import Adapter
from engine.cache import Kept, RowCache
from engine.lean import Attention, Heads, LeanForward, Rotary
from engine.reading import Prompt
from engine.stacked import AdapterBatch

if TYPE_CHECKING:
    from engine.rows import Row

Piece = tuple[Prompt, int]  # a prompt and how many of its next tokens to read


class Passes(Protocol):
    """How a network is computed."""

    def step(self, rows: Sequence[Row], cache: RowCache) -> torch.Tensor:
        """Logits [rows, vocabulary], float32, after each row's last token; the cache grows by it."""
        ...

    def start(self, prompt: Prompt, kept: Kept, tokens: int) -> None:
        """Make a prompt ready to be read after its first `tokens` tokens, which `kept` begins with."""
        ...

    def read(self, pieces: Sequence[Piece]) -> torch.Tensor:
        """Read on; logits [prompts that are through, vocabulary], float32, each of its last token."""
        ...


class LeanPasses:
    """Passes of a LeanForward: tokens of all prompts lie in one list, without padding."""

    def __init__(self, lean: LeanForward, stored: torch.dtype | None):
        self.lean, self.dtype = lean, stored or lean.dtype

    def step(self, rows: Sequence[Row], cache: RowCache) -> torch.Tensor:
        """See Passes."""
        device = self.lean.device
        self.lean.adapters.use([row.request.adapter for row in rows])
        ids = torch.tensor([row.last for row in rows], device=device)
        positions = torch.tensor(cache.rows.lengths, device=device)
        mask = cache.open()
        bias = None
        if cache.padded():
            bias = torch.zeros(mask.shape, dtype=self.dtype, device=device)
            bias = bias.masked_fill_(mask.to(device) == 0, float("-inf"))
        attend = StepAttention(cache, bias, self.lean.scale, self.dtype)
        logits = self.lean(ids, positions, attend, torch.arange(len(rows)))
        cache.grown(1)
        return logits

    def start(self, prompt: Prompt, kept: Kept, tokens: int) -> None:
        """See Passes."""
        shape = (len(self.lean.blocks), 2, self.lean.groups, len(prompt.ids), self.lean.size)
        room = torch.empty(shape, dtype=self.dtype, device=self.lean.device)
        prompt.kept = [(layer[0], layer[1]) for layer in room]
        for mine, theirs in zip(prompt.kept, kept, strict=False):
            for to, source in zip(mine, theirs, strict=True):
                to[:, :tokens] = source[:, :tokens]

    def read(self, pieces: Sequence[Piece]) -> torch.Tensor:
        """See Passes."""
        device = self.lean.device
        self.lean.adapters.use([prompt.adapter for prompt, count in pieces for _ in range(count)])
        spans = [(prompt.done, prompt.done + count) for prompt, count in pieces]
        ids = [token for (prompt, _), span in zip(pieces, spans, strict=True) for token in prompt.ids[slice(*span)]]
        positions = [place for span in spans for place in range(*span)]
        ends = torch.tensor([count for _, count in pieces]).cumsum(0).tolist()
        wanted = [place for (end, piece) in zip(ends, pieces, strict=True) for place in range(end - due(*piece), end)]
        last = torch.tensor(wanted, dtype=torch.long)
        attend = ReadingAttention([prompt for prompt, _ in pieces], spans, self.lean, self.dtype)
        found = self.lean(torch.tensor(ids, device=device), torch.tensor(positions, device=device), attend, last)
        found = scored(found, pieces)
        for prompt, count in pieces:
            prompt.done += count
        return found


def due(prompt: Prompt, count: int) -> int:
    """Of how many of its next tokens a prompt needs the logits: all if it is scored, else the last if it is through."""
    return count if prompt.scored else int(count == prompt.left)


def scored(logits: torch.Tensor, pieces: Sequence[Piece]) -> torch.Tensor:
    """Of the logits that are `due`, hand prompts that are scored theirs; what is left are those of last tokens."""
    if not any(prompt.scored for prompt, _ in pieces):
        return logits
    last = []
    for (prompt, count), part in zip(pieces, logits.split([due(*piece) for piece in pieces]), strict=True):
        if prompt.scored:
            prompt.score(part)
        if count == prompt.left:
            last.append(part[-1])
    return torch.stack(last) if last else logits[:0]


class StepAttention(Attention):
    """Each row's one query attends to its columns of the cache; `bias` [rows, columns] is -inf where a row has none.

    On a processor plain batched products are faster for several rows than PyTorch's fused attention, and, other than
    its, a row's come out the same to the last bit whatever the number of rows and threads.
    """

    def __init__(self, cache: RowCache, bias: torch.Tensor | None, scale: float, dtype: torch.dtype):
        self.layers, self.rows, self.scale, self.dtype = cache.row_layers(), cache.rows, scale, dtype
        self.bias = bias
        self.of_groups: torch.Tensor | None = None

    def __call__(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        (count, groups), (start, end) = key.shape[:2], (self.rows.start, self.rows.end)
        buffers = self.layers[layer].buffers
        for buffer, states in zip(buffers, (key, value), strict=True):
            buffer[:count, :, end] = states
        grouped = query.to(self.dtype).view(count, groups, -1, key.shape[2])  # queries of one key head together
        keys, values = (buffer[:count, :, start : end + 1] for buffer in buffers)
        bias = None if self.bias is None else self.bias[:, None, None]
        return scaled_dot_product_attention(grouped, keys, values, bias, scale=self.scale).reshape(count, -1)

    def joined(self, layer: int, qkv: torch.Tensor, heads: Heads, table: Rotary) -> torch.Tensor:
        """See Attention."""
        if qkv.device.type != "cpu" or self.dtype != torch.float32:
            return super().joined(layer, qkv, heads, table)
        place = *self.layers[layer].buffers, self.rows.start, self.rows.end
        look = heads.count, heads.norms, heads.epsilon, *table
        return fused.step(qkv.float(), *look, *place, self._bias(heads.groups), self.scale)

    def _bias(self, groups: int) -> torch.Tensor:
        """The bias of each row's key heads [rows x groups, 1, columns]; made at the first layer."""
        if self.of_groups is None:
            zero = torch.zeros(1, 1, 1, dtype=self.dtype)
            self.of_groups = zero if self.bias is None else self.bias.repeat_interleave(groups, 0)[:, None]
        return self.of_groups


class ReadingAttention(Attention):
    """Each prompt's piece attends to all of the prompt up to itself."""

    def __init__(self, prompts: Sequence[Prompt], spans: Sequence[tuple[int, int]], lean: LeanForward, dtype: Any):
        self.prompts, self.spans, self.scale, self.dtype = prompts, spans, lean.scale, dtype
        self.alike = len(set(spans)) == 1 and spans[0][0] == 0
        self.masks = [
            None if not start else torch.ones(end - start, end, dtype=torch.bool, device=lean.device).tril(start)
            for start, end in spans
        ]

    def __call__(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        counts = [end - start for start, end in self.spans]
        # [heads, tokens, size], so that a prompt's tokens lie in one row
        query, key, value = (states.to(self.dtype).transpose(0, 1) for states in (query, key, value))
        for prompt, span, k, v in zip(
            self.prompts, self.spans, key.split(counts, 1), value.split(counts, 1), strict=True
        ):
            for kept, states in zip(prompt.kept[layer], (k, v), strict=True):
                kept[:, slice(*span)] = states
        if self.alike:
            q, k, v = (states.unflatten(1, (len(counts), -1)).transpose(0, 1) for states in (query, key, value))
            out = scaled_dot_product_attention(q, k, v, is_causal=True, scale=self.scale, enable_gqa=True)
            return out.transpose(1, 2).flatten(0, 1).flatten(1)
        found = [self._one(i, layer, part) for i, part in enumerate(query.split(counts, 1))]
        return torch.cat(found).flatten(1)

    def _one(self, i: int, layer: int, query: torch.Tensor) -> torch.Tensor:
        """One prompt's piece: [tokens, heads, size]."""
        mask, end = self.masks[i], self.spans[i][1]
        keys, values = (kept[None, :, :end] for kept in self.prompts[i].kept[layer])
        out = scaled_dot_product_attention(
            query[None], keys, values, mask, is_causal=mask is None, scale=self.scale, enable_gqa=True
        )
        return out[0].transpose(0, 1)


class PlainPasses:
    """Passes of transformers' own forward, for every architecture; prompts that begin together are padded."""

    def __init__(self, network: Any, adapters: AdapterBatch | None, stored: torch.dtype | None):
        self.network, self.adapters, self.stored = network, adapters, stored
        self.accepted = set(inspect.signature(plain(network).forward).parameters)

    def step(self, rows: Sequence[Row], cache: RowCache) -> torch.Tensor:
        """See Passes."""
        self._use([row.request.adapter for row in rows])
        ids = torch.tensor([[row.last] for row in rows])
        positions = torch.tensor(cache.rows.lengths)[:, None]
        mask = cache.open()
        logits = self.forward(ids, mask if cache.padded() else None, positions, cache)
        cache.grown(1)
        return logits

    def start(self, prompt: Prompt, kept: Kept, tokens: int) -> None:
        """See Passes."""
        if tokens:
            prompt.cache = RowCache(self.stored)
            prompt.cache.take([[(keys[:, :tokens], values[:, :tokens]) for keys, values in kept]])

    def read(self, pieces: Sequence[Piece]) -> torch.Tensor:
        """See Passes."""
        if len(pieces) > 1 and all(not (p.done or p.scored) and count == p.left for p, count in pieces):
            return self._together([prompt for prompt, _ in pieces])
        found = [self._piece(prompt, count) for prompt, count in pieces]
        return torch.cat([logits for logits in found if logits is not None] or [torch.empty(0, 0)])

    def _together(self, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Whole prompts in one pass."""
        self._use([prompt.adapter for prompt in prompts])
        ids, mask, positions = left_padded([prompt.ids for prompt in prompts])
        cache = RowCache(self.stored)
        cache.prepare(mask)
        logits = self.forward(ids, None if bool(mask.all()) else mask, positions, cache)
        cache.grown(ids.shape[1])
        for i, prompt in enumerate(prompts):
            prompt.done, prompt.kept = len(prompt.ids), cache.row(i)
        return logits

    def _piece(self, prompt: Prompt, count: int) -> torch.Tensor | None:
        """A part of one prompt; logits [1, vocabulary] if it is through."""
        self._use([prompt.adapter])
        cache = prompt.cache
        if cache is None:
            cache = prompt.cache = RowCache(self.stored)
            cache.begin()
        cache.open(count)
        ids = torch.tensor([prompt.ids[prompt.done : prompt.done + count]])
        places = torch.arange(prompt.done, prompt.done + count)[None]
        logits = self.forward(ids, None, places, cache, count if prompt.scored else 1)
        logits = scored(logits.reshape(-1, logits.shape[-1]), [(prompt, count)])
        cache.grown(count)
        prompt.done, prompt.kept = prompt.done + count, cache.row(0)
        return None if prompt.left else logits

    def _use(self, adapters: Sequence[Adapter | None]) -> None:
        if self.adapters is not None:
            self.adapters.use(adapters)

    def forward(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor | None,
        positions: torch.Tensor,
        cache: RowCache | None,
        last: int = 1,
    ) -> torch.Tensor:
        """Logits [rows, vocabulary] of the last position, in float32; [rows, last, vocabulary] of several."""
        device = self.network.device
        inputs = {
            "input_ids": ids.to(device),
            "attention_mask": None if mask is None else mask.to(device),
            "position_ids": positions.to(device),
            "logits_to_keep": last,
        }
        inputs = {name: value for name, value in inputs.items() if name in self.accepted}
        output = self.network(past_key_values=cache, use_cache=cache is not None, **inputs)
        return (output.logits[:, -1] if last == 1 else output.logits[:, -last:]).float()

    def without_adapter(self, ids: Sequence[int]) -> torch.Tensor:
        """First-step logits [vocabulary] of the base inside a PEFT model."""
        with self.network.disable_adapter():
            return self.forward(torch.tensor([ids]), None, torch.arange(len(ids))[None], None)[0]


def plain(network: Any) -> Any:
    """The transformers model inside a PEFT wrapper, or the model itself."""
    return network.get_base_model() if hasattr(network, "get_base_model") else network


def left_padded(prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(ids, mask, positions), each [rows, longest], with padding on the left."""
    width = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    return ids, mask, (mask.cumsum(-1) - 1).clamp(min=0)
