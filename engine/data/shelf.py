"""The datasets one can train on: samples that ship with the app, and those kept in the home folder."""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from engine.data.exports import as_jsonl
from engine.datasets import Dataset
from engine.errors import Problem
from engine.settings import ASSETS, settings

FORMAT = 1
SAMPLES = {
    "shawgpt": "Comments on a data science channel with the author's replies",
    "pirate": "Comments answered by a pirate",
}
LONGEST_SLUG = 60


@dataclass(frozen=True)
class Saved:
    """A dataset to pick. `owner` is empty for samples; `style` holds title, turn and system of a custom style."""

    name: str
    path: Path
    rows: int
    owner: str = ""
    fingerprint: str = ""
    made: str = ""
    about: str = ""
    style: Mapping[str, str] = field(default_factory=dict)


def samples() -> list[Saved]:
    """The files of assets/samples that hold prompts and responses."""
    found = []
    for name, about in SAMPLES.items():
        path = ASSETS / "samples" / f"{name}.jsonl"
        with path.open("rb") as file:
            found.append(Saved(name, path, sum(1 for line in file if line.strip()), about=about))
    return found


def folder() -> Path:
    """Where datasets are kept; each is a jsonl file and a json file of the same name that describes it."""
    return settings().home / "datasets"


def saved() -> list[Saved]:
    """The kept datasets, newest first. A description of a later format or without its rows is passed over."""
    found = []
    for path in folder().glob("*.json"):
        rows = path.with_suffix(".jsonl")
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if rows.is_file() and isinstance(data, dict) and data.get("format") == FORMAT:
            known = {name: data[name] for name in Saved.__dataclass_fields__ if name in data}
            found.append(Saved(**known | {"path": rows}))
    return sorted(found, key=lambda each: each.made, reverse=True)


def save(dataset: Dataset, name: str, owner: str, style: Mapping[str, str] | None = None) -> Saved:
    """Keep a dataset under a name; what had that name before is replaced, and nothing else. Raises Problem.

    The rows are written before their description, so that what is listed is whole.
    """
    slug = free_slug(name.strip())
    if not dataset.examples:
        raise Problem("There is no row to save. Load a dataset first.")
    path = folder() / f"{slug}.jsonl"
    made = datetime.now(UTC).isoformat(timespec="seconds")
    kept = Saved(name.strip(), path, len(dataset), owner, dataset.fingerprint, made, style=dict(style or {}))
    data = {"format": FORMAT} | {key: value for key, value in vars(kept).items() if key != "path"}
    try:
        folder().mkdir(parents=True, exist_ok=True)
        write(path, as_jsonl(dataset))
        write(path.with_suffix(".json"), json.dumps(data, ensure_ascii=False, indent=2) + "\n")
    except OSError as error:
        raise Problem(f"The dataset could not be saved: {error.strerror or error}. Make room and try again.") from error
    return kept


def free_slug(name: str) -> str:
    """The file name for a dataset of that name: its own if it is kept already, never another's. Raises Problem."""
    slug = slug_of(name)
    names = (slug if number == 1 else f"{slug}-{number}" for number in itertools.count(1))
    return next(each for each in names if called(folder() / f"{each}.json") in (None, name.casefold()))


def called(path: Path) -> str | None:
    """The name in a description, in small letters; "" if it cannot be read, None if there is no such file."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["name"]).casefold()
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def write(path: Path, text: str) -> None:
    """Put a text in a file, all of it or none."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def slug_of(name: str) -> str:
    """The file name of a dataset's name: plain letters, digits and hyphens. Raises Problem where none are left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_SLUG].strip("-")
    if not slug:
        raise Problem("Give the dataset a name with at least one letter from a to z or a digit in it.")
    return slug
