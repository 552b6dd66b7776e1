"""Modules with TorchScript functions, loaded anew."""

import importlib.util
import sys
from types import ModuleType

import pytest
import torch


def loaded_anew(module: ModuleType, monkeypatch: pytest.MonkeyPatch, script: bool = False) -> ModuleType:
    """The module as it loads now; unless `script`, as a torch without TorchScript would load it."""
    if not script:
        monkeypatch.delattr(torch.jit, "script")
    spec = importlib.util.spec_from_file_location(f"{module.__name__}_anew", str(module.__file__))
    assert spec and spec.loader
    found = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, found)
    spec.loader.exec_module(found)
    return found
