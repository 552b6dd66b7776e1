"""What training and asking a model take in memory, part by part, under two named conventions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from engine.recipe import Recipe

Convention = Literal["textbook", "this machine"]
METHODS = ("full", "lora", "qlora")
TRAINED_SHARE = 0.01  # of the weights, in the textbook: an adapter a hundred times smaller than its base

# Bits of quantization constants per weight: one 32-bit constant for 64 weights, or with double quantization an
# 8-bit one for 64 weights and a 32-bit one for 256 of those (Dettmers et al. 2023, section 3).
CONSTANTS = 32 / 64
DOUBLE_CONSTANTS = 8 / 64 + 32 / (64 * 256)
OPTIMIZER_BYTES: dict[str, float] = {
    "adamw_torch": 8, "adamw_8bit": 2, "paged_adamw_8bit": 2, "paged_adamw_32bit": 8, "sgd": 0, "adafactor": 0.02
}  # fmt: skip
WHY = {
    "textbook": "Training in 16 bits costs 16 bytes for each trained weight: 2 for itself, 2 for its gradient, 12 for "
    "Adam's copy, mean and variance. Weights that stay as they are count twice, for themselves and for the room to "
    "compute in. An adapter is 1 % of the weights.",
    "this machine": "What this program takes: 4-bit weights, doubly quantized, the rest in the precision that is "
    "computed in, adapters, gradients and optimizer in 32 bits, activations by batch and length.",
}


@dataclass(frozen=True)
class Shape:
    """The sizes of a network. `linear` weights are those that 4 bits would hold; `trained` those of the adapter."""

    parameters: int
    linear: int
    trained: int
    layers: int = 0
    hidden: int = 0
    inner: int = 0
    key_value: int = 0
    largest: int = 0


@dataclass(frozen=True)
class Part:
    """One share of the memory, in bytes."""

    name: str
    bytes: float


def estimate(
    shape: Shape,
    method: str,
    convention: Convention,
    recipe: Recipe | None = None,
    weight_bytes: int = 4,
    training: bool = True,
) -> list[Part]:
    """The parts of what a method takes; `weight_bytes` are those of a weight that is not in four bits.

    The textbook's 10 billion weights come to 160 GB (full), 41.6 GB (LoRA) and 11.6 GB (QLoRA).
    """
    if convention == "textbook":
        return textbook(shape.parameters, method)
    return measured(shape, method, recipe or Recipe(), weight_bytes, training)


def textbook(parameters: int, method: str) -> list[Part]:
    """As lectures reckon it; see WHY."""
    if method == "full":
        return [Part("weights", 2 * parameters), Part("gradients", 2 * parameters), Part("optimizer", 12 * parameters)]
    held = parameters * (2.0 if method == "lora" else 0.5)
    trained = TRAINED_SHARE * parameters
    return [
        Part("weights", held),
        Part("room to compute", held),
        Part("adapter", 2 * trained),
        Part("gradients", 2 * trained),
        Part("optimizer", 12 * trained),
    ]


def measured(shape: Shape, method: str, recipe: Recipe, weight_bytes: int, training: bool) -> list[Part]:
    """As this program does it."""
    linear, rest = shape.linear, shape.parameters - shape.linear
    weights = linear * 0.5 + rest * weight_bytes if method == "qlora" else shape.parameters * weight_bytes
    parts = [Part("weights", weights if method != "full" or not training else shape.parameters * 4)]
    if method == "qlora":
        parts.append(Part("quantization constants", linear * DOUBLE_CONSTANTS / 8))
    if not training:
        tokens = recipe.max_length * recipe.batch
        return [*parts, Part("cache", 2 * shape.layers * shape.key_value * tokens * weight_bytes)]
    trained = shape.parameters if method == "full" else shape.trained
    if method != "full":
        parts.append(Part("adapter", 4 * trained))
    parts.append(Part("gradients", 4 * trained))
    parts.append(Part("optimizer", OPTIMIZER_BYTES[recipe.optimizer] * trained))
    parts.append(Part("activations", activations(shape, method, recipe, weight_bytes)))
    return parts


def activations(shape: Shape, method: str, recipe: Recipe, weight_bytes: int) -> float:
    """Bytes kept for the backward pass of one batch of longest rows.

    A layer keeps its two norms' inputs and outputs, queries, the attention's output and both residuals (8 times
    the width), keys and values, and four vectors of the inner width. 4-bit weights are unpacked one layer at a time.
    """
    tokens = recipe.batch * recipe.max_length
    layer = 8 * shape.hidden + 2 * shape.key_value + 4 * shape.inner
    kept = shape.hidden * shape.layers + layer if recipe.activation_checkpointing else layer * shape.layers
    unpacked = shape.largest * weight_bytes if method == "qlora" else 0
    return tokens * kept * weight_bytes + unpacked


def total(parts: Sequence[Part]) -> float:
    """Bytes of all parts together."""
    return sum(part.bytes for part in parts)


def floating_operations(shape: Shape, tokens: int, method: str) -> float:
    """Operations of training on so many tokens: 2 a weight forward, 2 back through it, 2 more for trained weights."""
    return tokens * (6 * shape.parameters if method == "full" else 4 * shape.parameters + 6 * shape.trained)
