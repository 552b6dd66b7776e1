"""Chains of small operators over weights in 16 bits (engine.layouts.Halves), each run as one TorchScript function.

From Python an operator of torch costs a few microseconds and one of FBGEMM over twenty, and a layer has some fifty;
TorchScript runs them without coming back to Python, and leaves the interpreter to other threads meanwhile. Every
function here is ordinary Python too, and runs as such where torch has no TorchScript any more.

`packed` is a matrix [out, in] in FBGEMM's layout, `fill` the number of rows that its products are filled up by.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    Packed = Any
else:
    Packed = torch.classes.quantized.LinearPackedParamsBase


def scripted(function: Any) -> Any:
    """The function in TorchScript; itself where that is gone."""
    if not hasattr(torch.jit, "script"):
        return function
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch is pinned
        return torch.jit.script(function)


@scripted
def filled_up(x: torch.Tensor, fill: int) -> torch.Tensor:
    """`x` [rows, in] with `fill` rows more."""
    if fill == 0:
        return x
    if x.size(0) == 1:
        return x.expand(1 + fill, -1)
    return torch.constant_pad_nd(x, [0, 0, 0, fill])


@scripted
def product(x: torch.Tensor, packed: Packed, fill: int) -> torch.Tensor:
    """`x` [rows, in] -> [rows, out]."""
    return torch.ops.quantized.linear_dynamic_fp16(filled_up(x, fill), packed)[: x.size(0)]


@scripted
def plus(x: torch.Tensor, packed: Packed, fill: int, other: torch.Tensor) -> torch.Tensor:
    """The product, and `other` [rows, out]."""
    return product(x, packed, fill).add_(other)


@scripted
def normed(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Root mean square norm over the last dimension."""
    return x * torch.rsqrt((x * x).mean(-1, True) + epsilon) * weight


@scripted
def read(
    x: torch.Tensor, weight: torch.Tensor, epsilon: float, packed: Packed, fill: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The norm of `x` [rows, hidden], and queries, keys and values made of it, side by side."""
    h = normed(x, weight, epsilon)
    return h, product(h, packed, fill)


@scripted
def feed_forward(
    x: torch.Tensor,
    weight: torch.Tensor,
    epsilon: float,
    gate: Packed,
    up: Packed,
    down: Packed,
    fill: int,
) -> torch.Tensor:
    """x plus its feed-forward part, gated by SiLU."""
    h = filled_up(normed(x, weight, epsilon), fill)
    inner = torch.ops.aten.silu_(torch.ops.quantized.linear_dynamic_fp16(h, gate))
    inner.mul_(torch.ops.quantized.linear_dynamic_fp16(h, up))
    return torch.ops.quantized.linear_dynamic_fp16(inner, down)[: x.size(0)].add_(x)


def turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary position embedding of `x` [tokens, heads, size]; `sin` is negative in its first half.

    Called by itself it runs in Python, on GPUs too, where TorchScript would compile kernels of its own.
    """
    half = x.size(-1) // 2
    turned = x * cos
    turned[..., :half].addcmul_(x[..., half:], sin[..., :half])
    turned[..., half:].addcmul_(x[..., :half], sin[..., half:])
    return turned


@scripted
def attended(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    start: int,
    end: int,
    bias: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """What queries [rows x groups, heads of a group, size] attend to; `keys` and `values` as for `step`, written."""
    count = query.size(0)
    seen = keys.flatten(0, 1)[:count, start : end + 1]
    scores = torch.baddbmm(bias, query, seen.transpose(1, 2), alpha=scale)
    return torch.bmm(scores.softmax(-1), values.flatten(0, 1)[:count, start : end + 1])


@scripted
def step(
    qkv: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    heads: int,
    keys: torch.Tensor,
    values: torch.Tensor,
    start: int,
    end: int,
    bias: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """Each row's one query attends to its columns [start, end] of the cache, the last of which is written first.

    `qkv` [rows, all heads x size], before rotation; `keys` and `values` [rows at least, groups, columns, size]; `bias`
    [rows x groups or 1, 1, columns]. Returns [rows, heads x size].
    """
    rows, groups, size = qkv.size(0), keys.size(1), keys.size(3)
    parts = qkv.view(rows, heads + 2 * groups, size)
    turned = turn(parts[:, : heads + groups], cos, sin)
    keys[:rows, :, end] = turned[:, heads:]
    values[:rows, :, end] = parts[:, heads + groups :]
    query = turned[:, :heads].reshape(rows * groups, heads // groups, size)
    return attended(query, keys, values, start, end, bias, scale).view(rows, heads * size)
