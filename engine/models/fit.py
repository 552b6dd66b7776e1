"""Whether an adapter fits a base: layers, shapes and vocabulary, told from the heads of their files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.models.headers import Header, Tensor

PREFIX = "base_model.model."
EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "lm_head.weight", "embed_out.weight")


def tail(name: str) -> str:
    """The part of a weight's name that checkpoints and modules share: from the numbered layer's parent on."""
    parts = name.removesuffix(".weight").split(".")
    numbered = next((i for i, part in enumerate(parts) if part.isdigit()), None)
    return ".".join(parts[max(0, numbered - 1) :] if numbered is not None else parts[-1:])


def misfit(adapter: Header, config: Mapping[str, Any], base: Header) -> str:
    """What does not fit, as the end of a sentence; empty when all does."""
    layers = {tail(name): tensor for name, tensor in base.items() if len(tensor.shape) == 2}
    pairs = halves(adapter)
    if not pairs and not any(name.endswith(EMBEDDINGS) for name in adapter):
        return "its file holds no LoRA matrices"
    for name, (a, b) in pairs.items():
        if trouble := layer_misfit(name, a, b, layers.get(tail(name))):
            return trouble
    return vocabulary_misfit(adapter, config, layers)


def halves(adapter: Header) -> dict[str, tuple[Tensor | None, Tensor | None]]:
    """The A and B matrices of each changed layer."""
    found: dict[str, tuple[Tensor | None, Tensor | None]] = {}
    for key in adapter:
        name, part, _ = key.removeprefix(PREFIX).partition(".lora_")
        if part:
            a = next((adapter.get(f"{PREFIX}{name}.{each}") for each in ("lora_A.weight", "lora_embedding_A")), None)
            b = next((adapter.get(f"{PREFIX}{name}.{each}") for each in ("lora_B.weight", "lora_embedding_B")), None)
            if "lora_embedding" in key:
                continue
            found[name] = (a, b)
    return found


def layer_misfit(name: str, a: Tensor | None, b: Tensor | None, layer: Tensor | None) -> str:
    """What is wrong with one changed layer."""
    if a is None or b is None:
        return f"it holds only half of the matrices for {name}"
    if layer is None:
        return f"it changes the layer {name}, which this base does not have"
    inputs, outputs = a.shape[-1], b.shape[0]
    if sorted((inputs, outputs)) != sorted(layer.shape):  # GPT-2 stores its matrices the other way round
        has = f"{layer.shape[1]} inputs and {layer.shape[0]} outputs"
        return f"for {name} it expects {inputs} inputs and {outputs} outputs; this base has {has}"
    return ""


def vocabulary_misfit(adapter: Header, config: Mapping[str, Any], layers: Mapping[str, Tensor]) -> str:
    """What is wrong with the embedding tables that an adapter brings."""
    for name, tensor in adapter.items():
        table = layers.get(tail(name))
        if not name.endswith(EMBEDDINGS) or table is None or len(tensor.shape) != 2:
            continue
        if tensor.shape[1] != table.shape[1]:
            return f"its tokens are {tensor.shape[1]} numbers wide, those of this base {table.shape[1]}"
        if tensor.shape[0] < table.shape[0]:
            return f"it was made for a vocabulary of {tensor.shape[0]:,} tokens, and this base has {table.shape[0]:,}"
    return ""
