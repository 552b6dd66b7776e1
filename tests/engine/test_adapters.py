"""Adapters in one batch against PEFT, one at a time: every kind of row beside every other."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.adapters import read_adapter
from engine.catalog import Model
from engine.errors import Problem
from engine.messages import Piece
from engine.pool import Base
from engine.stacked import AdapterBatch
from engine.weights import keep_plain_four_bit, precision_options
from tests.engine.rows import TOKENIZER, end, greedy, network, request, run, save_adapter, tokens
from tests.tiny import make_tiny_llama

PROMPTS = (list(range(10, 15)), list(range(30, 53)))
QV = ["q_proj", "v_proj"]
STACKED = {
    "rank8": {"r": 8, "lora_alpha": 16, "target_modules": QV},
    "all-linear": {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"},
    "rslora": {"r": 16, "use_rslora": True, "target_modules": ["q_proj"], "rank_pattern": {"layers.0.*": 2}},
}
ALONE = {
    "dora": {"r": 4, "lora_alpha": 8, "target_modules": QV, "use_dora": True},
    "whole-module": {"r": 4, "target_modules": QV, "modules_to_save": ["lm_head"]},
    "embedding": {"r": 4, "target_modules": ["embed_tokens", "q_proj"]},
}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Base, dict[str, Model], dict[str, Any]]]:
    """A base, adapters of every kind as models, and PEFT's own models for reference."""
    folder = tmp_path_factory.mktemp("adapters")
    model = network()
    references = {
        name: save_adapter(model, folder / name, seed, **config)
        for seed, (name, config) in enumerate((STACKED | ALONE).items())
    }
    models = {name: Model(name=name, base="b", adapter=folder / name) for name in references}
    base = Base(network(), TOKENIZER)
    base.loop.stop_tokens = frozenset()
    yield base, models, references
    base.close()


def test_plain_lora_is_stacked_and_the_rest_runs_in_a_batch_of_its_own(zoo: Any) -> None:
    base, models, _ = zoo
    assert all(base.place(models[name])[0] is base.loop for name in STACKED)
    assert all(base.place(models[name])[0] is not base.loop for name in ALONE)


def test_all_kinds_side_by_side_answer_as_peft_does_alone(zoo: Any) -> None:
    base, models, references = zoo
    expected = {(name, i): greedy(ref, p, 20) for name, ref in references.items() for i, p in enumerate(PROMPTS)}
    expected |= {("base", i): greedy(network(), p, 20) for i, p in enumerate(PROMPTS)}
    assert len({tuple(v) for v in expected.values()}) >= len(expected) - 2, "the test needs different answers"
    rows, events = {}, {key: [] for key in expected}
    for name, i in expected:
        loop, adapter = base.place(models[name]) if name != "base" else (base.loop, None)
        loop.stop_tokens = frozenset()
        rows[name, i] = loop.submit([request(PROMPTS[i], adapter, max_tokens=20)], [events[name, i].append])[0]
    assert all(row.over.wait(60) for row in rows.values())
    assert {key: tokens(one) for key, one in events.items()} == expected


@pytest.mark.parametrize("name", [*STACKED, *ALONE])
def test_the_proof_is_the_largest_difference_of_first_step_logits(zoo: Any, name: str) -> None:
    base, models, references = zoo
    loop, adapter = base.place(models[name])
    told = end(run(loop, [request(PROMPTS[0], adapter, prove=True, max_tokens=2)])[0]).logit_difference
    ids = torch.tensor([PROMPTS[0]])
    with torch.no_grad():
        tuned, plain = (m(input_ids=ids).logits[0, -1] for m in (references[name], network()))
    assert told == pytest.approx((tuned - plain).abs().max().item(), abs=1e-3)
    assert told > 0.01


def test_rows_of_a_base_are_untouched_by_adapters_beside_them(zoo: Any) -> None:
    base, models, _ = zoo
    alone = tokens(run(base.loop, [request(PROMPTS[1], max_tokens=40)])[0])
    loop, adapter = base.place(models["all-linear"])
    beside = run(loop, [request(PROMPTS[0], adapter, max_tokens=40), request(PROMPTS[1], max_tokens=40)])
    assert tokens(beside[1]) == alone


@pytest.mark.parametrize("precision", ["fp32", "bf16", "nf4"])
def test_stacked_equals_peft_within_tolerance_in_every_precision(precision: str, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = make_tiny_llama(tmp_path / "base", hidden=64)
    for name, rank in (("a", 4), ("b", 16)):
        fresh = AutoModelForCausalLM.from_pretrained(folder)
        save_adapter(fresh, tmp_path / name, rank, r=rank, target_modules="all-linear")
    options = precision_options(precision)
    model = AutoModelForCausalLM.from_pretrained(folder, **options).eval()
    keep_plain_four_bit(model)
    ids = torch.randint(10, 280, (3, 7), generator=torch.Generator().manual_seed(0)).to(model.device)
    batch = AdapterBatch(model)
    a, b = (read_adapter(tmp_path / name, model, model.dtype) for name in ("a", "b"))
    with torch.inference_mode():
        batch.use([a, None, b])
        mixed = model(input_ids=ids).logits.float()
    for row, name in ((0, "a"), (1, None), (2, "b")):
        fresh = AutoModelForCausalLM.from_pretrained(folder, **options).eval()
        keep_plain_four_bit(fresh)
        reference = PeftModel.from_pretrained(fresh, tmp_path / name).eval() if name else fresh
        with torch.inference_mode():
            expected = reference(input_ids=ids[row : row + 1]).logits.float()[0]
        scale = expected.abs().max().item()
        assert (mixed[row] - expected).abs().max().item() < (1e-4 if precision == "fp32" else 0.04) * scale


def test_a_batch_with_one_adapter_needs_no_mask_and_one_without_runs_no_product(zoo: Any) -> None:
    base, models, _ = zoo
    _, adapter = base.place(models["rank8"])
    batch = base.loop.adapters
    batch.use([adapter, adapter])
    stacked = next(iter(batch.layers.values()))
    assert batch._mask(stacked.family.ranks, torch.zeros(2, 1, 8)) is None
    batch.use([None, None])
    assert batch.layers == {}


def test_an_adapter_with_new_tokens_speaks_them_beside_ordinary_lanes(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = make_tiny_llama(tmp_path / "base", hidden=64)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["###HUMAN###", "###BOT###"])
    grown = AutoModelForCausalLM.from_pretrained(folder)
    before = grown.get_input_embeddings().weight.shape[0]
    grown.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    reference = save_adapter(
        grown, tmp_path / "speaker", r=4, target_modules=QV, modules_to_save=["embed_tokens", "lm_head"]
    )
    tokenizer.save_pretrained(tmp_path / "speaker")
    plain = AutoModelForCausalLM.from_pretrained(folder).eval()
    base = Base(plain, AutoTokenizer.from_pretrained(folder))
    loop, adapter = base.place(Model(name="speaker", base="b", adapter=tmp_path / "speaker"))
    for one in (loop, base.loop):
        one.stop_tokens = frozenset()
    prompt = tokenizer("###HUMAN### hello ###BOT###")["input_ids"]
    assert max(prompt) >= before
    spoken = run(loop, [request(prompt, adapter, prove=False, max_tokens=12)])[0]
    beside = run(base.loop, [request(PROMPTS[0], max_tokens=12)])[0]
    assert tokens(spoken) == greedy(reference, prompt, 12)
    assert tokens(beside) == greedy(AutoModelForCausalLM.from_pretrained(folder).eval(), PROMPTS[0], 12)
    assert plain.get_input_embeddings().weight.shape[0] == before, "the base itself must not grow"
    assert any(isinstance(event, Piece) for event in spoken)
    base.close()


def test_an_adapter_for_another_base_is_refused_in_words(zoo: Any, tmp_path: Path) -> None:
    base, _, _ = zoo
    for name, other in (("wide", network(hidden_size=128)), ("deep", network(num_hidden_layers=5))):
        save_adapter(other, tmp_path / name, r=4, target_modules=QV)
        with pytest.raises(Problem, match="does not fit this base"):
            base.place(Model(name=name, base="b", adapter=tmp_path / name))


def test_an_unknown_kind_of_adapter_is_refused_in_words(zoo: Any, tmp_path: Path) -> None:
    base, models, _ = zoo
    weights = (models["rank8"].adapter / "adapter_model.safetensors").read_bytes()
    (tmp_path / "adapter_model.safetensors").write_bytes(weights)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "NO_SUCH_TUNER"}))
    with pytest.raises(Problem, match="does not fit this base"):
        base.place(Model(name="unknown", base="b", adapter=tmp_path))


def test_faulty_adapter_folders_are_refused_in_words(zoo: Any, tmp_path: Path) -> None:
    base, models, _ = zoo
    good = models["rank8"].adapter
    config = (good / "adapter_config.json").read_text()
    cases = {
        "pickle": ({"adapter_config.json": config, "adapter_model.bin": "x"}, "safetensors"),
        "no-config": ({"adapter_model.safetensors": "x"}, "adapter_config.json"),
        "bad-config": ({"adapter_config.json": "{", "adapter_model.safetensors": "x"}, "adapter_config.json"),
        "list-config": ({"adapter_config.json": "[]", "adapter_model.safetensors": "x"}, "JSON object"),
        "damaged": ({"adapter_config.json": config, "adapter_model.safetensors": "x"}, "damaged"),
    }
    for name, (files, told) in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        for file, text in files.items():
            (folder / file).write_text(text)
        with pytest.raises(Problem, match=told):
            base.place(Model(name=name, base="b", adapter=folder))
