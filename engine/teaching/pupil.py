"""The network that a job teaches: loaded as the recipe says, with an adapter, and trl's settings for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.adapters import sizes
from engine.catalog import Model, find
from engine.data.tokens import Tokens
from engine.errors import Problem
from engine.recipe import Recipe
from engine.teaching.recipe_checks import computes_in_bf16, optimizer_used
from engine.teaching.shape import count_parameters
from engine.weights import load

EVALUATIONS = 10  # of a run, where the recipe leaves it open
FEWEST_BETWEEN = 10  # steps between two of them


@dataclass
class Pupil:
    """A loaded base that is ready to be taught. `parameters` counts the base's weights."""

    model: Model
    network: Any
    tokenizer: Any
    bf16: bool
    parameters: int


def base_of(recipe: Recipe) -> Model:
    """The model that the recipe names. Raises Problem where it is no local base."""
    model = find(recipe.model)
    if model.endpoint:
        raise Problem(f"{model.name} runs on somebody's server, so it cannot be taught here. Choose a local model.")
    if model.adapter is not None:
        raise Problem(
            f"{model.name} is an adapter. Teach its base instead ({Path(model.base).name}); adapters are not stacked."
        )
    return model


def load_pupil(recipe: Recipe) -> Pupil:
    """The base with its new tokens, in the precision of the recipe's method. Raises Problem.

    QLoRA (Dettmers et al. 2023) holds the base in NF4 with double quantization. All weights are trained in fp32,
    under bf16 autocast where that is wanted.
    """
    model = base_of(recipe)
    bf16 = computes_in_bf16(recipe, count_parameters(model))
    compute = torch.bfloat16 if bf16 else torch.float32
    precision = {"qlora": "nf4", "lora": "bf16" if bf16 else "fp32", "full": "fp32"}[recipe.method]
    network, tokenizer = load(replace(model, precision=precision), compute)
    parameters = sum(stored_size(parameter) for parameter in network.parameters())
    if recipe.method == "full":
        network.requires_grad_(True)
    add_tokens(recipe, network, tokenizer)
    network.config.use_cache = True
    return Pupil(model, network, tokenizer, bf16, parameters)


def stored_size(parameter: nn.Parameter) -> int:
    """How many weights a parameter holds; two to a byte where it is packed to four bits."""
    return parameter.numel() * (2 if type(parameter).__name__ == "Params4bit" else 1)


def add_tokens(recipe: Recipe, network: Any, tokenizer: Any) -> None:
    """Put the recipe's own tokens into tokenizer and embeddings."""
    from transformers import AddedToken

    if recipe.added_tokens:
        tokenizer.add_tokens([AddedToken(each, special=True, normalized=False) for each in recipe.added_tokens])
        if len(tokenizer) > network.get_input_embeddings().weight.shape[0]:
            network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    if recipe.stop_token:
        if recipe.stop_token not in tokenizer.get_vocab():
            raise Problem(f"The model has no token '{recipe.stop_token}' to stop at. Add it to the new tokens.")
        tokenizer.eos_token = recipe.stop_token


def adapter_config(recipe: Recipe, network: Any) -> Any:
    """PEFT's settings of the adapter; None when all weights are trained. Raises Problem."""
    from peft import LoraConfig

    if recipe.method == "full":
        return None
    targets = recipe.target_modules
    linear = {name.rpartition(".")[2] for name, module in network.named_modules() if sizes(module)} - {"lm_head"}
    if missing := [name for name in targets if name not in linear] if isinstance(targets, list) else []:
        raise Problem(
            f"This model has no layers named {', '.join(missing)}. It has: {', '.join(sorted(linear))}. "
            "Correct the targets, or write all-linear."
        )
    return LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,  # type: ignore[arg-type]
        lora_dropout=recipe.dropout,
        target_modules=targets,
        use_rslora=recipe.rslora,
        use_dora=recipe.dora,
        modules_to_save=vocabulary_layers(network) if recipe.added_tokens else None,
        task_type="CAUSAL_LM",
    )


def vocabulary_layers(network: Any) -> list[str]:
    """The names of the embedding and of the output layer, which new tokens need trained and saved."""
    tables = (network.get_input_embeddings(), network.get_output_embeddings())
    return [name.rpartition(".")[2] for name, module in network.named_modules() if any(module is t for t in tables)]


def trl_settings(recipe: Recipe, pupil: Pupil, folder: Path, examples: int, evaluates: bool) -> Any:
    """The recipe as trl's SFTConfig; checkpoints go to `folder`/checkpoints. `examples` are those trained on."""
    from trl import SFTConfig

    cuda = torch.cuda.is_available()
    total = total_steps(recipe, examples)
    every = recipe.eval_steps or max(FEWEST_BETWEEN, -(-total // EVALUATIONS))
    return SFTConfig(
        output_dir=str(folder / "checkpoints"),
        per_device_train_batch_size=recipe.batch,
        per_device_eval_batch_size=recipe.batch,
        gradient_accumulation_steps=recipe.accumulation,
        num_train_epochs=recipe.epochs,
        max_steps=recipe.steps or -1,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=recipe.warmup,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        optim=optimizer_used(recipe, cuda)[0],
        logging_strategy="steps",
        logging_steps=recipe.log_steps,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if evaluates else "no",
        eval_steps=every if evaluates else None,
        prediction_loss_only=True,
        save_strategy="steps",
        save_steps=recipe.save_steps or every,
        seed=recipe.seed,
        bf16=pupil.bf16,
        use_cpu=not cuda,
        report_to=[recipe.report] if recipe.report else [],
        run_name=recipe.name or folder.name,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        padding_free=recipe.packing,
        remove_unused_columns=False,
        dataloader_pin_memory=cuda,
        ddp_find_unused_parameters=recipe.method == "full" and not recipe.activation_checkpointing,
        activation_checkpointing=recipe.activation_checkpointing,
        disable_tqdm=True,
    )


def total_steps(recipe: Recipe, examples: int) -> int:
    """Steps of the optimizer in the whole run, as Trainer counts them."""
    batches = -(-examples // (recipe.batch * recipe.devices))
    return recipe.steps or max(1, round(recipe.epochs * -(-batches // recipe.accumulation)))


def columns(rows: Sequence[Tokens]) -> Any:
    """Tokens as the datasets library's table, which trl wants."""
    from datasets import Dataset

    ids, labels = [list(row.ids) for row in rows], [list(row.labels) for row in rows]
    return Dataset.from_dict({"input_ids": ids, "labels": labels})


def name_base(folder: Path, model: Model) -> None:
    """Write into an adapter's config which base it belongs to: relative to the repository, or as it was named."""
    from engine.settings import ROOT

    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    base = Path(model.base)
    inside = base.is_absolute() and ROOT in base.parents
    config["base_model_name_or_path"] = base.relative_to(ROOT).as_posix() if inside else model.base
    config["revision"] = model.revision
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def require_apart(network: Any) -> None:
    """Raise Problem unless rows that are packed end to end stay unseen by one another in this network."""
    seen = []
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            for first in (3, 4):
                ids = torch.tensor([[first] * 5 + [5, 6, 7, 8]], device=next(network.parameters()).device)
                places = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3]], device=ids.device)
                seen.append(network(input_ids=ids, position_ids=places, use_cache=False).logits[0, 5:].float())
    finally:
        network.train(was_training)
    if not torch.allclose(seen[0], seen[1], rtol=1e-3, atol=1e-3):
        raise Problem("In this model packed rows would see one another. Switch packing off.")
