"""Fixtures of the jobs' tests: a home of its own for runs, a school that forks them, a tiny model and pairs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import jobs
from engine.settings import settings
from tests.engine.teaching import School, pairs_file
from tests.tiny import make_tiny_llama


@pytest.fixture(scope="session")
def school() -> Iterator[School]:
    """One forking process for all tests."""
    made = School()
    yield made
    made.close()


@pytest.fixture
def runs(school: School, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of runs, empty before and after; jobs are forked by the school."""
    folder = settings().home / "runs"
    shutil.rmtree(folder, ignore_errors=True)
    monkeypatch.setattr(jobs, "launched", school.launched)
    yield folder
    for job in jobs.all_jobs():
        if not job.over:
            jobs.stop(job, now=True)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Llama of two layers."""
    return make_tiny_llama(tmp_path_factory.mktemp("toy") / "toy", hidden=64, layers=2)


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 21 pairs."""
    return pairs_file(tmp_path_factory.mktemp("pairs"))
