"""Jobs that add documents, in a thread of this process in place of one of their own: no second torch is loaded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engine import jobs
from engine.teaching.identity import identity
from engine.teaching.runs import write_json
from engine.teaching.turns import Stopped
from engine.teaching.working import ended
from rag.job import do


@dataclass
class Hands:
    """Does the jobs; while `gate` is shut, a job has begun and waits."""

    gate: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def launched(self, folder: Path) -> None:
        """Has the face of engine.jobs.launched."""
        write_json(folder / "process.json", identity())
        self.threads.append(threading.Thread(target=self.work, args=(folder,)))
        self.threads[-1].start()

    def work(self, folder: Path) -> None:
        """What rag.job.main does, short of signals and niceness."""
        self.gate.wait(60)
        try:
            do(folder, (folder / "stop").exists)
        except Stopped:
            ended(folder, "stopped", "Stopped on request. Resume goes on from here.")
        except Exception as error:
            ended(folder, "failed", repr(error))


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hands]:
    """Hands that work at once."""
    made = Hands()
    made.gate.set()
    monkeypatch.setattr(jobs, "launched", made.launched)
    yield made
    made.gate.set()
    for thread in made.threads:
        thread.join(60)
