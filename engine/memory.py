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
TILE_TOKENS, TILE_WORDS = 4096, 32768  # of trl's loss (trl/kernels/chunked_logprob.py)
HOLES = 0.5  # of the activations: what the allocator of a processor's memory leaves unused between them
WORKSPACE = 40e6  # bytes that the libraries of a processor keep for themselves once a model has answered or learned
IN_HALVES = 512  # FBGEMM fills up the columns of each matrix in 16 bits to a multiple of so many
LEAST_COLUMNS = 256  # of a model in 16 bits; one that is narrower would take more than in 32
SHARED = 0.6  # of what an adapter's layers read, where those that read the same share it
WHY = {
    "textbook": "Training in 16 bits costs 16 bytes for each trained weight: 2 for itself, 2 for its gradient, 12 for "
    "Adam's copy, mean and variance. Weights that stay as they are count twice, for themselves and for the room to "
    "compute in. An adapter is 1 % of the weights.",
    "this machine": "What this program takes: 4-bit weights, doubly quantized, the rest in the precision that is "
    "computed in, adapters, gradients and optimizer in 32 bits, activations by batch and length, the loss by the "
    "vocabulary, and the holes that the allocator leaves.",
}


@dataclass(frozen=True)
class Shape:
    """The sizes of a network. `linear` weights are those that 4 bits would hold; `trained` those of the adapter.

    `inputs` are the widths of what the adapter's layers read, summed over all of them; `largest` is the largest
    linear layer's weights.
    """

    parameters: int
    linear: int
    trained: int
    layers: int = 0
    hidden: int = 0
    inner: int = 0
    key_value: int = 0
    largest: int = 0
    inputs: int = 0
    vocabulary: int = 0


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
    cuda: bool = False,
    halves: bool = False,
) -> list[Part]:
    """The parts of what a method takes; `weight_bytes` are those of a number that is computed with: 2 in bf16.

    `halves`: who asks keeps weights in 16 bits and computes with them in 32 (engine.layouts).

    The textbook's 10 billion weights come to 160 GB (full), 41.6 GB (LoRA) and 11.6 GB (QLoRA). Of asking, `batch`
    rows of `max_length` tokens are reckoned.
    """
    if convention == "textbook":
        return textbook(shape.parameters, method)
    recipe = recipe or Recipe()
    if training:
        used = taught(shape, method, recipe, weight_bytes, cuda)
    else:
        used = asked(shape, method, recipe, weight_bytes, cuda, halves and method != "qlora")
    return [part for part in used if part.bytes]


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


def held(shape: Shape, method: str, weight_bytes: int) -> list[Part]:
    """The base in memory."""
    if method != "qlora":
        return [Part("weights", shape.parameters * weight_bytes)]
    weights = shape.linear * 0.5 + (shape.parameters - shape.linear) * weight_bytes
    return [Part("weights", weights), Part("quantization constants", shape.linear * DOUBLE_CONSTANTS / 8)]


def bytes_in_halves(rows: int, columns: int) -> int:
    """Bytes of a matrix in FBGEMM's layout of 16 bits (engine.layouts)."""
    return 2 * rows * -(-columns // IN_HALVES) * IN_HALVES


def held_in_halves(shape: Shape) -> list[Part]:
    """The same of a base whose weights stay in 16 bits to be computed with in 32."""
    down = shape.layers * bytes_in_halves(shape.hidden, shape.inner)
    others = bytes_in_halves((shape.linear - shape.layers * shape.hidden * shape.inner) // shape.hidden, shape.hidden)
    table = 2 * shape.vocabulary * shape.hidden  # to look tokens up in, beside the head's matrix
    return [Part("weights", down + others + bytes_in_halves(shape.vocabulary, shape.hidden) + table)]


def asked(shape: Shape, method: str, recipe: Recipe, weight_bytes: int, cuda: bool, halves: bool) -> list[Part]:
    """What answering takes: the base, keys and values, and the widest vectors of the prompt's pass.

    On a processor in bf16 linear layers are laid out anew for speed while the file stays mapped; a cache that grows is
    copied, so it counts twice.
    """
    rows, tokens = recipe.batch, recipe.batch * recipe.max_length
    laid_out = 2 * shape.linear if weight_bytes == 2 and method != "qlora" and not cuda else 0
    cache = 2 * 2 * shape.layers * shape.key_value * tokens * (weight_bytes if cuda else 4)  # see engine.cache
    pass_ = tokens * weight_bytes * (3 * shape.inner + 4 * shape.hidden) + rows * 4 * shape.vocabulary
    unpacked = shape.largest * weight_bytes if method == "qlora" else 0
    return [
        *(held_in_halves(shape) if halves else held(shape, method, weight_bytes)),
        Part("laid out for speed", laid_out),
        Part("cache", cache),
        Part("room to compute", pass_ + unpacked + (0 if cuda else WORKSPACE)),
    ]


def taught(shape: Shape, method: str, recipe: Recipe, weight_bytes: int, cuda: bool) -> list[Part]:
    """What training takes at its highest: at the loss, when all activations are kept, or after the last gradient."""
    full = method == "full"
    trained = shape.parameters if full else shape.trained
    parts = held(shape, method, 4 if full else weight_bytes)
    if not full:
        parts.append(Part("adapter", 4 * trained))
    kept = activations(shape, method, recipe, weight_bytes)
    copies = weight_bytes * (shape.linear if full else trained) if weight_bytes < 4 else 0  # what autocast makes
    at_loss = kept + copies + loss(shape, method, recipe, weight_bytes, cuda)
    unpacked = kept + shape.largest * weight_bytes if method == "qlora" else 0
    holes = 0.0 if cuda else HOLES * kept + WORKSPACE
    gradients = 4.0 * trained
    work: float = max(at_loss, unpacked)
    if recipe.accumulation == 1:  # then the last gradient comes when most activations are gone
        work = max(0.0, work - gradients)
    optimizer = OPTIMIZER_BYTES[recipe.optimizer] * trained
    return [
        *parts,
        Part("gradients", gradients),
        Part("optimizer", optimizer),
        Part("activations and loss", work),
        Part("allocator", holes),
    ]


def activations(shape: Shape, method: str, recipe: Recipe, weight_bytes: int) -> float:
    """Bytes kept for the backward pass of one batch of longest rows, as autograd keeps them in the Llama family.

    A layer keeps the inputs of its two norms in 32 bits; queries, keys, values and the attention's result; gate, up
    and their product. Full training keeps what every linear layer reads as well; an adapter what its own layers read,
    and with dropout a 32-bit noise as wide. With activation checkpointing only one layer at a time has all that.
    """
    tokens, narrow = recipe.batch * recipe.max_length, weight_bytes < 4
    layer: float = 8 * shape.hidden + weight_bytes * (2 * shape.hidden + 2 * shape.key_value + 3 * shape.inner)
    if method == "full":
        # in bf16 autocast copies the input for every layer that reads it; in 32 bits they share it
        layer += 8 * shape.hidden + weight_bytes * ((5 if narrow else 2) * shape.hidden + shape.inner)
    elif shape.layers:
        noise = 4 if recipe.dropout else 0
        read = weight_bytes if narrow or recipe.dropout else SHARED * weight_bytes
        layer += (noise + read) * shape.inputs / shape.layers
    if recipe.activation_checkpointing:
        return tokens * (weight_bytes * shape.hidden * shape.layers + layer)
    return tokens * layer * shape.layers


def loss(shape: Shape, method: str, recipe: Recipe, weight_bytes: int, cuda: bool) -> float:
    """Bytes at work in trl's loss, which takes the vocabulary in tiles and never holds all logits.

    A tile in the precision that is computed in, and on a processor seven copies of it in 32 bits; the gradient of the
    output layer where it is trained.
    """
    tile = min(recipe.batch * (recipe.max_length - 1), TILE_TOKENS) * min(shape.vocabulary, TILE_WORDS)
    gradient = 4 * shape.vocabulary * shape.hidden if method == "full" else 0
    return tile * (weight_bytes + (0 if cuda else 7 * 4)) + gradient


def total(parts: Sequence[Part]) -> float:
    """Bytes of all parts together."""
    return sum(part.bytes for part in parts)


def floating_operations(shape: Shape, tokens: int, method: str) -> float:
    """Operations of training on so many tokens: 2 a weight forward, 2 back through it, 2 more for trained weights."""
    return tokens * (6 * shape.parameters if method == "full" else 4 * shape.parameters + 6 * shape.trained)
