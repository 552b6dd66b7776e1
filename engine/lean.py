"""The forward pass of Llama-like networks with less to do in each layer; the same numbers as transformers' own.

transformers computes a layer in some forty operators; on small models and on processors they cost as much as the
weights. Here tokens of all rows lie in one list [tokens, hidden], query, key and value are one product, rotary
tables are made once for all layers, and sums and gates are part of the products. How tokens attend is the caller's:
one decoding step over the shared cache, or pieces of prompts (engine.reading).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from engine import fused
from engine.fused import Share
from engine.layouts import LARGEST, Blocks, Halves, blocked, fill, halved
from engine.memory import LEAST_COLUMNS
from engine.products import Packer, Product
from engine.settings import settings
from engine.stacked import AdapterBatch, Outputs

FAMILIES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
CACHED = 2**26  # bytes of float32 weights that a processor keeps in its cache; packing gains nothing there
LAYERS = {  # product -> the linear layers in it
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "o": ("self_attn.o_proj",),
    "gate": ("mlp.gate_proj",),
    "up": ("mlp.up_proj",),
    "down": ("mlp.down_proj",),
}
INPUTS = (("qkv",), ("o",), ("gate", "up"), ("down",))  # products that read the same input
Rotary = tuple[torch.Tensor, torch.Tensor]  # cosines and signed sines [tokens, 1, head size], float32


@dataclass(frozen=True)
class Norm:
    """Root mean square norm."""

    weight: torch.Tensor
    epsilon: float


@dataclass(frozen=True)
class Heads:
    """How queries, keys and values lie side by side in a layer: heads of queries, groups of keys, numbers of each."""

    count: int
    groups: int
    size: int
    norms: tuple[torch.Tensor, torch.Tensor] | None  # weights of those of queries and keys
    epsilon: float


class Attention:
    """How tokens attend in one pass."""

    def __call__(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Query [tokens, heads, size], key and value [tokens, groups, size], turned -> [tokens, heads x size]."""
        raise NotImplementedError

    def joined(self, layer: int, qkv: torch.Tensor, heads: Heads, table: Rotary) -> torch.Tensor:
        """The same from `qkv` [tokens, all heads x size], before rotation."""
        parts = qkv.view(len(qkv), -1, heads.size).float()
        turned = fused.turned(parts, heads.count, heads.groups, heads.norms, heads.epsilon, *table)
        query, key = turned.split([heads.count, heads.groups], dim=1)
        return self(layer, query, key, parts[:, heads.count + heads.groups :])


@dataclass(frozen=True)
class Block:
    """One layer. `inputs` are the full names of the linear layers in each product of each of INPUTS."""

    inputs: tuple[Outputs, ...]
    before: Norm
    qkv: Product
    heads: Heads
    o: Product
    after: Norm
    gate: Product
    up: Product
    down: Product
    activation: nn.Module
    silu: bool

    def products(self) -> tuple[Product, ...]:
        """All products of this layer."""
        return self.qkv, self.o, self.gate, self.up, self.down

    def feed_forward(self, x: torch.Tensor, fill: int, shares: Sequence[Share | None]) -> torch.Tensor:
        """x plus its feed-forward part; `shares` of its two inputs."""
        norm, gate, up, down = self.after, self.gate.matrix, self.up.matrix, self.down.matrix
        if self.silu:
            return fused.feed_forward(x, norm.weight, norm.epsilon, gate, up, down, fill, *shares)
        h = fused.filled_up(fused.normed(x, norm.weight, norm.epsilon), fill)
        first, second = fused.gates(h, gate, up, len(x), shares[0])
        return fused.plus(self.activation(first).mul_(second), down, 0, x, shares[1])


class LeanForward:
    """Logits of a transformers network of one of FAMILIES, whose weights it shares."""

    def __init__(self, network: Any, adapters: AdapterBatch):
        self.network, self.adapters = network, adapters
        config, inner = network.config, network.model
        attention = inner.layers[0].self_attn
        self.size, self.scale = attention.head_dim, attention.scaling
        self.groups = config.num_key_value_heads
        self.device, self.halves = network.device, in_halves(network)
        self.dtype = torch.float32 if self.halves else network.dtype  # that is computed in
        if self.halves:
            keep_apart(network)
        self.blocks = [block(f"model.layers.{i}", layer, config) for i, layer in enumerate(inner.layers)]
        self.norm, self.rotary = norm(inner.norm), inner.rotary_emb
        self.embedding, self.tied = inner.embed_tokens, network.lm_head.weight is inner.embed_tokens.weight
        self.head = Product([network.lm_head])
        self.packable = [one for each in self.blocks for one in each.products()] + [self.head]

    def pack(self) -> None:
        """Lay the weights out for speed; then only this forward pass can use them."""
        packer = self._packer()
        if packer is None:
            return
        self.head.pack(packer, looked_up=self.tied)
        with ThreadPoolExecutor(settings().threads) as threads:  # FBGEMM's packing is slow and knows one thread
            list(threads.map(lambda product: product.pack(packer), self.packable[:-1]))

    def _packer(self) -> Packer | None:
        """The layout of the weights; None where the plain one is as good."""
        if self.halves:
            return Halves
        small = self.dtype == torch.float32 and sum(one.nbytes for one in self.packable) < CACHED
        return Blocks if blocked(self.dtype, self.device) and not small else None

    def unpack(self) -> None:
        """Give the network's own modules their weights back, in the precision that is computed in."""
        for product in self.packable:
            product.unpack()
        if self.halves:
            self.network.to(self.dtype)

    @property
    def packed_bytes(self) -> int:
        """Bytes of the weights that the network's own modules do not hold now."""
        return sum(product.nbytes for product in self.packable if product.packed)

    def __call__(
        self, ids: torch.Tensor, positions: torch.Tensor, attend: Attention, last: torch.Tensor
    ) -> torch.Tensor:
        """Logits [len(last), vocabulary], float32, of the tokens at the places `last` of `ids` [tokens]."""
        x = self.head.rows(ids) if self.tied else nn.functional.embedding(ids, self.embedding.weight)
        x, more = x.to(self.dtype), self._fill(len(ids))
        table = self._rotary(positions)
        for i, one in enumerate(self.blocks):
            of_qkv, of_o, *of_gates_and_down = self.adapters.shares(one.inputs)
            qkv = fused.read(x, one.before.weight, one.before.epsilon, one.qkv.matrix, more, of_qkv)
            attended = attend.joined(i, qkv, one.heads, table).to(self.dtype)
            x = fused.plus(attended, one.o.matrix, more, x, of_o)
            if i + 1 == len(self.blocks) and len(last) < len(x):
                x = x[last]  # nothing but these is read any more
                if not len(x):
                    return x.new_empty(0, self.head.sizes[0], dtype=torch.float32)
                more = self._fill(len(x))
                self.adapters.only(last.tolist())
                of_gates_and_down = self.adapters.shares(one.inputs)[2:]
            x = one.feed_forward(x, more, of_gates_and_down)
        h = fused.normed(x, self.norm.weight, self.norm.epsilon)
        return fused.product(h, self.head.matrix, more).float()

    def _fill(self, rows: int) -> int:
        """By how many rows products of so many are filled up."""
        return fill(rows) if isinstance(self.head.layout, Halves) else 0

    def _rotary(self, positions: torch.Tensor) -> Rotary:
        """Cosines and signed sines [tokens, 1, head size], float32."""
        like = torch.empty(0, dtype=torch.float32, device=self.device)
        cos, sin = (table[0, :, None] for table in self.rotary(like, position_ids=positions[None]))
        sin[..., : self.size // 2].neg_()
        return cos, sin


def block(name: str, layer: Any, config: Any) -> Block:
    """A transformers decoder layer as a Block."""
    attention, mlp = layer.self_attn, layer.mlp
    normed = hasattr(attention, "q_norm")
    return Block(
        inputs=tuple(
            tuple(tuple(f"{name}.{part}" for part in LAYERS[product]) for product in products) for products in INPUTS
        ),
        before=norm(layer.input_layernorm),
        qkv=Product([attention.q_proj, attention.k_proj, attention.v_proj]),
        heads=Heads(
            config.num_attention_heads,
            config.num_key_value_heads,
            attention.head_dim,
            (attention.q_norm.weight.data.float(), attention.k_norm.weight.data.float()) if normed else None,
            attention.q_norm.variance_epsilon if normed else 0.0,
        ),
        o=Product([attention.o_proj]),
        after=norm(layer.post_attention_layernorm),
        gate=Product([mlp.gate_proj]),
        up=Product([mlp.up_proj]),
        down=Product([mlp.down_proj]),
        activation=mlp.act_fn,
        silu=type(mlp.act_fn).__name__ in ("SiLU", "SiLUActivation"),
    )


def norm(module: Any) -> Norm:
    """A transformers RMSNorm as a Norm."""
    return Norm(module.weight.data, module.variance_epsilon)


def lean(network: Any, adapters: AdapterBatch | None) -> LeanForward | None:
    """The lean forward pass of a network, or None where transformers' own must be used."""
    return LeanForward(network, adapters) if adapters is not None and suits(network) else None


def suits(network: Any) -> bool:
    """Whether the lean forward pass computes what the network does."""
    if type(network).__name__ not in FAMILIES:
        return False
    config = network.config
    kinds = set(getattr(config, "layer_types", None) or [])
    windowed = kinds - {"full_attention"} or (not kinds and getattr(config, "sliding_window", None))
    linear = [m for m in network.modules() if "Linear" in type(m).__name__]
    plain = all(type(m) is nn.Linear and not m._forward_pre_hooks for m in linear)
    one_dtype = len({p.dtype for p in network.parameters()}) == 1
    return bool(not windowed and plain and one_dtype and config._attn_implementation in ("sdpa", "diptych_sdpa"))


def in_halves(network: Any) -> bool:
    """Whether the lean forward pass computes in float32 with the weights in 16 bits that the network came with."""
    if network.config.hidden_size < LEAST_COLUMNS or not halved(network.dtype, network.device):
        return False
    extremes = [end.abs().item() for weight in network.parameters() for end in torch.aminmax(weight.data)]
    return max(extremes) <= LARGEST


def keep_apart(network: Any) -> None:
    """Let go of the file whose parts the weights are: norms and biases go to float32, tables stay as they are."""
    for parameter in network.parameters():
        if parameter.dim() == 1:
            parameter.data = parameter.data.float()
    embedding = network.get_input_embeddings().weight
    embedding.data = embedding.data.clone()
