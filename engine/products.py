"""Products with a network's own weights: layers that read the same input as one matrix, packed where that is faster.

oneDNN computes a few rows times a matrix up to twice as fast from a matrix that it laid out itself in blocks (torch's
`mkldnn` operators, those that its compiler uses): in bf16, and in float32 on processors without AVX-512, where a few
rows otherwise take nearly as long as many. The packed matrix takes the place of the plain one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

PACKED_FOR = 8  # rows that the packed layout is chosen for; it serves other numbers too
BLOCK = 64  # rows of the matrix that oneDNN lays side by side
OPS: Any = torch.ops.mkldnn


class Product:
    """y = x W^T (+ bias) of one linear layer, or of several that read the same input, side by side.

    The layers' weights become views of one matrix; `pack()` replaces it by oneDNN's layout and empties the layers
    until `unpack()`.
    """

    def __init__(self, layers: Sequence[Any]):
        self.layers: tuple[Any, ...] = tuple(layers)  # nn.Linear
        self.sizes = [layer.out_features for layer in layers]
        if len(layers) > 1:
            share([layer.weight for layer in layers])
            if layers[0].bias is not None:
                share([layer.bias for layer in layers])
        self.weight, self.bias = whole(layers[0].weight, self.sizes), whole(layers[0].bias, self.sizes)
        self.packed: torch.Tensor | None = None
        self.blocks: torch.Tensor | None = None  # the packed numbers as a plain tensor, where their order is known

    def pack(self) -> None:
        """Keep the weights in oneDNN's layout alone."""
        self.packed = OPS._reorder_linear_weight(self.weight.clone(), PACKED_FOR)
        self.blocks = in_blocks(self.packed, self.weight) if len(self.layers) == 1 else None
        self.weight = self.weight.new_empty(0)
        for layer in self.layers:
            layer.weight.data = layer.weight.new_empty(0)

    def unpack(self) -> None:
        """Give the layers their plain weights back."""
        if self.packed is not None:
            self.weight, self.packed, self.blocks = self.packed.to_dense(), None, None
            for layer, part in zip(self.layers, self.weight.split(self.sizes), strict=True):
                layer.weight.data = part

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        """Rows of the matrix [ids, in], as an embedding table gives them."""
        if self.blocks is None:
            return nn.functional.embedding(ids, self.weight)
        return self.blocks[ids // BLOCK, :, ids % BLOCK].flatten(1)

    @property
    def nbytes(self) -> int:
        """Bytes that the weights take."""
        return self.weight.nbytes if self.packed is None else OPS._nbytes(self.packed)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """`x` [tokens, in] -> [tokens, out]."""
        if self.packed is None:
            return nn.functional.linear(x, self.weight, self.bias)
        return OPS._linear_pointwise(x, self.packed, self.bias, "none", [], "")

    def plus(self, x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """The product added to `other` [tokens, out]."""
        if self.packed is None:
            return nn.functional.linear(x, self.weight, self.bias).add_(other)
        return OPS._linear_pointwise.binary(x, other, self.packed, self.bias, "add")

    def times(self, x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """The product multiplied by `other` [tokens, out], element by element."""
        if self.packed is None:
            return nn.functional.linear(x, self.weight, self.bias).mul_(other)
        return OPS._linear_pointwise.binary(x, other, self.packed, self.bias, "mul")

    def silu(self, x: torch.Tensor) -> torch.Tensor:
        """The SiLU of the product."""
        if self.packed is None:
            return nn.functional.silu(nn.functional.linear(x, self.weight, self.bias), inplace=True)
        return OPS._linear_pointwise(x, self.packed, self.bias, "swish", [], "")


def in_blocks(packed: torch.Tensor, weight: torch.Tensor) -> torch.Tensor | None:
    """The packed numbers as [blocks of rows, groups of columns, BLOCK, group], the usual layout; None if it is another.

    A group is two columns in bf16 and one in float32.
    """
    group, number = (2, ctypes.c_uint16) if weight.dtype == torch.bfloat16 else (1, ctypes.c_float)
    count, columns = OPS._nbytes(packed) // weight.element_size(), weight.shape[1]
    if columns % group or count % (BLOCK * columns):
        return None
    numbers = (number * count).from_address(OPS.data_ptr(packed))
    blocks = torch.frombuffer(numbers, dtype=weight.dtype).view(-1, columns // group, BLOCK, group)
    parts = zip(blocks.split(BLOCK), weight.split(BLOCK * BLOCK), strict=True)  # a part at a time: the head is large
    alike = (torch.equal(part.permute(0, 2, 1, 3).reshape(-1, columns)[: len(rows)], rows) for part, rows in parts)
    return blocks if all(alike) else None


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


def packs(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether this torch has the operators and they gain something for these weights on this processor."""
    known = hasattr(OPS, "_reorder_linear_weight") and torch.backends.mkldnn.is_available()
    if device.type != "cpu" or not known:
        return False
    if dtype == torch.float32:
        return torch.backends.cpu.get_cpu_capability() == "AVX2"  # with AVX-512 MKL's own products are as fast
    return dtype == torch.bfloat16 and bool(OPS._is_mkldnn_bf16_supported())
