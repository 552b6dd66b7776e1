"""A scripted Hub that the app is pointed at, an owner's catalogue that starts empty, a small Llama and adapters."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.models import download, kept
from engine.settings import settings
from tests.scripted_hub import Hub, scripted_hub
from tests.tiny import make_tiny_llama

MakeLora = Callable[..., Path]


@pytest.fixture
def no_models() -> Iterator[Path]:
    """The home folder without kept models or downloads, before and after."""
    empty()
    yield settings().home
    empty()


def empty() -> None:
    """Remove every kept model; downloads in progress are ended first."""
    for each in kept.entries():
        if each.store:
            download.cancel(each.store)
    for name in ("models", "weights"):
        shutil.rmtree(settings().home / name, ignore_errors=True)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, no_models: Path) -> Iterator[Hub]:
    """A scripted Hub in place of huggingface.co, for this process and for those it starts."""
    from huggingface_hub import constants

    with scripted_hub() as made:
        monkeypatch.setenv("HF_ENDPOINT", made.address)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield made
        empty()


def at_hub(address: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send huggingface_hub, which reads its address at import, elsewhere, with a cache of its own."""
    from huggingface_hub import constants

    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, address)
    named = {"ENDPOINT": address, "HUGGINGFACE_CO_URL_TEMPLATE": template, "HF_HUB_CACHE": str(cache)}
    for name, value in {**named, "HF_HUB_OFFLINE": False}.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setenv("HF_ENDPOINT", address)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Llama whose inner size, 172, no power of two divides evenly: NF4's trap."""
    folder = make_tiny_llama(tmp_path_factory.mktemp("shelf") / "small-llama", hidden=64, layers=3, inner=172)
    return folder


@pytest.fixture(scope="session")
def lora(tmp_path_factory: pytest.TempPathFactory) -> MakeLora:
    """Makes an adapter folder for a base: lora(base, named=..., rank=...)."""

    def make(base: Path, named: str = "", rank: int = 4) -> Path:
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        folder = tmp_path_factory.mktemp("adapters") / "bot"
        network = get_peft_model(
            AutoModelForCausalLM.from_pretrained(base),
            LoraConfig(r=rank, target_modules=["q_proj", "down_proj"], init_lora_weights=False),
        )
        network.save_pretrained(folder)
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(
            json.dumps(config | {"base_model_name_or_path": named or str(base)})
        )
        return folder

    return make
