"""Loads a model's tokenizer without its weights."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from engine.catalog import Model
from engine.errors import Problem
from engine.settings import settings


def tokenizer_of(model: Model) -> Any:
    """The tokenizer of a model, kept once loaded. Raises Problem in words, also for endpoints, which have none here."""
    if model.endpoint:
        raise Problem(f"{model.name} is on somebody's server, so its tokens cannot be seen. Choose a local model.")
    return loaded(model.base, model.revision)


@functools.lru_cache(maxsize=4)
def loaded(base: str, revision: str | None) -> Any:
    """The tokenizer of a folder or Hub id. Raises Problem."""
    from transformers import AutoTokenizer

    from engine.weights import explained

    options: dict[str, Any] = {"trust_remote_code": False}
    if not Path(base).is_dir():
        options |= {"revision": revision, "token": settings().hub_token or False}
    try:
        return AutoTokenizer.from_pretrained(base, **options)
    except Exception as error:
        raise explained(Model(base, base, revision), error) from error
