"""The size and shape of a base, from its config and the heads of its files: no weights are read."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from engine.catalog import Model
from engine.errors import Problem
from engine.memory import Shape
from engine.recipe import Recipe


def count_parameters(model: Model) -> int | None:
    """How many weights a base in a folder has; None for a Hub id."""
    sizes = weight_sizes(model.base)
    return sum(product(size) for size in sizes.values()) or None


@functools.lru_cache(maxsize=32)
def weight_sizes(base: str) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor in a folder's safetensors files; empty for a Hub id."""
    from safetensors import safe_open

    folder, found = Path(base), {}
    for file in sorted(folder.glob("*.safetensors")) if folder.is_dir() else []:
        with safe_open(file, "np") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - safe_open is no mapping
                found[name] = tuple(tensors.get_slice(name).get_shape())
    return found


def product(size: tuple[int, ...]) -> int:
    """How many numbers a tensor of that shape holds."""
    count = 1
    for each in size:
        count *= each
    return count


def shape_of(model: Model, recipe: Recipe) -> Shape:
    """The shape of a base in a folder, with the adapter that the recipe asks for. Raises Problem for a Hub id."""
    sizes = weight_sizes(model.base)
    if not sizes:
        raise Problem("The memory is reckoned once the model is on this machine; this one is downloaded at the start.")
    config: dict[str, Any] = json.loads((Path(model.base) / "config.json").read_text(encoding="utf-8"))
    config = config.get("text_config", config)
    hidden = int(config.get("hidden_size") or config.get("n_embd") or 0)
    heads = int(config.get("num_attention_heads") or config.get("n_head") or 1)
    width = int(config.get("head_dim") or hidden // heads)
    tables = ("embed", "wte", "wpe", "lm_head", "norm", "ln_")
    linear = {n: s for n, s in sizes.items() if len(s) == 2 and not any(table in n for table in tables)}
    chosen = {n: s for n, s in linear.items() if targeted(n, recipe.target_modules)}
    return Shape(
        parameters=sum(product(size) for size in sizes.values()),
        linear=sum(product(size) for size in linear.values()),
        trained=sum(recipe.rank * sum(size) for size in chosen.values()),
        layers=int(config.get("num_hidden_layers") or config.get("n_layer") or 0),
        hidden=hidden,
        inner=int(config.get("intermediate_size") or config.get("n_inner") or 4 * hidden),
        key_value=int(config.get("num_key_value_heads") or heads) * width,
        largest=max((product(size) for size in linear.values()), default=0),
        inputs=sum(size[0 if config.get("model_type") == "gpt2" else 1] for size in chosen.values()),
        vocabulary=int(config.get("vocab_size") or 0),
    )


def targeted(name: str, targets: str | list[str]) -> bool:
    """Whether the recipe puts an adapter on the layer of this weight."""
    return targets == "all-linear" or name.removesuffix(".weight").rpartition(".")[2] in targets
