"""Finds the encoding of a text file from its bytes: UTF-8, UTF-16 or Windows-1252."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
LOOKED_AT = 4 * 2**20  # bytes at the start of the file
WIDE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
HIGH = re.compile(rb"[\x80-\xff]")
NEVER_IN_WINDOWS = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")  # bytes that Windows-1252 leaves undefined
ESCAPED = re.compile("[\udc80-\udcff]")


def encoding_of(path: Path) -> tuple[str, str]:
    """(Python's name of the encoding, a note when it is not UTF-8). Looks at the first 4 MiB."""
    with path.open("rb") as file:
        start = file.read(LOOKED_AT)
    for mark, name in MARKS:
        if start.startswith(mark):
            return name, "" if name == "utf-8-sig" else "The file is UTF-16."
    if wide := utf_16_without_mark(start):
        return wide, "The file is UTF-16 without a mark at its start."
    if is_windows(start):
        return "cp1252", "The file is not UTF-8; it is read as Windows-1252. Look whether accents come out right."
    return "utf-8", ""


def utf_16_without_mark(start: bytes) -> str:
    """The UTF-16 kind of mostly Latin text, where every second byte is zero; empty where it is something else."""
    even, odd = start[0:2000:2], start[1:2000:2]
    if len(odd) < 4:
        return ""
    if odd.count(0) > 0.7 * len(odd) and even.count(0) == 0:
        return "utf-16-le"
    return "utf-16-be" if even.count(0) > 0.7 * len(even) and odd.count(0) == 0 else ""


def is_windows(start: bytes) -> bool:
    """Whether bytes above 127 never form UTF-8 and are all defined in Windows-1252.

    One broken line in a file that is otherwise UTF-8 is thus that line's fault and not the file's encoding.
    """
    rest = WIDE.sub(b"", start)
    return len(rest) == len(start) and bool(HIGH.search(rest)) and not NEVER_IN_WINDOWS.search(rest)


def undecoded(text: str) -> bool:
    """Whether the text holds bytes that could not be decoded (as `surrogateescape` marks them)."""
    return not text.isascii() and ESCAPED.search(text) is not None
