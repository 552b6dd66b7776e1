"""Looking before loading: folders and Hub ids of every kind, and the sentence for each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import settings as settings_module
from engine.errors import Problem
from engine.models import look as looking
from engine.models.look import look
from engine.models.report import Report
from engine.settings import settings
from tests.engine.models.shelf import MakeLora
from tests.scripted_hub import Hub, Repo, scripted_hub
from tests.tiny import make_tiny_llama

GPTQ = "TheBloke/Mistral-7B-Instruct-v0.2-GPTQ"


def told(report: Report, kind: str = "") -> str:
    return " ".join(finding.text for finding in report.findings if kind in ("", finding.kind))


def changed(folder: Path, to: Path, **config: object) -> Path:
    """A copy of a model folder with another config."""
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    data = json.loads((to / "config.json").read_text()) | config
    (to / "config.json").write_text(json.dumps(data))
    return to


def patched(monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
    """Settings with other values."""
    from dataclasses import replace

    made = replace(settings(), **values)  # type: ignore[arg-type]
    for module in ("engine.models.look", "engine.models.kept", "engine.hub"):
        monkeypatch.setattr(f"{module}.settings", lambda: made)


def test_good_folder_is_told_with_size_context_and_memory(no_models: Path, llama: Path) -> None:
    report = look(str(llama))
    assert report.usable and report.kind == "model" and report.place == "folder" and report.facts.chat
    assert "LlamaForCausalLM" in told(report) and "512 tokens of context" in told(report)
    assert "safetensors: 1 file" in told(report, "good") and "It fits" in told(report)
    assert report.needs["fp32"] == 2 * report.needs["bf16"] > report.needs["nf4"]
    assert report.facts.parameters == report.needs["fp32"] // 4


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("", "Write a Hub id such as"),
        ("/no/such/folder", "There is no folder /no/such/folder on this machine"),
        ("./nowhere", "There is no folder ./nowhere"),
        ("~nobody/here", "There is no folder ~nobody/here"),
        ("x" * 3000, "Hub id"),
        ("a/b/c", "neither a folder on this machine nor a Hub id"),
        ("../../no-such", "There is no folder"),
        ("owner/..", "neither a folder"),
        ("ftp://x/y", "neither a folder"),
        ("owner/model@../main", "is no revision"),
        ("owner/model@a b", "is no revision"),
    ],
)
def test_what_can_be_nothing_is_refused_before_anybody_is_asked(hub: Hub, asked: str, sentence: str) -> None:
    with pytest.raises(Problem) as caught:
        look(asked)
    assert sentence in str(caught.value) and not hub.asked


def test_folder_faults_are_findings_each_in_a_sentence(no_models: Path, llama: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "neither a config.json nor an adapter_config.json" in told(look(str(tmp_path / "empty")), "bad")
    cases: list[tuple[Path, str]] = [
        (changed(llama, tmp_path / "a", model_type="evil"), "'evil' is not an architecture"),
        (changed(llama, tmp_path / "b", model_type="evil", auto_map={"A": "x.X"}), "code of its own, which Diptych"),
        (changed(llama, tmp_path / "c", model_type="mamba"), "keeps a recurrent state"),
        (changed(llama, tmp_path / "d", architectures=["LlamaForSequenceClassification"]), "does not continue text"),
        (changed(llama, tmp_path / "e", quantization_config={"quant_method": "gptq", "bits": 4}), "is a GPTQ model"),
        (changed(llama, tmp_path / "f", quantization_config={"quant_method": "bitsandbytes"}), "no other precision"),
    ]
    for folder, sentence in cases:
        report = look(str(folder))
        assert not report.usable and sentence in told(report, "bad"), told(report)
    broken = changed(llama, tmp_path / "g")
    (broken / "config.json").write_text("[1]")
    assert "is not a JSON object" in told(look(str(broken)), "bad")
    (broken / "config.json").write_bytes(b"\xff\xfe")
    assert "cannot be read" in told(look(str(broken)), "bad")


def test_weights_that_are_cut_missing_or_pickled_are_told_apart(no_models: Path, llama: Path, tmp_path: Path) -> None:
    cut = changed(llama, tmp_path / "cut")
    (cut / "model.safetensors").write_bytes((llama / "model.safetensors").read_bytes()[:-5])
    assert "damaged or cut off" in told(look(str(cut)), "bad")
    (cut / "model.safetensors").write_bytes(b"\xff" * 100)
    assert "damaged or cut off" in told(look(str(cut)), "bad")
    (cut / "model.safetensors").rename(cut / "pytorch_model.bin")
    assert "only pickle files" in told(look(str(cut)), "bad")
    (cut / "pytorch_model.bin").rename(cut / "model.gguf")
    assert "only GGUF files" in told(look(str(cut)), "bad")
    parts = changed(llama, tmp_path / "parts")
    (parts / "model.safetensors").rename(parts / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (parts / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model-00002-of-00002.safetensors is named in its index and missing" in told(look(str(parts)), "bad")
    (parts / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../../etc/x.safetensors"}}))
    assert "does not say which weights" in told(look(str(parts)), "bad")
    mute = changed(llama, tmp_path / "mute")
    (mute / "tokenizer.json").unlink()
    assert "has no tokenizer" in told(look(str(mute)), "bad")


def test_own_code_beside_a_known_architecture_is_told_and_never_run(
    no_models: Path, llama: Path, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    folder = changed(llama, tmp_path / "m", auto_map={"AutoConfig": "evil.Config"}, trust_remote_code=True)
    (folder / "evil.py").write_text(f"open({str(canary)!r}, 'w').close()\n")
    report = look(str(folder))
    assert report.usable and "evil.py" in told(report, "note") and "never downloaded or run" in told(report, "note")
    assert "evil.py" not in {file.name for file in report.files} and not canary.exists()


def test_memory_and_disk_are_held_against_this_machine(hub: Hub, llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos["o/m"] = Repo.of(llama)
    patched(monkeypatch, memory_bytes=10_000)
    assert "Even in 4 bits it takes about" in told(look("o/m"), "bad")
    patched(monkeypatch, memory_bytes=10**10)
    monkeypatch.setattr(looking, "free_bytes", lambda: 400_000)
    assert "Make room first" in told(look("o/m"), "bad")


def test_hub_model_is_looked_at_without_a_byte_of_its_weights(hub: Hub, llama: Path) -> None:
    hub.repos["owner/small"] = Repo.of(llama, card={"license": "apache-2.0"})
    size = len(hub.repos["owner/small"].files["model.safetensors"])
    report = look("owner/small")
    assert report.usable and report.facts.licence == "apache-2.0" and len(report.commit) == 40
    assert report.needs == look(str(llama)).needs
    ranges = [each.range for each in hub.sent("model.safetensors")]
    head = int.from_bytes(hub.repos["owner/small"].files["model.safetensors"][:8], "little")
    assert ranges == ["bytes=0-7", f"bytes=8-{head + 7}"] and head + 8 < size
    assert f"commit {report.commit[:8]}" in told(report)


@pytest.mark.parametrize(
    "asked",
    ["owner/small@v1", "https://huggingface.co/owner/small/tree/v1", "https://huggingface.co/owner/small/tree/v1/"],
)
def test_revision_may_be_part_of_what_is_typed(hub: Hub, llama: Path, asked: str) -> None:
    hub.repos["owner/small"] = Repo.of(llama, revisions=("main", "v1"))
    assert look(asked).revision == "v1"
    assert look("owner/small", "v1").revision == "v1"


def hub_cases() -> list[tuple[dict, str | None, str]]:
    return [
        ({"private": True}, None, "There is no model o/m on 127.0.0.1, or it is private; then set HF_TOKEN"),
        ({}, "nope", "o/m has no revision 'nope'"),
        ({"broken": 429}, None, "asked too often"),
        ({"broken": 500}, None, "has trouble of its own (status 500)"),
        ({"broken": 401}, None, "There is no model o/m"),
    ]


@pytest.mark.parametrize(("script", "revision", "sentence"), hub_cases())
def test_refusals_of_the_hub_are_told_in_words(
    hub: Hub, llama: Path, script: dict, revision: str | None, sentence: str
) -> None:
    hub.repos["o/m"] = Repo.of(llama, **script)
    with pytest.raises(Problem) as caught:
        look("o/m", revision)
    assert sentence in str(caught.value)


def test_missing_models_and_a_dead_hub_are_told_apart(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Problem, match=r"There is no model o/none on 127\.0\.0\.1"):
        look("o/none")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Problem, match="cannot be reached from here"):
        look("o/none")


def test_offline_switch_is_told_by_its_name(hub: Hub, llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    hub.repos["o/m"] = Repo.of(llama)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Problem, match="HF_HUB_OFFLINE is set"):
        look("o/m")
    assert not hub.asked


def test_silent_hub_is_given_up(hub: Hub, llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.hub.PATIENCE", 0.5)
    hub.repos["o/m"] = Repo.of(llama, silent=3.0)
    with pytest.raises(Problem, match="did not answer within"):
        look("o/m")


def test_gated_model_says_what_to_do_and_opens_with_a_fitting_token(
    hub: Hub, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repos["o/m"] = Repo.of(llama, gated="auto", key="hf_right")
    report = look("o/m")
    assert not report.usable and "o/m is gated: accept its terms on https://huggingface.co/o/m" in told(report, "bad")
    assert "then set HF_TOKEN" in told(report, "bad") and not any(each.authorization for each in hub.asked)
    patched(monkeypatch, hub_token="hf_wrong")
    assert "as the owner of this server's HF_TOKEN" in told(look("o/m"), "bad")
    patched(monkeypatch, hub_token="hf_right")
    report = look("o/m")
    assert report.usable and "this server's HF_TOKEN may read it" in told(report)


def test_pickles_and_own_code_on_the_hub_are_not_even_fetched(hub: Hub, llama: Path) -> None:
    files = Repo.of(llama).files
    pickled = {name: data for name, data in files.items() if name != "model.safetensors"}
    hub.repos["o/pickled"] = Repo(pickled | {"pytorch_model.bin": b"\x80\x04cos\nsystem\n"})
    report = look("o/pickled")
    assert "only pickle files" in told(report, "bad") and "refs/pr/1" in told(report, "bad")
    config = json.loads(files["config.json"]) | {"model_type": "evil", "auto_map": {"AutoConfig": "evil.C"}}
    hub.repos["o/evil"] = Repo(files | {"config.json": json.dumps(config).encode(), "evil.py": b"raise SystemExit"})
    assert "code of its own, which Diptych never runs" in told(look("o/evil"), "bad")
    assert not hub.sent("evil.py") and not hub.sent("pytorch_model.bin")


def test_gptq_base_is_recognised_explained_and_replaced(hub: Hub, llama: Path) -> None:
    files = Repo.of(llama).files
    config = json.loads(files["config.json"]) | {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    quantized = files | {"config.json": json.dumps(config).encode()}
    hub.repos[GPTQ] = Repo(quantized)
    report = look(GPTQ)
    assert report.instead == "mistralai/Mistral-7B-Instruct-v0.2" and not report.usable
    assert "Take its full-precision base mistralai/Mistral-7B-Instruct-v0.2 and choose 4 bits" in told(report, "bad")
    hub.repos["o/some-AWQ"] = Repo(quantized, card={"base_model": ["o/some"]})
    assert look("o/some-AWQ").instead == "o/some", "the card's base_model was not taken"


def test_names_that_lead_out_of_the_folder_are_left_where_they_are(hub: Hub, llama: Path) -> None:
    strange = {"../../evil.json": b"{}", "onnx/model.safetensors": b"x", "/etc/passwd": b"x", "a\\b.json": b"{}"}
    hub.repos["o/m"] = Repo(Repo.of(llama).files | strange)
    report = look("o/m")
    assert report.usable and not {file.name for file in report.files} & set(strange)


def test_hub_without_ranges_and_a_changed_length_are_noticed(hub: Hub, llama: Path) -> None:
    hub.repos["o/m"] = Repo.of(llama)
    whole = hub.repos["o/m"].files["model.safetensors"]
    hub.repos["o/m"].forged["model.safetensors"] = b"\x00" * len(whole)
    assert "damaged or cut off" in told(look("o/m"), "bad")


@pytest.fixture
def kept_base(no_models: Path, llama: Path) -> Callable[..., str]:
    from engine.models.kept import keep

    def add(path: Path = llama, **more: str) -> str:
        return keep(look(str(path)), **more).name

    return add


def test_adapter_in_a_folder_finds_the_base_that_it_names(
    kept_base: Callable[..., str], llama: Path, lora: MakeLora
) -> None:
    folder = lora(llama)
    name = kept_base()
    report = look(str(folder))
    assert report.usable and report.kind == "adapter" and report.base == str(llama) and report.base_name == name
    assert f"Its layers and shapes fit {name}" in told(report)


def test_adapter_without_a_base_here_asks_for_it(hub: Hub, llama: Path, lora: MakeLora) -> None:
    folder = lora(llama, named="owner/big-model")
    report = look(str(folder))
    assert not report.usable and report.instead == "owner/big-model"
    assert "Its base owner/big-model is not on this machine yet. Add that first" in told(report, "bad")
    assert "Choose the base it was trained on below" in told(look(str(lora(llama, named="/content/drive/my"))), "bad")


def test_adapter_trained_on_the_gptq_base_is_explained_and_goes_onto_the_full_one(
    hub: Hub, llama: Path, lora: MakeLora
) -> None:
    from engine.models.kept import entries, keep
    from tests.engine.models.test_download import wait_for

    folder = lora(llama, named=GPTQ)
    report = look(str(folder))
    assert report.instead == "mistralai/Mistral-7B-Instruct-v0.2" and not report.usable
    assert "was trained on TheBloke/Mistral-7B-Instruct-v0.2-GPTQ, a GPTQ model" in told(report, "note")
    hub.repos["mistralai/Mistral-7B-Instruct-v0.2"] = Repo.of(llama)  # a stand-in of 0.2 million weights
    keep(look("mistralai/Mistral-7B-Instruct-v0.2"))
    wait_for(entries()[0].store, "done")
    report = look(str(folder))
    assert report.usable and report.base_name == "Mistral-7B-Instruct-v0.2"
    assert "its answers may differ a little" in told(report, "note")


def test_adapter_that_does_not_fit_is_refused_with_layer_and_sizes(
    kept_base: Callable[..., str], llama: Path, lora: MakeLora, tmp_path: Path
) -> None:
    other = make_tiny_llama(tmp_path / "other", hidden=32)
    strange = lora(other, named="/content/somewhere")
    name = kept_base()
    report = look(str(strange), base=name)
    assert not report.usable and "does not fit" in told(report, "bad")
    assert "down_proj it expects 64 inputs and 32 outputs; this base has 172 inputs and 64 outputs" in told(report)
    shallow = make_tiny_llama(tmp_path / "shallow", hidden=64, layers=2, inner=172)
    deep = lora(llama, named="/content/somewhere")
    small = kept_base(shallow)
    assert "layers.2.mlp.down_proj, which this base does not have" in told(look(str(deep), base=small), "bad")


def test_adapter_is_not_put_on_another_base_than_its_own(
    kept_base: Callable[..., str], llama: Path, lora: MakeLora, tmp_path: Path
) -> None:
    twin = make_tiny_llama(tmp_path / "twin", seed=7, hidden=64, layers=3, inner=172)
    own, other = kept_base(), kept_base(twin)
    report = look(str(lora(llama)), base=other)
    assert not report.usable and f"changes the answers of its own base only: choose {own}" in told(report, "bad")
    unnamed = lora(llama, named="/content/drive")
    report = look(str(unnamed), base=other)
    assert report.usable and "only you know" in told(report, "note")
    assert "There is no base named nobody" in told(look(str(unnamed), base="nobody"), "bad")


def test_adapter_with_tokens_beyond_the_vocabulary_is_refused(
    kept_base: Callable[..., str], llama: Path, lora: MakeLora
) -> None:
    kept_base()
    folder = lora(llama)
    added = {"added_tokens_decoder": {"5000": {"content": "###HUMAN###"}}}
    (folder / "tokenizer_config.json").write_text(json.dumps(added))
    assert "its tokenizer has tokens up to number 5,000, and this base has" in told(look(str(folder)), "bad")


def test_adapter_weights_that_are_pickled_or_missing_are_refused(
    kept_base: Callable[..., str], llama: Path, lora: MakeLora
) -> None:
    kept_base()
    folder = lora(llama)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    assert "holds only pickle files (.bin)" in told(look(str(folder)), "bad")
    (folder / "adapter_model.bin").unlink()
    assert "no adapter_model.safetensors" in told(look(str(folder)), "bad")


def test_shipped_adapters_fit_the_starter(no_models: Path) -> None:
    report = look(str(settings_module.ROOT / "assets/adapters/starter-pirate"))
    assert report.usable and report.base_name == "starter"


def test_token_stays_with_the_hub_when_files_lie_elsewhere(
    hub: Hub, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted_hub() as other:
        other.repos["o/m"] = Repo.of(llama)
        elsewhere = other.address.replace("127.0.0.1", "localhost")
        hub.repos["o/m"] = Repo.of(llama, private=True, key="hf_secret", moved_to=elsewhere)
        patched(monkeypatch, hub_token="hf_secret")
        assert look("o/m").usable
        assert other.asked and not any(each.authorization for each in other.asked)
        assert any(each.authorization == "hf_secret" for each in hub.asked)


def test_hub_id_that_was_never_added_is_looked_at_before_it_is_loaded(hub: Hub, llama: Path, lora: MakeLora) -> None:
    from engine.catalog import Model
    from engine.weights import load

    files = Repo.of(llama).files
    pickled = {name: data for name, data in files.items() if name != "model.safetensors"}
    hub.repos["o/pickled"] = Repo(pickled | {"pytorch_model.bin": b"x"})
    hub.repos["o/bot"] = Repo.of(lora(llama))
    for base, sentence in (("o/pickled", "only pickle files"), ("o/bot", "o/bot is an adapter. Add it on the Models")):
        with pytest.raises(Problem, match=sentence):
            load(Model(base, base))
    assert not hub.sent("pytorch_model.bin")


def test_hub_id_that_was_never_added_is_fetched_and_loaded(hub: Hub, llama: Path, tmp_path: Path) -> None:
    files = Repo.of(llama).files | {"consolidated.safetensors": b"twice", "pytorch_model.bin": b"x"}
    hub.repos["o/m"] = Repo(files)
    code = "from engine.catalog import Model; from engine.weights import load; print(load(Model('m', 'o/m'))[0].device)"
    environment = dict(os.environ) | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    told = subprocess.check_output([sys.executable, "-c", code], text=True, env=environment, timeout=240)
    assert told.strip().endswith("cpu")
    assert hub.sent("model.safetensors") and not hub.sent("consolidated.safetensors") + hub.sent("pytorch_model.bin")
