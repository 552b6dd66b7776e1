"""Models to measure on: random weights in the shape of a known model, with LoRA adapters, in a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from engine.settings import ROOT

ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TARGETS = {"q/v": ["q_proj", "v_proj"], "all-linear": ALL_LINEAR}

# The published config of SmolLM2-135M (HuggingFaceTB/SmolLM2-135M, config.json).
SHAPE_135M = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}


def as_a_peer() -> dict[str, str]:
    """The environment of a peer's process: its idle OpenMP threads stay awake for 3 ms, as they do by themselves.

    Diptych's own sleep after 0.2 ms (engine.settings), which might slow down peers that use several threads.
    """
    return {**os.environ, "GOMP_SPINCOUNT": "300000"}  # what libgomp takes where no policy is set


def in_a_process(module: str, asked: Any, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """What a benchmark's `--one` prints last for what is asked, in a process of its own."""
    command = [sys.executable, "-m", module, "--one", json.dumps(asked)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


def fast_dtype() -> str:
    """What the shape is computed in here, by Diptych and by its peers: bfloat16 only where the processor has it."""
    from engine.weights import fast_bf16

    return "bfloat16" if fast_bf16() else "float32"


def make_135m(folder: Path) -> Path:
    """A random model in SmolLM2-135M's shape, in bf16, with a tokenizer of one word per id."""
    return make_llama(folder, SHAPE_135M)


def make_llama(folder: Path, shape: dict[str, int]) -> Path:
    """A random Llama of that shape, in bf16, with a tokenizer of one word per id."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = LlamaConfig(**shape, bos_token_id=None, eos_token_id=None, pad_token_id=0)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(shape["vocab_size"])}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="w0").save_pretrained(folder)
    return folder


def make_adapters(base: Path, folder: Path, targets: list[str], count: int = 8, rank: int = 8) -> list[Path]:
    """LoRA adapters with random A and B for the model in `base`."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets)
    tuned = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    made = []
    for i in range(count):
        torch.manual_seed(i)
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                parameter.data.normal_(std=0.01)
        tuned.save_pretrained(folder / f"adapter-{i}")
        made.append(folder / f"adapter-{i}")
    return made
