"""The heads of safetensors files: names, types and shapes of all tensors, without a byte of the weights."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.errors import Problem

LENGTH = 8  # bytes in front that tell how long the head is, little-endian
LONGEST_HEAD = 32 * 2**20  # bytes; a hundred times that of a model of 70 billion parameters
Read = Callable[[int, int], bytes]  # (first byte, how many) of a file


@dataclass(frozen=True)
class Tensor:
    """One tensor as the head describes it; `kind` is safetensors' name of its type, such as BF16."""

    kind: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


Header = dict[str, Tensor]


def header(name: str, size: int, read: Read) -> Header:
    """The head of a file of `size` bytes. Raises Problem when it is no safetensors file or is cut off.

    The format: https://huggingface.co/docs/safetensors.
    """
    start = read(0, LENGTH)
    length = int.from_bytes(start, "little")
    if len(start) < LENGTH or not 2 <= length <= min(LONGEST_HEAD, size - LENGTH):
        raise damaged(name)
    try:
        found = json.loads(read(LENGTH, length))
        found.pop("__metadata__", None)
        end = max((int(each["data_offsets"][1]) for each in found.values()), default=0)
        tensors = {key: Tensor(str(each["dtype"]), tuple(map(int, each["shape"]))) for key, each in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise damaged(name) from error
    if LENGTH + length + end != size or any(side < 0 for each in tensors.values() for side in each.shape):
        raise damaged(name)
    return tensors


def damaged(name: str) -> Problem:
    """The sentence for a file whose head and length do not fit together."""
    return Problem(f"{name} is damaged or cut off: its head and its length do not fit together. Get it again.")


def folder_header(files: Iterable[Path]) -> Header:
    """All tensors of several files in a folder. Raises Problem."""
    found: Header = {}
    for path in files:
        with path.open("rb") as file:

            def read(first: int, count: int, file=file) -> bytes:  # type: ignore[no-untyped-def]
                file.seek(first)
                return file.read(count)

            found |= header(path.name, path.stat().st_size, read)
    return found
