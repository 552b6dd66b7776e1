"""The owner's own tools: every public function of the Python files in one folder."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import logging
from pathlib import Path
from types import ModuleType

from engine.acting.shipped_tools import TOOLS
from engine.errors import Problem
from engine.tools import Tool

log = logging.getLogger(__name__)
SIDE_EFFECTS = "SIDE_EFFECTS"  # a file's list of its functions that must wait for a click


@functools.cache
def own_tools(folder: Path | None) -> tuple[tuple[Tool, ...], tuple[str, ...]]:
    """(the tools, a sentence for every file or function that cannot be one). Read once; this runs the files.

    A function is a tool unless its name begins with "_". Those named in the file's SIDE_EFFECTS wait for a click.
    """
    if folder is None:
        return (), ()
    if not folder.is_dir():
        return (), (f"The folder of your own tools, {folder}, does not exist. Correct DIPTYCH_TOOLS.",)
    tools: dict[str, Tool] = {}
    wrong: list[str] = []
    taken = {tool.name for tool in TOOLS}
    for path in sorted(folder.glob("*.py")):
        try:
            module = loaded(path)
        except Exception as error:
            log.warning("the tools in %s cannot be loaded", path, exc_info=error)
            wrong.append(f"{path.name} cannot be loaded: {type(error).__name__}: {error}")
            continue
        careful = getattr(module, SIDE_EFFECTS, ())
        for name, function in public_functions(module).items():
            try:
                if name in taken or name in tools:
                    raise Problem(f"The name {name} is taken by another tool.")
                tools[name] = Tool.from_function(function, side_effect=name in careful)
            except Problem as problem:
                wrong.append(f"{path.name}: {problem}")
    return tuple(tools.values()), tuple(wrong)


def loaded(path: Path) -> ModuleType:
    """The file as a module."""
    spec = importlib.util.spec_from_file_location(f"diptych_tools_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def public_functions(module: ModuleType) -> dict:
    """The functions that are written in this very file, by name."""
    found = inspect.getmembers(module, inspect.isfunction)
    return {n: f for n, f in found if f.__module__ == module.__name__ and not n.startswith("_")}
