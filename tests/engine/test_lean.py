"""The lean forward pass against transformers' own, for every family that it serves, and its packed weights."""

import copy
from typing import Any

import pytest
import torch

from engine import fused
from engine.adapters import read_adapter
from engine.catalog import Model
from engine.decode import DecodeLoop
from engine.errors import Problem
from engine.layouts import Blocks, Halves, alike, blocked, fill, halved
from engine.lean import FAMILIES, in_halves, lean
from engine.messages import Piece
from engine.models.loaded import process_bytes, trim
from engine.pool import Base
from engine.products import Packer, Product
from engine.reading import Prompt
from engine.stacked import AdapterBatch
from tests.engine.rows import LLAMA_LIKE, TOKENIZER, greedy, network, request, run, save_adapter, tokens

KINDS: dict[str, dict[str, Any]] = {
    "Llama": LLAMA_LIKE | {"attention_bias": True, "mlp_bias": True},
    "Mistral": LLAMA_LIKE | {"sliding_window": None, "head_dim": 32},
    "Qwen2": LLAMA_LIKE | {"hidden_act": "gelu", "tie_word_embeddings": True},
    "Qwen3": LLAMA_LIKE | {"head_dim": 16},
}
PROMPTS = (list(range(10, 15)), list(range(30, 53)), list(range(100, 107)))
CPU = torch.device("cpu")
NO_BF16 = pytest.mark.skipif(not blocked(torch.bfloat16, CPU), reason="no bf16 in oneDNN here")
NO_HALVES = pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="this torch has no FBGEMM"
)


def made(kind: str, **changes: Any) -> Any:
    """A random network of a family, with biases and norms that are not trivial."""
    model = network(kind, **(KINDS[kind] | changes)).requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn_like(parameter), alpha=1.0 if "norm" in name else 0.5)
    return model


def whole(model: Any, prompt: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([prompt])).logits[0, -1]


def test_every_family_is_tried() -> None:
    assert {f"{kind}ForCausalLM" for kind in KINDS} == set(FAMILIES)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_answer_as_transformers_generate_does(kind: str) -> None:
    model = made(kind)
    expected = [greedy(model, prompt, 25) for prompt in PROMPTS]
    assert len({tuple(one) for one in expected}) == len(expected), "the test needs different answers"
    loop = DecodeLoop(model, TOKENIZER, 512)
    loop.stop_tokens = frozenset()
    assert loop.lean is not None
    asked = [request(prompt, max_tokens=25) for prompt in PROMPTS]
    assert [tokens(events) for events in run(loop, asked, (0, 0.01, 0.02))] == expected
    loop.close()


@pytest.mark.parametrize("kind", KINDS)
def test_the_networks_own_forward_still_gives_the_same_numbers(kind: str) -> None:
    model = made(kind)
    before, size = whole(model, PROMPTS[1]), model.get_memory_footprint()
    made_lean = lean(model, AdapterBatch(model))
    assert made_lean is not None
    assert torch.allclose(whole(model, PROMPTS[1]), before, atol=1e-4)
    assert model.get_memory_footprint() == size
    assert (
        model.model.layers[0].self_attn.k_proj.weight.untyped_storage().data_ptr()
        == made_lean.blocks[0].qkv.layout.weight.untyped_storage().data_ptr()
    ), "the weights must be shared, not copied"


def test_an_all_linear_adapter_answers_as_peft_does(tmp_path: Any) -> None:
    model = made("Qwen2")
    reference = save_adapter(model, tmp_path / "all", r=4, target_modules="all-linear")
    loop = DecodeLoop(model, TOKENIZER, 512)
    loop.stop_tokens = frozenset()
    adapter = read_adapter(tmp_path / "all", model, model.dtype)
    asked = [request(PROMPTS[0], adapter, max_tokens=20), request(PROMPTS[1], max_tokens=20)]
    assert [tokens(events) for events in run(loop, asked)] == [
        greedy(reference, PROMPTS[0], 20),
        greedy(made("Qwen2"), PROMPTS[1], 20),
    ]
    loop.close()


@pytest.mark.parametrize("packing", [False, pytest.param(True, marks=NO_BF16)])
def test_prompts_with_different_adapters_have_pefts_logits_in_bf16(
    packing: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.lean.halved", lambda dtype, device: False)
    monkeypatch.setattr("engine.lean.blocked", lambda dtype, device: packing)
    options: list[dict[str, Any]] = [{"r": 4, "target_modules": "all-linear"}, {"r": 9, "target_modules": ["v_proj"]}]
    expected = [whole(made("Qwen3").to(torch.bfloat16), PROMPTS[2])]
    model = made("Qwen3").to(torch.bfloat16)
    loop, prompts = DecodeLoop(model, TOKENIZER, 512), [Prompt(tuple(PROMPTS[2]), None, None)]
    for i, (one, ids) in enumerate(zip(options, PROMPTS, strict=False)):
        reference = save_adapter(made("Qwen3").to(torch.bfloat16), tmp_path / f"{i}", **one)
        expected.append(whole(reference, ids))
        prompts.append(Prompt(tuple(ids), read_adapter(tmp_path / f"{i}", model, model.dtype), None))
    for prompt in prompts:
        loop.passes.start(prompt, [], 0)
    with torch.inference_mode():
        found = loop.passes.read([(prompt, len(prompt.ids)) for prompt in prompts])
    for one, two in zip(found, expected, strict=True):
        assert (one - two.float()).abs().max() < 0.04 * two.abs().max()
    assert loop.lean.packable[0].packed == packing


def test_other_networks_keep_transformers_own_forward() -> None:
    for model in (network("GPT2"), network("Gemma2"), network("Mistral"), network("Llama").to(torch.float16)):
        adapters = AdapterBatch(model)
        assert (lean(model, adapters) is None) == (type(model).__name__ != "LlamaForCausalLM")
    assert lean(network("Llama"), None) is None


LAYOUTS = [
    pytest.param(Blocks, torch.bfloat16, torch.bfloat16, marks=NO_BF16),
    pytest.param(Blocks, torch.float32, torch.float32),
    pytest.param(Halves, torch.bfloat16, torch.float32, marks=NO_HALVES),
    pytest.param(Halves, torch.float16, torch.float32, marks=NO_HALVES),
]


def linear(columns: int, size: int, bias: bool, dtype: torch.dtype) -> torch.nn.Linear:
    """A layer whose weights are numbers of that precision."""
    return torch.nn.Linear(columns, size, bias=bias, dtype=dtype).requires_grad_(False)


def computed(product: Product, x: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """All that is made of one product."""
    matrix, filled = product.matrix, fill(len(x)) if isinstance(product.layout, Halves) else 0
    plain = fused.product(x, matrix, filled), fused.plus(x, matrix, filled, other, None)
    return *plain, fused.silu(x, matrix), fused.times(x, matrix, other)


@pytest.mark.parametrize(("layout", "dtype", "compute"), LAYOUTS)
@pytest.mark.parametrize("bias", [False, True])
def test_packed_products_equal_plain_ones(layout: Packer, dtype: torch.dtype, compute: torch.dtype, bias: bool) -> None:
    narrow = [linear(48, size, bias, dtype) for size in (40, 8, 24)]
    product, reference = Product(narrow), Product([copy.deepcopy(layer).to(compute) for layer in narrow])
    near = {"atol": 0.03, "rtol": 0.02} if compute == torch.bfloat16 else {"atol": 1e-5}
    for rows in (1, 2, 3, 7, 8, 70):
        x, other = torch.randn(rows, 48, dtype=compute), torch.randn(rows, 72, dtype=compute)
        plainly = computed(reference, x, other)
        product.pack(layout)
        assert product.packed
        assert not any(layer.weight.numel() for layer in narrow)
        packed = computed(product, x, other)
        for one, two in zip(packed, plainly, strict=True):
            assert one.dtype == compute
            assert torch.allclose(one.float(), two.float(), **near)
        product.unpack()
        for layer, plain in zip(narrow, reference.layers, strict=True):
            assert layer.weight.dtype == compute
            assert torch.allclose(layer.weight, plain.weight, rtol=0, atol=2**-25 if layout is Halves else 0)


@pytest.mark.parametrize(("layout", "dtype", "compute"), LAYOUTS)
@pytest.mark.parametrize("size", [128, 300])
def test_rows_of_a_packed_table_are_those_of_the_plain_one(
    size: int, layout: Packer, dtype: torch.dtype, compute: torch.dtype
) -> None:
    table = linear(64, size, False, dtype)
    product, weight = Product([table]), table.weight.detach().clone().to(compute)
    product.pack(layout, looked_up=True)
    assert product.packed or layout is Blocks  # another oneDNN may order them otherwise; then the table stays plain
    for _ in range(2):
        assert torch.allclose(product.rows(torch.arange(size)).to(compute), weight, rtol=0, atol=2**-25)
        product.unpack()


@NO_HALVES
def test_rows_of_half_precision_products_are_the_same_among_any_number_of_others() -> None:
    product = Product([linear(320, 96, False, torch.bfloat16)])
    product.pack(Halves)
    x = torch.randn(200, 320)
    expected = torch.cat([fused.product(one[None], product.matrix, fill(1)) for one in x])
    for rows in (*range(1, 70), 100, 127, 128, 200):
        found = fused.product(x[:rows], product.matrix, fill(rows))
        assert torch.equal(found, expected[:rows]), f"{rows} rows"
    assert all(alike(rows + fill(rows), rows) for rows in range(1, 150))


@NO_HALVES
def test_half_precision_takes_two_bytes_a_weight_in_columns_of_512() -> None:
    head = Product([linear(600, 25_000, False, torch.bfloat16)])
    given, before = head.layout.plain(), resident()
    head.pack(Halves)
    assert head.nbytes == 2 * 1024 * 25_000
    assert resident() - before == pytest.approx(head.nbytes, rel=0.1)
    del given
    head.unpack()
    head.pack(Halves, looked_up=True)
    assert head.nbytes == 2 * (1024 + 600) * 25_000, "rows are looked up in a table beside the packed one"


def resident() -> int:
    """Bytes of this process in memory."""
    trim()
    found = process_bytes()
    assert found is not None
    return found


@NO_BF16
@pytest.mark.parametrize("tied", [False, True])
def test_a_packed_network_gives_the_plain_networks_logits(tied: bool) -> None:
    model = made("Llama", tie_word_embeddings=tied).to(torch.bfloat16)
    expected = whole(model, PROMPTS[1]).float()
    loop = DecodeLoop(model, TOKENIZER, 512)
    drawn = [e for e in run(loop, [request(PROMPTS[1], max_tokens=1)])[0] if isinstance(e, Piece)]
    loop.close()
    token, logprob = drawn[0].token_ids[0], drawn[0].logprobs[0]
    assert logprob == pytest.approx(expected.log_softmax(-1)[token].item(), abs=0.3)
    assert expected[token] >= expected.max() - 0.3


@pytest.mark.parametrize("tied", [False, True])
def test_a_packed_network_in_float32_draws_the_plain_networks_tokens(
    tied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made("Llama", tie_word_embeddings=tied)
    asked = [request(PROMPTS[i % len(PROMPTS)], max_tokens=12) for i in range(5)]
    drawn = []
    for packing in (False, True):
        monkeypatch.setattr("engine.lean.blocked", lambda dtype, device, packing=packing: packing)
        monkeypatch.setattr("engine.lean.CACHED", 0)
        loop = DecodeLoop(model, TOKENIZER, 512)
        assert loop.lean.blocks[0].o.packed == packing
        drawn.append([tokens(events) for events in run(loop, asked)])
        loop.close()
        loop.give_back_weights()
    assert drawn[0] == drawn[1]


@NO_BF16
def test_a_packed_base_gives_its_weights_back_to_an_adapter_that_needs_them(tmp_path: Any) -> None:
    model = network("Llama").to(torch.bfloat16)
    reference = whole(model, PROMPTS[1]).float()
    save_adapter(model, tmp_path / "dora", r=4, target_modules=["q_proj", "v_proj"], use_dora=True)
    base = Base(model, TOKENIZER)
    base.loop.stop_tokens = frozenset()
    assert len(tokens(run(base.loop, [request(PROMPTS[1], max_tokens=3)])[0])) == 3
    loop, _ = base.place(Model(name="dora", base="b", adapter=tmp_path / "dora"))
    loop.stop_tokens = frozenset()
    assert len(tokens(run(loop, [request(PROMPTS[1], max_tokens=3)])[0])) == 3
    base.loop.adapters.use([None])
    assert torch.equal(whole(model, PROMPTS[1]).float(), reference)
    assert len(tokens(run(base.loop, [request(PROMPTS[1], max_tokens=3)])[0])) == 3
    base.close()


@NO_BF16
def test_a_packed_base_decodes_on_after_an_adapter_that_did_not_fit(tmp_path: Any) -> None:
    base = Base(network("Llama").to(torch.bfloat16), TOKENIZER)
    base.loop.stop_tokens = frozenset()
    before = tokens(run(base.loop, [request(PROMPTS[1], max_tokens=5)])[0])
    misfit(base, tmp_path)
    assert all(product.packed for product in base.loop.lean.blocks[0].products())
    assert tokens(run(base.loop, [request(PROMPTS[1], max_tokens=5)])[0]) == before
    base.close()


def test_weights_are_packed_again_when_an_adapter_did_not_fit(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.lean.blocked", lambda dtype, device: True)
    monkeypatch.setattr("engine.lean.CACHED", 0)
    base = Base(network("Llama", tie_word_embeddings=False), TOKENIZER)
    layers = [layer for product in base.loop.lean.packable for layer in product.layers]
    misfit(base, tmp_path)
    assert not any(layer.weight.numel() for layer in layers), "the base was left in its slow layout"
    save_adapter(network("Llama"), tmp_path / "dora", r=4, target_modules=["q_proj"], use_dora=True)
    base.place(Model(name="dora", base="b", adapter=tmp_path / "dora"))
    misfit(base, tmp_path)
    assert all(layer.weight.numel() for layer in layers), "another adapter uses the weights in their plain layout"
    base.close()


@pytest.fixture
def halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor without bf16."""
    monkeypatch.setattr("engine.lean.halved", lambda dtype, device: dtype in (torch.bfloat16, torch.float16))
    monkeypatch.setattr("engine.lean.LEAST_COLUMNS", 0)


@NO_HALVES
@pytest.mark.usefixtures("halves")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_in_16_bits_answer_as_in_32(kind: str, dtype: torch.dtype, tmp_path: Any) -> None:
    model = made(kind).to(dtype)
    in_32 = copy.deepcopy(model).float()
    expected = [greedy(in_32, prompt, 20) for prompt in PROMPTS]
    tuned = greedy(save_adapter(in_32, tmp_path / "all", r=4, target_modules="all-linear"), PROMPTS[0], 20)
    base = Base(model, TOKENIZER)
    base.loop.stop_tokens = frozenset()
    assert base.loop.lean.halves
    adapter = base.place(Model(name="all", base="b", adapter=tmp_path / "all"))[1]
    asked = [request(prompt, max_tokens=20) for prompt in PROMPTS] + [request(PROMPTS[0], adapter, max_tokens=20)]
    assert [tokens(events) for events in run(base.loop, asked)] == [*expected, tuned]
    base.close()


@NO_HALVES
@pytest.mark.usefixtures("halves")
@pytest.mark.parametrize("tied", [False, True])
def test_weights_in_16_bits_are_given_back_in_32_and_weighed_as_they_are(tied: bool, tmp_path: Any) -> None:
    model = made("Llama", tie_word_embeddings=tied).to(torch.bfloat16)
    in_32 = copy.deepcopy(model).float()
    count, widened = (sum(w.numel() for w in model.parameters() if w.dim() in dims) for dims in ((1, 2), (1,)))
    base = Base(model, TOKENIZER)
    base.loop.stop_tokens = frozenset()
    kept = 0 if tied else model.get_input_embeddings().weight.nbytes
    assert base.bytes == pytest.approx(base.loop.packed_bytes + kept + 4 * widened, rel=0.001)
    before = tokens(run(base.loop, [request(PROMPTS[1], max_tokens=9)])[0])
    misfit(base, tmp_path)
    assert all(product.packed for product in base.loop.lean.packable)
    assert tokens(run(base.loop, [request(PROMPTS[1], max_tokens=9)])[0]) == before
    save_adapter(in_32, tmp_path / "dora", r=4, target_modules=["q_proj", "v_proj"], use_dora=True)
    loop, _ = base.place(Model(name="dora", base="b", adapter=tmp_path / "dora"))
    loop.stop_tokens = frozenset()
    assert len(tokens(run(loop, [request(PROMPTS[1], max_tokens=3)])[0])) == 3
    base.loop.adapters.use([None])
    plain = copy.deepcopy(in_32)
    assert torch.allclose(whole(model, PROMPTS[1]), whole(plain, PROMPTS[1]), atol=1e-4)
    assert tokens(run(base.loop, [request(PROMPTS[1], max_tokens=9)])[0]) == before
    assert base.bytes >= 4 * count
    base.close()


@NO_HALVES
@pytest.mark.usefixtures("halves")
def test_weights_too_large_for_half_precision_stay_as_they_are() -> None:
    model = made("Llama").to(torch.bfloat16)
    assert in_halves(model)
    model.model.layers[1].mlp.up_proj.weight.data[0, 0] = 1e6
    assert not in_halves(model)
    assert DecodeLoop(model, TOKENIZER, 512).dtype == torch.bfloat16


@pytest.mark.usefixtures("halves")
def test_models_too_narrow_to_gain_by_it_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made("Llama").to(torch.bfloat16)
    monkeypatch.setattr("engine.lean.LEAST_COLUMNS", 1 + model.config.hidden_size)
    assert not in_halves(model)


def test_only_a_processor_without_bf16_keeps_weights_in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    for fast in (False, True):
        monkeypatch.setattr("engine.weights.fast_bf16", lambda fast=fast: fast)
        known = "fbgemm" in torch.backends.quantized.supported_engines
        assert halved(torch.bfloat16, CPU) == (known and not fast)
        assert not halved(torch.float32, CPU)
        assert not halved(torch.bfloat16, torch.device("cuda"))


def misfit(base: Base, folder: Any) -> None:
    """Try an adapter of a wider base that PEFT must refuse."""
    save_adapter(network(hidden_size=128), folder / "wide", r=4, target_modules=["q_proj"], use_dora=True)
    with pytest.raises(Problem, match="does not fit this base"):
        base.place(Model(name="wide", base="b", adapter=folder / "wide"))
