"""What the decoding tests share: networks of several architectures, adapters, and running rows to their end."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import LoraConfig, get_peft_model

from engine.adapters import Adapter
from engine.decode import DecodeLoop
from engine.messages import Begin, End, Piece, Sampling
from engine.respond import Event
from engine.rows import Request
from tests.tiny import byte_tokenizer

VOCABULARY = 300
TOKENIZER = byte_tokenizer(512)
SMALL = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": None, "pad_token_id": 2}
LLAMA_LIKE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "Llama": LLAMA_LIKE,
    "Mistral": LLAMA_LIKE | {"sliding_window": 8},
    "GPT2": {"n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 512},
    "GPTNeoX": {k: v for k, v in LLAMA_LIKE.items() if k != "num_key_value_heads"},
    "Gemma2": LLAMA_LIKE | {"head_dim": 16, "sliding_window": 8, "num_hidden_layers": 4},
}


def network(kind: str = "Llama", seed: int = 0, **changes: Any) -> Any:
    """A random causal language model whose weights are large enough to give varied text."""
    config = getattr(transformers, f"{kind}Config")(**(SMALL | ARCHITECTURES.get(kind, LLAMA_LIKE) | changes))
    name = "GPT2LMHeadModel" if kind == "GPT2" else f"{kind}ForCausalLM"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = getattr(transformers, name)(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6 if kind == "Gemma2" else 3)
    made.generation_config.eos_token_id = None
    made.generation_config.pad_token_id = 2
    return made


def save_adapter(base: Any, folder: Path, seed: int = 1, **config: Any) -> Any:
    """Save an adapter with random A and B on a copy of `base`; returns PEFT's model for reference."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tuned = get_peft_model(copy.deepcopy(base), LoraConfig(**config))
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data + 0.15 * torch.randn_like(parameter)
    tuned.save_pretrained(folder)
    return tuned.eval()


def greedy(model: Any, prompt: Sequence[int], tokens: int) -> list[int]:
    """What transformers' own generate answers."""
    ids = torch.tensor([list(prompt)])
    return model.generate(input_ids=ids, max_new_tokens=tokens, do_sample=False)[0, len(prompt) :].tolist()


def request(prompt: Sequence[int], adapter: Adapter | None = None, prove: bool = False, **sampling: Any) -> Request:
    """A row; greedy unless told otherwise."""
    asked = Sampling(**({"temperature": 0.0} | sampling))
    return Request(tuple(prompt), asked, adapter, Begin(""), prove, logprobs=True)


def run(loop: DecodeLoop, requests: Sequence[Request], gaps: Sequence[float] = ()) -> list[list[Event | Exception]]:
    """Submit rows one after another, `gaps` seconds apart, and wait for all; each row's events."""
    events: list[list[Event | Exception]] = [[] for _ in requests]
    rows = []
    for i, asked in enumerate(requests):
        time.sleep(gaps[i] if gaps else 0)
        rows += loop.submit([asked], [events[i].append])
    for row in rows:
        assert row.over.wait(60), "a row did not end"
    return events


def tokens(events: Sequence[Event | Exception]) -> list[int]:
    """The tokens of one row. Raises the row's exception if it failed."""
    for event in events:
        if isinstance(event, Exception):
            raise event
    return [token for event in events if isinstance(event, Piece) for token in event.token_ids]


def end(events: Sequence[Event | Exception]) -> End:
    """How a row ended."""
    last = events[-1]
    assert isinstance(last, End)
    return last
