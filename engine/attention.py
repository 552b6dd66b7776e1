"""Attention of single decoding steps on a processor: bf16 models keep their keys and values in float32.

PyTorch's fused attention for one query is several times slower in bf16 than in float32 on processors (measured
by `python -m benchmarks.attention`), and float32 keeps more digits. Prompts are computed in the model's own
precision.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "diptych_sdpa"


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' SDPA attention; a query in another precision than the keys is computed in theirs."""
    if query.dtype == key.dtype:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    output, _ = sdpa_attention_forward(module, query.to(key.dtype), key, value, attention_mask, **options)
    return output.to(query.dtype), None


def switch_on(network: Any) -> torch.dtype | None:
    """Let a network that uses SDPA on a processor attend through `attend`.

    Returns the precision in which its keys and values are then to be kept; None: as they come.
    """
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    if network.device.type != "cpu" or network.config._attn_implementation not in ("sdpa", NAME):
        return None
    network.set_attn_implementation(NAME)
    return torch.float32
