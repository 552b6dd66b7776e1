"""Noise that is a hash of keys: the same for the same keys, whatever else is drawn beside it."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from engine.scripting import scripted

MASK64 = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15  # splitmix64's constants: Steele, Lea, Flood 2014
MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
MIX32 = (0x7FEB352D, 0x846CA68B)  # Chris Wellons' lowbias32


def mix64(value: int) -> int:
    """The splitmix64 finalizer on one unsigned 64-bit integer."""
    value = (value + GOLDEN) & MASK64
    value = ((value ^ (value >> 30)) * MIX[0]) & MASK64
    value = ((value ^ (value >> 27)) * MIX[1]) & MASK64
    return value ^ (value >> 31)


def signed(value: int) -> int:
    """The same 32 bits as torch's int32 holds them."""
    return value - (1 << 32) if value >= 1 << 31 else value


def key_bits(keys: Iterable[int], like: torch.Tensor) -> torch.Tensor:
    """The lower and the upper 32 bits of 64-bit keys [2, rows, 1], int32, beside `like`."""
    keys = list(keys)
    bits = [[[signed(key & 0xFFFFFFFF)] for key in keys], [[signed(key >> 32)] for key in keys]]
    return torch.tensor(bits, dtype=torch.int32, device=like.device)


@scripted
def shifted(bits: torch.Tensor, by: int) -> torch.Tensor:
    """Logical right shift of int32 bits."""
    return torch.bitwise_right_shift(bits, by).bitwise_and_((1 << (32 - by)) - 1)


@scripted
def waits(
    keys: torch.Tensor,
    ids: torch.Tensor,
    golden: int = signed(GOLDEN & 0xFFFFFFFF),
    first: int = signed(MIX32[0]),
    second: int = signed(MIX32[1]),
) -> torch.Tensor:
    """Standard exponential waiting times [rows, candidates] hashed from each row's key and each token id (int32).

    `keys` as from `key_bits`; `ids` [candidates] or [rows, candidates].
    """
    bits = torch.bitwise_xor(ids * golden, keys[0])
    bits.bitwise_xor_(shifted(bits, 16)).mul_(first).bitwise_xor_(keys[1])
    bits.bitwise_xor_(shifted(bits, 15)).mul_(second).bitwise_xor_(keys[1])
    bits.bitwise_xor_(shifted(bits, 16))
    uniform = shifted(bits, 8).to(torch.float32).add_(0.5).div_(1 << 24).clamp_(max=1 - 1 / (1 << 24))  # 1 waits not
    return uniform.log_().neg_()
