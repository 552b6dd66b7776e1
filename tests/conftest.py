"""Fixtures of the whole suite: a home folder of its own, tiny models, a pool that starts empty."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ["DIPTYCH_HOME"] = tempfile.mkdtemp(prefix="diptych-test-home-")
os.environ["HF_HUB_OFFLINE"] = "1"

from engine.settings import ASLEEP, prepare_process

os.environ.update(ASLEEP)  # tests run side by side
prepare_process()

import pytest  # noqa: E402
from xdist.remote import Producer  # noqa: E402
from xdist.scheduler import LoadScopeScheduling  # noqa: E402

import pages  # noqa: E402, F401 - before any test imports gradio, so that it is imported as the app does
from tests.engine.fixtures import pairs, runs, school, toy  # noqa: E402, F401
from tests.engine.models.shelf import hub, llama, lora, no_models  # noqa: E402, F401
from tests.tiny import make_tiny_llama  # noqa: E402

ON_A_SERVER = tuple(Path(__file__).parent / name for name in ("browser", "pages", "test_app.py"))
BROWSER = "tests/browser"


class ByFile(LoadScopeScheduling):
    """Where several processes run the suite, a file stays in one of them, and all of BROWSER does.

    What a file sets up is then set up once, and two browsers at once would be too slow for each other.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return BROWSER if file.startswith(f"{BROWSER}/") else file


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist, which may be switched off
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    """Files to processes; xdist's own groups (3.8.0) have no effect with pytest 9.2, and nothing says so."""
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that drives a running server gets two more tries, told as "rerun" in the summary; nothing else does."""
    for item in items:
        if any(place == item.path or place in item.path.parents for place in ON_A_SERVER):
            item.add_marker(pytest.mark.flaky(reruns=2))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random two-layer Llama that has a chat template."""
    return make_tiny_llama(tmp_path_factory.mktemp("models") / "tiny", hidden=64, layers=3)


@pytest.fixture
def empty_pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A pool of 1 GB in place of the server's own, closed at the end."""
    from engine import local
    from engine.loading import ONE_AT_A_TIME
    from engine.pool import Pool

    made = Pool(2**30)
    monkeypatch.setattr(local, "pool", lambda: made)
    yield made
    with ONE_AT_A_TIME:  # a load that nobody waits for any more must not meet those that tests do themselves
        made.close()
