"""The models that the owner has added: kept in the home folder, renamed, set to a precision, deleted."""

from __future__ import annotations

import re
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from engine.catalog import Model, all_models
from engine.errors import Problem
from engine.models import download
from engine.models.footprint import PRECISIONS
from engine.models.report import Report
from engine.settings import settings
from engine.teaching.runs import read_json, slug, write_json

FORMAT = 1
LONGEST_NAME = 80
ENTRY = re.compile(r"[a-z0-9-]{1,64}")


@dataclass(frozen=True)
class Entry:
    """One kept model. `source` is a Hub id or a folder; `store` the folder of a download, "" for the owner's own.

    An adapter has no precision of its own but that of its base: `base` is the base's folder, `base_entry` the kept
    model that it belongs to, if any.
    """

    id: str
    name: str
    kind: Literal["model", "adapter", "reranker"]
    source: str
    place: Literal["folder", "hub"]
    revision: str | None = None
    commit: str = ""
    store: str = ""
    precision: str = "auto"
    base: str = ""
    base_entry: str = ""
    style: str | None = None
    owner: str = ""
    created: float = 0.0
    size: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
    needs: Mapping[str, int] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return download.files_folder(self.store) if self.store else Path(self.source)

    @property
    def ready(self) -> bool:
        """Whether it can be loaded: downloaded whole, or a folder that is still there."""
        if self.store:
            return download.complete(self.store)
        return (self.folder / ("adapter_config.json" if self.kind == "adapter" else "config.json")).is_file()

    @property
    def model(self) -> Model | None:
        """The model it is; None while its files, or those of its base, are not here, and for a cross-encoder."""
        if self.kind == "reranker" or not self.ready or (self.base and not Path(self.base).is_dir()):
            return None
        common: dict[str, Any] = {"name": self.name, "style": self.style, "about": f"Added from {self.source}."}
        if self.kind == "adapter":
            return Model(base=self.base, precision=precision_of(self.base_entry), adapter=self.folder, **common)
        return Model(base=str(self.folder), precision=self.precision, **common)


def folder() -> Path:
    """Where the entries are: one json file each."""
    return settings().home / "models"


def entries() -> list[Entry]:
    """Every kept model, oldest first. What another format or a broken file describes is passed over."""
    found = []
    for path in folder().glob("*.json"):
        data = read_json(path)
        if data.get("format") == FORMAT and ENTRY.fullmatch(path.stem):
            known = {name: data[name] for name in Entry.__dataclass_fields__ if name in data}
            try:
                found.append(Entry(**known | {"id": path.stem}))
            except TypeError:
                continue
    return sorted(found, key=lambda each: (each.created, each.id))


def entry(id: str | None) -> Entry:
    """The kept model of that id. Raises Problem."""
    found = next((each for each in entries() if each.id == id), None)
    if found is None:
        raise Problem("Choose one of your models first.")
    return found


def precision_of(id: str) -> str:
    """The precision of a kept model; "auto" for any other."""
    return next((each.precision for each in entries() if each.id == id), "auto") if id else "auto"


def keep(report: Report, name: str = "", precision: str = "auto", owner: str = "", style: str | None = None) -> Entry:
    """Add what was looked at to the catalogue; a Hub model begins to download unless its files are here already.

    Raises Problem when the report speaks against it, the precision does not fit, or the name is taken.
    """
    if not report.usable:
        raise Problem("This cannot be added: " + " ".join(f.text for f in report.findings if f.kind == "bad"))
    checked_precision(precision, report.needs)
    made = Entry(
        id=f"{slug(name.strip() or report.title)[:40]}-{uuid.uuid4().hex[:8]}",
        name=free_name(name.strip() or proposed(report, precision)),
        kind=report.kind,
        source=report.name,
        place=report.place,
        revision=report.revision,
        commit=report.commit,
        store=download.store_name(report.name, report.commit) if report.place == "hub" else "",
        precision=precision if report.kind == "model" else "auto",
        base=report.base,
        base_entry=report.base_entry,
        style=style or ("chat" if report.facts.chat else None),
        owner=owner,
        created=time.time(),
        size=report.size,
        facts=asdict(report.facts),
        needs=dict(report.needs),
    )
    written(made)
    if made.store:
        download.begin(made.store, report)
    return made


def proposed(report: Report, precision: str) -> str:
    """A name for a model that was given none: its own, with the precision or a number where that is taken."""
    name = report.title
    if taken(name) and precision not in ("auto", "") and report.kind == "model":
        name = f"{name} {precision}"
    number, wanted = 2, name
    while taken(name):
        name, number = f"{wanted}-{number}", number + 1
    return name


def checked_precision(precision: str, needs: Mapping[str, int]) -> None:
    """Raise Problem unless the precision is one that fits into memory here."""
    from engine.amounts import amount

    if precision not in PRECISIONS:
        raise Problem(f"There is no precision '{precision}'. Choose {', '.join(PRECISIONS)}.")
    room, needed = settings().memory_bytes, needs.get(precision, 0)
    if needed > room:
        raise Problem(
            f"At {PRECISIONS[precision]} it takes about {amount(needed)}, and models may take {amount(room)} here. "
            "Choose fewer bits."
        )


def taken(name: str, besides: str = "") -> bool:
    """Whether a model, an endpoint of the catalogue or a kept model that is still downloading has this name."""
    from engine.catalog import shipped

    mine = {each.name: each.id for each in entries()}
    if name in mine:
        return mine[name] != besides
    return name in shipped() or any(model.name == name for model in all_models())


def free_name(name: str, besides: str = "") -> str:
    """The name, tidied. Raises Problem when it is empty, too long, or taken."""
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME:
        raise Problem(f"Give the model a name of 1 to {LONGEST_NAME} characters.")
    if taken(name, besides):
        raise Problem(f"The name '{name}' belongs to another model; choose another.")
    return name


def written(kept: Entry) -> Entry:
    """Put an entry into its file, all of it or nothing."""
    folder().mkdir(parents=True, exist_ok=True)
    write_json(folder() / f"{kept.id}.json", {"format": FORMAT} | asdict(kept))
    return kept


def rename(kept: Entry, name: str) -> Entry:
    """Give a model another name; what stands on it goes by its folder and stays. Raises Problem."""
    return written(replace(kept, name=free_name(name, kept.id)))


def set_precision(kept: Entry, precision: str) -> Entry:
    """Load a model in another precision from now on; adapters on it follow. Raises Problem."""
    if kept.kind == "reranker":
        raise Problem(f"{kept.name} reranks passages and is always computed in 32 bits.")
    if kept.kind == "adapter":
        raise Problem(f"{kept.name} is an adapter and is computed in the precision of its base. Change that one.")
    checked_precision(precision, kept.needs)
    return written(replace(kept, precision=precision))


def to_load(kept: Entry) -> Model:
    """The model to bring into memory. Raises Problem where there is none to ask, or not all of it is here."""
    if kept.kind == "reranker":
        raise Problem(f"{kept.name} reranks passages and answers no prompts. Knowledge loads it when it is needed.")
    model = kept.model
    if model is None:
        raise Problem(f"The files of {kept.name} are not all here yet.")
    return model


def standing_on(kept: Entry) -> list[str]:
    """The names of adapters that need this model's files and would be left without them."""
    others = [each for each in entries() if each.id != kept.id]
    if kept.kind == "adapter" or not kept.store or any(each.store == kept.store for each in others):
        return []
    place = str(kept.folder)
    return [model.name for model in all_models() if model.adapter and model.base == place]


def delete(kept: Entry) -> None:
    """Take a model out of the catalogue. What was downloaded goes from the disk once no other entry uses it; a
    folder of the owner's own is left alone. Raises Problem while others need it."""
    if standing := standing_on(kept):
        raise Problem(f"{', '.join(standing[:3])} would be left without a base. Delete what was made on it first.")
    shared = any(each.store == kept.store for each in entries() if each.id != kept.id)
    if kept.store and not shared:
        download.cancel(kept.store)
    (folder() / f"{kept.id}.json").unlink(missing_ok=True)
    if kept.store and not shared:
        place = download.store_folder(kept.store)
        hidden = place.with_name(f".deleted-{place.name}-{uuid.uuid4().hex[:6]}")
        if place.is_dir():
            place.rename(hidden)
            shutil.rmtree(hidden, ignore_errors=True)


def by_source(name: str) -> Model | None:
    """The kept model that came from this Hub id; None where there is none that is ready."""
    return next((each.model for each in entries() if each.place == "hub" and each.source == name and each.model), None)
