"""What a model's weights take in memory at each precision, reckoned from the heads of its files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.memory import CONSTANTS, DOUBLE_CONSTANTS, LEAST_COLUMNS, bytes_in_halves
from engine.models.headers import Header

PRECISIONS = {
    "auto": "Automatic",
    "fp32": "32 bits (fp32)",
    "bf16": "16 bits (bf16)",
    "int8": "8 bits (LLM.int8)",
    "nf4": "4 bits (NF4, double quantization)",
}
TABLES = ("embed", "wte", "wpe", "lm_head", "norm", "ln_")  # in the names of what stays out of 8 and 4 bits
BITS = {"F64": 64, "F32": 32, "I32": 32, "F16": 16, "BF16": 16, "I16": 16, "I8": 8, "U8": 8, "F8_E4M3": 8, "F8_E5M2": 8}
TOY_PARAMETERS = 50_000_000  # below this bf16 gains nothing and costs exactness
SCALE = 4  # bytes of the scale that 8 bits keep for each row of a matrix


def linear_layers(header: Header) -> Header:
    """The matrices that 8 and 4 bits quantize: all but tables of tokens and positions, and norms."""
    return {
        name: tensor
        for name, tensor in header.items()
        if len(tensor.shape) == 2 and name.endswith(".weight") and not any(table in name for table in TABLES)
    }


def parameters(header: Header) -> int:
    """How many weights a model has."""
    return sum(tensor.count for tensor in header.values())


def stored_bytes(header: Header) -> float:
    """Bytes of a weight as stored, the mean."""
    return sum(BITS.get(each.kind, 16) / 8 * each.count for each in header.values()) / max(1, parameters(header))


def needs(header: Header, compute_bytes: int, halves: bool = False) -> dict[str, int]:
    """Bytes in memory for every precision; `compute_bytes` is 2 where bf16 is fast and 4 elsewhere.

    `halves` says that weights stay in 16 bits to be computed with in 32 (engine.layouts).
    """
    linear = linear_layers(header)
    rows = sum(tensor.shape[0] for tensor in linear.values())
    found = sizes(
        parameters(header), sum(each.count for each in linear.values()), compute_bytes, stored_bytes(header), rows
    )
    if halves:
        found["bf16"] = size_in_halves(header)
        if all(tensor.kind in ("BF16", "F16") for tensor in header.values()):
            found["auto"] = found["bf16"]
    return found


def size_in_halves(header: Header) -> int:
    """Bytes of weights that stay in 16 bits: matrices as they are laid out, a table of tokens, the rest in 32 bits."""
    table = next((each for name, each in header.items() if name.endswith("embed_tokens.weight")), None)
    head = next((each for name, each in header.items() if name.endswith("lm_head.weight")), table)
    matrices = [*linear_layers(header).values(), *([head] if head else [])]
    narrow = sum(bytes_in_halves(*each.shape) for each in matrices) + (2 * table.count if table else 0)
    return narrow + 4 * sum(each.count for each in header.values() if len(each.shape) == 1)


def sizes(total: int, linear: int, compute_bytes: int, stored: float = 2, rows: int = 0) -> dict[str, int]:
    """Bytes in memory for `total` weights, of which `linear` can be quantized; `rows` are those of the latter."""
    rest = total - linear
    exact = {
        "fp32": 4.0 * total,
        "bf16": 2.0 * total,
        "int8": linear + SCALE * rows + rest * min(4, round(stored) or 2),
        "nf4": linear * (4 + DOUBLE_CONSTANTS) / 8 + rest * compute_bytes,
    }
    exact["auto"] = exact["fp32"] if total < TOY_PARAMETERS or compute_bytes == 4 else exact["bf16"]
    return {name: int(exact[name]) for name in PRECISIONS}


def compute_bytes() -> int:
    """Bytes of a number that this machine computes with."""
    from engine.weights import fast_bf16

    return 2 if fast_bf16() else 4


def halves(config: Mapping[str, Any]) -> bool:
    """Whether this machine leaves such a model's weights in 16 bits, if they come so, and computes with them in 32."""
    from engine.lean import FAMILIES
    from engine.weights import halves_here

    windowed = config.get("sliding_window") and config.get("use_sliding_window", True)
    suits = set(config.get("architectures") or ()) & set(FAMILIES) and not windowed
    return bool(suits and (config.get("hidden_size") or 0) >= LEAST_COLUMNS and halves_here())


def held(network: Any) -> int:
    """Bytes that a loaded network's weights take, with the constants of quantized ones, which transformers'
    get_memory_footprint leaves out."""
    constants = 0
    for weight in network.parameters():
        if getattr(weight, "quant_state", None) is not None:
            nested = getattr(weight.quant_state, "nested", True)
            constants += int(2 * weight.numel() * (DOUBLE_CONSTANTS if nested else CONSTANTS) / 8)
        if getattr(weight, "SCB", None) is not None:
            constants += SCALE * weight.SCB.numel()
    return int(network.get_memory_footprint()) + constants


def shown_needs(found: Mapping[str, int], room: int) -> list[tuple[str, int, bool]]:
    """(title, bytes, whether it fits into `room`) for each precision but the automatic one."""
    return [(PRECISIONS[name], size, size <= room) for name, size in found.items() if name != "auto"]
