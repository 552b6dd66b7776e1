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
    with _one_at_a_time:
        scores = model(name).predict([(question, hit.chunk.text) for hit in first], show_progress_bar=False)
    scored = [replace(hit, rerank=float(score)) for hit, score in zip(first, scores, strict=True)]
    return sorted(scored, key=lambda hit: -(hit.rerank or 0)) + rest


def place(name: str) -> Path | None:
    """Where a cross-encoder lies on this machine: the folder that its name is, or the Hub's cache."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError, OSError):
        return None


@functools.lru_cache(maxsize=1)
def model(name: str) -> Any:
    """The cross-encoder, loaded once. Raises Problem where it is not on this machine."""
    found = place(name)
    if found is None:
        raise Problem(
            f"The cross-encoder '{name}' is not on this machine. Download it on the Models tab, give a folder that "
            "holds one, or search without reranking."
        )
    import torch
    from sentence_transformers import CrossEncoder

    with ONE_AT_A_TIME:
        return CrossEncoder(
            str(found), max_length=TOKENS, activation_fn=torch.nn.Sigmoid(), device="cpu", local_files_only=True
        )
