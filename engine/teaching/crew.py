"""The processes that teach one model together: which of them this one is, and what they settle among themselves."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Crew:
    """This process's number, from 0, and how many there are. Alone, every call answers at once.

    The first one writes files, answers prompts and looks for the wish to stop; all of them compute. A call of
    `agree`, `each` or `together` waits until every process has come to it.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def joined(cls) -> Crew:
        """The crew that torch's launcher has put this process into; it joins the others."""
        import torch
        from torch import distributed

        local, cuda = int(os.environ["LOCAL_RANK"]), torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(local)  # where weights are loaded to, 4-bit ones too
        distributed.init_process_group("nccl" if cuda else "gloo")
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    def agree(self, wish: bool) -> bool:
        """What the first process says, told to all."""
        if self.size == 1:
            return wish
        return bool(self.each(wish)[0])

    def each(self, value: Any) -> list[Any]:
        """What every process says, in the order of their numbers."""
        if self.size == 1:
            return [value]
        from torch import distributed

        found: list[Any] = [None] * self.size
        distributed.all_gather_object(found, value)
        return found

    def together(self) -> None:
        """Wait until all are here."""
        self.each(None)


ALONE = Crew()
