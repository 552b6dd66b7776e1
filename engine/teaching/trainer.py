"""trl's SFTTrainer with what a job adds: its own order of examples, whole checkpoints, an end at the first NaN."""

from __future__ import annotations

import math
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Sampler
from transformers import PrinterCallback, set_seed
from trl import SFTTrainer

from engine.errors import Problem
from engine.teaching.checkpoints import MANIFEST, checkpoint_folder, disk_full, prune, seal
from engine.teaching.crew import ALONE, Crew
from engine.teaching.turns import Stopped

GROUPED_BATCHES = 50  # batches whose examples are sorted by length among themselves


class Order(Sampler):
    """The order of examples in an epoch, from the seed and the epoch alone: a resumed run needs no history.

    With `lengths`, examples of like length share a batch: shuffled, cut into groups, each sorted longest first.
    """

    def __init__(self, size: int, seed: int, batch: int, lengths: Sequence[int] | None = None):
        self.size, self.seed, self.batch, self.lengths = size, seed, batch, lengths
        self.epoch = 0

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.size, generator=generator).tolist()
        if self.lengths is None:
            return iter(order)
        lengths, group = self.lengths, self.batch * GROUPED_BATCHES
        groups = [sorted(order[i : i + group], key=lambda at: -lengths[at]) for i in range(0, self.size, group)]
        batches = [rows[i : i + self.batch] for rows in groups for i in range(0, len(rows), self.batch)]
        turns = torch.randperm(len(batches), generator=generator).tolist()
        return iter([at for turn in turns for at in batches[turn]])


class JobTrainer(SFTTrainer):
    """Trains, saves and resumes so that a run which was interrupted ends with the weights of one that was not."""

    def __init__(self, *, order: Order, crew: Crew = ALONE, **options: Any):
        self.order, self.crew = order, crew
        self.best: tuple[float, int] | None = None
        self.seconds_before = 0.0
        super().__init__(**options)
        self.remove_callback(PrinterCallback)  # the watch logs what happens
        # trl makes the adapter of a quantized base bf16, and a resume would read it as fp32: another run from there
        network: Any = self.model
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()

    def create_model_card(self, *args: Any, **options: Any) -> None:
        """The job writes its own card, once."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Order:
        return self.order

    def _run_epoch(self, model: Any, epoch: int, *args: Any, **options: Any) -> Any:
        self.order.epoch = int(epoch)
        return super()._run_epoch(model, epoch, *args, **options)

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        loss = super().training_step(model, inputs, num_items_in_batch)
        self.require_finite(float(loss), "loss")
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        if norm is not None:
            self.require_finite(float(norm), "gradient")
        return norm

    def require_finite(self, value: float, what: str) -> None:
        """End the run before the optimizer takes a step with a number that is none. Raises Problem."""
        if not math.isfinite(value):
            raise Problem(
                f"The {what} became {value} at step {self.state.global_step + 1}, so the run was ended; the last "
                "checkpoint holds finite weights. Try a learning rate ten times lower, more warm-up steps, or "
                "precision fp32, and look at the rows for empty or endless ones."
            )

    def evaluate(self, *args: Any, **options: Any) -> dict[str, float]:
        """As in Trainer, but it leaves the random generators as they were; a stop in it ends it early."""
        devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
        try:
            with torch.random.fork_rng(devices=devices):
                return super().evaluate(*args, **options)
        except Stopped:
            return {}
        finally:
            self._metrics["eval"].clear()

    def part(self) -> None:
        """Make ready to train as one of several processes: gradients are shared, and each draws its own dropout.

        The evaluation before the first step marks the network as prepared for accelerate, which then leaves it as it
        is: every process would go on alone, with no error.
        """
        if self.crew.size > 1:
            network: Any = self.model
            network._is_accelerate_prepared = False
            self.accelerator._models.clear()
            set_seed(int(self.args.seed) + self.crew.rank)

    def require_sharing(self) -> None:
        """Raise RuntimeError where the processes did not share their gradients (a bug)."""
        if self.crew.size > 1 and not isinstance(self.model_wrapped, DistributedDataParallel):
            raise RuntimeError("the processes train each by itself: the network is not wrapped")

    def counters(self) -> dict[str, Any]:
        """What Trainer forgets at a resume and a run must keep; all of it exact in JSON.

        `own` holds what each process counts by itself, in the order of their numbers.
        """
        own = {"loss_sum": self._tr_loss.item(), "averages": dict(self._metrics["train"])}
        return {
            "step": self.state.global_step,
            "tokens": self._total_train_tokens,
            "last_logged": self._globalstep_last_logged,
            "loss_total": self._total_loss_scalar,
            "best": self.best,
            "own": self.crew.each(own),
        }

    def restore(self, facts: dict[str, Any], seconds: float) -> None:
        """Take up the counters of a checkpoint, once Trainer has set its own to zero."""
        own = facts.get("own", [facts])[self.crew.rank]  # older checkpoints hold them one level up
        self._total_train_tokens = facts["tokens"]
        self._tr_loss = torch.tensor(own["loss_sum"], device=self.args.device)
        self._globalstep_last_logged = facts["last_logged"]
        self._total_loss_scalar = facts["loss_total"]
        self._metrics["train"] = defaultdict(list, own["averages"])
        self.best = tuple(facts["best"]) if facts["best"] else None
        self.seconds_before = seconds

    @property
    def mean_loss(self) -> float:
        """The training loss averaged over all steps since the run began, through every resume."""
        return self._total_loss_scalar / max(1, self.state.global_step)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        root = Path(str(self.args.output_dir))
        folder = checkpoint_folder(root, self.state.global_step)
        if self.crew.agree((folder / MANIFEST).is_file()):
            return
        try:
            if self.crew.first:
                shutil.rmtree(folder, ignore_errors=True)
            self.crew.together()
            super()._save_checkpoint(model, trial)
            counted = self.counters()  # by now every process has written its part
            if self.crew.first:
                seal(folder, counted)
        except Exception as error:
            shutil.rmtree(folder, ignore_errors=True)
            if disk_full(error):
                raise Problem(
                    f"The disk is full: the checkpoint of step {self.state.global_step} could not be written. The one "
                    "before it is whole. Make room, for example by deleting old runs, then resume."
                ) from error
            raise
        if self.crew.first:
            prune(root, self.best[1] if self.best else None)
