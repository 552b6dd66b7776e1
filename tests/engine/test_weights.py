"""Looking at a model before loading it, and telling in words why one cannot be used."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.catalog import Model, find
from engine.errors import Problem
from engine.weights import adapter_base, best_dtype, fast_bf16, load, look_at, precision_options
from tests.tiny import make_tiny_llama


def refused(folder: Path, told: str) -> None:
    with pytest.raises(Problem, match=told):
        load(Model(name="m", base=str(folder)))


def test_a_good_folder_loads_in_float32_when_it_is_a_toy(tiny: Path) -> None:
    network, tokenizer = load(Model(name="tiny", base=str(tiny)))
    assert network.dtype == torch.float32 and not network.training
    assert tokenizer("hello")["input_ids"]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "nf4", "int8"])
def test_every_precision_loads_and_answers(tiny: Path, precision: str) -> None:
    network, _ = load(Model(name="tiny", base=str(tiny), precision=precision))
    with torch.inference_mode():
        assert network(input_ids=torch.tensor([[5, 6, 7]])).logits.isfinite().all()
    if precision == "nf4":
        assert type(network.model.layers[0].self_attn.q_proj).__name__ == "Linear4bit"
    if precision == "int8":
        assert type(network.model.layers[0].self_attn.q_proj).__name__ == "Linear8bitLt"


def test_models_that_load_at_once_keep_the_weights_that_they_share() -> None:
    from transformers import PreTrainedModel

    from engine import embed

    tying = PreTrainedModel.tie_weights
    starter, start = find("starter"), threading.Barrier(6)

    def made(i: int) -> Any:
        start.wait()
        return embed.model.__wrapped__() if i % 3 == 2 else load(starter)[0]

    with ThreadPoolExecutor(6) as threads:
        networks = list(threads.map(made, range(6)))
    assert PreTrainedModel.tie_weights is tying, "transformers takes it away while it builds a model"
    for network in networks:
        assert not any(weight.is_meta for weight in network.parameters())
    assert load(starter)[0].lm_head.weight.isfinite().all()


def test_a_model_that_lacks_weights_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import PreTrainedModel

    monkeypatch.setattr(PreTrainedModel, "tie_weights", lambda *args, **options: None)
    with pytest.raises(Problem, match="without some of its weights"):
        load(find("starter"))


def test_an_unknown_precision_is_told(tiny: Path) -> None:
    with pytest.raises(Problem, match="Choose auto, fp32"):
        load(Model(name="tiny", base=str(tiny), precision="fp7"))


def test_pickled_weights_are_refused_and_never_opened(tmp_path: Path) -> None:
    make_tiny_llama(tmp_path / "m")
    canary = tmp_path / "canary"

    class Touch:
        def __reduce__(self) -> tuple:
            return Path.touch, (canary,)

    torch.save({"weight": Touch()}, tmp_path / "m" / "pytorch_model.bin")
    (tmp_path / "m" / "model.safetensors").unlink()
    refused(tmp_path / "m", "only pickle files")
    assert not canary.exists()


def test_remote_code_is_refused_and_never_run(tmp_path: Path) -> None:
    folder = make_tiny_llama(tmp_path / "m")
    canary = tmp_path / "canary"
    (folder / "evil.py").write_text(f"open({str(canary)!r}, 'w').close()\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoModelForCausalLM": "evil.Evil", "AutoConfig": "evil.Config"}}
    config |= {"trust_remote_code": True}
    (folder / "config.json").write_text(json.dumps(config))
    refused(folder, "code of its own")
    assert not canary.exists()


def test_remote_code_beside_a_known_architecture_is_not_run_either(tmp_path: Path) -> None:
    folder = make_tiny_llama(tmp_path / "m")
    canary = tmp_path / "canary"
    (folder / "evil.py").write_text(f"open({str(canary)!r}, 'w').close()\n")
    for file in ("config.json", "tokenizer_config.json"):
        data = json.loads((folder / file).read_text())
        data |= {"auto_map": {"AutoModelForCausalLM": "evil.Evil", "AutoTokenizer": ["evil.T", None]}}
        (folder / file).write_text(json.dumps(data | {"trust_remote_code": True}))
    network, _ = load(Model(name="m", base=str(folder)))
    assert type(network).__name__ == "LlamaForCausalLM" and not canary.exists()


def test_folders_that_are_no_model_are_told_apart(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(Problem, match="holds no model"):
        find(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    refused(tmp_path, "not an architecture")
    (tmp_path / "config.json").write_text("not json")
    refused(tmp_path, "config.json cannot be read")
    (tmp_path / "config.json").write_text((tiny / "config.json").read_text())
    refused(tmp_path, "no weights at all")


def test_damaged_weights_are_told_without_a_traceback(tmp_path: Path) -> None:
    folder = make_tiny_llama(tmp_path / "m")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    refused(folder, "could not be loaded")


def test_a_hub_id_without_a_network_is_told_in_words() -> None:
    with pytest.raises(Problem, match="not on this machine"):
        load(Model(name="x", base="some-owner/some-model"))


def test_names_are_looked_up_or_explained(tiny: Path) -> None:
    assert find(" starter ").name == "starter"
    assert find(str(tiny)).base == str(tiny)
    assert find("HuggingFaceTB/SmolLM2-135M").base == "HuggingFaceTB/SmolLM2-135M"
    for bad in ("", "../../etc/passwd", "a/b/c", "http://x/y", "sp ace"):
        with pytest.raises(Problem, match="neither a model in the list"):
            find(bad)


def test_an_adapter_folder_names_its_base(tmp_path: Path) -> None:
    config = tmp_path / "adapter_config.json"
    config.write_text(json.dumps({"base_model_name_or_path": "assets/starter"}))
    assert adapter_base(tmp_path).endswith("assets/starter")
    assert find(str(tmp_path)).adapter == tmp_path
    config.write_text(json.dumps({"base_model_name_or_path": "owner/model"}))
    assert adapter_base(tmp_path) == "owner/model"
    config.write_text("{}")
    with pytest.raises(Problem, match="does not say which base"):
        adapter_base(tmp_path)
    look_at(Path(adapter_base_of_starter()))


def adapter_base_of_starter() -> str:
    return find("starter").base


def test_quantized_and_recurrent_folders_are_refused_when_they_are_loaded_too(tmp_path: Path) -> None:
    folder = make_tiny_llama(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "gptq"}}))
    refused(folder, "m is a GPTQ model")
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "mamba"}))
    refused(folder, "recurrent state")


@pytest.mark.parametrize("major", [7, 8])
def test_bf16_is_automatic_only_on_a_gpu_that_computes_it_itself(monkeypatch: pytest.MonkeyPatch, major: int) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return including_emulation or major >= 8

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr("engine.weights.TOY_PARAMETERS", 0)
    wanted = torch.bfloat16 if major >= 8 else torch.float32
    assert fast_bf16() == (major >= 8)
    assert best_dtype(torch.nn.Linear(2, 2)) == wanted
    assert precision_options("nf4")["quantization_config"].bnb_4bit_compute_dtype == wanted
    monkeypatch.setattr("engine.weights.TOY_PARAMETERS", 100)
    assert best_dtype(torch.nn.Linear(2, 2)) == torch.float32
