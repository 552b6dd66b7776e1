"""Recipes: every knob explained, every preset loaded, every complaint at once."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import Problem
from engine.recipe import KNOBS, Recipe, fitted, from_mapping, preset, presets
from engine.teaching.recipe_checks import optimizer_used

FROM_THE_LITERATURE = {
    "rank": 8, "alpha": 32, "targets": "q_proj", "dropout": 0.05, "learning_rate": 2e-4, "batch": 4, "accumulation": 4,
    "epochs": 10, "warmup": 2, "weight_decay": 0.01, "optimizer": "paged_adamw_8bit", "truncation": "left",
    "max_length": 512, "method": "qlora",
}  # fmt: skip


def test_every_knob_has_a_default_and_one_line_of_meaning():
    for name, knob in KNOBS.items():
        about = knob.metadata["about"]
        assert about.endswith(".") and "\n" not in about and len(about) < 110, name
        assert knob.metadata["group"] and type(knob.default) in (str, int, float, bool)
        choices = knob.metadata["choices"]
        assert not choices or knob.default in choices, name


@pytest.mark.parametrize("name", [path.stem for path in Path("assets/recipes").glob("*.toml")])
def test_every_preset_loads_and_has_nothing_wrong_with_it(name: str):
    title, about, recipe = presets()[name]
    assert title and about
    assert replace(recipe, model="starter", data="shawgpt").problems() == []


def test_presets_hold_the_values_of_their_sources():
    recipe = preset("shawgpt")
    assert {name: getattr(recipe, name) for name in FROM_THE_LITERATURE} == FROM_THE_LITERATURE
    pricer, sawyer = preset("pricer"), preset("sawyer")
    assert (pricer.rank, pricer.alpha, pricer.dropout, pricer.schedule, pricer.warmup) == (32, 64, 0.1, "cosine", 0.03)
    assert pricer.target_modules == ["q_proj", "k_proj", "v_proj", "o_proj"] and pricer.lead == "Price is $"
    assert (sawyer.rank, sawyer.alpha, sawyer.target_modules, sawyer.loss) == (128, 32, "all-linear", "completion")
    assert sawyer.added_tokens == ["###HUMAN###", "###BOT###", "###STOP###"]
    assert set(presets()) == {"quick", "shawgpt-starter", "shawgpt", "faq", "alpaca", "latex", "sawyer", "pricer"}


def test_all_complaints_come_at_once():
    shares = {"validation": 0.6, "test": 0.6}
    wrong = Recipe(data="", rank=0, learning_rate=-1, batch=0, style="none such", method="magic", **shares)
    found = " ".join(wrong.problems())
    parts = ("Rank must", "learning rate must", "Batch must", "no prompt style", "method is 'magic'", "Choose the exam")
    for part in parts:
        assert part in found
    assert "nothing to train on" in found


def test_text_is_read_as_the_knobs_type_and_bad_text_is_told():
    recipe = from_mapping({"rank": "16", "learning_rate": "1e-3", "dora": "yes", "batch": 2.0, "name": None})
    assert (recipe.rank, recipe.learning_rate, recipe.dora, recipe.batch, recipe.name) == (16, 1e-3, True, 2, "")
    with pytest.raises(Problem, match=r"rank is '1\.5', which is not a whole number\. There is no knob 'r'"):
        from_mapping({"rank": "1.5", "r": 3})
    for bad in ("nan", "inf"):
        with pytest.raises(Problem, match="not a whole number"):
            from_mapping({"batch": bad})


def test_numbers_that_are_none_are_complaints():
    assert any("learning rate" in each for each in Recipe(data="x", learning_rate=float("nan")).problems())


def test_toys_get_values_that_move_them_with_the_reason():
    changed, reason = fitted(preset("shawgpt"), 5_000_000)
    assert (changed.targets, changed.learning_rate, changed.style) == ("all-linear", 5e-3, "shawgpt")
    assert re.search(r"5\.0 million parameters.*rank 8 on q_proj at 0\.0002 it would hardly move", reason)
    assert fitted(replace(preset("shawgpt"), steps=7), 5_000_000)[0].steps == 7
    assert fitted(preset("shawgpt"), 10**9) == (preset("shawgpt"), "")
    assert fitted(preset("shawgpt-starter"), 5_000_000)[1] == ""
    assert fitted(preset("faq"), 5_000_000)[1] == ""


def test_paged_optimizers_fall_back_on_a_processor_and_say_so():
    used, why = optimizer_used(preset("shawgpt"), cuda=False)
    assert used == "adamw_torch" and "paged_adamw_8bit" in why
    assert optimizer_used(preset("shawgpt"), cuda=True) == ("paged_adamw_8bit", "")


def test_recipe_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(Problem, match=r"no recipe 'nothing'.*quick"):
        preset("nothing")
