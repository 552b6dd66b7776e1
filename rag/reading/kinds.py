"""Which kind of document a file is: by its name, and by its first bytes where they say otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

KINDS = {
    ".pdf": "pdf", ".md": "md", ".markdown": "md", ".txt": "txt", ".text": "txt", ".rst": "txt", ".html": "html",
    ".htm": "html", ".docx": "docx", ".csv": "csv", ".tsv": "csv",
}  # fmt: skip
READ = "PDF, Markdown, text, HTML, DOCX and CSV"
LARGEST = 300 * 2**20  # bytes of one file
LOOKED_AT = 1024  # bytes; a PDF may begin with that much of something else


class Refused(Exception):
    """A file that is not read, with the state and the sentence for its row in the report."""

    def __init__(self, reason: str, state: str = "refused"):
        super().__init__(reason)
        self.reason, self.state = reason, state


@dataclass(frozen=True)
class Kind:
    """A kind of document, and a sentence where the name promised another."""

    name: str
    note: str = ""


def kind_of(path: Path, name: str = "") -> Kind:
    """What the file is. `name` is its name where the path has another. Raises Refused."""
    suffix = PurePosixPath(name or path.name).suffix.lower()
    said = KINDS.get(suffix)
    if said is None:
        raise Refused(f"Files of the kind '{suffix or 'without an ending'}' are not read; {READ} are.")
    size = path.stat().st_size
    if size == 0:
        raise Refused("The file is empty (0 bytes).")
    if size > LARGEST:
        raise Refused(f"The file has {size / 2**20:.0f} MB; at most {LARGEST // 2**20} MB are read.")
    with path.open("rb") as file:
        start = file.read(LOOKED_AT)
    return looked_at(said, suffix, start)


def looked_at(said: str, suffix: str, start: bytes) -> Kind:
    """The kind after a look at the first bytes. Raises Refused where they are none that is read."""
    if b"%PDF-" in start:
        return Kind("pdf", "" if said == "pdf" else f"It is named {suffix} but is a PDF; it was read as PDF.")
    if start.startswith(b"PK\x03\x04"):
        if said == "docx":
            return Kind("docx")
        raise Refused(f"It is named {suffix} but is a zip or Office file. Rename it to what it is.")
    if said == "docx":
        raise Refused("It is named .docx but is no Word document. Save it as .docx again, or as PDF.")
    if said == "pdf":
        if looks_like_html(start):
            return Kind("html", "It is named .pdf but is HTML; it was read as HTML.")
        raise Refused("It is named .pdf but is no PDF: its first bytes say nothing of one.")
    if binary(start):
        raise Refused(f"It is named {suffix} but does not look like text.")
    return Kind(said)


def looks_like_html(start: bytes) -> bool:
    """Whether bytes begin as a page of the web does."""
    head = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return head.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<!--")) or b"<html" in head


def binary(start: bytes) -> bool:
    """Whether bytes are no text of any encoding that is read: zeros outside UTF-16, or many control characters."""
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return False
    even, odd = start[0::2], start[1::2]
    if (half := len(odd)) >= 4 and (odd.count(0) > 0.7 * half) != (even.count(0) > 0.7 * half):
        return False
    control = sum(byte < 9 or 13 < byte < 27 or 27 < byte < 32 for byte in start)
    return b"\0" in start or control > len(start) // 20
