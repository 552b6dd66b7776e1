"""Layouts of a weight matrix in which a processor multiplies a few rows faster than in the plain one.

`Blocks` is oneDNN's, through the `mkldnn` operators that torch's own compiler uses: in bf16, and in float32 on
processors without AVX-512, where a few rows otherwise take nearly as long as many. `Halves` is FBGEMM's: weights that a
model's file holds in 16 bits stay so in memory, and what they are multiplied with, and the sums, have 32.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any, Protocol

import torch
from torch import nn

from engine.fused import Matrix
from engine.memory import bytes_in_halves

PACKED_FOR = 8  # rows that oneDNN's layout is chosen for; it serves other numbers too
BLOCK = 64  # rows of the matrix that oneDNN lays side by side
LARGEST = torch.finfo(torch.float16).max  # of a weight in FBGEMM's layout, IEEE half precision
GRANULE = 4  # rows; FBGEMM's products are filled up by fewer than so many, so that each row is summed alike
ONEDNN: Any = torch.ops.mkldnn
FBGEMM: Any = torch.ops.quantized


class Layout(Protocol):
    """A matrix [out, in] that is kept in some order of its own."""

    @property
    def matrix(self) -> Matrix:
        """What products with it are computed from (engine.fused)."""
        ...

    def rows(self, ids: torch.Tensor) -> torch.Tensor | None:
        """Rows of the matrix [ids, in], as an embedding table gives them; None where they cannot be read."""
        ...

    def plain(self) -> torch.Tensor:
        """The matrix [out, in] in its plain order, in the precision that is computed in."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        ...


class Plain:
    """The matrix as it is."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None):
        self.weight, self.matrix = weight, Matrix(weight, bias, None)

    def rows(self, ids: torch.Tensor) -> torch.Tensor | None:
        """See Layout."""
        return nn.functional.embedding(ids, self.weight)

    def plain(self) -> torch.Tensor:
        """See Layout."""
        return self.weight

    @property
    def nbytes(self) -> int:
        """See Layout."""
        return self.weight.nbytes


class Blocks:
    """oneDNN's layout, with sums and gates as parts of the products."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, looked_up: bool):
        self.packed = ONEDNN._reorder_linear_weight(weight.clone(), PACKED_FOR)
        self.matrix = Matrix(self.packed, bias, None)
        self.blocks = in_blocks(self.packed, weight) if looked_up else None  # its numbers, where their order is known

    def rows(self, ids: torch.Tensor) -> torch.Tensor | None:
        """See Layout."""
        return None if self.blocks is None else self.blocks[ids // BLOCK, :, ids % BLOCK].flatten(1)

    def plain(self) -> torch.Tensor:
        """See Layout."""
        return self.packed.to_dense()

    @property
    def nbytes(self) -> int:
        """See Layout."""
        return ONEDNN._nbytes(self.packed)


class Halves:
    """FBGEMM's layout: weights in IEEE half precision, float32 for everything else.

    Of weights in 16 bits, bf16 or half precision, nothing is lost but what is below 2^-25 (3e-8). Rows that are looked
    up need a table of their own.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, looked_up: bool):
        self.packed = FBGEMM.linear_prepack_fp16(weight.float(), None if bias is None else bias.float())
        self.matrix = Matrix(torch.empty(0), None, self.packed)
        self.table = weight.half() if looked_up else None
        self.shape = weight.shape

    def rows(self, ids: torch.Tensor) -> torch.Tensor | None:
        """See Layout."""
        return None if self.table is None else nn.functional.embedding(ids, self.table).float()

    def plain(self) -> torch.Tensor:
        """See Layout."""
        return FBGEMM.linear_unpack_fp16(self.packed)[0].float()

    @property
    def nbytes(self) -> int:
        """See Layout."""
        return bytes_in_halves(*self.shape) + (0 if self.table is None else self.table.nbytes)


def in_blocks(packed: torch.Tensor, weight: torch.Tensor) -> torch.Tensor | None:
    """The packed numbers as [blocks of rows, groups of columns, BLOCK, group], the usual layout; None if it is another.

    A group is two columns in bf16 and one in float32.
    """
    group, number = (2, ctypes.c_uint16) if weight.dtype == torch.bfloat16 else (1, ctypes.c_float)
    count, columns = ONEDNN._nbytes(packed) // weight.element_size(), weight.shape[1]
    if columns % group or count % (BLOCK * columns):
        return None
    numbers = (number * count).from_address(ONEDNN.data_ptr(packed))
    blocks = torch.frombuffer(numbers, dtype=weight.dtype).view(-1, columns // group, BLOCK, group)
    parts = zip(blocks.split(BLOCK), weight.split(BLOCK * BLOCK), strict=True)  # a part at a time: the head is large
    alike = (torch.equal(part.permute(0, 2, 1, 3).reshape(-1, columns)[: len(rows)], rows) for part, rows in parts)
    return blocks if all(alike) else None


@functools.cache
def fill(count: int) -> int:
    """By how many rows to fill up FBGEMM's products of `count` rows, so that none depends on how many there are.

    It sums a single row, and what is left over of many, in another order than the rest. Which numbers those are
    differs between processors, so it is tried.
    """
    return next((more for more in range(GRANULE) if alike(count + more, count)), 0)


def alike(rows: int, count: int) -> bool:
    """Whether the first `count` of so many rows come out to the last bit as they do among twelve."""
    made = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(size, 256, generator=made) for size in (rows, 64))
    packed = FBGEMM.linear_prepack_fp16(weight, None)
    twelves = nn.functional.pad(x, (0, 0, 0, -rows % 12)).split(12)
    expected = torch.cat([FBGEMM.linear_dynamic_fp16(some, packed) for some in twelves])
    return torch.equal(FBGEMM.linear_dynamic_fp16(x, packed)[:count], expected[:count])


def blocked(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether this torch has oneDNN's layout and it gains something for these weights on this processor."""
    known = hasattr(ONEDNN, "_reorder_linear_weight") and torch.backends.mkldnn.is_available()
    if device.type != "cpu" or not known:
        return False
    if dtype == torch.float32:
        return torch.backends.cpu.get_cpu_capability() == "AVX2"  # with AVX-512 MKL's own products are as fast
    return dtype == torch.bfloat16 and bool(ONEDNN._is_mkldnn_bf16_supported())


def halved(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether weights of this precision stay in 16 bits while this processor computes with them in 32."""
    from engine.weights import fast_bf16

    on_x86 = device.type == "cpu" and "fbgemm" in torch.backends.quantized.supported_engines
    return on_x86 and dtype in (torch.bfloat16, torch.float16) and not fast_bf16()
