"""A BERT encoder such as MiniLM in plain torch: the same vectors as sentence-transformers, without its imports.

Devlin et al. 2019 (arXiv:1810.04805). sentence-transformers and transformers take seconds to import, which for a small
folder is longer than the embedding itself; torch alone takes one or two.
"""

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch.nn import functional

Precision = Literal["fp32", "bf16", "int8"]


def fits(folder: Path) -> bool:
    """Whether a model's folder is a plain BERT with safetensors, mean or CLS pooling and nothing behind it."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        pooling = json.loads((folder / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    plain = config.get("model_type") == "bert" and config.get("hidden_act") == "gelu"
    absolute = config.get("position_embedding_type", "absolute") == "absolute"
    known = [module["type"].rpartition(".")[2] for module in modules[1:]]
    one_way = bool(pooling.get("pooling_mode_mean_tokens")) != bool(pooling.get("pooling_mode_cls_token"))
    others = pooling.get("pooling_mode_max_tokens") or pooling.get("pooling_mode_mean_sqrt_len_tokens")
    safe = (folder / "model.safetensors").is_file() and modules[0].get("path") == ""
    tail = known in (["Pooling"], ["Pooling", "Normalize"])
    return bool(plain and absolute and tail and one_way and not others and safe)


class Bert:
    """The weights, and the way from token ids to unit vectors. Query, key and value are one matrix.

    In bf16 everything up to the pooling is bf16; in int8 the matrices are, with a scale a row, and what they are
    multiplied with is rounded anew each time (torch's dynamic quantization).
    """

    def __init__(self, folder: Path, precision: Precision = "fp32"):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        pooling = json.loads((folder / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
        loaded = load_file(folder / "model.safetensors")
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        weights = {name.removeprefix("bert."): value.to(dtype) for name, value in loaded.items()}
        self.mean = bool(pooling.get("pooling_mode_mean_tokens"))
        self.heads, self.eps = int(config["num_attention_heads"]), float(config["layer_norm_eps"])
        self.words = weights["embeddings.word_embeddings.weight"]
        kind = weights["embeddings.token_type_embeddings.weight"][0]
        self.places = weights["embeddings.position_embeddings.weight"] + kind
        self.norm = pair(weights, "embeddings.LayerNorm")
        self.layers = [
            layer(weights, f"encoder.layer.{at}", precision) for at in range(int(config["num_hidden_layers"]))
        ]

    @torch.inference_mode()
    def __call__(self, ids: Sequence[Sequence[int]]) -> torch.Tensor:
        """Unit vectors (texts, width) of texts as token ids; shorter texts are padded and the padding masked."""
        longest = max(map(len, ids))
        lengths = torch.tensor([len(one) for one in ids])
        tokens = torch.tensor([[*one, *[0] * (longest - len(one))] for one in ids])
        there = torch.arange(longest)[None, :] < lengths[:, None]
        mask = None if bool(there.all()) else there[:, None, None, :]
        hidden = self.words[tokens] + self.places[:longest]
        hidden = self.normed(hidden, self.norm)
        for one in self.layers:
            hidden = self.through(hidden, one, mask)
        hidden = hidden.float()
        pooled = (hidden * there[..., None]).sum(1) / lengths[:, None] if self.mean else hidden[:, 0]
        return functional.normalize(pooled, dim=-1)

    def normed(self, hidden: torch.Tensor, norm: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Layer normalisation with a weight and a bias."""
        return functional.layer_norm(hidden, hidden.shape[-1:], norm[0], norm[1], self.eps)

    def through(self, hidden: torch.Tensor, one: dict[str, Any], mask: torch.Tensor | None) -> torch.Tensor:
        """One layer: attention and a feed-forward network, each added to what came in and normalised after."""
        texts, longest, width = hidden.shape
        split = one["asked"](hidden).view(texts, longest, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        seen = one["told"](seen.transpose(1, 2).reshape(texts, longest, width))
        hidden = self.normed(hidden + seen, one["first"])
        wide = functional.gelu(one["up"](hidden))
        return self.normed(hidden + one["down"](wide), one["second"])


def pair(weights: dict[str, torch.Tensor], name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The weight and the bias of that name."""
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def product(weight: torch.Tensor, bias: torch.Tensor, precision: Precision) -> Callable[[torch.Tensor], torch.Tensor]:
    """What multiplies by a matrix and adds a bias."""
    if precision != "int8":
        return functools.partial(functional.linear, weight=weight, bias=bias)
    with warnings.catch_warnings():  # that torch will move these operators elsewhere
        warnings.simplefilter("ignore", UserWarning)
        from torch.ao.nn.quantized.dynamic import Linear

        scales = weight.abs().amax(1).double() / 127
        made = Linear(weight.shape[1], weight.shape[0])
        zeros = torch.zeros(len(weight), dtype=torch.long)
        made.set_weight_bias(torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8), bias)
    return made


def layer(weights: dict[str, torch.Tensor], name: str, precision: Precision) -> dict[str, Any]:
    """The matrices of one layer by what they do, and its norms."""
    asked = [pair(weights, f"{name}.attention.self.{part}") for part in ("query", "key", "value")]
    return {
        "asked": product(torch.cat([w for w, _ in asked]), torch.cat([b for _, b in asked]), precision),
        "told": product(*pair(weights, f"{name}.attention.output.dense"), precision),
        "first": pair(weights, f"{name}.attention.output.LayerNorm"),
        "up": product(*pair(weights, f"{name}.intermediate.dense"), precision),
        "down": product(*pair(weights, f"{name}.output.dense"), precision),
        "second": pair(weights, f"{name}.output.LayerNorm"),
    }
