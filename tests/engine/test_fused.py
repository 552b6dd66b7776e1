"""Chains of operators as one call: the numbers of the operators one by one, in TorchScript and without it."""

import importlib.util
from types import ModuleType
from typing import Any

import pytest
import torch

from engine import fused
from engine.layouts import FBGEMM

pytestmark = pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="this torch has no FBGEMM"
)
HIDDEN, INNER, EPSILON = 64, 96, 1e-5


def without_torchscript(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module as a torch without TorchScript would load it."""
    monkeypatch.delattr(torch.jit, "script")
    spec = importlib.util.spec_from_file_location("plain_fused", fused.__file__)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["TorchScript", "Python"])
def chains(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    if request.param == "Python":
        return without_torchscript(monkeypatch)
    assert isinstance(fused.product, torch.jit.ScriptFunction)
    return fused


def matrix(out: int, columns: int, seed: int) -> torch.Tensor:
    """A matrix of numbers that half precision holds."""
    return (0.1 * torch.randn(out, columns, generator=torch.Generator().manual_seed(seed))).half().float()


def packed(weight: torch.Tensor) -> Any:
    return FBGEMM.linear_prepack_fp16(weight, None)


@pytest.mark.parametrize(("rows", "fill"), [(1, 0), (1, 2), (2, 1), (7, 1), (9, 0)])
def test_each_chain_gives_what_its_operators_give(chains: Any, rows: int, fill: int) -> None:
    linear, norm = torch.nn.functional.linear, torch.nn.functional.rms_norm
    x, other, weight = torch.randn(rows, HIDDEN), torch.randn(rows, INNER), torch.randn(HIDDEN)
    gate, up, down = matrix(INNER, HIDDEN, 0), matrix(INNER, HIDDEN, 1), matrix(HIDDEN, INNER, 2)
    near = {"atol": 1e-4, "rtol": 1e-4}
    normed = norm(x, (HIDDEN,), weight, EPSILON)
    expected = x + linear(torch.nn.functional.silu(linear(normed, gate)) * linear(normed, up), down)
    torch.testing.assert_close(chains.product(x, packed(gate), fill), linear(x, gate), **near)
    torch.testing.assert_close(chains.plus(x, packed(gate), fill, other), linear(x, gate) + other, **near)
    h, read = chains.read(x, weight, EPSILON, packed(up), fill)
    torch.testing.assert_close(h, normed, **near)
    torch.testing.assert_close(read, linear(normed, up), **near)
    before = x.clone()
    fed = chains.feed_forward(x, weight, EPSILON, packed(gate), packed(up), packed(down), fill)
    torch.testing.assert_close(fed, expected, **near)
    assert torch.equal(x, before), "what a layer reads stays as it is"


def test_a_step_writes_the_cache_and_attends_to_it(chains: Any) -> None:
    rows, heads, groups, size, start, end = 3, 4, 2, 16, 1, 5
    qkv = torch.randn(rows, (heads + 2 * groups) * size)
    keys, values = (torch.randn(rows + 2, groups, 9, size) for _ in range(2))
    before = keys.clone(), values.clone()
    angle = torch.rand(rows, 1, size // 2)
    cos, sin = torch.cat([angle.cos()] * 2, -1), torch.cat([-angle.sin(), angle.sin()], -1)
    out = chains.step(qkv, cos, sin, heads, keys, values, start, end, torch.zeros(1, 1, 1), 0.3)
    query, key, value = qkv.view(rows, -1, size).split([heads, groups, groups], dim=1)
    query, key = (one * cos + one.roll(size // 2, -1) * sin for one in (query, key))
    torch.testing.assert_close(keys[:rows, :, end], key)
    torch.testing.assert_close(values[:rows, :, end], value)
    for now, then in zip((keys, values), before, strict=True):
        now[:rows, :, end] = then[:rows, :, end] = 0
        assert torch.equal(now, then), "nothing else of the cache is written"
    keys[:rows, :, end], values[:rows, :, end] = key, value
    seen = (one[:rows, :, start : end + 1] for one in (keys, values))
    attend = torch.nn.functional.scaled_dot_product_attention
    expected = attend(query[:, :, None], *seen, scale=0.3, enable_gqa=True)
    torch.testing.assert_close(out, expected.reshape(rows, -1))
