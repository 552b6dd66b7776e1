"""The parts of a layer of a Llama-like network, each a chain of small operators in one TorchScript function.

Every function here is ordinary Python too, and runs as such where torch has no TorchScript any more. Annotations are
not deferred and optional fields are spelled out, because TorchScript reads those of a NamedTuple as they are.

`fill` is the number of rows by which FBGEMM's products are filled up (engine.layouts.fill), 0 for other layouts.
"""

# ruff: noqa: UP045

from typing import TYPE_CHECKING, Any, NamedTuple, Optional

import torch

from engine.scripting import scripted

if TYPE_CHECKING:
    Packed = Any
else:
    Packed = torch.classes.quantized.LinearPackedParamsBase


class Matrix(NamedTuple):
    """A weight matrix [out, in] and its bias [out], in one of the layouts of engine.layouts."""

    weight: torch.Tensor  # plain or in oneDNN's layout; empty if it is in FBGEMM's
    bias: Optional[torch.Tensor]
    packed: Optional[Packed]  # FBGEMM's layout of both


class Share(NamedTuple):
    """What the adapters of a batch add to the products of one input (engine.stacked)."""

    a: torch.Tensor  # [ranks, in] of all layers and adapters
    mask: Optional[torch.Tensor]  # [rows, ranks], 1 where a row's own adapter stands
    b: list[torch.Tensor]  # of each layer [its ranks, out]
    outputs: list[int]  # in which of the products it stands
    starts: list[int]  # and at which column


if hasattr(torch.ops.mkldnn, "_linear_pointwise"):

    @scripted
    def in_blocks(x: torch.Tensor, matrix: Matrix, then: str) -> torch.Tensor:
        """A product in oneDNN's layout, and "none" or "swish" of it."""
        return torch.ops.mkldnn._linear_pointwise(x, matrix.weight, matrix.bias, then, [], "")

    @scripted
    def in_blocks_and(x: torch.Tensor, matrix: Matrix, other: torch.Tensor, then: str) -> torch.Tensor:
        """A product in oneDNN's layout, to which `other` is added ("add") or by which it is multiplied ("mul")."""
        return torch.ops.mkldnn._linear_pointwise(x, other, matrix.weight, matrix.bias, then)

else:  # this torch has no such layout; nobody asks for it

    @scripted
    def in_blocks(x: torch.Tensor, matrix: Matrix, then: str) -> torch.Tensor:
        """A product in a layout that this torch does not have."""
        raise NotImplementedError

    @scripted
    def in_blocks_and(x: torch.Tensor, matrix: Matrix, other: torch.Tensor, then: str) -> torch.Tensor:
        """The same with another operand."""
        raise NotImplementedError


@scripted
def filled_up(x: torch.Tensor, fill: int) -> torch.Tensor:
    """`x` [rows, in] with `fill` rows more."""
    if fill == 0:
        return x
    if x.size(0) == 1:
        return x.expand(1 + fill, -1)
    return torch.constant_pad_nd(x, [0, 0, 0, fill])


@scripted
def product(x: torch.Tensor, matrix: Matrix, fill: int) -> torch.Tensor:
    """`x` [rows, in] -> [rows, out]."""
    packed = matrix.packed
    if packed is not None:
        return torch.ops.quantized.linear_dynamic_fp16(filled_up(x, fill), packed)[: x.size(0)]
    if matrix.weight.is_mkldnn:
        return in_blocks(x, matrix, "none")
    return torch.nn.functional.linear(x, matrix.weight, matrix.bias)


@scripted
def silu(x: torch.Tensor, matrix: Matrix) -> torch.Tensor:
    """The SiLU of the product."""
    if matrix.weight.is_mkldnn:
        return in_blocks(x, matrix, "swish")
    return torch.ops.aten.silu_(product(x, matrix, 0))


@scripted
def times(x: torch.Tensor, matrix: Matrix, other: torch.Tensor) -> torch.Tensor:
    """The product multiplied by `other` [rows, out], element by element."""
    if matrix.weight.is_mkldnn:
        return in_blocks_and(x, matrix, other, "mul")
    return product(x, matrix, 0).mul_(other)


@scripted
def adapt(x: torch.Tensor, share: Share, outputs: list[torch.Tensor]) -> None:
    """Add what each row's adapter makes of `x` [rows, in] to the products of it."""
    h = torch.nn.functional.linear(x.to(share.a.dtype), share.a)
    mask = share.mask
    if mask is not None:
        h.mul_(mask)
    place = 0
    for i in range(len(share.b)):
        b = share.b[i]
        out = outputs[share.outputs[i]].narrow(1, share.starts[i], b.size(1))
        out.addmm_(h.narrow(1, place, b.size(0)), b)
        place += b.size(0)


@scripted
def plus(x: torch.Tensor, matrix: Matrix, fill: int, other: torch.Tensor, share: Optional[Share]) -> torch.Tensor:
    """The product, the adapters' part of it, and `other` [rows, out]; `x` may have more rows."""
    if matrix.weight.is_mkldnn:
        out = in_blocks_and(x, matrix, other, "add")
    else:
        out = product(x, matrix, fill)[: other.size(0)].add_(other)
    if share is not None:
        adapt(x[: other.size(0)], share, [out])
    return out


@scripted
def normed(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Root mean square norm over the last dimension."""
    if x.is_cpu and x.dtype == torch.float32:  # in parts it is faster there
        return x * torch.rsqrt((x * x).mean(-1, True) + epsilon) * weight
    return torch.rms_norm(x, weight.shape, weight, epsilon)


@scripted
def read(
    x: torch.Tensor, weight: torch.Tensor, epsilon: float, matrix: Matrix, fill: int, share: Optional[Share]
) -> torch.Tensor:
    """Queries, keys and values [rows, all heads x size] of the norm of `x` [rows, hidden], side by side."""
    h = normed(x, weight, epsilon)
    out = product(h, matrix, fill)
    if share is not None:
        adapt(h, share, [out])
    return out


@scripted
def gates(
    h: torch.Tensor, gate: Matrix, up: Matrix, rows: int, share: Optional[Share]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both products of the feed-forward part's input; `h` has that many rows or more."""
    out = [product(h, gate, 0), product(h, up, 0)]
    if share is not None:
        adapt(h[:rows], share, [out[0][:rows], out[1][:rows]])
    return out[0], out[1]


@scripted
def feed_forward(
    x: torch.Tensor,
    weight: torch.Tensor,
    epsilon: float,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
    fill: int,
    of_gates: Optional[Share],
    of_down: Optional[Share],
) -> torch.Tensor:
    """x plus its feed-forward part, gated by SiLU."""
    h = filled_up(normed(x, weight, epsilon), fill)
    if of_gates is None:
        inner = times(h, up, silu(h, gate))
    else:
        first, second = gates(h, gate, up, x.size(0), of_gates)
        inner = torch.ops.aten.silu_(first).mul_(second)
    return plus(inner, down, 0, x, of_down)


@scripted
def turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary position embedding of `x` [tokens, heads, size]; `sin` is negative in its first half."""
    half = x.size(-1) // 2
    turned = x * cos
    turned[..., :half].addcmul_(x[..., half:], sin[..., :half])
    turned[..., half:].addcmul_(x[..., :half], sin[..., half:])
    return turned


@scripted
def turned(
    parts: torch.Tensor,
    heads: int,
    groups: int,
    norms: Optional[tuple[torch.Tensor, torch.Tensor]],
    epsilon: float,
    cos: torch.Tensor,
    sin: torch.Tensor,
) -> torch.Tensor:
    """Queries and keys [tokens, heads + groups, size] of `parts` [tokens, all heads, size], normed first if at all."""
    if norms is None:
        return turn(parts[:, : heads + groups], cos, sin)
    query = normed(parts[:, :heads], norms[0], epsilon)
    key = normed(parts[:, heads : heads + groups], norms[1], epsilon)
    return turn(torch.cat([query, key], 1), cos, sin)


@scripted
def step(
    qkv: torch.Tensor,
    heads: int,
    norms: Optional[tuple[torch.Tensor, torch.Tensor]],
    epsilon: float,
    cos: torch.Tensor,
    sin: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    start: int,
    end: int,
    bias: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """Each row's one query attends to its columns [start, end] of the cache, the last of which is written first.

    `qkv` [rows, all heads x size], float32, before rotation; `keys` and `values` [rows at least, groups, columns,
    size]; `bias` [rows x groups or 1, 1, columns]. Returns [rows, heads x size].
    """
    rows, groups, size = qkv.size(0), keys.size(1), keys.size(3)
    parts = qkv.view(rows, heads + 2 * groups, size)
    new = turned(parts, heads, groups, norms, epsilon, cos, sin)
    keys[:rows, :, end] = new[:, heads:]
    values[:rows, :, end] = parts[:, heads + groups :]
    query = new[:, :heads].reshape(rows * groups, heads // groups, size)
    seen = keys.flatten(0, 1)[: rows * groups, start : end + 1]
    scores = torch.baddbmm(bias, query, seen.transpose(1, 2), alpha=scale)
    found = torch.bmm(scores.softmax(-1), values.flatten(0, 1)[: rows * groups, start : end + 1])
    return found.view(rows, heads * size)
