"""Products with a network's own weights: layers that read the same input as one matrix, packed where that is faster.

The packed matrix (engine.layouts) takes the place of the plain one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from engine.fused import Matrix
from engine.layouts import Layout, Plain

Packer = Callable[[torch.Tensor, torch.Tensor | None, bool], Layout]  # (weight, bias, whether rows are looked up)


class Product:
    """y = x W^T (+ bias) of one linear layer, or of several that read the same input, side by side.

    The layers' weights become views of one matrix; `pack()` replaces it by another layout and empties the layers
    until `unpack()`.
    """

    def __init__(self, layers: Sequence[Any]):
        self.layers: tuple[Any, ...] = tuple(layers)  # nn.Linear
        self.sizes = [layer.out_features for layer in layers]
        if len(layers) > 1:
            share([layer.weight for layer in layers])
            if layers[0].bias is not None:
                share([layer.bias for layer in layers])
        self.bias = whole(layers[0].bias, self.sizes)
        self.layout: Layout = Plain(whole(layers[0].weight, self.sizes), self.bias)

    @property
    def matrix(self) -> Matrix:
        """See Layout."""
        return self.layout.matrix

    @property
    def packed(self) -> bool:
        """Whether the weights are in another layout than the plain one."""
        return not isinstance(self.layout, Plain)

    def pack(self, packer: Packer, looked_up: bool = False) -> None:
        """Keep the weights in another layout alone; not if rows must be looked up in it and cannot be."""
        packed = packer(self.layout.plain(), self.bias, looked_up)
        if looked_up and packed.rows(torch.zeros(1, dtype=torch.long)) is None:
            return
        self.layout = packed
        for layer in self.layers:
            layer.weight.data = layer.weight.new_empty(0)

    def unpack(self) -> None:
        """Give the layers their plain weights back."""
        if self.packed:
            weight = self.layout.plain()
            self.layout = Plain(weight, self.bias)
            for layer, part in zip(self.layers, weight.split(self.sizes), strict=True):
                layer.weight.data = part

    def rows(self, ids: torch.Tensor) -> Any:
        """Rows of the matrix [ids, in]; it was packed to be looked up in, if it was packed."""
        return self.layout.rows(ids)

    @property
    def nbytes(self) -> int:
        """Bytes that the weights take."""
        return self.layout.nbytes


def share(parameters: Sequence[nn.Parameter]) -> None:
    """Let parameters be consecutive parts of one tensor."""
    joined = torch.cat([one.data for one in parameters])
    for one, part in zip(parameters, joined.split([len(p) for p in parameters]), strict=True):
        one.data = part


def whole(first: nn.Parameter | None, sizes: Sequence[int]) -> Any:
    """The tensor of which `first` is the beginning; None stays None."""
    if first is None:
        return None
    return first.data.as_strided((sum(sizes), *first.shape[1:]), first.stride())
