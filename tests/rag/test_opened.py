"""Open collections: what another process does to one in the meantime is noticed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import Problem
from engine.settings import ROOT
from rag.opened import forgotten, opened
from rag.store import Store

NAME = "opened elsewhere"


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Path]:
    """A note, and no collection of that name before or after."""
    path = tmp_path / "note.md"
    path.write_text("A shaved yak costs 17 crowns.")
    yield path
    if Store.folder_of(NAME):
        forgotten(NAME)
        Store.open(NAME).delete()


def command(*arguments: str) -> None:
    """`python -m rag` in a process of its own, for the same home folder."""
    subprocess.run([sys.executable, "-m", "rag", *arguments, "--collection", NAME], cwd=ROOT, check=True)


def found(question: str) -> str:
    """The passage that is found, through the index of this process."""
    return opened(NAME).search(question, 1)[0].text


def test_collection_that_another_process_made_anew_is_opened_anew(notes: Path) -> None:
    command("add", str(notes))
    first = opened(NAME)
    assert found("What does a shaved yak cost?") == "A shaved yak costs 17 crowns." and opened(NAME) is first
    command("remove", "--all")
    with pytest.raises(Problem, match="There is no collection 'opened elsewhere'"):
        opened(NAME)
    notes.write_text("A shaved yak costs 99 crowns now.")
    command("add", str(notes))
    assert found("What does a shaved yak cost?") == "A shaved yak costs 99 crowns now."
    assert opened(NAME) is not first and opened(NAME) is opened(NAME)
    assert opened(NAME).index is not None, "the index was not let go of"
