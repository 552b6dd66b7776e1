"""Noise from keys: the distribution that it has, and that it is a hash of its key and token alone."""

import pytest
import torch

from engine.noise import GOLDEN, MIX32, key_bits, waits

HERE = torch.empty(0)


def of(key: int, ids: list[int]) -> torch.Tensor:
    """The waiting times of some tokens."""
    return waits(key_bits([key], HERE), torch.tensor(ids, dtype=torch.int32))[0]


def test_waiting_times_are_standard_exponential() -> None:
    times = of(2**63 + 12345, list(range(100_000)))
    assert times.mean().item() == pytest.approx(1, abs=0.02)
    assert times.var().item() == pytest.approx(1, abs=0.05)
    assert bool((times > 0).all()) and bool(times.isfinite().all())


def test_every_waiting_time_is_above_nothing() -> None:
    assert 0 < of(1, [24_890_464]).item() < 1e-6  # hashed to 24 bits of 1


def test_a_waiting_time_is_the_hash_that_is_documented() -> None:
    key, id_ = 0x9123456789ABCDEF, 4321
    bits = (id_ * GOLDEN ^ key) & 0xFFFFFFFF
    for shift, factor in ((16, MIX32[0]), (15, MIX32[1])):
        bits = ((bits ^ bits >> shift) * factor & 0xFFFFFFFF) ^ key >> 32
    bits ^= bits >> 16
    uniform = torch.tensor(((bits >> 8) + 0.5) / 2**24)
    assert of(key, [id_]).item() == pytest.approx(-uniform.log().item(), rel=1e-5)


def test_rows_have_their_own_noise_whatever_stands_beside_them() -> None:
    keys, ids = [3, 2**40, 2**64 - 1], torch.arange(50, dtype=torch.int32)
    together = waits(key_bits(keys, HERE), ids)
    for key, row in zip(keys, together, strict=True):
        assert torch.equal(row, of(key, list(range(50))))
    assert len({round(value, 9) for value in together.flatten().tolist()}) == together.numel()
