"""What is to be added: the files of a folder, of a list or of a zip, each with a clean relative name."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from engine.errors import Problem
from engine.messages import encodable
from rag.reading.kinds import KINDS, LARGEST

MOST_FILES = 10_000
MOST_UNPACKED = 2 * 2**30  # bytes that a zip may unpack to, all together
RATIO, SMALL = 200, 10 * 2**20  # a larger entry that shrank by more than that factor is a bomb
LONGEST_NAME = 300
PIECE = 2**20
LINK = "It is a symbolic link, which is not followed. Add the file that it points to."
TOO_MANY = "There are more than {} files. Add sub-folders one by one."


@dataclass(frozen=True)
class Source:
    """One file to add: where it lies, what it is called in the collection, and why it is refused, if it is.

    A plan fills in `folder`, the folder or zip that it came with; it stays empty for single files.
    """

    path: Path
    name: str
    tags: tuple[str, ...] = ()
    problem: str = ""
    folder: str = ""

    @property
    def hash(self) -> str:
        """SHA-256 of its bytes in hex."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Sources:
    """Files to add together. `name` is that of the folder or zip, of which files may have gone since last time.

    Where several came at once, it is empty, and the first part of a file's path is its folder.
    """

    files: tuple[Source, ...]
    name: str = ""

    def folder_of(self, source: Source) -> str:
        """The folder or zip that a file came with; empty for a single file."""
        top, slash, _ = source.name.partition("/")
        return self.name or (top if slash else "")

    @property
    def folders(self) -> set[str]:
        """The folders and zips that came."""
        return ({self.name} | {self.folder_of(source) for source in self.files}) - {""}


def clean_name(name: str) -> str:
    """A relative path as it is shown and stored: slashes, NFC, no control or direction marks, no `..`, not too long."""
    text = encodable(os.fsencode(name).decode("utf-8", "backslashreplace") if has_escapes(name) else name)
    text = unicodedata.normalize("NFC", text.replace("\\", "/"))
    text = "".join("_" if unicodedata.category(one) in ("Cc", "Cf", "Co", "Cs") else one for one in text)
    parts = [part.strip() for part in text.split("/") if part.strip() not in ("", ".", "..")]
    return "/".join(parts)[-LONGEST_NAME:].lstrip("/") or "unnamed"


def has_escapes(name: str) -> bool:
    """Whether a name from the system held bytes that are no UTF-8."""
    return any("\udc80" <= one <= "\udcff" for one in name)


def tags_of(name: str) -> tuple[str, ...]:
    """The names of the folders a file lies in, outermost first: its doc_type in the LangChain course's words."""
    return PurePosixPath(name).parts[:-1]


def hidden(name: str) -> bool:
    """Whether a path leads through what systems hide: .git, .DS_Store, __MACOSX."""
    parts = PurePosixPath(name).parts
    return any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in parts)


def distinct(files: Iterator[Source] | Sequence[Source]) -> tuple[Source, ...]:
    """The files by name; where two names became one, the later gets a number. Raises Problem for too many."""
    found: dict[str, Source] = {}
    for file in files:
        name, number = file.name, 2
        while name in found:
            before, dot, ending = file.name.rpartition(".")
            name, number = (f"{before} ({number}).{ending}" if dot else f"{file.name} ({number})"), number + 1
        found[name] = Source(file.path, name, file.tags, file.problem)
        if len(found) > MOST_FILES:
            raise Problem(TOO_MANY.format(MOST_FILES))
    return tuple(found[name] for name in sorted(found))


def from_folder(folder: Path, name: str | None = None) -> Sources:
    """Every file below a folder that is not hidden; symbolic links are refused, one row each.

    `name` is what the folder is called where it lies here under another name, as after an upload.
    """
    return Sources(distinct(below(folder)), clean_name(folder.resolve().name if name is None else name))


def below(folder: Path) -> Iterator[Source]:
    """The files of a folder and its sub-folders."""
    for place, folders, names in os.walk(folder):
        linked = [name for name in folders if (Path(place) / name).is_symlink()]
        folders[:] = sorted(name for name in folders if name not in linked)
        for name in sorted([*names, *linked]):
            path = Path(place) / name
            relative = path.relative_to(folder).as_posix()
            if hidden(relative):
                continue
            shown = clean_name(relative)
            yield Source(path, shown, tags_of(shown), not_a_file(path))


def not_a_file(path: Path) -> str:
    """Why a path is not read: a link, a pipe, a device; empty for a file."""
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return LINK
    return "" if stat.S_ISREG(mode) else "It is not a file but a pipe, socket or device."


def from_files(paths: Sequence[Path], names: Sequence[str] | None = None) -> Sources:
    """Some files, under their own names or under relative ones that are given."""
    shown = [clean_name(name) for name in names or [path.name for path in paths]]
    return Sources(
        distinct([Source(path, name, tags_of(name), not_a_file(path)) for path, name in zip(paths, shown, strict=True)])
    )


def from_zip(path: Path, into: Path, name: str | None = None) -> Sources:
    """The files of a zip, unpacked into a folder. A bad entry costs its row. Raises Problem for a bad or huge zip."""
    into.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir() and not hidden(entry.filename)]
            if len(entries) > MOST_FILES:
                raise Problem(TOO_MANY.format(MOST_FILES))
            if sum(entry.file_size for entry in entries) > MOST_UNPACKED:
                raise Problem(
                    f"The zip would unpack to more than {MOST_UNPACKED // 2**30} GB. Make smaller ones of it."
                )
            return Sources(
                distinct(list(unpacked(archive, entries, into))), clean_name(path.stem if name is None else name)
            )
    except zipfile.BadZipFile:
        raise Problem(f"{path.name} is no whole zip file. Make it again and add that.") from None


def unpacked(archive: zipfile.ZipFile, entries: Sequence[zipfile.ZipInfo], into: Path) -> Iterator[Source]:
    """Each entry, written to a file whose name is ours; refused ones are not written."""
    left = MOST_UNPACKED
    for number, entry in enumerate(entries):
        name = clean_name(entry.filename)
        problem = refused_entry(entry)
        target = into / f"{number:05d}{PurePosixPath(name).suffix.lower()[:8] if problem == '' else ''}"
        if not problem:
            try:
                left -= copied(archive, entry, target, min(left, entry.file_size))
            except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
                problem = f"It cannot be unpacked: {type(error).__name__}."
        yield Source(target, name, tags_of(name), problem)


def refused_entry(entry: zipfile.ZipInfo) -> str:
    """Why an entry of a zip is not unpacked; empty where it is."""
    parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
    if ".." in parts or entry.filename.startswith(("/", "\\")) or (parts and parts[0].endswith(":")):
        return "Its name points outside of the zip, so it was not unpacked."
    if stat.S_ISLNK(entry.external_attr >> 16):
        return LINK
    if entry.flag_bits & 1:
        return "It is locked with a password inside of the zip. Unpack it yourself and add the files."
    if entry.file_size > LARGEST:
        return f"It has {entry.file_size / 2**20:.0f} MB; at most {LARGEST // 2**20} MB are read."
    if entry.file_size > SMALL and entry.file_size > RATIO * max(1, entry.compress_size):
        return f"It would grow from {entry.compress_size} to {entry.file_size} bytes; it was taken for a zip bomb."
    if PurePosixPath(entry.filename).suffix.lower() not in KINDS:
        return f"Files of the kind '{PurePosixPath(entry.filename).suffix or 'without an ending'}' are not read."
    return ""


def copied(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, most: int) -> int:
    """Write an entry and return its bytes. Raises ValueError as soon as it is longer than it says."""
    written = 0
    with archive.open(entry) as inside, target.open("wb") as out:
        while piece := inside.read(PIECE):
            written += len(piece)
            if written > most:
                out.close()
                target.unlink()
                raise ValueError("longer than it says")
            out.write(piece)
    return written


def from_path(path: Path, into: Path) -> Sources:
    """A folder, a zip (unpacked into another folder) or one file. Raises Problem where there is nothing."""
    if path.is_dir():
        return from_folder(path)
    if path.suffix.lower() == ".zip" and path.is_file():
        return from_zip(path, into)
    if path.is_file():
        return from_files([path], [path.name.replace("\\", "_")])  # a single file has no folder, whatever its name
    raise Problem(f"There is nothing at {path}. Check the path; a folder, a zip or a file is wanted.")


def gathered(paths: Sequence[Path], into: Path) -> Sources:
    """Folders, zips and files together. Of several, each folder's name leads its files' paths. Raises Problem."""
    if len(paths) == 1:
        return from_path(paths[0], into)
    parts = [from_path(path, into / str(number)) for number, path in enumerate(paths)]
    return Sources(distinct([file for part in parts for file in below_its_name(part)]))


def below_its_name(part: Sources) -> Iterator[Source]:
    """The files of a folder or zip with its name as first part of their paths and first tag; single files as such."""
    top = part.name.replace("/", "_")
    for file in part.files:
        name = f"{top}/{file.name}" if top else file.name
        yield Source(file.path, name, tags_of(name), file.problem)


def forget(into: Path) -> None:
    """Remove what was unpacked."""
    shutil.rmtree(into, ignore_errors=True)
