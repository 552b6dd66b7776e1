"""The bases in memory under a budget: loaded one at a time, pinned while in use, least recently used out first."""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from engine.adapters import Adapter, read_adapter
from engine.alone import alone_loop
from engine.catalog import Model, all_models
from engine.decode import DecodeLoop
from engine.errors import Problem
from engine.messages import Begin, Sampling
from engine.models.footprint import held
from engine.rows import Request
from engine.settings import settings
from engine.weights import load

log = logging.getLogger(__name__)
Key = tuple[str, str | None, str]
LONGEST_CONTEXT = 32_768  # tokens; a bound on the cache of a single row


class Base:
    """One loaded base, its decode loop, and the adapters that run on it."""

    def __init__(self, network: Any, tokenizer: Any):
        self.network, self.tokenizer = network, tokenizer
        self.bytes = held(network)
        positions = getattr(network.config, "max_position_embeddings", None) or LONGEST_CONTEXT
        self.context = min(positions, LONGEST_CONTEXT)
        self.loop = DecodeLoop(network, tokenizer, self.context)
        self.pins = 0
        self.used = 0
        self._adapters: dict[str, tuple[DecodeLoop, Adapter | None]] = {}
        self._lock = threading.Lock()

    def place(self, model: Model) -> tuple[DecodeLoop, Adapter | None]:
        """Where rows of this model run and with which adapter. Raises Problem when the adapter does not fit."""
        if model.adapter is None:
            return self.loop, None
        with self._lock:
            key = f"{model.adapter}@{model.adapter_hash}"
            if key not in self._adapters:
                adapter = read_adapter(model.adapter, self.network, self.network.dtype)
                loop = self.loop if adapter else alone_loop(self, model.adapter)
                self._adapters[key] = (loop, adapter)
            return self._adapters[key]

    def close(self) -> None:
        """End all decode loops of this base."""
        for loop in {self.loop, *(loop for loop, _ in self._adapters.values())}:
            loop.close()


class Pool:
    """Bases by (base, revision, precision). Every use is a `hold`; what nobody holds may be thrown out."""

    def __init__(self, budget: int, loader: Callable[[Model], tuple[Any, Any]] = load):
        self.budget, self.loader = budget, loader
        self._bases: dict[Key, Base] = {}
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._clock = itertools.count(1)

    @contextlib.contextmanager
    def hold(self, model: Model, tell: Callable[[str], None] = lambda what: None) -> Iterator[Base]:
        """The base of a model, kept in memory inside the `with`; `tell` hears what one is waiting for."""
        key = (model.base, model.revision, model.precision)
        base = self._pinned(key)
        if base is None:
            tell("loading the weights" if not self._loading.locked() else "waiting for another model to load")
            with self._loading:
                base = self._pinned(key) or self._load(key, model)
        try:
            yield base
        finally:
            with self._lock:
                base.pins -= 1

    def loaded(self) -> dict[Key, int]:
        """What is in memory and how many bytes its weights take."""
        with self._lock:
            return {key: base.bytes for key, base in self._bases.items()}

    def busy(self) -> set[Key]:
        """What somebody uses just now."""
        with self._lock:
            return {key for key, base in self._bases.items() if base.pins}

    def unload(self, key: Key) -> None:
        """Throw out one base that nobody uses. Raises Problem when somebody does."""
        with self._lock:
            base = self._bases.get(key)
            if base and base.pins:
                raise Problem("This model is answering just now. Wait for it, or press Stop, and try again.")
            self._bases.pop(key, None)
        if base:
            base.close()

    def close(self) -> None:
        """End all decode loops; a thread inside torch must not meet the end of the interpreter."""
        with self._lock:
            bases, self._bases = list(self._bases.values()), {}
        for base in bases:
            base.close()

    def _pinned(self, key: Key) -> Base | None:
        with self._lock:
            base = self._bases.get(key)
            if base:
                base.pins += 1
                base.used = next(self._clock)
            return base

    def _load(self, key: Key, model: Model) -> Base:
        self._make_room(model.name, weights_bytes(model))
        base = Base(*self.loader(model))
        base.pins, base.used = 1, next(self._clock)
        with self._lock:
            self._bases[key] = base
        self._make_room(model.name, 0)
        return base

    def _make_room(self, name: str, needed: int) -> None:
        """Throw out idle bases, least recently used first, until `needed` more bytes fit the budget."""
        with self._lock:
            idle = sorted((b.used, k) for k, b in self._bases.items() if not b.pins)
            taken = sum(base.bytes for base in self._bases.values())
            while idle and taken + needed > self.budget:
                base = self._bases.pop(idle.pop(0)[1])
                base.close()
                taken -= base.bytes
            if needed and taken + needed > self.budget:
                busy = f", of which {taken / 2**30:.1f} GB are in use by running lanes" if taken else ""
                raise Problem(
                    f"{name} needs about {needed / 2**30:.1f} GB; models may take {self.budget / 2**30:.1f} GB "
                    f"here{busy}. Choose a smaller model or precision, or raise DIPTYCH_MEMORY_GB."
                )


def weights_bytes(model: Model) -> int:
    """Bytes that a local base will take in memory, from its files' sizes; 0 for a Hub id (not known before)."""
    folder = Path(model.base)
    stored = sum(file.stat().st_size for file in folder.glob("*.safetensors")) if folder.is_dir() else 0
    # stored mostly as 16 bits a weight; NF4 with double quantization takes about 0.52 bytes, plus the embeddings
    return int(stored * {"fp32": 2.0, "int8": 0.6, "nf4": 0.4}.get(model.precision, 1.0))


@functools.cache
def pool() -> Pool:
    """The one pool of this server."""
    torch.set_num_threads(settings().threads)
    made = Pool(settings().memory_bytes)
    atexit.register(made.close)
    return made


def warm() -> None:
    """Load the first two models of the catalogue, a base and an adapter on it, and let each say one word.

    The first prompt then need not wait for torch, PEFT, the weights or the choice of kernels.
    """
    for model in all_models()[:2]:
        with pool().hold(model) as base:
            loop, adapter = base.place(model)
            request = Request((1,), Sampling(max_tokens=1), adapter, Begin(""), prove=adapter is not None)
            loop.submit([request], [lambda event: None])[0].over.wait()
    log.info("the starter model is in memory")
