"""The bases in memory under a budget: built one at a time, pinned while in use, least recently used out first."""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import torch

from engine.adapters import Adapter, read_adapter
from engine.alone import alone_loop
from engine.catalog import Model, all_models
from engine.decode import DecodeLoop
from engine.errors import Problem
from engine.messages import Begin, Sampling
from engine.models.footprint import compute_bytes, halves, held, needs
from engine.models.loaded import trim
from engine.models.sources import Folder, read_object, weight_files
from engine.rows import Request
from engine.settings import settings
from engine.threads import aside
from engine.weights import build_to_decode, fetch

log = logging.getLogger(__name__)
Key = tuple[str, str | None, str]
LONGEST_CONTEXT = 32_768  # tokens; a bound on the cache of a single row
LOOK = 0.05  # seconds between two looks at whether somebody still waits
Place = tuple[DecodeLoop, Adapter | None]


class Stopped(Exception):
    """Whoever wanted a base was stopped while it was fetched or waited for its turn."""


class Base:
    """One loaded base, its decode loop, and the adapters that run on it."""

    def __init__(self, network: Any, tokenizer: Any):
        self.network, self.tokenizer = network, tokenizer
        positions = getattr(network.config, "max_position_embeddings", None) or LONGEST_CONTEXT
        self.context = min(positions, LONGEST_CONTEXT)
        self.loop = DecodeLoop(network, tokenizer, self.context)
        self.bytes = self._weighed()
        self.pins = 0
        self.used = 0
        self._adapters: dict[str, Place] = {}
        self._reading, self._wrapping = threading.Lock(), threading.Lock()

    def place(self, model: Model) -> Place:
        """Where rows of this model run and with which adapter. Raises Problem when the adapter does not fit."""
        return self.at_hand(model) or self._alone(model)

    def at_hand(self, model: Model) -> Place | None:
        """The same where it takes no more than reading a file; None where PEFT must wrap the base first."""
        if model.adapter is None:
            return self.loop, None
        with self._reading:
            key, folder = adapter_key(model), model.adapter
            if key not in self._adapters:
                adapter = aside(lambda: read_adapter(folder, self.network, self.loop.dtype))
                if adapter:
                    self._adapters[key] = (self.loop, adapter)
            return self._adapters.get(key)

    def _alone(self, model: Model) -> Place:
        """A batch of its own for an adapter that is more than LoRA on linear layers; one is wrapped at a time."""
        with self._wrapping:
            key, folder = adapter_key(model), model.adapter
            if key not in self._adapters and folder:
                self._adapters[key] = (aside(lambda: alone_loop(self, folder)), None)
                self.bytes = self._weighed()  # it may have needed them in another layout
            return self._adapters[key]

    def _weighed(self) -> int:
        """Bytes that the base's weights take now."""
        return held(self.network) + self.loop.packed_bytes

    def close(self) -> None:
        """End all decode loops of this base."""
        for loop in {self.loop, *(loop for loop, _ in self._adapters.values())}:
            loop.close()


def adapter_key(model: Model) -> str:
    """What tells the adapters of a base apart."""
    return f"{model.adapter}@{model.adapter_hash}"


class Pool:
    """Bases by (base, revision, precision). Every use is a `hold`; what nobody holds may be thrown out.

    `fetcher` brings a base's files and takes as long as the network does, many at once; `loader` builds it from them,
    one at a time.
    """

    def __init__(
        self,
        budget: int,
        loader: Callable[[Model], tuple[Any, Any]] = build_to_decode,
        fetcher: Callable[[Model], Path] = fetch,
    ):
        self.budget, self.loader, self.fetcher = budget, loader, fetcher
        self._bases: dict[Key, Base] = {}
        self._fetches: dict[tuple[str, str | None], Future[Path]] = {}
        self._lock = threading.Lock()
        self._building = threading.Lock()
        self._clock = itertools.count(1)

    @contextlib.contextmanager
    def hold(
        self,
        model: Model,
        tell: Callable[[str], None] = lambda what: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[Base]:
        """The base of a model, kept in memory inside the `with`; `tell` hears what one is waiting for.

        Raises Stopped, instead of waiting on, once `stopped` says that nobody wants the base any more.
        """
        key = (model.base, model.revision, model.precision)
        base = self._pinned(key) or self._brought(key, model, tell, stopped)
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

    def _brought(self, key: Key, model: Model, tell: Callable[[str], None], stopped: Callable[[], bool]) -> Base:
        """Bring a base into memory, or find that somebody else just did; pinned."""
        if not Path(model.base).is_dir():
            tell("fetching the files")
        folder = self._fetched(model, stopped)
        if self._building.locked():
            tell("waiting for another model to load")
        with turn(self._building, stopped):
            if base := self._pinned(key):
                return base
            tell("loading the weights")
            return self._load(key, model, folder)

    def _fetched(self, model: Model, stopped: Callable[[], bool]) -> Path:
        """The folder of a base's files, which come in a thread of their own, once however many ask.

        Who is stopped leaves; the files come all the same, and are there when they are asked for again.
        """
        place = (model.base, model.revision)
        with self._lock:
            files = self._fetches.get(place)
            if files is None:
                files = self._fetches[place] = Future()
                threading.Thread(target=self._fetch, args=(model, files), daemon=True, name="fetch").start()
        while not files.done():
            heed(stopped)
            wait([files], LOOK)
        return files.result()

    def _fetch(self, model: Model, files: Future[Path]) -> None:
        try:
            files.set_result(self.fetcher(model))
        except Exception as error:  # whatever it is, those who wait raise it
            files.set_exception(error)
        finally:
            with self._lock:
                del self._fetches[model.base, model.revision]

    def _load(self, key: Key, model: Model, folder: Path) -> Base:
        self._make_room(model.name, weights_bytes(model, folder))
        base = aside(lambda: Base(*self.loader(model)))
        trim()
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


def weights_bytes(model: Model, folder: Path) -> int:
    """Bytes that a base will take in memory, reckoned from the heads of its files and what this machine computes in."""
    source = Folder(folder)
    header, config = source.header(weight_files(source)), read_object(source, "config.json")
    return needs(header, compute_bytes(), halves(config)).get(model.precision, 0)


@contextlib.contextmanager
def turn(lock: threading.Lock, stopped: Callable[[], bool]) -> Iterator[None]:
    """Hold a lock once it is free. Raises Stopped when nobody wants it any more."""
    while not lock.acquire(timeout=LOOK):
        heed(stopped)
    try:
        heed(stopped)
        yield
    finally:
        lock.release()


def heed(stopped: Callable[[], bool]) -> None:
    """Raise Stopped if it is so."""
    if stopped():
        raise Stopped


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
