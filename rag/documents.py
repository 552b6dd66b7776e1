"""Reads documents into pages: in a child process with limits, so that a bad file costs its own row and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.messages import encodable
from engine.settings import ROOT
from rag.types import Page

SECONDS = 120.0  # for one file
PEEK = 15.0  # for a look whether a file is locked: a person waits for it
ENCRYPTED = "encrypted"  # the state of a file that no password has opened
GARBLED = 0.12  # share of characters that stand for none: from there on a page cannot be used
CRASHED = "Reading it broke the reader (it was damaged, or took too much memory). Save or download it again."
LATE = "Reading it took longer than {seconds:g} seconds"


@dataclass(frozen=True)
class Document:
    """One file as it was read. `state` is "" where it can be used, else encrypted, refused or failed."""

    path: Path
    kind: str = ""
    pages: tuple[Page, ...] = ()
    state: str = ""
    reason: str = ""
    lost: bool = False  # something of it could not be read

    @property
    def text(self) -> str:
        """The raw text of all pages."""
        return "\n".join(page.raw for page in self.pages)


@dataclass
class Reader:
    """The child process, started by the first file and again after it was killed. Use it from one thread, in a with."""

    seconds: float = SECONDS
    process: subprocess.Popen[bytes] | None = None
    rest: bytes = field(default=b"", repr=False)
    locked: set[Path] = field(default_factory=set)  # what `count` met that opens with a password only

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child; what it said and nobody read is gone."""
        self.rest = b""
        if self.process:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def read(self, path: Path, name: str = "", passwords: Sequence[str] = (), copy: Path | None = None) -> Document:
        """The pages of a file. `name` is what people call it, `copy` where a PDF goes without its password."""
        request = {"path": str(path), "name": name or path.name, "passwords": list(passwords)}
        pages: list[Page] = []
        kind, total, end = "", 0, {}
        try:
            for line in self.lines({**request, "copy": str(copy) if copy else ""}):
                kind, total = line.get("kind", kind), line.get("pages", total)
                if "page" in line:
                    pages.append(page_from(line))
                end = line
        except TimeoutError:
            late = f"{LATE.format(seconds=self.seconds)}; {len(pages)} of {total or '?'} pages were read."
            return Document(path, kind, tuple(pages), "" if pages else "failed", late, lost=True)
        except EOFError:
            return Document(path, kind, (), "failed", CRASHED)
        if "refused" in end:
            return Document(path, kind, (), end["state"], end["refused"])
        return Document(path, kind, tuple(pages), "", " ".join(end.get("notes", ())), bool(end.get("lost")))

    def count(self, path: Path, name: str = "") -> int:
        """About how many pages a file has, for an estimate; 0 where it cannot be opened. Notes which are locked."""
        try:
            *_, end = self.lines({"path": str(path), "name": name or path.name, "count": True})
        except (TimeoutError, EOFError):
            return 0
        pages = int(end.get("pages", 0))
        if not pages and end.get("kind") == "pdf" and self.stays_locked(path, name):
            self.locked.add(path)
        return pages

    def stays_locked(self, path: Path, name: str = "", password: str = "") -> bool:
        """Whether a password does not open a file; what else is wrong with it does not count."""
        request = {"path": str(path), "name": name or path.name, "passwords": [password] if password else []}
        try:
            first = next(self.lines(request, PEEK))
        except (TimeoutError, EOFError):
            return False
        if not first.get("end"):
            self.close()  # it is open, and the child would go on reading
        return first.get("state") == ENCRYPTED

    def lines(self, request: dict[str, Any], seconds: float | None = None) -> Iterator[dict[str, Any]]:
        """What the child says to a request. Raises TimeoutError or EOFError, after which the child is gone."""
        deadline = time.monotonic() + (seconds or self.seconds)
        process = self.asked(json.dumps(request).encode() + b"\n")
        while True:
            line = json.loads(self.line(process, deadline))
            yield line
            if line.get("end"):
                return

    def asked(self, request: bytes) -> subprocess.Popen[bytes]:
        """The child after it was sent a request; a new one where the old one was gone."""
        for fresh in (False, True):
            process = self.process = self.process or started()
            try:
                process.stdin.write(request)  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]
                if fresh or process.poll() is None:
                    return process
            except OSError:
                pass
            self.close()
        raise EOFError

    def line(self, process: subprocess.Popen[bytes], deadline: float) -> bytes:
        """The next line from the child before a moment in time."""
        pieces = [self.rest]
        with selectors.DefaultSelector() as waiting:
            waiting.register(process.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]
            while b"\n" not in pieces[-1]:
                if not waiting.select(max(0.0, deadline - time.monotonic())):
                    self.close()
                    raise TimeoutError
                got = os.read(process.stdout.fileno(), 2**16)  # type: ignore[union-attr]
                if not got:
                    self.close()
                    raise EOFError
                pieces.append(got)
        line, _, self.rest = b"".join(pieces).partition(b"\n")
        return line


def started() -> subprocess.Popen[bytes]:
    """A new child, without this process's secrets."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-m", "rag.reading.child"],
        cwd=ROOT,
        env={**environment, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def page_from(line: dict[str, Any]) -> Page:
    """A page as the child told it, with what is wrong with it."""
    raw = encodable(str(line["text"])).replace("\r\n", "\n").replace("\0", "")
    fault = "truncated" if line.get("cut") else fault_of(raw)
    return Page(int(line["page"]), encodable(str(line["label"]))[:40], raw, raw, fault=fault)


def fault_of(text: str) -> str:
    """ "empty" for a page without text, as on a scan; "garbled" where many characters stand for none; else ""."""
    letters = "".join(text.split())
    if not letters:
        return "empty"
    broken = sum(one == "\ufffd" or "\ue000" <= one <= "\uf8ff" or (one < " ") for one in letters)
    coded = letters.count("(cid:")
    if broken + 5 * coded > GARBLED * len(letters):
        return "garbled"
    return ""


def read(path: Path, passwords: Sequence[str] = (), seconds: float = SECONDS) -> Document:
    """One file, read by a child of its own."""
    with contextlib.closing(Reader(seconds)) as reader:
        return reader.read(path, passwords=passwords)
