"""Follows a run from within: metrics, sample answers, the best step, and the wish of somebody to stop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from engine.errors import Problem
from engine.memory import Shape, floating_operations
from engine.teaching.answers import Asked, answers
from engine.teaching.checkpoints import append_line, facts
from engine.teaching.pupil import stored_size
from engine.teaching.runs import read_lines
from engine.teaching.trainer import JobTrainer
from engine.teaching.turns import Stopped

log = logging.getLogger(__name__)
RECENT_STEPS = 20  # the speed that is shown, and that the remaining time is reckoned from, is of these


class Watch(TrainerCallback):
    """Writes metrics.jsonl and samples.jsonl, and steers Trainer's control."""

    def __init__(
        self, trainer: JobTrainer, folder: Path, asked: Asked, stop_asked: Callable[[], bool], keep_best: bool
    ):
        self.trainer, self.folder, self.asked = trainer, folder, asked
        self.stop_asked, self.keep_best = stop_asked, keep_best
        self.restored: tuple[dict[str, Any], float] | None = None
        self.began = time.monotonic()
        self.marks: list[tuple[int, float, int]] = []  # (step, training seconds, tokens)

    @property
    def seconds(self) -> float:
        """Seconds of this run, those before a resume too."""
        return self.trainer.seconds_before + time.monotonic() - self.began

    def stop_agreed(self) -> bool:
        """Whether somebody asked the run to stop, the same for all its processes."""
        return self.trainer.crew.agree(self.stop_asked())

    def take_up(self, checkpoint: Path | None) -> int:
        """Go on from a checkpoint once Trainer has begun; the step it is from, -1 for none. Raises Problem."""
        if checkpoint is None:
            return -1
        counted, size = facts(checkpoint), self.trainer.crew.size
        if (before := len(counted.get("own", [None]))) != size:
            raise Problem(
                f"This run came to step {counted['step']} on {before} devices and goes on with as many only; now it "
                f"has {size}. Clone it to begin anew."
            )
        lines = [line for line in read_lines(self.folder / "metrics.jsonl") if line.get("step", 0) <= counted["step"]]
        self.restored = counted, max((line.get("seconds", 0.0) for line in lines), default=0.0)
        return int(counted["step"])

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.began = time.monotonic()
        self.trainer.require_sharing()
        if self.restored:
            self.trainer.restore(*self.restored)
            if self.trainer.crew.agree(self.missed(args, state)):
                self.trainer.evaluate()
        self.mark(state)

    def missed(self, args: Any, state: Any) -> bool:
        """Whether the run was stopped at a step with an evaluation, which it left out in order to end at once."""
        due = self.trainer.eval_dataset is not None and state.global_step % args.eval_steps == 0
        lines = read_lines(self.folder / "metrics.jsonl")
        return due and not any(line["step"] == state.global_step and "eval_loss" in line for line in lines)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.mark(state)
        if state.global_step >= state.max_steps:
            control.should_evaluate = self.trainer.eval_dataset is not None
            control.should_save = control.should_log = True
        elif self.stop_agreed():
            control.should_evaluate = False
            control.should_save = control.should_training_stop = True

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step < state.max_steps and self.stop_agreed():
            control.should_save = control.should_training_stop = True
            raise Stopped

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if not logs or "loss" not in logs:
            return
        taken = sum(self.trainer.crew.each(memory()))
        if not self.trainer.crew.first:
            return
        steps, seconds, tokens = self.recent()
        line = {
            "step": state.global_step,
            "epoch": round(state.epoch or 0.0, 4),
            "loss": logs["loss"],
            "learning_rate": logs.get("learning_rate"),
            "grad_norm": logs.get("grad_norm"),
            "accuracy": logs.get("mean_token_accuracy"),
            "tokens": logs.get("num_tokens"),
            "tokens_per_second": round(tokens / seconds, 1) if seconds else None,
            "seconds": round(self.seconds, 3),
            "memory": taken,
            "eta": round((state.max_steps - state.global_step) * seconds / steps, 1) if steps else None,
            "of": state.max_steps,
            "operations": operations(self.trainer),
        }
        append_line(self.folder / "metrics.jsonl", line)
        log.info("step %d of %d: loss %.4f", line["step"], line["of"], line["loss"])

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
        loss = (metrics or {}).get("eval_loss")
        if loss is None:
            return
        if self.trainer.crew.first:
            self.measured(state, loss)
        if state.global_step and (self.trainer.best is None or loss < self.trainer.best[0]):
            self.trainer.best = (loss, state.global_step)
            control.should_save = control.should_save or self.keep_best
        self.marks.clear()
        self.mark(state)

    def measured(self, state: Any, loss: float) -> None:
        """Write down a validation loss, and what the model says by now."""
        append_line(
            self.folder / "metrics.jsonl",
            {"step": state.global_step, "eval_loss": loss, "seconds": round(self.seconds, 3), "of": state.max_steps},
        )
        log.info("step %d: validation loss %.4f", state.global_step, loss)
        self.sample(state.global_step)

    def sample(self, step: int) -> None:
        """Ask the model the fixed prompts and write down what it says."""
        said = answers(self.trainer.model, self.asked, self.stop_asked)
        for prompt, answer in zip(self.asked.prompts, said, strict=False):
            append_line(self.folder / "samples.jsonl", {"step": step, "prompt": prompt.shown, "answer": answer})

    def mark(self, state: Any) -> None:
        """Remember where the run stands now."""
        mark = (state.global_step, time.monotonic(), self.trainer._total_train_tokens)
        self.marks = [*self.marks[-RECENT_STEPS:], mark]

    def recent(self) -> tuple[int, float, int]:
        """(steps, seconds, tokens) of the last steps."""
        (step, second, tokens), (last_step, last_second, last_tokens) = self.marks[0], self.marks[-1]
        return last_step - step, last_second - second, last_tokens - tokens


def operations(trainer: JobTrainer) -> float:
    """Floating point operations so far: those of the layers; what attention adds grows with the length."""
    network: Any = trainer.model
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    method = "lora" if hasattr(network, "peft_config") else "full"
    held = sum(stored_size(p) for p in network.parameters()) - (trained if method == "lora" else 0)
    return floating_operations(Shape(held, 0, trained), int(trainer._total_train_tokens), method)


def memory() -> int:
    """Bytes: the most that was taken on the GPU where there is one, else what this process holds now."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    import psutil

    return psutil.Process().memory_info().rss
