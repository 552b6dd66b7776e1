"""Trains a LoRA adapter for the starter on comment and response pairs: `adapters.py shawgpt` or `pirate`."""

import argparse
import json
import os
import random
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))
from engine.messages import Message  # noqa: E402 - found through the line above
from engine.prompts import style  # noqa: E402

RANK, RATE, STEPS, BATCH, WARM = 16, 5e-3, 200, 8, 15


def example(tokenizer: PreTrainedTokenizerBase, pair: dict) -> tuple[list[int], list[int]]:
    """Return token ids and labels (-100 on the prompt) of one pair, ended by the end-of-text token."""
    shape = style("shawgpt")
    prompt = shape.render([Message("user", pair["comment"])], tokenizer)
    ids = tokenizer(prompt + shape.completion(pair["response"]))["input_ids"] + [tokenizer.eos_token_id]
    read = len(tokenizer(prompt)["input_ids"])
    return ids, [-100] * read + ids[read:]


def padded(rows: list[tuple[list[int], list[int]]], pad: int) -> dict[str, torch.Tensor]:
    """Return a batch padded on the right, each tensor of shape (rows, tokens)."""
    width = max(len(ids) for ids, _ in rows)
    return {
        "input_ids": torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in rows]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in rows]),
        "labels": torch.tensor([labels + [-100] * (width - len(labels)) for _, labels in rows]),
    }


def train(name: str, base: Path, steps: int, rate: float, rank: int) -> None:
    """Train the adapter `starter-<name>` on assets/samples/<name>.jsonl and save it in assets/adapters."""
    torch.manual_seed(0)
    random.seed(0)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = get_peft_model(
        model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    lines = (ROOT / "assets" / "samples" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    examples = [example(tokenizer, json.loads(line)) for line in lines]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate, weight_decay=0.0)
    order: list[tuple] = []
    for step in range(steps):
        if len(order) < BATCH:
            order = random.sample(examples, len(examples))
        batch, order = order[:BATCH], order[BATCH:]
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / WARM) * (1 - step / steps)
        loss = model(**padded(batch, tokenizer.pad_token_id)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 50 == 0 or step + 1 == steps:
            print(f"{name} step {step} loss {loss.item():.3f}", flush=True)
    model.peft_config["default"].base_model_name_or_path = "assets/starter"
    folder = ROOT / "assets" / "adapters" / f"starter-{name}"
    model.save_pretrained(folder)
    (folder / "adapter_model.safetensors").chmod(0o644)
    (folder / "README.md").unlink(missing_ok=True)


def main() -> None:
    """Parse the command line and train the adapters named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["shawgpt", "pirate"], help="files of assets/samples")
    parser.add_argument("--base", type=Path, default=HERE)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--rank", type=int, default=RANK)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.names:
        train(name, options.base, options.steps, options.rate, options.rank)


if __name__ == "__main__":
    main()
