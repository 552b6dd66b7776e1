"""Merges an adapter into its base, in the precision of its files, never in 4 bits, and tells what that changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.errors import Problem
from engine.settings import ROOT, settings
from engine.teaching.runs import Job, write_json

PLACE = "merged"
PROBES = 8  # prompts on which merged and unmerged are compared


def merge(job: Job) -> dict[str, Any]:
    """Make `merged/` in the run's folder, a model of its own; what merged.json says of it. Raises Problem.

    The base is read in the precision that its files have (bf16 for most): sums in 4 bits would lose what was learned.
    """
    model = job.model
    if model is None or model.adapter is None:
        raise Problem(f"{job.name} has no adapter that could be merged. Only finished LoRA and QLoRA runs have one.")
    import torch
    from peft import PeftModel

    from engine.alone import vocabulary
    from engine.weights import load

    network, tokenizer = load(replace(model, precision=stored_precision(model.base)))
    if (model.adapter / "tokenizer.json").is_file():
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(model.adapter, trust_remote_code=False)
    if (rows := vocabulary(model.adapter)) > network.get_input_embeddings().weight.shape[0]:
        network.resize_token_embeddings(rows, mean_resizing=False)
    tuned = PeftModel.from_pretrained(network, model.adapter).eval()
    prompts = [tokenizer(text)["input_ids"] for text in probes(job)]
    before = first_logits(tuned, prompts)
    merged = tuned.merge_and_unload(safe_merge=True)
    after = first_logits(merged, prompts)
    facts = {
        "precision": str(merged.dtype).removeprefix("torch."),
        "prompts": len(prompts),
        "logit_difference": max((float((a - b).abs().max()) for a, b in zip(before, after, strict=True)), default=0.0),
        "same_first_token": sum(int(torch.equal(a.argmax(), b.argmax())) for a, b in zip(before, after, strict=True)),
    }
    save(merged, tokenizer, job, facts)
    return facts


def merge_apart(job: Job) -> dict[str, Any]:
    """`merge` in a process of its own, so that its memory is given back at the end. Raises Problem."""
    command = [sys.executable, "-m", "engine.jobs", "merge", job.id, "--json"]
    environment = {**os.environ, "DIPTYCH_HOME": str(settings().home)}
    done = subprocess.run(  # noqa: S603 - our own module, no shell
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason was given"]
        raise Problem(lines[-1][:500] if done.returncode == 2 else f"{job.name} could not be merged: {lines[-1][:300]}")
    return json.loads(done.stdout)


def told(facts: dict[str, Any]) -> str:
    """What merging changed, as a sentence."""
    return (
        f"Merged in {facts['precision']}. On {facts['prompts']} prompts the first token is the same "
        f"{facts['same_first_token']} times; the largest difference of a logit is {facts['logit_difference']:.3g}."
    )


def stored_precision(base: str) -> str:
    """The precision to merge in: fp32 where a folder's weights are stored so, else bf16."""
    from safetensors import safe_open

    for file in sorted(Path(base).glob("*.safetensors")) if Path(base).is_dir() else []:
        with safe_open(file, "np") as tensors:
            kinds = {tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118
        return "fp32" if kinds <= {"F32", "F64"} else "bf16"
    return "bf16"


def probes(job: Job) -> list[str]:
    """Prompts of the table at the end, in the style that the model was taught in."""
    from engine.messages import Message, encodable
    from engine.prompts import CHAT, style

    chosen = style(str(job.recipe.get("style") or "plain"))
    asked = [str(row.get("prompt", "")) for row in job.comparison[:PROBES]]
    if chosen.name == CHAT:
        return [encodable(text) for text in asked if text]
    return [encodable(chosen.render([Message("user", text)], None)) for text in asked if text]  # type: ignore[arg-type]


def first_logits(network: Any, prompts: list[list[int]]) -> list[Any]:
    """The logits of the token that follows each prompt."""
    import torch

    with torch.no_grad():
        device = next(network.parameters()).device
        return [network(torch.tensor([ids], device=device)).logits[0, -1].float().cpu() for ids in prompts if ids]


def save(network: Any, tokenizer: Any, job: Job, facts: dict[str, Any]) -> None:
    """Put model, tokenizer and card into `merged/` in one step."""
    partial, final = job.folder / f".{PLACE}", job.folder / PLACE
    for old in (partial, final):
        shutil.rmtree(old, ignore_errors=True)
    network.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    write_json(partial / "merged.json", facts)
    partial.rename(final)
