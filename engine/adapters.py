"""Many LoRA adapters over one base in the same forward pass: all A matrices side by side, all B matrices too.

For a linear layer with input x, the products of all adapters in the batch are h = x [A1; A2; ...]^T, of which
each row keeps only its own adapter's columns (a 0/1 mask), and y = W x + h [B1, B2, ...]^T. Two ordinary matrix
products a layer, whatever the number of adapters and their ranks; the idea of S-LoRA (Sheng et al. 2023) and
Punica (Chen et al. 2023) in the form that suits a processor without gather kernels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.errors import Problem

PREFIX = "base_model.model."
# Layers known to read the same input; a layer in none of these is a family of its own.
SIBLINGS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
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


@dataclass(frozen=True)
class Stacked:
    """One layer's share of the adapters in a batch: A [ranks, in], B^T [ranks, out], the rank of each adapter.

    Layers that read the same input share `family`, all their A matrices in one; `place` is this layer's part of it.
    """

    a: torch.Tensor
    b: torch.Tensor
    ranks: tuple[int, ...]
    family: Family
    place: slice


@dataclass
class Family:
    """Layers of one block that read the same input, such as the query, key and value projections.

    The first of them computes h for all; `read` and `h` keep it for the others, until another input comes.
    """

    a: torch.Tensor
    ranks: tuple[int, ...]
    read: torch.Tensor | None = None
    h: torch.Tensor | None = None


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

    Raises Problem when it was made for another base: modules that are not there, or other shapes.
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
    return Adapter(folder.name, pairs)


def siblings(name: str) -> tuple[str, ...]:
    """The layer and those beside it that read the same input, in a fixed order."""
    parent, _, own = name.rpartition(".")
    for names in SIBLINGS:
        if own in names:
            return tuple(f"{parent}.{each}" for each in names)
    return (name,)


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


class AdapterBatch:
    """Hooks on a base's linear layers that add each row's own adapter. One thread, the decode loop, uses it.

    `use()` says before a forward pass which adapter each row has. With no adapter in the batch the hooks return
    at once; with one adapter for all rows there is no mask.
    """

    def __init__(self, model: nn.Module):
        self.modules = {name: module for name, module in model.named_modules() if sizes(module)}
        self.hooked: set[str] = set()
        self.active: tuple[Adapter, ...] = ()
        self.layers: dict[str, Stacked] = {}
        self.rows: tuple[int, ...] = ()
        self.masks: dict[tuple[int, ...], torch.Tensor | None] = {}

    def use(self, adapters: Sequence[Adapter | None]) -> None:
        """Row i of the next forward pass goes through `adapters[i]`; None is the base itself."""
        active = tuple(sorted({a for a in adapters if a}, key=id))
        if active != self.active:
            self.active = active
            changed = {name for adapter in active for name in adapter.weights}
            families = {tuple(n for n in siblings(name) if n in changed) for name in changed}
            self.layers = {name: layer for names in families for name, layer in self._stack(names).items()}
            self.rows = ()
        places = {adapter: i for i, adapter in enumerate(active)}
        rows = tuple(places[a] if a else -1 for a in adapters)
        if rows != self.rows:
            self.rows, self.masks = rows, {}
            for stacked in self.layers.values():
                stacked.family.read = stacked.family.h = None

    def _stack(self, names: Sequence[str]) -> dict[str, Stacked]:
        """All active adapters' matrices for the layers of a family; adapters that leave one alone take no columns."""
        pairs = {name: [adapter.weights.get(name) for adapter in self.active] for name in names}
        ranks = {name: tuple(len(pair[0]) if pair else 0 for pair in pairs[name]) for name in names}
        whole = torch.cat([pair[0] for name in names for pair in pairs[name] if pair])
        family = Family(whole, tuple(rank for name in names for rank in ranks[name]))
        layers: dict[str, Stacked] = {}
        start = 0
        for name in names:
            if name not in self.hooked:
                self.hooked.add(name)
                self.modules[name].register_forward_hook(self._hook(name))
            place = slice(start, start + sum(ranks[name]))
            start = place.stop
            b = torch.cat([pair[1].T for pair in pairs[name] if pair]).contiguous()
            layers[name] = Stacked(whole[place], b, ranks[name], family, place)
        return layers

    def _mask(self, ranks: tuple[int, ...], like: torch.Tensor) -> torch.Tensor | None:
        """[rows, 1, sum of ranks], 1 where a row's own adapter stands; None when every row has the only one.

        `ranks` are those of all active adapters, once for each layer of the family.
        """
        if ranks not in self.masks:
            if len(self.active) == 1 and all(row == 0 for row in self.rows):
                self.masks[ranks] = None
            else:
                owners = torch.arange(len(ranks)) % len(self.active)
                owner = torch.repeat_interleave(owners, torch.tensor(ranks))
                mask = torch.tensor(self.rows)[:, None] == owner[None]
                self.masks[ranks] = mask[:, None].to(like.device, like.dtype)
        return self.masks[ranks]

    def _products(self, stacked: Stacked, inputs: torch.Tensor) -> torch.Tensor:
        """h of one layer, [tokens, its ranks]: computed with its family's, or taken from there."""
        family = stacked.family
        if family.read is not inputs:
            h = nn.functional.linear(inputs.to(family.a.dtype), family.a)
            mask = self._mask(family.ranks, h)
            family.read, family.h = inputs, (h if mask is None else h * mask).flatten(0, -2)
        return family.h[:, stacked.place]  # type: ignore[index]

    def _hook(self, name: str) -> Any:
        def add(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            stacked = self.layers.get(name)
            if stacked is None:
                return output
            h = self._products(stacked, inputs[0])
            if output.dtype == stacked.b.dtype and torch.is_inference(output):
                output.view(-1, output.shape[-1]).addmm_(h, stacked.b)
                return output
            return output + torch.mm(h, stacked.b).view(output.shape).to(output.dtype)

        return add
