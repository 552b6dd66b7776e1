"""A job against a bare trl script of thirty lines: same model, data, seed and settings; seconds and loss curves."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from engine.recipe import from_mapping, preset
from engine.settings import ROOT, prepare_process

BARE = """
import json, sys, time
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainerCallback
from trl import SFTConfig, SFTTrainer

facts = json.load(open(sys.argv[1]))
four_bit = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
                              bnb_4bit_compute_dtype=torch.float32)
model = AutoModelForCausalLM.from_pretrained(facts["base"], quantization_config=four_bit, dtype=torch.float32)
for module in model.modules():
    if hasattr(module, "support_avx512bf16_for_cpu"):
        module.support_avx512bf16_for_cpu = False
tokenizer = AutoTokenizer.from_pretrained(facts["base"])
config = SFTConfig(output_dir=facts["folder"], dataset_kwargs={"skip_prepare_dataset": True}, **facts["settings"])
lora = LoraConfig(task_type="CAUSAL_LM", **facts["lora"])
trainer = SFTTrainer(model=model, args=config, train_dataset=Dataset.from_dict(facts["rows"]),
                     processing_class=tokenizer, peft_config=lora)
for parameter in trainer.model.parameters():
    if parameter.requires_grad:
        parameter.data = parameter.data.float()
class Order(torch.utils.data.Sampler):
    def __len__(self): return len(facts["rows"]["labels"])
    def __iter__(self): self.turn = getattr(self, "turn", -1) + 1; return iter(facts["order"][self.turn])
order = Order()
trainer._get_train_sampler = lambda *_: order
begun = time.perf_counter()
trainer.train()
losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
print("RESULT" + json.dumps({"seconds": time.perf_counter() - begun, "losses": losses}))
"""


def bare(folder: Path, environment: dict[str, str], script: Path) -> tuple[float, float, list[float]]:
    """(start-up seconds, training seconds, losses) of the script."""
    began = time.perf_counter()
    command = [sys.executable, str(script), str(folder / "facts.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    whole = time.perf_counter() - began
    result = json.loads(done.stdout.partition("RESULT")[2])
    return whole - result["seconds"], result["seconds"], result["losses"]


def facts(folder: Path) -> None:
    """Write down for the script what the job trained on: tokens, order, settings."""
    from engine.teaching.lesson import read_lesson, render
    from engine.teaching.pupil import adapter_config, load_pupil, total_steps, trl_settings
    from engine.teaching.trainer import Order

    lesson = read_lesson(folder)
    pupil = load_pupil(lesson.recipe)
    rows = render(lesson, pupil.tokenizer).learned
    given = trl_settings(lesson.recipe, pupil, folder, len(rows), evaluates=False)
    names = (
        "per_device_train_batch_size", "gradient_accumulation_steps", "max_steps", "learning_rate", "lr_scheduler_type",
        "warmup_steps", "weight_decay", "max_grad_norm", "logging_steps", "seed", "bf16", "use_cpu",
        "activation_checkpointing", "disable_tqdm", "remove_unused_columns", "max_length",
    )  # fmt: skip
    settings = {name: getattr(given, name) for name in names}
    settings |= {"optim": str(given.optim.value), "save_strategy": "no", "report_to": "none"}
    settings["lr_scheduler_type"] = str(given.lr_scheduler_type.value)
    order, turns = Order(len(rows), lesson.recipe.seed, lesson.recipe.batch), []
    for epoch in range(total_steps(lesson.recipe, len(rows))):
        order.epoch = epoch
        turns.append(list(order))
    config = adapter_config(lesson.recipe, pupil.network)
    value = {
        "base": pupil.model.base,
        "folder": str(folder / "bare"),
        "rows": {"input_ids": [list(row.ids) for row in rows], "labels": [list(row.labels) for row in rows]},
        "order": turns,
        "settings": settings,
        "lora": {
            "r": config.r, "lora_alpha": config.lora_alpha, "lora_dropout": config.lora_dropout,
            "target_modules": lesson.recipe.target_modules,
        },
    }  # fmt: skip
    (folder / "facts.json").write_text(json.dumps(value))


def main() -> None:
    """Run both and print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=200)
    options.add_argument("--model", default="starter")
    options.add_argument("--data", default="shawgpt")
    args = options.parse_args()
    home = Path(tempfile.mkdtemp(prefix="diptych-benchmark-"))
    os.environ["DIPTYCH_HOME"] = str(home)
    prepare_process()
    from engine import jobs
    from engine.settings import settings

    knobs = {"model": args.model, "data": args.data, "steps": args.steps, "validation": 0, "save_steps": args.steps}
    recipe = from_mapping({**knobs, "keep_best": False}, preset("shawgpt-starter"))
    began = time.perf_counter()
    job = jobs.wait(jobs.start(recipe))
    whole = time.perf_counter() - began
    assert job.state == "done", job.reason
    took = job.latest("seconds") or 0.0
    facts(job.folder)
    script = home / "bare.py"
    script.write_text(BARE)
    threads = {"OMP_NUM_THREADS": str(settings().job_threads)}
    startup, seconds, losses = bare(job.folder, {**os.environ, **threads, "PYTHONPATH": str(ROOT)}, script)
    mine = [line["loss"] for line in job.metrics if "loss" in line]
    difference = max(abs(a - b) for a, b in zip(mine, losses, strict=True))
    print(f"{args.steps} steps of {asdict(recipe)['method']} on {args.model}, {settings().job_threads} thread(s)\n")
    print("| | start-up and end (s) | training (s) |\n|---|---|---|")
    print(f"| bare script | {startup:.1f} | {seconds:.1f} |")
    print(f"| job | {whole - took:.1f} | {took:.1f} |")
    print(f"\nratio of training time {took / seconds:.3f}; largest difference of the loss curves {difference:.2e}")


if __name__ == "__main__":
    main()
