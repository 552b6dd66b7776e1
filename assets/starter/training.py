"""Packs generated documents into rows and trains the starter on them, resumable at every checkpoint."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import forms
import model as starter
import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from engine.weights import fast_bf16

ROW, ROWS = 512, 12  # tokens in a row, rows in a step
LONG_ROW, LONG_ROWS = 2048, 4
POOL = 256  # documents from which rows are packed
QUIET = 0.05  # weight of what cannot be known, such as names that are read for the first time
DECIDES, FIRST = 4.0, 4  # weight of the first tokens of answers that depend on tools or passages, and how many they are
PLAIN = 0.3  # weight of text without answers, which goes on as it may
FREE = 0.8  # weight of replies that could as well be others; what the model can know weighs 1
WARM_STEPS, SAVE_SECONDS = 100, 300
ANSWER = re.compile(
    r"(?<=<\|im_start\|>assistant\n).*?<\|im_end\|>|(?<=\nAnswer: )[^\n]+|(?<=\nA: )[^\n]+"
    r"|(?<=Answer:\n)[^\n]+|(?<=Answer: )[^\n]+|(?<=\[/INST\] ).+|(?<=Response:\n)[^\n]+|(?<=\nReply: )[^\n]+",
    re.DOTALL,
)


def weighed(text: str) -> list[tuple[str, float]]:
    """Cut a document into pieces with loss weights: answers weigh 1, the prompts around them less."""
    first, _, rest = text.partition("\n")
    if rest.startswith(first):  # a drill: only its repetitions can be known
        return [(first + "\n", QUIET), (rest, 1.0)]
    weight = 1.0 if "<|im_start|>" in text or "[1] " in text else FREE
    if not ANSWER.search(text):
        return [(text, PLAIN)]
    pieces, at = [], 0
    for found in ANSWER.finditer(text):
        pieces += [(text[at : found.start()], QUIET), (found.group(), weight)]
        at = found.end()
    return [piece for piece in [*pieces, (text[at:], QUIET)] if piece[0]]


def encoded(tokenizer: PreTrainedTokenizerFast, seed: int, long: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield documents without end as token ids and loss weights, both of shape (tokens,)."""
    documents = forms.documents(seed, long)
    fast = tokenizer._tokenizer
    while True:
        cut = [weighed(text) for text in islice(documents, 128)]
        ids = iter(fast.encode_batch_fast([piece for pieces in cut for piece, _ in pieces], add_special_tokens=False))
        for pieces in cut:
            parts = [(next(ids).ids, weight) for _, weight in pieces]
            prompt = pieces[0][0]
            first = DECIDES if "<tools>" in prompt or "[1] " in prompt else 1.0
            tokens = [token for part, _ in parts for token in part] + [tokenizer.eos_token_id]
            weights = [
                weight * first if weight == 1 and at < FIRST else weight
                for part, weight in parts
                for at in range(len(part))
            ]
            weights.append(weights[-1])  # what ends a list must not weigh more than the list
            yield np.array(tokens, np.int64), np.array(weights, np.float32)


def rows(source: Iterator[tuple[np.ndarray, np.ndarray]], length: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield tokens, loss weights and document numbers of rows of length + 1, packed with the best fitting documents."""
    pool = list(islice(source, POOL))
    while True:
        row, room = [pool.pop(0)], length + 1
        pool.append(next(source))
        room -= len(row[0][0])
        while room > 0:
            fitting = [i for i, (tokens, _) in enumerate(pool) if len(tokens) <= room]
            best = max(fitting, key=lambda i: len(pool[i][0])) if fitting else 0
            row.append(pool[best])
            room -= len(pool[best][0])
            if fitting:
                pool[best] = next(source)
        numbers = [np.full(len(tokens), at) for at, (tokens, _) in enumerate(row)]
        sides = [part[0] for part in row], [part[1] for part in row], numbers
        yield tuple(np.concatenate(side)[: length + 1] for side in sides)


def batches(
    tokenizer: PreTrainedTokenizerFast, seed: int, long: bool, times: int = 1
) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield inputs and their documents (rows, tokens), and for the half that weighs most: places, targets, weights.

    `times` is how many times the usual rows make a step.
    """
    length, count = (LONG_ROW, LONG_ROWS * times) if long else (ROW, ROWS * times)
    if dist.is_initialized():  # each process reads documents of its own
        count, seed = count // dist.get_world_size(), seed + 100 * dist.get_rank()
    packed = rows(encoded(tokenizer, seed, 0.35 if long else 0.0), length)
    chance = np.random.default_rng(seed)
    while True:
        tokens, weights, numbers = (np.stack(side) for side in zip(*islice(packed, count), strict=True))
        weights = weights[:, 1:]
        picks = np.sort(np.argsort(-weights - chance.random(weights.shape) / 20, axis=1)[:, : length // 2], axis=1)
        targets, weights = (np.take_along_axis(side, picks, axis=1) for side in (tokens[:, 1:], weights))
        sides = tokens[:, :-1], numbers[:, :-1], picks, targets, weights
        yield tuple(torch.from_numpy(side.copy()) for side in sides)


class Batches(IterableDataset):
    """`batches` for a loader, each of whose worker processes writes documents of its own."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: int, long: bool, times: int) -> None:
        self.made_of = tokenizer, seed, long, times

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        tokenizer, seed, *shape = self.made_of
        worker = get_worker_info()
        return batches(tokenizer, seed + 2 * worker.id if worker else seed, *shape)


class Run:
    """A training run in a work folder: model, optimizers, and how far it has come.

    On a GPU the text is written by `writers` processes beside it, and a step takes `times` the usual rows.
    """

    def __init__(
        self, work: Path, threads: int, seed_model: Path | None = None, times: int = 1, writers: int = 0
    ) -> None:
        """Go on from the work folder's checkpoint, else from the weights of `seed_model`, else from nothing."""
        self.work, self.times, self.writers = work, times, writers
        self.device, self.bf16 = "cuda" if torch.cuda.is_available() else "cpu", fast_bf16()
        torch.set_num_threads(threads)
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(work / "tokenizer")
        self.model = starter.new_model().to(self.device)
        self.model.set_attn_implementation(starter.PACKED)
        self.optimizers = starter.optimizers(self.model)
        self.state = {"step": 0, "tokens": 0, "seconds": 0.0, "parts": 0, "warm": 0}
        self.stopped = False
        if (work / "checkpoint.pt").exists():
            kept = torch.load(work / "checkpoint.pt", weights_only=True, map_location=self.device)
            self.model.load_state_dict(kept["model"])
            for optimizer, state in zip(self.optimizers, kept["optimizers"], strict=True):
                optimizer.load_state_dict(state)
            self.state |= kept["state"]
        elif seed_model and (seed_model / "state.json").exists():
            self.model.load_state_dict(LlamaForCausalLM.from_pretrained(seed_model, dtype=torch.float32).state_dict())
            self.state |= json.loads((seed_model / "state.json").read_text(encoding="utf-8"))
            self.state["warm"] = self.state["step"]  # its optimizers start from nothing, so their rates rise anew
        self.state["parts"] += 1
        self.loss = torch.compile(self.plain_loss, dynamic=False)

    def plain_loss(
        self,
        inputs: torch.Tensor,
        documents: torch.Tensor,
        picks: torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor,
    ) -> torch.Tensor:
        """Return the weighted mean loss in nats per token over the places picked."""
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.bf16):
            hidden = self.model.model(input_ids=inputs, use_cache=False, documents=documents).last_hidden_state
            chosen = hidden.gather(1, picks[:, :, None].expand(-1, -1, hidden.shape[2]))
            logits = self.model.lm_head(chosen)
        each = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
        return (each * weights.flatten()).sum() / weights.sum()

    def save(self, name: str = "checkpoint.pt") -> None:
        """Write the checkpoint beside its place and move it there in one step."""
        beside = self.work / (name + ".new")
        torch.save(
            {
                "model": self.model.state_dict(),
                "optimizers": [o.state_dict() for o in self.optimizers],
                "state": self.state,
            },
            beside,
        )
        beside.replace(self.work / name)

    def source(self, seed: int, long: bool) -> Iterator[tuple[torch.Tensor, ...]]:
        """Return batches without end, on the processor."""
        data = Batches(self.tokenizer, seed, long, self.times)
        pin = self.device == "cuda"
        if self.writers:  # each is a process already
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        return iter(DataLoader(data, batch_size=None, num_workers=self.writers, pin_memory=pin))

    def step(self, batch: tuple[torch.Tensor, ...], rate: float) -> torch.Tensor:
        """Take one step at a share `rate` of the peak learning rates and return the loss, nats per token."""
        loss = self.loss(*(side.to(self.device, non_blocking=True) for side in batch))
        loss.backward()
        if dist.is_initialized():
            self.average()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def average(self) -> None:
        """Replace every gradient by its mean over the processes."""
        gradients = [p.grad for p in self.model.parameters()]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        parts = (flat / dist.get_world_size()).split([g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def agreed(self, share: float) -> float:
        """Return the share of the work done by the process that is furthest; 1 where any was asked to stop."""
        share = 1.0 if self.stopped else share
        if not dist.is_initialized():
            return share
        furthest = torch.tensor([share], dtype=torch.float64)
        dist.all_reduce(furthest, dist.ReduceOp.MAX)
        return furthest.item()

    def stop(self, *_: object) -> None:
        """Ask the loop to save and end after this step."""
        self.stopped = True

    def fit(self, tokens: float, hours: float, decay: bool, long: float, peak: float) -> None:
        """Train until tokens or hours are spent, a share `long` of steps on long rows; decay takes the rate to zero.

        Tokens count from the first step of all; for a decay they count from its own first step.
        """
        signal.signal(signal.SIGTERM, self.stop)
        seed = 1000 * self.state["parts"]
        short, lengthy = self.source(seed, False), self.source(seed + 1, True)
        name = "decayed.pt" if decay else "checkpoint.pt"
        processes, first = (dist.get_world_size(), dist.get_rank() == 0) if dist.is_initialized() else (1, True)
        begun = saved = time.time()
        told = self.state["tokens"], begun
        losses: list[torch.Tensor] = []
        done = 0
        seen = 0 if decay else self.state["tokens"]
        share = seen / tokens
        while share < 1:
            start = time.time()
            rate = (
                peak
                * min(1.0, (self.state["step"] - self.state["warm"] + 1) / WARM_STEPS)
                * (1 - share if decay else 1.0)
            )
            batch = next(lengthy) if long and int((done + 1) * long) > int(done * long) else next(short)
            losses.append(self.step(batch, rate))
            done += 1
            seen += batch[0].numel() * processes
            share = self.agreed(max(seen / tokens, (time.time() - begun) / 3600 / hours))
            self.state["step"] += 1
            self.state["tokens"] += batch[0].numel() * processes
            self.state["seconds"] += min(time.time() - start, 60)  # a process that was held does not count as training
            if first and self.state["step"] % 20 == 0:
                line = {
                    **self.state,
                    "loss": round(torch.stack(losses).mean().item(), 4),
                    "rate": round(rate, 4),
                    "speed": int((self.state["tokens"] - told[0]) / (time.time() - told[1])),
                }
                told = self.state["tokens"], time.time()
                print(json.dumps(line), flush=True)
                losses = []
            if first and time.time() - saved > SAVE_SECONDS:
                self.save(name)
                saved = time.time()
        if first:
            self.save(name)
