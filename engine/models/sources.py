"""Where a model lies, seen as a list of files: a folder on this machine, or a repository on the Hub."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from engine.errors import Problem
from engine.models.headers import Header, folder_header

Place = Literal["folder", "hub"]
LONGEST_TEXT = 4 * 2**20  # bytes of a json file that is read whole
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_model.safetensors"
# what belongs to a model besides its weights; files in subfolders and all other formats stay where they are
COMPANIONS = re.compile(
    r"(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|adapter_config)\.json"
    r"|merges\.txt|vocab\.txt|tokenizer\.model|spiece\.model|chat_template\.(jinja|json)|LICENSE[\w.-]*|README\.md",
)
PLAIN_NAME = re.compile(r"[\w][\w.-]{0,199}")


@dataclass(frozen=True)
class File:
    """One file: name, bytes, and the SHA-256 of its content where the Hub tells it."""

    name: str
    size: int
    sha256: str = ""


class Source(Protocol):
    """A place to look at. `name` is what people call it; `about` holds what its owner says of it, such as licence."""

    name: str
    place: Place
    about: dict[str, str]
    files: dict[str, File]

    def text(self, file: str) -> str:
        """A small file's text. Raises Problem."""
        ...

    def header(self, files: Sequence[str]) -> Header:
        """All tensors of these safetensors files. Raises Problem."""
        ...


def folder_named(words: str) -> Path | None:
    """The folder that somebody's words name, or None; words may be longer than a path can be, or name no user."""
    try:
        folder = Path(words.strip()).expanduser()
        return folder.resolve() if words.strip() and folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):
        return None


@dataclass
class Folder:
    """A folder on this machine as a Source; only the files right in it count."""

    path: Path
    place: Place = "folder"
    about: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name = self.path.name
        try:
            found = sorted(each for each in self.path.iterdir() if each.is_file())
            self.files = {each.name: File(each.name, each.stat().st_size) for each in found}
        except OSError as error:
            raise Problem(f"The folder {self.path} cannot be read: {error.strerror or error}.") from error

    def text(self, file: str) -> str:
        """See Source."""
        try:
            with (self.path / file).open("rb") as opened:
                return opened.read(LONGEST_TEXT).decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Problem(f"The {file} of {self.name} cannot be read ({error}).") from error

    def header(self, files: Sequence[str]) -> Header:
        """See Source."""
        return folder_header(self.path / file for file in files)


def read_object(source: Source, file: str) -> dict[str, Any]:
    """The JSON object in a file. Raises Problem."""
    try:
        value = json.loads(source.text(file))
    except (ValueError, RecursionError) as error:
        raise Problem(f"The {file} of {source.name} is not JSON.") from error
    if not isinstance(value, dict):
        raise Problem(f"The {file} of {source.name} is not a JSON object.")
    return value


def weight_files(source: Source) -> list[str]:
    """The safetensors files of a model, as from_pretrained chooses them. Raises Problem when some are missing."""
    if "model.safetensors" in source.files:
        return ["model.safetensors"]
    if INDEX not in source.files:
        return []
    named = read_object(source, INDEX).get("weight_map")
    wanted = sorted({str(each) for each in named.values()}) if isinstance(named, dict) else []
    if not wanted or not all(PLAIN_NAME.fullmatch(each) and each.endswith(".safetensors") for each in wanted):
        raise Problem(f"The {INDEX} of {source.name} does not say which weights there are.")
    if missing := [each for each in wanted if each not in source.files]:
        raise Problem(
            f"{source.name} is not whole: {', '.join(missing[:3])} "
            f"{'is' if len(missing) == 1 else 'are'} named in its index and missing. Get it again."
        )
    return wanted


def wanted_files(source: Source, weights: Sequence[str]) -> list[File]:
    """What to download: the weights, and what belongs to them."""
    companions = [file for name, file in source.files.items() if COMPANIONS.fullmatch(name)]
    index = [source.files[INDEX]] if INDEX in source.files and "model.safetensors" not in source.files else []
    return [*companions, *index, *(source.files[name] for name in weights)]
