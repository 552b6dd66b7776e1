"""Memory before the start: the textbook's figures, this machine's, and the shapes that they are reckoned from."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.catalog import Model, find
from engine.errors import Problem
from engine.memory import (
    CONSTANTS,
    DOUBLE_CONSTANTS,
    METHODS,
    Shape,
    activations,
    estimate,
    floating_operations,
    loss,
    total,
)
from engine.recipe import Recipe
from engine.teaching.shape import count_parameters, shape_of

TEN_BILLION = Shape(10**10, 10**10, 10**8)


@pytest.mark.parametrize(("method", "gigabytes"), [("full", 160), ("lora", 41.6), ("qlora", 11.6)])
def test_textbook_says_what_lectures_say_of_ten_billion_weights(method: str, gigabytes: float):
    assert total(estimate(TEN_BILLION, method, "textbook")) / 1e9 == pytest.approx(gigabytes)


def test_double_quantization_takes_its_constants_from_half_a_bit_to_an_eighth():
    assert pytest.approx(0.5) == CONSTANTS and pytest.approx(0.127, abs=5e-4) == DOUBLE_CONSTANTS


def test_four_bit_weights_take_about_half_a_byte_here():
    parts = {part.name: part.bytes for part in estimate(TEN_BILLION, "qlora", "this machine")}
    assert (parts["weights"] + parts["quantization constants"]) / 1e10 == pytest.approx(0.516, abs=1e-3)


def test_methods_are_ordered_and_asking_takes_less_than_teaching():
    shape = Shape(10**9, 9 * 10**8, 10**6, 16, 2048, 5632, 512, 2048 * 5632)
    for convention in ("textbook", "this machine"):
        full, lora, qlora = (total(estimate(shape, method, convention)) for method in METHODS)
        assert full > lora > qlora
    asked = total(estimate(shape, "qlora", "this machine", training=False))
    assert asked < total(estimate(shape, "qlora", "this machine"))


def test_checkpointing_and_smaller_batches_keep_fewer_activations():
    shape = Shape(10**9, 9 * 10**8, 10**6, 16, 2048, 5632, 512, 2048 * 5632)

    def kept(**knobs: object) -> float:
        return activations(shape, "lora", Recipe(**knobs), 2)

    assert kept(activation_checkpointing=True) < 0.2 * kept()
    assert kept(batch=2) == 0.5 * kept(batch=4)


def test_dropout_full_training_and_the_vocabulary_cost_what_they_were_seen_to_cost():
    shape = Shape(60_000_000, 44_000_000, 2_000_000, 14, 512, 1408, 512, 512 * 1408, 14 * (6 * 512 + 1408), 32_000)
    two = Recipe(batch=2, max_length=256)
    # of the tensors that autograd keeps, in bytes
    assert activations(shape, "lora", two, 2) == pytest.approx(315.7e6, rel=0.02)
    assert activations(shape, "lora", Recipe(batch=2, max_length=512), 2) == pytest.approx(627e6, rel=0.02)
    assert activations(shape, "full", two, 2) == pytest.approx(299e6 - 2 * shape.linear, rel=0.03)
    assert loss(shape, "lora", two, 2, cuda=False) > 10 * loss(shape, "lora", two, 2, cuda=True)
    assert activations(shape, "lora", Recipe(batch=2, max_length=256, dropout=0), 2) < 0.7 * 315.7e6


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_estimate_meets_what_a_model_of_sixty_million_takes(capsys: pytest.CaptureFixture[str]):
    from benchmarks.memory import AIM, main

    main(["--sizes", "60M", "--uses", "training"])
    said = capsys.readouterr().out
    assert said.count("| 60M |") == 3
    assert float(said.rpartition("largest error ")[2].partition("%")[0]) <= 100 * AIM


def test_shape_counts_what_peft_makes(toy: Path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(toy)
    for targets in ("q_proj, v_proj", "all-linear"):
        recipe = Recipe(rank=4, targets=targets)
        config = LoraConfig(r=4, target_modules=recipe.target_modules, task_type="CAUSAL_LM")
        made = get_peft_model(AutoModelForCausalLM.from_pretrained(toy), config)
        trained = sum(p.numel() for p in made.parameters() if p.requires_grad)
        assert shape_of(find(str(toy)), recipe).trained == trained
    assert count_parameters(find(str(toy))) == network.num_parameters()


def test_model_that_is_not_here_yet_is_told_in_words():
    with pytest.raises(Problem, match="once the model is on this machine"):
        shape_of(Model("some/model", "some/model"), Recipe())


def test_operations_grow_with_what_is_trained():
    assert floating_operations(TEN_BILLION, 1000, "full") > floating_operations(TEN_BILLION, 1000, "lora") > 0
