"""One decode loop per loaded base: a step is one forward pass for all rows, which join and leave at any step."""

from __future__ import annotations

import inspect
import logging
import math
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch

from engine.adapters import Adapter, AdapterBatch
from engine.attention import switch_on
from engine.cache import RowCache
from engine.errors import Problem
from engine.rows import Request, Row, Sink
from engine.sample import choose

log = logging.getLogger(__name__)
MOST_ROWS = 64
PREFILL_TOKENS = 4096  # padded prompt tokens of one forward pass, so that a long prompt delays others by one step
COMPUTE = threading.Lock()  # on a processor the loops take turns: each pass uses all threads


class DecodeLoop:
    """Owns a network and its cache; `submit` from any thread. The thread starts with the first row.

    `alone` says that the network is itself a PEFT model with its adapter switched on, in a batch of its own.
    """

    def __init__(self, network: Any, tokenizer: Any, context: int, alone: bool = False):
        self.network, self.tokenizer, self.context, self.alone = network, tokenizer, context, alone
        self.stored = switch_on(plain(network))
        self.adapters = AdapterBatch(network) if not alone else None
        self.stop_tokens = stop_tokens(network, tokenizer)
        self.accepted = set(inspect.signature(plain(network).forward).parameters)
        self.rows: list[Row] = []
        self.cache = RowCache(self.stored)
        self.steps = 0
        self._waiting: list[Row] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, requests: Sequence[Request], sinks: Sequence[Sink]) -> list[Row]:
        """Queue rows that begin together. Each sink gets a Begin, pieces and one End, or an exception."""
        rows = [Row(request, sink, self) for request, sink in zip(requests, sinks, strict=True)]
        for row in rows:
            row.sink(row.request.begin)
        with self._changed:
            if self._closed:
                raise Problem("This model was just unloaded. Please send the prompt again.")
            self._waiting += rows
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="decode")
                self._thread.start()
            self._changed.notify()
        return rows

    def wake(self) -> None:
        """Let an idle loop look at its rows."""
        with self._changed:
            self._changed.notify()

    def close(self) -> None:
        """End the thread and wait for it; rows that are still there end as stopped."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self.rows or self._closed):
                    self._changed.wait()
                if self._closed:
                    for row in [*self.rows, *self._waiting]:
                        row.finish("stopped")
                    return
                joining = self._admitted()
            self._work(joining)

    def _admitted(self) -> list[Row]:
        """Waiting rows that may join now: within the row limit and one pass's worth of prompt tokens."""
        joining: list[Row] = []
        longest = 0
        still: list[Row] = []
        for row in self._waiting:
            longest_with = max(longest, len(row.request.ids))
            fits = longest_with * (len(joining) + 1) <= PREFILL_TOKENS or not joining
            if row.stopping:
                row.finish("stopped")
            elif fits and not still and len(self.rows) + len(joining) < MOST_ROWS:
                joining.append(row)
                longest = longest_with
            else:
                still.append(row)
        self._waiting = still
        return joining

    @torch.inference_mode()
    def _work(self, joining: list[Row]) -> None:
        """One turn: rows that were stopped leave, all others take a step, new ones are prefilled and join."""
        try:
            self._drop([i for i, row in enumerate(self.rows) if row.stopping and row.finish("stopped")])
            if self.rows:
                self._step()
        except Exception as error:
            self._failed(self.rows, error)
            self.rows, self.cache = [], RowCache(self.stored)
        if joining:
            try:
                self._prefill(joining)
            except Exception as error:
                self._failed(joining, error)

    def _failed(self, rows: list[Row], error: Exception) -> None:
        log.error("a forward pass failed", exc_info=error)
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            error = Problem("The machine ran out of memory. Use fewer lanes, a shorter prompt or a smaller model.")
        for row in rows:
            row.fail(error)

    def _step(self) -> None:
        """One token for every row."""
        lengths = self.cache.rows.lengths
        positions = torch.tensor(lengths)[:, None]
        ids = torch.tensor([[row.last] for row in self.rows])
        mask = self.cache.open_column()
        logits = self._forward(ids, mask if self.cache.padded() else None, positions, self._own(self.rows), self.cache)
        self.cache.grown(1)
        self.steps += 1
        self._advance(self.rows, logits)
        self._drop([i for i, row in enumerate(self.rows) if row.over.is_set()])

    def _prefill(self, joining: list[Row]) -> None:
        """Compute the prompts of new rows in one pass of their own, draw their first tokens, and let them join."""
        ids, mask, positions = left_padded([row.request.ids for row in joining])
        cache = RowCache(self.stored)
        cache.prepare(mask)
        whole = bool(mask.all())
        logits = self._forward(ids, None if whole else mask, positions, self._own(joining), cache)
        cache.grown(ids.shape[1])
        self._prove(joining, logits)
        self._advance(joining, logits)
        for i in reversed(range(len(joining))):
            if joining[i].over.is_set():
                cache.leave(i)
                joining[i] = joining[-1]
                joining.pop()
        if joining:
            self.cache.join(cache)
            self.rows += joining

    def _own(self, rows: Sequence[Row]) -> list[Adapter | None]:
        return [row.request.adapter for row in rows]

    def _forward(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor | None,
        positions: torch.Tensor,
        adapters: Sequence[Adapter | None],
        cache: RowCache | None,
    ) -> torch.Tensor:
        """Logits [rows, vocabulary] of the last position, in float32."""
        if self.adapters is not None:
            self.adapters.use(adapters)
        device = self.network.device
        inputs = {
            "input_ids": ids.to(device),
            "attention_mask": None if mask is None else mask.to(device),
            "position_ids": positions.to(device),
            "logits_to_keep": 1,
        }
        inputs = {name: value for name, value in inputs.items() if name in self.accepted}
        with COMPUTE:
            output = self.network(past_key_values=cache, use_cache=cache is not None, **inputs)
            return output.logits[:, -1].float()

    def _prove(self, joining: Sequence[Row], logits: torch.Tensor) -> None:
        """For rows that ask: the largest difference of their first-step logits from the base's, same prompt."""
        asking = [row for row in joining if row.request.prove]
        base = {row.request.ids: logits[i] for i, row in enumerate(joining) if self._is_base(row)}
        missing = sorted({row.request.ids for row in asking} - set(base))
        if missing:
            ids, mask, positions = left_padded(missing)
            with self.network.disable_adapter() if self.alone else nullcontext():
                found = self._forward(ids, mask, positions, [None] * len(missing), None)
            base |= dict(zip(missing, found, strict=True))
        for i, row in enumerate(joining):
            if row.request.prove:
                reference = base[row.request.ids]
                shared = min(len(reference), logits.shape[-1])
                row.logit_difference = (logits[i, :shared] - reference[:shared]).abs().max().item()

    def _is_base(self, row: Row) -> bool:
        return row.request.adapter is None and not self.alone

    def _advance(self, rows: Sequence[Row], logits: torch.Tensor) -> None:
        """Draw a token for each row from its logits; a row whose logits are not numbers fails alone."""
        tokens, logprobs = choose(logits, [row.draw for row in rows])
        for row, token, logprob in zip(rows, tokens, logprobs, strict=True):
            if math.isnan(logprob):
                row.fail(Problem("The model's output is not a number (NaN): its weights are damaged or overflow."))
            else:
                row.accept(token, logprob)

    def _drop(self, indices: Sequence[int]) -> None:
        """Take rows out; the cache moves its last row into each gap, and so does the list."""
        for i in sorted(indices, reverse=True):
            self.cache.leave(i)
            self.rows[i] = self.rows[-1]
            self.rows.pop()


def left_padded(prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(ids, mask, positions), each [rows, longest], with padding on the left."""
    width = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    return ids, mask, (mask.cumsum(-1) - 1).clamp(min=0)


def plain(network: Any) -> Any:
    """The transformers model inside a PEFT wrapper, or the model itself."""
    return network.get_base_model() if hasattr(network, "get_base_model") else network


def stop_tokens(network: Any, tokenizer: Any) -> frozenset[int]:
    """Ids that end a reply: the generation config's, and the tokenizer's end-of-sequence."""
    named = plain(network).generation_config.eos_token_id
    ids = named if isinstance(named, list) else [named]
    return frozenset(i for i in (*ids, tokenizer.eos_token_id) if i is not None)
