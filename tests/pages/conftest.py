"""The app on stage: a real server, scripted comparisons."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr
import pytest

from pages import desk
from tests.pages.scripted import Stage, serving


@pytest.fixture(scope="session")
def page() -> Iterator[tuple[str, gr.Blocks]]:
    """The app in local mode, served once for all tests: (address, blocks)."""
    with serving() as served:
        yield served


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Scripts for the models of this test."""
    made = Stage()
    monkeypatch.setattr(desk, "start", made.start)
    return made
