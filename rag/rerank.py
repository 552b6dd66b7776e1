"""A cross-encoder reads question and passage together and puts the best candidates in a new order."""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.errors import Problem
from engine.loading import ONE_AT_A_TIME
from engine.models.kept import entries
from engine.threads import aside
from rag.types import Hit

DEFAULT = "cross-encoder/ms-marco-MiniLM-L4-v2"
CANDIDATES = 20  # read by the cross-encoder: on two cores each costs tens of milliseconds
TOKENS = 256  # of question and passage together
WORD = re.compile(r"[^\W_]+")
_one_at_a_time = threading.Lock()


def reranked(name: str, question: str, hits: Sequence[Hit]) -> list[Hit]:
    """The hits with the first CANDIDATES in the cross-encoder's order, its score in [0, 1] noted. Raises Problem."""
    first, rest = list(hits[:CANDIDATES]), list(hits[CANDIDATES:])
    if not first:
        return rest
    pairs = [(question, hit.chunk.text) for hit in first]
    with _one_at_a_time:
        scores = aside(lambda: model(name).predict(pairs, show_progress_bar=False))
    scored = [replace(hit, rerank=float(score)) for hit, score in zip(first, scores, strict=True)]
    return sorted(scored, key=lambda hit: -(hit.rerank or 0)) + rest


def at_hand() -> str:
    """The cross-encoder to rerank with: the last that was added on the Models tab, else DEFAULT; "" if none is here."""
    added = [each.name for each in entries() if each.kind == "reranker" and each.ready]
    return added[-1] if added else DEFAULT if place(DEFAULT) else ""


def place(name: str) -> Path | None:
    """Where a cross-encoder lies: the folder that its name is, what was added under it on Models, the Hub's cache."""
    if Path(name).is_dir():
        return Path(name)
    for each in entries():
        if each.kind == "reranker" and each.ready and name in (each.name, each.source):
            return each.folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        found = Path(snapshot_download(name, local_files_only=True))
        return found if any(found.glob("*.safetensors")) else None
    except (HFValidationError, LocalEntryNotFoundError, OSError):
        return None


def model(name: str) -> Any:
    """The cross-encoder. Raises Problem where it is not on this machine."""
    found = place(name)
    if found is None:
        raise Problem(
            f"The cross-encoder '{name}' is not on this machine. Download it on the Models tab, give a folder that "
            "holds one, or search without reranking."
        )
    return loaded(found)


@functools.lru_cache(maxsize=1)
def loaded(folder: Path) -> Any:
    """The cross-encoder of a folder, from its safetensors and in 32 bits; the last one stays in memory."""
    import torch
    from sentence_transformers import CrossEncoder

    with ONE_AT_A_TIME:
        return CrossEncoder(
            str(folder), max_length=TOKENS, activation_fn=torch.nn.Sigmoid(), device="cpu", local_files_only=True,
            model_kwargs={"use_safetensors": True, "dtype": torch.float32},
        )  # fmt: skip
