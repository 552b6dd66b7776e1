"""The models that a person can pick: what ships in assets/models.toml, what runs made, any Hub id or folder."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import Problem
from engine.settings import ASSETS, ROOT

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+|[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Model:
    """What a picker shows and a responder is made from.

    `base` is a folder or a Hub id (or the model's name at an `endpoint`). Precision "auto" means bf16 where the
    GPU, or the processor of a machine without one, computes it natively, and fp32 elsewhere (as on a T4); toys below
    50 million parameters stay fp32. On processors without bf16 weights that came in 16 bits stay so in memory.
    Prices are an endpoint's, in US dollars for a million tokens; None where they are not known.
    """

    name: str
    base: str
    revision: str | None = None
    precision: str = "auto"
    adapter: Path | None = None
    endpoint: str | None = None
    key_name: str | None = None
    about: str = ""
    style: str | None = None
    input_price: float | None = None
    output_price: float | None = None

    def reply(self, prompt: str, style: str | None = None, **sampling: Any) -> str:
        """The whole answer to a prompt, in the style that the model was taught in; `sampling` as in Sampling."""
        from engine.local import LocalResponder
        from engine.messages import Message, Sampling
        from engine.respond import Generation

        responder = LocalResponder(self, style or self.style or "plain")
        generation = Generation(responder.reply([Message("user", prompt)], Sampling(**sampling)))
        list(generation)
        return generation.text.strip()

    @functools.cached_property
    def adapter_hash(self) -> str | None:
        """First 12 hex digits of the SHA-256 of the adapter's weights; None for a base."""
        if self.adapter is None:
            return None
        weights = self.adapter / "adapter_model.safetensors"
        if not weights.is_file():
            raise Problem(
                f"The adapter folder {self.adapter.name} holds no adapter_model.safetensors. Diptych loads weights "
                "from safetensors only; export the adapter again in that format."
            )
        return hashlib.sha256(weights.read_bytes()).hexdigest()[:12]


@dataclass(frozen=True)
class Card:
    """What is published about a model that does not ship: one line of the catalogue.

    `source` is its Hub id, or its name at an endpoint; `linear` of its `parameters` can be held in 8 or 4 bits.
    `tuned_from` names the base of a pair; `cutoff` is empty where no training cut-off was published.
    """

    source: str
    licence: str
    context: int
    about: str
    parameters: int = 0
    linear: int = 0
    cutoff: str = ""
    tuned_from: str = ""
    gated: bool = False
    input_price: float | None = None
    output_price: float | None = None


@functools.cache
def data() -> dict[str, Any]:
    """assets/models.toml."""
    return tomllib.loads((ASSETS / "models.toml").read_text(encoding="utf-8"))


def cards() -> list[Card]:
    """The catalogue of models that can be added, and of hosted ones, in the file's order."""
    return [Card(**entry) for entry in data()["card"]]


def stand_ins() -> dict[str, str]:
    """For the Hub id of a quantized model, in lower case, that of the full-precision model it was made from."""
    return {entry["quantized"].lower(): entry["base"] for entry in data()["stand_in"]}


@functools.cache
def shipped() -> dict[str, Model]:
    """The models of assets/models.toml by name. Folders in it are relative to the repository."""
    models = {}
    for entry in (dict(each) for each in data()["model"]):
        if "adapter" in entry:
            entry["adapter"] = ROOT / entry["adapter"]
        if "endpoint" not in entry and (ROOT / entry["base"]).is_dir():
            entry["base"] = str(ROOT / entry["base"])
        models[entry["name"]] = Model(**entry)
    return models


def all_models() -> list[Model]:
    """Everything a picker offers, in order; hosted models only where the server has a key for them."""
    listed = [model for model in shipped().values() if not model.key_name or os.environ.get(model.key_name)]
    local = sum(1 for model in listed if not model.endpoint)
    return [*listed[:local], *kept(), *taught(), *listed[local:]]


def kept() -> list[Model]:
    """The models that the owner has added and whose files are here, oldest first."""
    from engine.models.kept import entries

    return [model for each in entries() if (model := each.model)]


def taught() -> list[Model]:
    """The models that finished runs made, oldest first, each followed by what it was merged into."""
    from engine.teaching.runs import all_jobs, merged_model

    return [model for job in reversed(all_jobs()) for model in (job.model, merged_model(job)) if model]


def find(name: str) -> Model:
    """The model of that name, else the folder or Hub id that the name is. Raises Problem.

    A folder with an adapter_config.json is an adapter on the base named in it; a Hub id that was added is the copy
    on this machine.
    """
    from engine.models.kept import by_source
    from engine.models.sources import folder_named

    name = name.strip()
    if name in shipped():
        return shipped()[name]
    own = [*kept(), *taught()]
    for model in own:
        if model.name == name:
            return model
    if folder := folder_named(name):
        return from_folder(folder)
    if HUB_ID.fullmatch(name):
        return by_source(name) or Model(name=name, base=name)
    listed = [*shipped(), *(model.name for model in own)]
    typed = name if len(name) <= 80 else f"{name[:80]}…"
    raise Problem(
        f"'{typed}' is neither a model in the list ({', '.join(listed)}), nor a folder, nor a Hub id such as "
        "HuggingFaceTB/SmolLM2-135M."
    )


def from_folder(folder: Path) -> Model:
    """The model or adapter in a folder. Raises Problem when it holds neither."""
    from engine.models.kept import by_source
    from engine.weights import adapter_base

    if (folder / "adapter_config.json").is_file():
        named = adapter_base(folder)
        base = by_source(named) or Model(name=named, base=named)
        return Model(name=folder.name, base=base.base, precision=base.precision, adapter=folder)
    if (folder / "config.json").is_file():
        return Model(name=folder.name, base=str(folder))
    raise Problem(
        f"The folder {folder} holds no model: there is neither a config.json nor an adapter_config.json in it."
    )
