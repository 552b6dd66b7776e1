"""What is served under which name: every local model and adapter, each also with a collection of documents."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from engine import embed
from engine.catalog import Model, all_models
from engine.prompts import CHAT
from engine.respond import Passages
from engine.serving.refusals import no_model

STARTED = int(time.time())
FRESH = 2.0  # seconds
PassagesFor = Callable[[str], Passages]


@dataclass(frozen=True)
class Served:
    """A model under the name by which it was asked, and the documents that it answers from."""

    name: str
    model: Model
    passages: Passages | None = None

    def style(self, has_template: bool) -> str:
        """The prompt style of a chat: an adapter is asked as it was taught, a base in its own chat template."""
        taught = self.model.style if self.model.adapter or not has_template else None
        return taught or (CHAT if has_template else "plain")


class Listing:
    """All names. `more` are models besides the catalogue's; `passages_for` opens one of the `collections`."""

    def __init__(
        self,
        more: Sequence[Model] = (),
        passages_for: PassagesFor | None = None,
        collections: Callable[[], Sequence[str]] = tuple,
    ):
        self.more, self.passages_for, self.collections = tuple(more), passages_for, collections
        self._models: dict[str, Model] = {}
        self._read_at = -FRESH

    def models(self) -> dict[str, Model]:
        """The local models by name; hosted ones are other people's servers and are not passed on.

        Finding the models that runs made reads their folders, so what was found counts for a moment.
        """
        now = time.monotonic()
        if now - self._read_at >= FRESH:
            self._models = {model.name: model for model in (*all_models(), *self.more) if not model.endpoint}
            self._read_at = now
        return self._models

    def names(self) -> list[str]:
        """Every name that a request may give."""
        models = list(self.models())
        with_documents = [f"{model}@{each}" for each in self.collections() for model in models]
        return [*models, *([embed.NAME] if has_embedder() else []), *with_documents]

    def find(self, name: str) -> Served:
        """What is served under a name. Raises Refusal (404)."""
        models = self.models()
        if name in models:
            return Served(name, models[name])
        model, at, collection = name.rpartition("@")
        if at and model in models and self.passages_for and collection in self.collections():
            return Served(name, models[model], self.passages_for(collection))
        raise no_model(name, self.names())

    def entries(self) -> list[dict[str, Any]]:
        """What /v1/models lists."""
        return [entry(name) for name in self.names()]


def entry(name: str) -> dict[str, Any]:
    """One model as OpenAI describes it."""
    return {"id": name, "object": "model", "created": STARTED, "owned_by": "diptych"}


@functools.cache
def has_embedder() -> bool:
    """Whether the embedding model is on this machine; looked up once, because its hash is checked."""
    return embed.folder() is not None
