"""Teaches a model: `python -m engine.train RUN_FOLDER` runs the job of a folder in the foreground."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import Problem
from engine.teaching.crew import ALONE, Crew
from engine.teaching.runs import read_json, write_json
from engine.teaching.turns import Stopped
from engine.teaching.working import halt, tell, work

if TYPE_CHECKING:
    from engine.teaching.answers import Asked
    from engine.teaching.lesson import Lesson, Rendered
    from engine.teaching.pupil import Pupil
    from engine.teaching.watch import Watch

TABLE_ROWS = 8  # held-back examples in the table at the end
FIXED_PROMPTS = 3  # prompts that are asked at every evaluation
KINDNESS = 10  # a job yields the processor to the page


def train(folder: Path, stop_asked: Callable[[], bool] = lambda: False, crew: Crew = ALONE) -> None:
    """Run the job of a folder, from its start or its last whole checkpoint. Raises Problem, or Stopped.

    A job on several devices is handed on to as many processes, each of which calls this as one of a `crew`.
    """
    devices = int(read_json(folder / "recipe.json").get("devices", 1))
    if devices > 1 and crew.size == 1:
        from engine.teaching.several import train_on_several

        tell(folder, f"starting {devices} processes")
        return train_on_several(folder, devices, stop_asked)
    teach(folder, stop_asked, crew)


def teach(folder: Path, stop_asked: Callable[[], bool], crew: Crew) -> None:
    """Run the job in this process; the first of a crew writes and answers, all compute. Raises as `train`."""
    from transformers import set_seed

    from engine.teaching import outcome
    from engine.teaching.lesson import read_lesson, render
    from engine.teaching.pupil import load_pupil

    def say(phase: str) -> None:
        if crew.first:
            tell(folder, phase)

    # 1. Read the recipe and the examples
    say("reading the examples")
    lesson = read_lesson(folder)
    set_seed(lesson.recipe.seed)
    if crew.first:
        write_json(folder / "environment.json", outcome.environment())

    # 2. Load the base; for QLoRA in 4-bit NF4 with double quantization
    say("loading the base")
    pupil = load_pupil(lesson.recipe)
    halt(lambda: crew.agree(stop_asked()))

    # 3. Render the examples with the template that the tuned model will be asked with
    say("rendering the examples")
    rendered = render(lesson, pupil.tokenizer)
    if crew.first:
        write_json(folder / "data.json", rendered.facts(lesson, read_json(folder / "recipe.json").get("data_name")))

    # 4. Fit, one JSON line per log step, and 5. save checkpoints on the way, each whole or not there
    watch, table = attentive(folder, lesson, pupil, rendered, stop_asked, crew)
    fit(folder, watch, table)
    if not crew.first:
        return

    # 6. Save the weights, and what they answer where the base answered before
    tell(folder, "saving")
    facts = outcome.leave(folder, lesson, pupil, watch, table)

    # 7. Say that it is done, last
    outcome.finish(folder, facts)


def attentive(
    folder: Path, lesson: Lesson, pupil: Pupil, rendered: Rendered, stop_asked: Callable[[], bool], crew: Crew
) -> tuple[Watch, Asked]:
    """The watch over a trainer that is ready, and the prompts of the table at the end."""
    from engine.prompts import style
    from engine.teaching.answers import asked
    from engine.teaching.pupil import adapter_config, columns, require_apart, trl_settings
    from engine.teaching.trainer import JobTrainer, Order
    from engine.teaching.watch import Watch

    recipe, network, tokenizer = lesson.recipe, pupil.network, pupil.tokenizer
    shape = style(recipe.style)
    table = asked(lesson.held_back[:TABLE_ROWS], shape, tokenizer, network, recipe.max_length)
    fixed = (*lesson.validation, *lesson.training)[:FIXED_PROMPTS]
    if recipe.packing:
        require_apart(network)
    lengths = [len(row.ids) for row in rendered.learned] if recipe.group_by_length else None
    trainer = JobTrainer(
        crew=crew,
        order=Order(len(rendered.learned), recipe.seed, recipe.batch, lengths),
        model=network,
        args=trl_settings(recipe, pupil, folder, len(rendered.learned), bool(rendered.measured)),
        train_dataset=columns(rendered.learned),
        eval_dataset=columns(rendered.measured) if rendered.measured else None,
        processing_class=tokenizer,
        peft_config=adapter_config(recipe, network),
    )
    prompts = asked(fixed, shape, tokenizer, network, recipe.max_length)
    watch = Watch(trainer, folder, prompts, stop_asked, recipe.keep_best)
    trainer.add_callback(watch)
    return watch, table


def fit(folder: Path, watch: Watch, table: Asked) -> None:
    """Train from the last whole checkpoint, or ask the base first and begin. Raises Stopped short of the last step."""
    from engine.teaching.checkpoints import latest

    trainer, checkpoint = watch.trainer, latest(folder / "checkpoints")
    step = watch.take_up(checkpoint)
    trainer.crew.together()
    if trainer.crew.first:
        begin(folder, watch, table, step)
    if not checkpoint and trainer.eval_dataset is not None:
        trainer.evaluate()
    halt(watch.stop_agreed)
    if trainer.crew.first:
        tell(folder, "training")
    trainer.part()
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.state.global_step < trainer.state.max_steps:
        raise Stopped


def begin(folder: Path, watch: Watch, table: Asked, step: int) -> None:
    """What is written before the first step: at a resume from `step` later lines are dropped, else the base answers."""
    from engine.teaching.answers import answers
    from engine.teaching.checkpoints import append_line, forget_after

    for name in ("metrics.jsonl", "samples.jsonl"):
        forget_after(folder / name, step)
    if step >= 0:
        append_line(folder / "events.jsonl", {"time": time.time(), "resumed": step})
    else:
        tell(folder, "asking the base")
        write_json(folder / "base.json", {"answers": answers(watch.trainer.model, table, watch.stop_asked)})


def main(arguments: Sequence[str]) -> int:
    """Run the job of the folder that is named: 0 done, 1 failed, 3 stopped, 2 when there is none to run."""
    from engine.settings import settings

    if len(arguments) != 1 or not (Path(arguments[0]) / "run.json").is_file():
        sys.stderr.write("usage: python -m engine.train RUN_FOLDER (a folder that holds a run.json)\n")
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    os.nice(KINDNESS)
    os.environ.setdefault("OMP_NUM_THREADS", str(settings().job_threads))
    if read_json(Path(arguments[0]) / "recipe.json").get("devices", 1) == 1:
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # trl refuses several GPUs in one process
    try:
        return work(Path(arguments[0]).resolve(), train)
    except Problem as problem:
        sys.stderr.write(f"{problem}\n")
        return 2


if __name__ == "__main__":
    from engine.settings import prepare_process

    prepare_process()
    raise SystemExit(main(sys.argv[1:]))
