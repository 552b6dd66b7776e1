"""Read LoRA adapters from their folders and fit them to a base."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.errors import Problem

PREFIX = "base_model.model."
LARGEST = 1e20  # of a weight: where adapters are stacked, all rows meet it before their neighbours' parts are masked
# Options of a LoraConfig under which an adapter is more than A and B on linear layers.
BEYOND_STACKING = (
    "use_dora",
    "lora_bias",
    "modules_to_save",
    "trainable_token_indices",
    "target_parameters",
    "alora_invocation_tokens",
    "layer_replication",
    "use_qalora",
    "use_bdlora",
    "arrow_config",
    "velora_config",
)


@dataclass(frozen=True, eq=False)
class Adapter:
    """The weights of one adapter: module name -> (A [rank, in], B x scale [out, rank]); identity is the object."""

    name: str
    weights: dict[str, tuple[torch.Tensor, torch.Tensor]] = field(repr=False)


def read_config(folder: Path) -> dict[str, Any]:
    """The adapter_config.json of a folder. Raises Problem when it is missing or not JSON."""
    path = folder / "adapter_config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Problem(f"The adapter folder {folder.name} has no readable adapter_config.json ({error}).") from error
    if not isinstance(config, dict):
        raise Problem(f"The adapter_config.json of {folder.name} is not a JSON object.")
    return config


def stackable(config: dict[str, Any]) -> bool:
    """Whether the adapter is plain LoRA on linear layers, which the stacked way computes exactly."""
    plain = config.get("peft_type") == "LORA" and config.get("bias", "none") == "none"
    return plain and not any(config.get(option) for option in BEYOND_STACKING)


def read_adapter(folder: Path, model: nn.Module, dtype: torch.dtype) -> Adapter | None:
    """The adapter in a folder, fitted to `model`; None when it must run in a batch of its own instead.

    Raises Problem when it was made for another base (modules that are not there, or other shapes), and when its weights
    are no numbers, which would reach the rows beside it.
    """
    from peft import LoraConfig
    from peft.utils.other import get_pattern_key
    from safetensors.torch import load_file

    raw = read_config(folder)
    weights = folder / "adapter_model.safetensors"
    if not weights.is_file():
        raise Problem(
            f"The adapter folder {folder.name} holds no adapter_model.safetensors. Diptych loads weights from "
            "safetensors only; export the adapter again in that format."
        )
    try:
        tensors = load_file(weights)
    except Exception as error:  # safetensors raises its own untyped errors
        raise Problem(f"The weights of the adapter {folder.name} are damaged ({error}). Get them again.") from error
    if not stackable(raw):
        return None
    config = LoraConfig.from_peft_type(**raw)
    modules = dict(model.named_modules())
    device = next(model.parameters()).device
    pairs: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for key, a in tensors.items():
        name, part, _ = key.removeprefix(PREFIX).rpartition(".lora_A.weight")
        if not part:
            if key.endswith(".lora_B.weight"):
                continue
            return None
        b = tensors.get(key.replace(".lora_A.", ".lora_B."))
        module = modules.get(name)
        if b is None or not fits(module, a, b):
            raise mismatch(folder, raw, name, module, a, b)
        rank = config.rank_pattern.get(get_pattern_key(config.rank_pattern.keys(), name), config.r)
        alpha = config.alpha_pattern.get(get_pattern_key(config.alpha_pattern.keys(), name), config.lora_alpha)
        scale = alpha / (rank**0.5 if config.use_rslora else rank)
        pairs[name] = (a.to(device, dtype), (b.float() * scale).to(device, dtype))
        if not all(weight.abs().max() <= LARGEST for weight in pairs[name]):
            raise Problem(
                f"The adapter {folder.name} holds weights that are no numbers (NaN) or without end, as after a "
                "training that diverged. Train it again with a lower learning rate, or get it again."
            )
    return Adapter(folder.name, pairs)


def sizes(module: nn.Module | None) -> tuple[int, int] | None:
    """(in, out) of a linear layer, of GPT-2's transposed kind too; None for anything else."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if type(module).__name__ == "Conv1D":
        return module.nx, module.nf  # type: ignore[union-attr,return-value]
    return None


def fits(module: nn.Module | None, a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether A and B belong to this layer."""
    return sizes(module) == (a.shape[1], b.shape[0]) and a.shape[0] == b.shape[1]


def mismatch(
    folder: Path, raw: dict[str, Any], name: str, module: nn.Module | None, a: torch.Tensor, b: torch.Tensor | None
) -> Problem:
    """The sentence for an adapter that does not belong to the base."""
    made_for = raw.get("base_model_name_or_path") or "another model"
    if module is None:
        detail = f"it changes the layer {name}, which this base does not have"
    elif b is None:
        detail = f"it holds only half of the matrices for {name}"
    else:
        detail = f"for {name} it expects {a.shape[1]} inputs and {b.shape[0]} outputs; this base has {sizes(module)}"
    return Problem(f"The adapter {folder.name} was made for {made_for} and does not fit this base: {detail}.")
