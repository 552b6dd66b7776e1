"""Gradio without the type stubs that it writes for its components each time it is imported."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

META = "gradio.component_meta"
WRITES = "create_or_modify_pyi"  # parses the source of a component and its .pyi file, and writes that beside it


class WithoutStubs(MetaPathFinder):
    """Finds META and takes WRITES from it once it is there, before the first component is made.

    That is nearly half of the time that importing Gradio takes, for files that only an editor reads. A Gradio that
    has no such function is left as it is.
    """

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """See MetaPathFinder; everything but META is for others to find."""
        spec = PathFinder.find_spec(name, path, target) if name == META else None
        if spec is None or spec.loader is None:
            return None
        usual = spec.loader.exec_module

        def run(module: ModuleType) -> None:
            usual(module)
            if hasattr(module, WRITES):
                setattr(module, WRITES, nothing)

        spec.loader.exec_module = run  # type: ignore[method-assign]
        return spec


def nothing(*_: Any) -> None:
    """In place of WRITES."""


def skip_stubs() -> None:
    """Let the next import of Gradio write no stubs; without effect where Gradio is there already."""
    if not any(isinstance(finder, WithoutStubs) for finder in sys.meta_path):
        sys.meta_path.insert(0, WithoutStubs())
