"""Collections that tests of documents in put something into: fixtures, and vectors that cost no time."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from rag.adding import apply, plan
from rag.embedders import Embedder
from rag.store import Store
from rag.types import FileReport
from tests.rag.papers import pdf, prose

_numbers = itertools.count(1)


class Hashed(Embedder):
    """The default model's tokenizer and fingerprint with vectors from a hash: for tests of everything but meaning."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._plain = None

    def _embed(self, texts: list[str]) -> np.ndarray:
        self.texts += texts
        made = [np.frombuffer(hashlib.sha512(text.encode()).digest() * 6, dtype=np.uint8) for text in texts]
        array = np.array(made, dtype=np.float32).reshape(len(texts), 384) - 127.5
        return array / np.linalg.norm(array, axis=1, keepdims=True)


def added(store: Store, folder: Path, model: Embedder | None = None, **options: object) -> dict[str, FileReport]:
    """Add a folder; the reports by file."""
    reports = apply(store, plan(store, [folder]), model=model or Hashed(), **options)  # type: ignore[arg-type]
    return {report.file: report for report in reports}


def states(reports: dict[str, FileReport] | Sequence[FileReport]) -> dict[str, str]:
    """file: state."""
    found = reports.values() if isinstance(reports, dict) else reports
    return {report.file: report.state for report in found}


@pytest.fixture(name="store")
def empty_store() -> Iterator[Store]:
    """An empty collection of a name of its own, deleted afterwards."""
    made = Store.create(f"Shelf {next(_numbers)}")
    yield made
    if made.folder.exists():
        made.delete()


@pytest.fixture(name="papers_folder")
def a_few_papers(tmp_path: Path) -> Path:
    """A folder with a few documents in sub-folders, two of one name."""
    folder = tmp_path / "papers"
    pdf(folder / "tails/notes.pdf", [[f"Page {at} on fat tails.", "They are rare events."] for at in range(3)])
    (folder / "models").mkdir()
    (folder / "models/notes.md").write_text(f"# LoRA\n\n{prose('low-rank adaptation', 20)}", encoding="utf-8")
    (folder / "models/extra.txt").write_text(prose("quantization", 20), encoding="utf-8")
    return folder
