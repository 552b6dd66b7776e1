"""The keys and values of all rows that decode together: rows join on the right edge and leave at any step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from transformers.cache_utils import Cache, DynamicLayer

Kept = list[tuple[torch.Tensor, torch.Tensor]]  # of one row: keys and values of each layer [heads, tokens, size]
SLACK = 256  # columns of room made at a time, so that growing costs little per token


class Rows:
    """Which part of the buffers is in use: rows [0, count), columns [start, end); rows end at the right edge.

    `lengths[i]` is the number of tokens of row i; its columns are [end - lengths[i], end), the rest is padding.
    """

    def __init__(self) -> None:
        self.start = self.end = 0
        self.lengths: list[int] = []

    @property
    def width(self) -> int:
        """Columns in use."""
        return self.end - self.start


class RowLayer(DynamicLayer):
    """One layer's keys and values in buffers [rows, heads, columns, head size] that grow in place.

    Buffers start as zeros: padding is masked out of the attention, but 0 x NaN would still be NaN. They hold
    `dtype`, or what comes if it is None (see engine.attention).
    """

    def __init__(self, rows: Rows, dtype: torch.dtype | None):
        super().__init__()
        self.rows, self.stored = rows, dtype
        self.buffers: list[torch.Tensor] = []

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new columns at the right edge and return all columns in use as views."""
        rows, new = self.rows, key_states.shape[-2]
        if not self.buffers:
            shape = (*key_states.shape[:2], rows.end + new + SLACK)
            self.buffers = [
                states.new_zeros(*shape, states.shape[-1], dtype=self.stored or states.dtype)
                for states in (key_states, value_states)
            ]
            self.is_initialized = True
        count = key_states.shape[0]
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:count, :, rows.end : rows.end + new] = states
        if not rows.width:  # a prompt attends to itself alone, in its own precision
            return key_states, value_states
        keys, values = (buffer[:count, :, rows.start : rows.end + new] for buffer in self.buffers)
        return keys, values

    def get_seq_length(self) -> int:
        """Columns before the ones being computed."""
        return self.rows.width if self.buffers else 0

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of the keys that `query_length` new columns attend to."""
        return self.get_seq_length() + query_length, 0


class RowCache(Cache):
    """A transformers Cache whose rows come and go. One thread, the decode loop, owns it."""

    def __init__(self, dtype: torch.dtype | None = None) -> None:
        self.rows = Rows()
        super().__init__(layer_class_to_replicate=lambda: RowLayer(self.rows, dtype))  # type: ignore[arg-type]
        self.mask = torch.zeros(0, 0, dtype=torch.long)

    def row_layers(self) -> list[RowLayer]:
        """Its layers, by their own type."""
        return cast(list[RowLayer], self.layers)

    def prepare(self, mask: torch.Tensor) -> None:
        """Start an empty cache for a prompt batch: `mask` [rows, columns], 1 for tokens, padded on the left."""
        self.mask = torch.cat([mask, mask.new_zeros(len(mask), SLACK)], dim=1)

    def begin(self) -> None:
        """Start an empty cache for one row without padding."""
        self.rows.lengths = [0]
        self.mask = torch.zeros(1, SLACK, dtype=torch.long)

    def grown(self, columns: int) -> None:
        """Note that a forward pass has appended `columns` tokens to every row."""
        rows = self.rows
        rows.end += columns
        if not rows.lengths:
            rows.lengths = self.mask[:, rows.start : rows.end].sum(-1).tolist()
        else:
            rows.lengths = [length + columns for length in rows.lengths]

    def open(self, columns: int = 1) -> torch.Tensor:
        """The attention mask [rows, width + columns] of the next pass, after making room for its columns."""
        rows = self.rows
        if rows.end + columns > self.mask.shape[1]:
            self._move(len(rows.lengths), rows.width + SLACK + columns, rows.width)
        self.mask[: len(rows.lengths), rows.end : rows.end + columns] = 1
        return self.mask[: len(rows.lengths), rows.start : rows.end + columns]

    def row(self, i: int) -> Kept:
        """Keys and values of one row."""
        span = slice(self.rows.end - self.rows.lengths[i], self.rows.end)
        return [(keys[i, :, span], values[i, :, span]) for keys, values in (x.buffers for x in self.row_layers())]

    def take(self, prompts: Sequence[Kept]) -> None:
        """Let rows join, behind those already here, whose keys and values were computed elsewhere."""
        rows, count = self.rows, len(self.rows.lengths)
        lengths = [prompt[0][0].shape[-2] for prompt in prompts]
        width, needed = max(rows.width, *lengths), count + len(lengths)
        self._lay(prompts[0])
        if width > rows.end or needed > len(self.mask) or rows.end >= self.mask.shape[1]:
            self._move(
                needed if needed <= len(self.mask) or not count else max(needed, 2 * count), width + SLACK, width
            )
        self.mask[count:needed] = 0
        for i, (prompt, length) in enumerate(zip(prompts, lengths, strict=True), start=count):
            span = slice(rows.end - length, rows.end)
            self.mask[i, span] = 1
            for layer, kept in zip(self.row_layers(), prompt, strict=True):
                for buffer, states in zip(layer.buffers, kept, strict=True):
                    buffer[i, :, span] = states
        rows.start = rows.end - width
        rows.lengths += lengths

    def _lay(self, like: Kept) -> None:
        """Make the layers, empty, if there are none yet."""
        if not self.layers:
            for kept in like:
                layer = cast(RowLayer, self.layer_class_to_replicate())  # type: ignore[misc]
                layer.buffers = [states.new_zeros(0, states.shape[0], 0, states.shape[2]) for states in kept]
                layer.is_initialized = True
                self.layers.append(layer)

    def leave(self, row: int) -> None:
        """Drop a row: the last row takes its place, and columns that only padding used are given up."""
        rows = self.rows
        last = len(rows.lengths) - 1
        if row != last:
            self.mask[row] = self.mask[last]
            for layer in self.row_layers():
                for buffer in layer.buffers:
                    buffer[row] = buffer[last]
            rows.lengths[row] = rows.lengths[last]
        rows.lengths.pop()
        if rows.lengths:
            rows.start = rows.end - max(rows.lengths)
        else:
            self.layers.clear()
            self.rows.start = self.rows.end = 0
            self.mask = torch.zeros(0, 0, dtype=torch.long)

    def padded(self) -> bool:
        """Whether any row is shorter than the columns in use."""
        return min(self.rows.lengths) < self.rows.width

    def _move(self, capacity: int, columns: int, right: int) -> None:
        """Copy the columns in use into larger buffers so that their right edge comes to stand at `right`."""
        rows = self.rows
        count, used, target = len(rows.lengths), slice(rows.start, rows.end), slice(right - rows.width, right)
        mask = self.mask.new_zeros(capacity, columns)
        mask[:count, target] = self.mask[:count, used]
        self.mask = mask
        for layer in self.row_layers():
            moved = []
            for buffer in layer.buffers:
                new = buffer.new_zeros(capacity, buffer.shape[1], columns, buffer.shape[3])
                new[:count, :, target] = buffer[:count, :, used]
                moved.append(new)
            layer.buffers = moved
        rows.start, rows.end = target.start, target.stop
