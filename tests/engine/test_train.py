"""Training for real on a model of two layers: what is learned, written, kept, and continued after a kill."""

from __future__ import annotations

import functools
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from engine import jobs
from engine.catalog import all_models, find
from engine.errors import Problem
from engine.recipe import presets
from engine.teaching.checkpoints import MANIFEST, by_step, complete, latest
from engine.teaching.runs import Job
from tests.engine.teaching import ANSWER, at_step, finished, losses, small, wait_until

FILES = {
    "README.md", "adapter", "base.json", "checkpoints", "comparison.json", "data.json", "done.json",
    "environment.json", "examples.jsonl", "log.txt", "metrics.jsonl", "process.json", "recipe.json", "run.json",
    "samples.jsonl", "state.json",
}  # fmt: skip
ADAPTER = {"adapter_config.json", "adapter_model.safetensors"}
TOKENIZER = {"chat_template.jinja", "tokenizer.json", "tokenizer_config.json"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("name", list(presets()))
def test_every_recipe_trains_and_leaves_exactly_these_files(name: str, runs: Path, toy: Path, pairs: Path):
    recipe = presets()[name][2]
    own = {"steps": 2, "eval_steps": 2, "max_length": 400, "batch": 2, "accumulation": 1, "rank": min(8, recipe.rank)}
    job = finished(jobs.start(small(toy, pairs, recipe, **{**kept(recipe), **own})))
    if recipe.method == "full":
        assert names(job.folder) == FILES - {"adapter"} | {"model"}
        assert names(job.folder / "model") == {"config.json", "generation_config.json", "model.safetensors", *TOKENIZER}
    else:
        assert names(job.folder) == FILES
        assert names(job.folder / "adapter") == ADAPTER | (TOKENIZER if recipe.new_tokens else set())
    assert all(line["grad_norm"] > 0 for line in job.metrics if "loss" in line)
    assert job.model in all_models() and find(job.name) == job.model
    if recipe.method != "full":
        config = json.loads((job.folder / "adapter" / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == str(toy)


def kept(recipe: object) -> dict:
    """A recipe's own values where `small` would put others; the learning rate keeps it from being fitted."""
    names = ("dropout", "targets", "alpha", "warmup", "optimizer", "epochs")
    return {**{name: getattr(recipe, name) for name in names}, "learning_rate": 5e-3}


def test_gradients_stay_alive_after_evaluations_and_sample_answers(runs: Path, toy: Path, pairs: Path):
    job = finished(jobs.start(small(toy, pairs, steps=9, eval_steps=3)))
    assert list(losses(job)) == list(range(1, 10)) and list(losses(job, "eval_loss")) == [0, 3, 6, 9]
    assert min(line["grad_norm"] for line in job.metrics if "loss" in line) > 1e-3
    assert losses(job, "eval_loss")[9] < losses(job, "eval_loss")[0] - 0.1, "the model learned nothing"
    assert {sample["step"] for sample in job.samples} == {0, 3, 6, 9} and len(job.samples) == 12
    assert len(job.comparison) >= 1 and {"prompt", "wanted", "base", "tuned"} <= job.comparison[0].keys()
    line = [line for line in job.metrics if "loss" in line][-1]
    assert {"step", "loss", "learning_rate", "grad_norm", "tokens", "tokens_per_second"} <= line.keys()
    assert {"seconds", "memory", "eta"} <= line.keys()


def test_tuned_adapter_is_asked_in_compare_as_it_was_trained(runs: Path, toy: Path, pairs: Path, empty_pool: object):
    from engine.compare import Comparison, Lane, LaneEnded
    from engine.messages import Sampling

    job = finished(jobs.start(small(toy, pairs, steps=4, method="lora")))
    assert job.model
    sampling = Sampling(temperature=0.0, max_tokens=ANSWER)
    row = job.comparison[0]
    lanes = [Lane(find(str(toy)), "shawgpt", sampling=sampling), Lane(job.model, "shawgpt", sampling=sampling)]
    ends = [event.result for event in Comparison(lanes, row["prompt"]) if isinstance(event, LaneEnded)]
    said = {end.model: end.text.strip() for end in ends}
    assert (said[job.name] == row["tuned"] and ends[1].logit_difference) or ends[0].logit_difference
    assert job.model.reply(row["prompt"], temperature=0.0, max_tokens=ANSWER) == row["tuned"]


def interrupted(job: Job, step: int, pause: float, number: int = signal.SIGKILL) -> Job:
    """The job after a signal some time behind a step."""
    job = wait_until(job, at_step(step))
    time.sleep(pause)
    if job.pid:
        os.kill(job.pid, number)
    return wait_until(job, lambda job: job.over)


RESUMED = {"steps": 10, "eval_steps": 4, "save_steps": 3, "accumulation": 2, "dropout": 0.05, "epochs": 4}


@functools.cache
def uninterrupted(toy: Path, pairs: Path) -> dict[str, Any]:
    """What the run of RESUMED comes to when nobody disturbs it."""
    return outcome(finished(jobs.start(small(toy, pairs, **RESUMED))))


def outcome(job: Job) -> dict[str, Any]:
    """All that two equal runs have in common."""
    assert job.model
    curves = {name: losses(job, name) for name in ("loss", "eval_loss")}
    return {**curves, "adapter": job.model.adapter_hash, "tokens": job.done["tokens"], "mean": job.done["train_loss"]}


def check_resumes(toy: Path, pairs: Path, seeds: range) -> None:
    """Runs killed at random points end like one that was not, within 1e-6 and in fact exactly."""
    whole = uninterrupted(toy, pairs)
    for seed in seeds:
        dice = random.Random(seed)
        job = jobs.start(small(toy, pairs, **RESUMED))
        job = interrupted(job, dice.randint(1, 8), 0.2 * dice.random())
        if job.state == "done":  # it was faster than the kill
            assert outcome(job) == whole
            continue
        assert job.state == "stopped" and "killed by a signal" in job.reason
        assert outcome(finished(jobs.resume(job))) == whole


def test_killed_run_resumes_to_the_same_losses_and_weights(runs: Path, toy: Path, pairs: Path):
    check_resumes(toy, pairs, range(3))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", range(100, 120, 5))
def test_twenty_killed_runs_resume_to_the_same_losses_and_weights(runs: Path, toy: Path, pairs: Path, first: int):
    check_resumes(toy, pairs, range(first, first + 5))


def test_stop_saves_within_a_step_and_resume_goes_on(runs: Path, toy: Path, pairs: Path):
    whole = uninterrupted(toy, pairs)
    job = wait_until(jobs.start(small(toy, pairs, **RESUMED)), at_step(4))
    jobs.stop(job)
    job = wait_until(job, lambda job: job.over)
    step = int(job.latest("step") or 0)
    assert job.state == "stopped" and job.reason.startswith("Stopped on request")
    assert (newest := latest(job.folder / "checkpoints")) and newest.name == f"checkpoint-{step}"
    assert outcome(finished(jobs.resume(job))) == whole


def test_incomplete_checkpoints_are_never_chosen(runs: Path, toy: Path, pairs: Path):
    job = finished(jobs.start(small(toy, pairs)))
    newest, before = by_step(job.folder / "checkpoints")[:2]
    assert latest(job.folder / "checkpoints") == newest
    weights = newest / "adapter_model.safetensors"
    stored = weights.read_bytes()
    weights.write_bytes(stored[:-1] + b"\0" if stored[-1] else stored[:-1] + b"\1")
    assert not complete(newest) and latest(job.folder / "checkpoints") == before
    (before / MANIFEST).unlink()
    assert latest(job.folder / "checkpoints") not in (newest, before)


def test_nan_ends_the_run_at_once_and_says_what_to_try(runs: Path, toy: Path, pairs: Path):
    job = jobs.start(
        small(toy, pairs, method="full", learning_rate=10, max_grad_norm=0, warmup=0, steps=40, optimizer="sgd")
    )
    job = wait_until(job, lambda job: job.over)
    assert job.state == "failed" and "learning rate ten times lower" in job.reason
    assert all(line["loss"] == line["loss"] for line in job.metrics if "loss" in line)


def test_full_disk_keeps_the_last_whole_checkpoint(runs: Path, toy: Path, pairs: Path, school: object):
    recipe = small(toy, pairs, steps=10)
    job = jobs.start(recipe, launch=False)
    (job.folder / "fault").write_text("full disk")
    jobs.launched(job.folder)
    job = wait_until(job, lambda job: job.over)
    assert job.state == "failed" and "The disk is full" in job.reason and "is whole" in job.reason
    assert (kept := latest(job.folder / "checkpoints")) and kept.name == "checkpoint-4"
    (job.folder / "fault").unlink()
    finished(jobs.resume(job))


def test_running_out_of_memory_says_what_to_lower(runs: Path, toy: Path, pairs: Path):
    job = jobs.start(small(toy, pairs), launch=False)
    (job.folder / "fault").write_text("memory")
    jobs.launched(job.folder)
    job = wait_until(job, lambda job: job.over)
    assert job.state == "failed" and "Memory ran out. Lower the batch" in job.reason


def test_new_tokens_are_trained_saved_and_read_again(runs: Path, toy: Path, pairs: Path, empty_pool: object):
    knobs = {
        "style": "sawyer",
        "new_tokens": "###HUMAN### ###BOT### ###STOP###",
        "stop_token": "###STOP###",
        "steps": 8,
    }
    job = finished(jobs.start(small(toy, pairs, **knobs)))
    assert job.model and job.model.adapter
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job.model.adapter)
    assert tokenizer.eos_token == "###STOP###" and len(tokenizer.tokenize("###HUMAN###")) == 1
    row = job.comparison[0]
    assert job.model.reply(row["prompt"], style="sawyer", temperature=0.0, max_tokens=ANSWER) == row["tuned"]


def test_length_groups_use_every_example_once_and_depend_on_the_epoch_alone():
    from engine.teaching.trainer import Order

    lengths = [random.Random(0).randint(1, 99) for _ in range(103)]
    order = Order(103, seed=1, batch=4, lengths=lengths)
    first = list(order)
    assert sorted(first) == list(range(103)) == sorted(Order(103, 1, 4))
    order.epoch = 1
    assert list(order) != first
    order.epoch = 0
    assert list(order) == first


def test_four_bit_layers_stay_plain_and_the_adapter_is_in_32_bits(runs: Path, toy: Path, pairs: Path):
    import torch

    from engine.teaching.lesson import read_lesson, render
    from engine.teaching.pupil import adapter_config, columns, load_pupil, trl_settings
    from engine.teaching.trainer import JobTrainer, Order

    job = jobs.start(small(toy, pairs), launch=False)
    lesson = read_lesson(job.folder)
    pupil = load_pupil(recipe := lesson.recipe)
    four_bit = [module for module in pupil.network.modules() if type(module).__name__ == "Linear4bit"]
    assert len(four_bit) == 14 and not any(module.support_avx512bf16_for_cpu for module in four_bit)
    assert all(module.weight.compress_statistics and module.weight.quant_type == "nf4" for module in four_bit)
    trainer = JobTrainer(
        order=Order(1, 0, 1),
        model=pupil.network,
        args=trl_settings(recipe, pupil, job.folder, 1, evaluates=False),
        train_dataset=columns(render(lesson, pupil.tokenizer).learned),
        processing_class=pupil.tokenizer,
        peft_config=adapter_config(recipe, pupil.network),
    )
    trained: Any = [each for each in trainer.model.parameters() if each.requires_grad]
    assert trained and {each.dtype for each in trained} == {torch.float32}


def test_adapter_of_a_four_bit_base_answers_the_same_when_it_is_loaded_again(
    runs: Path, toy: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
):
    from peft import PeftModel

    from engine.prompts import style
    from engine.teaching.answers import answers, asked
    from engine.teaching.lesson import read_lesson
    from engine.teaching.pupil import load_pupil

    monkeypatch.setattr("engine.teaching.answers.LONGEST_ANSWER", ANSWER)
    job = finished(jobs.start(small(toy, pairs)))
    lesson = read_lesson(job.folder)
    pupil = load_pupil(lesson.recipe)
    prompts = asked(lesson.held_back, style("shawgpt"), pupil.tokenizer, pupil.network, 160)
    tuned = PeftModel.from_pretrained(pupil.network, job.folder / "adapter")
    assert answers(tuned, prompts) == [row["tuned"] for row in job.comparison]
    with tuned.disable_adapter():
        assert answers(tuned, prompts) == [row["base"] for row in job.comparison]


def test_packed_rows_of_a_batch_do_not_see_one_another(toy: Path):
    """What a packed row computes is the same behind others as alone, called as trl's trainer calls the network."""
    import torch
    from transformers import AutoModelForCausalLM
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    from engine.teaching.pupil import require_apart

    network = AutoModelForCausalLM.from_pretrained(toy)

    def logits(ids: torch.Tensor, **options: Any) -> torch.Tensor:
        return network(input_ids=ids, use_cache=False, **options).logits[0]  # with a cache the rows are not kept apart

    rows = [{"input_ids": ids, "labels": ids} for ids in ([9, 8, 7, 6, 5, 40], [30, 31, 32], [50, 51, 52, 53])]
    packed = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)(rows)
    assert packed["input_ids"].shape == (1, 13) and "attention_mask" not in packed
    together = logits(packed["input_ids"], position_ids=packed["position_ids"])
    alone = torch.cat([logits(torch.tensor([row["input_ids"]])) for row in rows])
    assert torch.allclose(together, alone, atol=1e-5), "a packed row saw its neighbour"
    changed = packed["input_ids"].clone()
    changed[0, :6] = 11
    after = logits(changed, position_ids=packed["position_ids"])
    assert torch.allclose(after[6:], together[6:], atol=1e-5), "another row's words changed a packed row"
    assert not torch.allclose(after[:6], together[:6], atol=1e-2)
    require_apart(network)

    def leaking(input_ids: torch.Tensor, **options: Any) -> Any:
        return type(network).forward(network, input_ids)  # without places it is one row

    network.forward = leaking
    with pytest.raises(Problem, match="see one another"):
        require_apart(network)


def test_packed_run_learns_what_a_padded_one_learns(runs: Path, toy: Path, pairs: Path):
    padded, packed = (
        finished(jobs.start(small(toy, pairs, method="lora", dropout=0, packing=packing))) for packing in (False, True)
    )
    assert losses(packed).keys() == losses(padded).keys()
    for name in ("loss", "eval_loss"):
        before, after = losses(padded, name), losses(packed, name)
        assert all(abs(before[step] - after[step]) < 1e-3 for step in before), f"{name}: {before} {after}"


def test_run_on_fewer_rows_measures_on_the_same_ones(runs: Path, toy: Path, pairs: Path):
    from engine.teaching.lesson import fewer, read_lesson

    lessons = [read_lesson(jobs.start(small(toy, pairs, rows=rows), launch=False).folder) for rows in (0, 10, 5)]
    assert [len(each.training) for each in lessons[1:]] == [10, 5] and len(lessons[0].training) > 10
    assert {each.validation for each in lessons} == {lessons[0].validation}
    assert set(lessons[2].training) < set(lessons[1].training) < set(lessons[0].training)
    assert fewer(lessons[0].training, 10**6, 0) == lessons[0].training


def test_examples_bring_the_style_that_they_were_kept_with(runs: Path, toy: Path, pairs: Path, empty_pool: object):
    from engine import teach
    from engine.data.shelf import folder, save
    from engine.datasets import read

    turn = "###HUMAN### {prompt}\n###BOT### {response} ###STOP###"
    kept = save(read(pairs), "in my style", "", {"title": "Mine", "turn": turn, "system": "{system}\n\n"})
    try:
        run = teach(str(toy), "in my style", steps=2, max_length=160, learning_rate=5e-3)
        assert run.recipe["style"] == turn and run.model and run.model.style == turn
        assert isinstance(run.model.reply("Great video!", max_tokens=4), str)
        assert teach(str(toy), "in my style", steps=1, style="plain", learning_rate=5e-3).recipe["style"] == "plain"
    finally:
        for path in folder().glob(f"{kept.path.stem}.*"):
            path.unlink()
