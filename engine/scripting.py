"""Functions as TorchScript, which runs their operators without coming back to Python.

From Python an operator of torch costs a few microseconds and one of FBGEMM over twenty, and each gives up the
interpreter and may wait to get it back; a layer has some fifty.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

import torch


@functools.cache
def no_specialising() -> None:
    """Let TorchScript run every function as it stands.

    It would watch the first calls and rewrite the function for the shapes that it saw, which makes those calls take
    tens of milliseconds, and on GPUs compiles kernels of its own.
    """
    torch.jit.set_fusion_strategy([])


def scripted(function: Any) -> Any:
    """The function in TorchScript; itself where torch has none any more."""
    if not hasattr(torch.jit, "script"):
        return function
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch is pinned
        no_specialising()
        return torch.jit.script(function)
