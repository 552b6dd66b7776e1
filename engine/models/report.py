"""What a look at a model found: facts, findings in sentences, files, and what it would take here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from engine.models.sources import File, Place

Kind = Literal["good", "note", "bad"]


@dataclass(frozen=True)
class Finding:
    """One sentence: all is well, something to know, or a reason not to use it."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Facts:
    """What the files themselves say; empty or 0 where they do not."""

    architecture: str = ""
    parameters: int = 0
    linear: int = 0
    context: int = 0
    vocabulary: int = 0
    licence: str = ""
    chat: bool = False


@dataclass(frozen=True)
class Report:
    """The outcome of a look. `name` is the Hub id or the folder's path; `instead` a Hub id to look at instead.

    `files` are those that are downloaded or used, `needs` bytes in memory by precision; for an adapter `base` is
    the folder of the base that it attaches to and `base_entry` the kept model whose folder that is.
    """

    name: str
    place: Place
    kind: Literal["model", "adapter", "reranker"] = "model"
    revision: str | None = None
    commit: str = ""
    findings: tuple[Finding, ...] = ()
    facts: Facts = field(default_factory=Facts)
    files: tuple[File, ...] = ()
    needs: Mapping[str, int] = field(default_factory=dict)
    instead: str = ""
    base: str = ""
    base_name: str = ""
    base_entry: str = ""

    @property
    def usable(self) -> bool:
        """Whether nothing speaks against adding it."""
        return not any(finding.kind == "bad" for finding in self.findings)

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.size for file in self.files)

    @property
    def title(self) -> str:
        """A first proposal for its name."""
        return Path(self.name).name if self.place == "folder" else self.name.rpartition("/")[2]

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self) | {"size": self.size, "usable": self.usable}
