"""Every knob of a training job with its default and one line of meaning; presets are files in assets/recipes."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from engine.errors import Problem
from engine.settings import ASSETS

RECIPES = ASSETS / "recipes"
TOY_PARAMETERS = 50_000_000
METHODS = {
    "qlora": "QLoRA: the base in 4-bit NF4 with double quantization, an adapter on top",
    "lora": "LoRA: the base as it is, an adapter on top",
    "full": "Full: all weights are trained",
}
SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup")
OPTIMIZERS = ("adamw_torch", "adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit", "adafactor", "sgd")
YES, NO = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})
REPORTS = ("", "tensorboard", "trackio", "wandb")


def knob(default: Any, about: str, group: str, choices: Any = ()) -> Any:
    """A field with its meaning, the part of the form it stands in, and what may be chosen: value and its meaning."""
    named = dict(choices) if isinstance(choices, dict) else {value: value or "none" for value in choices}
    return field(default=default, metadata={"about": about, "group": group, "choices": named})


@dataclass(frozen=True)
class Recipe:
    """All that decides a training job. Raises nothing by itself; see `problems`."""

    name: str = knob("", "What the new model is called; left empty, it is made from the model and the data.", "Run")
    notes: str = knob("", "Anything you want to remember about this run.", "Run")
    model: str = knob("starter", "The base that is taught: a name from the list, a folder or a Hub id.", "Run")
    data: str = knob("", "The examples: a sample's name or a file.", "Data")
    columns: str = knob("", "Which column is what, where it is not recognised: prompt=comment, response=reply.", "Data")
    style: str = knob("shawgpt", "How an example is written out; ask the tuned model in the same style.", "Data")
    lead: str = knob("", "Words at the start of responses that the style writes already; they carry no loss.", "Data")
    loss: str = knob(
        "completion", "Which tokens are learned.", "Data",
        {"completion": "The last response only", "assistant": "Every response", "all": "Everything, prompts too"},
    )  # fmt: skip
    max_length: int = knob(512, "Tokens of an example; what is longer is cut.", "Data")
    truncation: str = knob(
        "left", "Which side of a long example is cut.", "Data", {"left": "Its start", "right": "Its end"}
    )
    validation: float = knob(0.1, "Share of the examples that is kept back to measure on.", "Data")
    rows: int = knob(0, "Examples to learn from, drawn with the seed; 0 takes all that are not kept back.", "Data")
    test: float = knob(0.0, "Share that is kept back for the table at the end; 0 uses the validation rows.", "Data")
    method: str = knob("qlora", "What is trained, and how the base is held in memory.", "Method", METHODS)
    rank: int = knob(8, "Width of the adapter: more can learn more and takes more memory.", "Method")
    alpha: float = knob(32.0, "Strength of the adapter; it is scaled by alpha / rank.", "Method")
    dropout: float = knob(0.05, "Share of the adapter's inputs that is dropped at random while training.", "Method")
    targets: str = knob("q_proj", "Layers that get an adapter, separated by commas, or all-linear.", "Method")
    rslora: bool = knob(False, "Scale by alpha / sqrt(rank), which keeps high ranks stable.", "Method")
    dora: bool = knob(False, "Train direction and size apart (DoRA); slower to train and to ask.", "Method")
    new_tokens: str = knob("", "Tokens added to the vocabulary and trained, separated by spaces.", "Method")
    stop_token: str = knob("", "The token that ends a response; left empty, the model's own.", "Method")
    learning_rate: float = knob(2e-4, "Size of a step.", "Optimization")
    schedule: str = knob("linear", "How the learning rate falls.", "Optimization", SCHEDULES)
    warmup: float = knob(2.0, "Steps in which the learning rate rises; below 1 it is a share of all.", "Optimization")
    weight_decay: float = knob(0.01, "Pull of the trained weights towards zero.", "Optimization")
    max_grad_norm: float = knob(1.0, "Gradients longer than this are shortened to it; 0 leaves them.", "Optimization")
    optimizer: str = knob("paged_adamw_8bit", "Paged ones need a GPU; see the note below.", "Optimization", OPTIMIZERS)
    batch: int = knob(4, "Examples in one forward pass.", "Optimization")
    accumulation: int = knob(4, "Passes before one step of the optimizer.", "Optimization")
    devices: int = knob(
        1, "GPUs that train together; a step learns from batch x accumulation x devices.", "Optimization"
    )
    epochs: float = knob(10.0, "How often every example is seen.", "Optimization")
    steps: int = knob(0, "Steps of the optimizer; 0 goes by the epochs.", "Optimization")
    group_by_length: bool = knob(
        False, "Put examples of like length together: less padding, less chance.", "Optimization"
    )
    packing: bool = knob(
        False,
        "Lay the rows of a batch end to end instead of padding them; each still sees itself alone.",
        "Optimization",
    )
    precision: str = knob(
        "auto", "Numbers used in computing.", "Optimization",
        {"auto": "bf16 where it is native, fp32 for toys and elsewhere", "fp32": "fp32", "bf16": "bf16"},
    )  # fmt: skip
    activation_checkpointing: bool = knob(
        False, "Compute activations twice and keep none: slower, smaller.", "Optimization"
    )
    seed: int = knob(0, "Same seed, same run.", "Optimization")
    eval_steps: int = knob(0, "Steps between evaluations; 0 makes about ten.", "Watching")
    save_steps: int = knob(0, "Steps between checkpoints; 0 saves at every evaluation.", "Watching")
    log_steps: int = knob(1, "Steps between two points of the loss curve.", "Watching")
    keep_best: bool = knob(True, "End with the weights of the lowest validation loss, not the last ones.", "Watching")
    report: str = knob("", "Also report to a tracker that is installed.", "Watching", REPORTS)

    def problems(self) -> list[str]:
        """Every complaint about these values, each a sentence; empty when a job can start with them."""
        from engine.teaching.recipe_checks import complaints

        return complaints(self)

    @property
    def column_map(self) -> dict[str, str]:
        """`columns` as a mapping, empty when columns are to be recognised."""
        pairs = (part.split("=", 1) for part in self.columns.split(",") if "=" in part)
        return {key.strip(): value.strip() for key, value in pairs}

    @property
    def added_tokens(self) -> list[str]:
        """`new_tokens` as a list."""
        return self.new_tokens.split()

    @property
    def target_modules(self) -> str | list[str]:
        """`targets` as PEFT reads it."""
        names = [name.strip() for name in self.targets.split(",") if name.strip()]
        return "all-linear" if names == ["all-linear"] else names


FITTED = (
    "rank", "alpha", "dropout", "targets", "learning_rate", "schedule", "warmup", "weight_decay", "batch",
    "accumulation", "epochs", "steps", "optimizer",
)  # fmt: skip
KNOBS = {each.name: each for each in fields(Recipe)}


def from_mapping(values: Mapping[str, Any], start: Recipe | None = None) -> Recipe:
    """A recipe with these values over `start`; text is read as the knob's type. Raises Problem with all complaints."""
    wrong, read = [], {}
    for name, value in values.items():
        if name not in KNOBS:
            wrong.append(f"There is no knob '{name}'. The knobs are: {', '.join(KNOBS)}.")
            continue
        try:
            read[name] = typed(value, type(KNOBS[name].default))
        except (ValueError, TypeError, OverflowError):
            wrong.append(f"{name} is '{value}', which is not {kind(type(KNOBS[name].default))}.")
    if wrong:
        raise Problem(" ".join(wrong))
    return replace(start or Recipe(), **read)


def typed(value: Any, wanted: type) -> Any:
    """The value as bool, int, float or str. Raises ValueError or TypeError where it is none."""
    if wanted is bool:
        word = str(value).lower()
        if word not in YES | NO:
            raise ValueError(value)
        return word in YES
    if wanted is int:
        number = float(value)
        if number != int(number):
            raise ValueError(value)
        return int(number)
    return wanted("" if value is None and wanted is str else value)


def kind(wanted: type) -> str:
    """The type in words."""
    return {bool: "yes or no", int: "a whole number", float: "a number"}.get(wanted, "text")


@functools.cache
def presets() -> dict[str, tuple[str, str, Recipe]]:
    """name: (title, what it is for, recipe) of every file in assets/recipes, in the order of their `order` keys."""
    found = []
    for path in RECIPES.glob("*.toml"):
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        order, title, about = data.pop("order"), data.pop("title"), data.pop("about")
        found.append((order, path.stem, title, about, from_mapping(data)))
    return {name: (title, about, recipe) for _, name, title, about, recipe in sorted(found, key=lambda each: each[0])}


def preset(name: str) -> Recipe:
    """The recipe of that name or of that TOML file. Raises Problem with the names there are."""
    if name in presets():
        return presets()[name][2]
    path = Path(name)
    if path.suffix == ".toml" and path.is_file():
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        return from_mapping({key: value for key, value in data.items() if key not in ("order", "title", "about")})
    raise Problem(f"There is no recipe '{name}'. Choose one of: {', '.join(presets())}.")


def fitted(recipe: Recipe, parameters: int) -> tuple[Recipe, str]:
    """The recipe for a model of that size, and why it was changed ("" when it was not).

    Recipes from the literature are made for billions of parameters. At rank 8 on q_proj and 2e-4, a model of a
    few million hardly moves: measured on 3.7 million and 50 pairs, the loss went from 10.86 to 10.53 in 10 epochs,
    and to 0.54 with all linear layers at 5e-3.
    """
    if parameters >= TOY_PARAMETERS or recipe.method == "full" or recipe.learning_rate >= 1e-3:
        return recipe, ""
    starter = preset("shawgpt-starter")
    kept = {"steps"} if recipe.steps else set()  # somebody said how long
    changed = replace(recipe, **{name: getattr(starter, name) for name in FITTED if name not in kept})
    reason = (
        f"This model has {parameters / 1e6:.1f} million parameters. With rank {recipe.rank} on {recipe.targets} at "
        f"{recipe.learning_rate:g} it would hardly move, so the run uses the values of 'ShawGPT on the starter': rank "
        f"{starter.rank} on {starter.targets} at {starter.learning_rate:g}."
    )
    return changed, reason
