"""Chains of operators as one call: the numbers of the operators one by one, in TorchScript and without it."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from engine import fused
from engine.layouts import Blocks, Halves, Plain
from tests.engine.torchscript import loaded_anew

NO_HALVES = pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="this torch has no FBGEMM"
)
HIDDEN, INNER, EPSILON = 64, 96, 1e-5


@pytest.fixture(params=["TorchScript", "Python"])
def chains(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    if request.param == "Python":
        return loaded_anew(fused, monkeypatch)
    assert isinstance(fused.product, torch.jit.ScriptFunction)
    return fused


def weights(out: int, columns: int, seed: int) -> torch.Tensor:
    """A matrix of numbers that half precision holds."""
    return (0.1 * torch.randn(out, columns, generator=torch.Generator().manual_seed(seed))).half().float()


def laid_out(chains: Any, layout: type, weight: torch.Tensor) -> Any:
    """The chains' own Matrix of weights in a layout."""
    return chains.Matrix(*layout(weight, None, *([] if layout is Plain else [False])).matrix)


def share_of(chains: Any, rows: int, columns: int, widths: list[int], masked: bool) -> Any:
    """Two adapters of rank 3 on layers of those widths, each a product of its own; every row has one of them."""
    made = torch.Generator().manual_seed(len(widths))
    a = 0.1 * torch.randn(6 * len(widths), columns, generator=made)
    b = [0.1 * torch.randn(6, width, generator=made) for width in widths]
    own = torch.arange(rows)[:, None] % 2 == torch.arange(6)[None] // 3
    mask = own.float().repeat(1, len(widths)) if masked else None
    return chains.Share(a, mask, b, list(range(len(widths))), [0] * len(widths))


def parts(x: torch.Tensor, share: Any) -> list[torch.Tensor]:
    """What a share adds, by its definition."""
    h = x @ share.a.T * (1 if share.mask is None else share.mask)
    return [one @ b for one, b in zip(h.split(6, 1), share.b, strict=True)]


NEAR = {"atol": 1e-4, "rtol": 1e-4}
linear = torch.nn.functional.linear


@pytest.mark.parametrize("layout", [Plain, Blocks, pytest.param(Halves, marks=NO_HALVES)])
@pytest.mark.parametrize("adapted", ["no adapter", "one adapter", "two adapters"])
@pytest.mark.parametrize("rows", [1, 2, 7, 9])
def test_each_chain_gives_what_its_operators_give(chains: Any, layout: type, adapted: str, rows: int) -> None:
    fill = -rows % 3 if layout is Halves else 0
    x, other, weight = torch.randn(rows, HIDDEN), torch.randn(rows, INNER), torch.randn(HIDDEN)
    plain = weights(INNER, HIDDEN, 0), weights(INNER, HIDDEN, 1), weights(HIDDEN, INNER, 2)
    gate, up, down = (laid_out(chains, layout, one) for one in plain)
    normed = torch.nn.functional.rms_norm(x, (HIDDEN,), weight, EPSILON)
    of_gates = of_down = of_gate = None
    added, more = [torch.zeros(rows, INNER)] * 2, 0
    if adapted != "no adapter":
        masked = adapted == "two adapters"
        of_gates, of_gate = (share_of(chains, rows, HIDDEN, widths, masked) for widths in ([INNER] * 2, [INNER]))
        of_down = share_of(chains, rows, INNER, [HIDDEN], masked)
        added, more = parts(normed, of_gates), parts(normed, of_gate)[0]
    first, second = (linear(normed, one) + part for one, part in zip(plain, added, strict=False))
    inner = torch.nn.functional.silu(first) * second
    fed = x + linear(inner, plain[2]) + (parts(inner, of_down)[0] if of_down else 0)
    before = x.clone()
    torch.testing.assert_close(chains.product(x, gate, fill), linear(x, plain[0]), **NEAR)
    torch.testing.assert_close(
        chains.plus(normed, gate, fill, other, of_gate), linear(normed, plain[0]) + more + other, **NEAR
    )
    read = chains.read(x, weight, EPSILON, gate, fill, of_gate)
    torch.testing.assert_close(read, linear(normed, plain[0]) + more, **NEAR)
    gated = chains.gates(chains.filled_up(normed, fill), gate, up, rows, of_gates)
    for found, expected in zip(gated, (first, second), strict=True):
        torch.testing.assert_close(found[:rows], expected, **NEAR)
    found = chains.feed_forward(x, weight, EPSILON, gate, up, down, fill, of_gates, of_down)
    torch.testing.assert_close(found, fed, **NEAR)
    assert torch.equal(x, before), "what a layer reads stays as it is"


def test_layers_side_by_side_in_one_product_have_their_own_adapters(chains: Any) -> None:
    x, weight = torch.randn(4, HIDDEN), weights(24, HIDDEN, 0)
    a, b = torch.randn(4, HIDDEN), [torch.randn(2, 8), torch.randn(2, 6)]
    share = chains.Share(a, None, b, [0, 0], [0, 18])  # nothing for the columns from 8 to 18
    expected, h = linear(x, weight), x @ a.T
    expected[:, :8] += h[:, :2] @ b[0]
    expected[:, 18:] += h[:, 2:] @ b[1]
    read = chains.read(x, torch.ones(HIDDEN), 0.0, laid_out(chains, Plain, weight), 0, None)
    assert not torch.allclose(read, expected)
    out = [chains.product(x, laid_out(chains, Plain, weight), 0)]
    chains.adapt(x, share, out)
    torch.testing.assert_close(out[0], expected, **NEAR)


def test_a_torch_without_onednn_loads_and_has_the_other_layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    chains, x, weight = loaded_anew(fused, monkeypatch, script=True), torch.randn(2, HIDDEN), weights(INNER, HIDDEN, 0)
    assert isinstance(chains.product, torch.jit.ScriptFunction)
    torch.testing.assert_close(chains.product(x, chains.Matrix(weight, None, None), 0), linear(x, weight))


@pytest.mark.parametrize("normed", [False, True])
def test_a_step_writes_the_cache_and_attends_to_it(chains: Any, normed: bool) -> None:
    rows, heads, groups, size, start, end = 3, 4, 2, 16, 1, 5
    qkv = torch.randn(rows, (heads + 2 * groups) * size)
    keys, values = (torch.randn(rows + 2, groups, 9, size) for _ in range(2))
    before = keys.clone(), values.clone()
    angle = torch.rand(rows, 1, size // 2)
    cos, sin = torch.cat([angle.cos()] * 2, -1), torch.cat([-angle.sin(), angle.sin()], -1)
    norms = (torch.randn(size), torch.randn(size)) if normed else None
    place = keys, values, start, end, torch.zeros(1, 1, 1), 0.3
    out = chains.step(qkv, heads, norms, EPSILON, cos, sin, *place)
    query, key, value = qkv.view(rows, -1, size).split([heads, groups, groups], dim=1)
    if norms:
        query, key = (
            torch.nn.functional.rms_norm(one, (size,), weight, EPSILON)
            for one, weight in zip((query, key), norms, strict=True)
        )
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
