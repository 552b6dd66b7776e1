"""One decoding step's attention: the numbers of PyTorch's own, and those of a row whatever stands beside it."""

from typing import Any

import pytest
import torch

from engine.cache import RowCache
from engine.lean import Attention, Heads
from engine.passes import StepAttention
from engine.threads import on_threads

SIZE, SCALE = 32, 0.2


def made(lengths: list[int], groups: int) -> RowCache:
    """A cache of one layer in which rows of those lengths have just joined; each row's numbers are its own."""
    cache = RowCache(torch.float32)
    for i, length in enumerate(lengths):
        noise = torch.Generator().manual_seed(i)
        keys, values = (torch.randn(groups, length, SIZE, generator=noise) for _ in range(2))
        cache.take([[(keys, values)]])
    return cache


def attended(lengths: list[int], groups: int, heads: int) -> torch.Tensor:
    """What each row's next query attends to [rows, heads x SIZE]; through the product's own way."""
    qkv = torch.cat(new(len(lengths), groups, heads), 1).flatten(1)
    still = torch.ones(len(lengths), 1, SIZE), torch.zeros(len(lengths), 1, SIZE)  # nothing is turned
    return attention(made(lengths, groups)).joined(0, qkv, Heads(heads, groups, SIZE, None, 0.0), still)


def attention(cache: RowCache) -> StepAttention:
    """That of the next step over a cache."""
    mask = cache.open()
    bias = torch.zeros(mask.shape).masked_fill_(mask == 0, float("-inf")) if cache.padded() else None
    return StepAttention(cache, bias, SCALE, torch.float32)


def new(rows: int, groups: int, heads: int) -> tuple[Any, Any, Any]:
    """Query, key and value of each row's new token."""
    found = []
    for i in range(rows):
        noise = torch.Generator().manual_seed(1000 + i)
        found.append([torch.randn(count, SIZE, generator=noise) for count in (heads, groups, groups)])
    query, key, value = (torch.stack(parts) for parts in zip(*found, strict=True))
    return query, key, value


@pytest.mark.parametrize(("groups", "heads"), [(1, 1), (3, 9), (2, 14), (4, 4)])
@pytest.mark.parametrize("lengths", [[7], [5, 5, 5], [40, 1, 17]])
def test_a_step_attends_as_pytorch_does_to_each_rows_own_tokens(lengths: list[int], groups: int, heads: int) -> None:
    found = attended(lengths, groups, heads)
    cache, (query, key, value) = made(lengths, groups), new(len(lengths), groups, heads)
    for i in range(len(lengths)):
        (keys, values), *_ = cache.row(i)
        keys, values = torch.cat([keys, key[i][:, None]], 1), torch.cat([values, value[i][:, None]], 1)
        expected = torch.nn.functional.scaled_dot_product_attention(
            query[i][None, :, None], keys[None], values[None], scale=SCALE, enable_gqa=True
        )
        assert torch.allclose(found[i], expected.flatten(), atol=1e-5)


@pytest.mark.parametrize(("groups", "heads"), [(3, 9), (2, 14), (8, 8)])
def test_a_row_attends_to_the_last_bit_alike_among_others_and_on_any_number_of_threads(groups: int, heads: int) -> None:
    longest = 100  # the first row's, so that the number of columns is the same
    with on_threads(1):
        expected = attended([longest] * 9, groups, heads)
    for threads in (1, 2):
        for rows in (1, 2, 5, 9):
            with on_threads(threads):
                assert torch.equal(attended([longest] * rows, groups, heads), expected[:rows])
        with on_threads(threads):
            assert torch.equal(attended([longest, 60, 3], groups, heads)[0], expected[0])


@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_queries_keys_and_values_that_lie_side_by_side_attend_as_apart(dtype: torch.dtype, normed: bool) -> None:
    lengths, heads = [4, 9], Heads(6, 2, SIZE, (torch.rand(SIZE), torch.rand(SIZE)) if normed else None, 1e-6)
    angle = torch.rand(len(lengths), 1, SIZE // 2)
    table = torch.cat([angle.cos()] * 2, -1), torch.cat([-angle.sin(), angle.sin()], -1)
    qkv = torch.randn(len(lengths), (heads.count + 2 * heads.groups) * SIZE).to(dtype)
    found = []
    for way in (StepAttention.joined, Attention.joined):
        cache = made(lengths, heads.groups)
        found.append(way(attention(cache), 0, qkv, heads, table))
    torch.testing.assert_close(*found)
