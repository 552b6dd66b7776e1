"""A PDF whose end is missing, with a new table of its objects, so that pdfium can read what is left."""

from __future__ import annotations

import re
from pathlib import Path

OBJECT = re.compile(rb"(?:^|[\r\n])(\d{1,10}) (\d{1,5}) obj\b")
CATALOG = re.compile(rb"/Type\s*/Catalog\b")
PAGES = re.compile(rb"/Type\s*/Pages\b")


def mended(path: Path) -> bytes | None:
    """The file's bytes with a table and a trailer behind them; None where no page tree is left in plain sight."""
    data = path.read_bytes()
    starts = [(int(found.group(1)), found.start(1)) for found in OBJECT.finditer(data)]
    bounds = [start for _, start in starts[1:]] + [len(data)]
    offsets: dict[int, int] = {}
    root, trees = 0, []
    for (number, start), end in zip(starts, bounds, strict=True):
        body = data[start:end]
        if b"endobj" not in body:
            continue
        offsets[number] = start
        head = body.partition(b"stream")[0]
        root = number if CATALOG.search(head) else root
        if PAGES.search(head) and b"/Parent" not in head:
            trees.append(number)
    if not root and trees:
        root = max(offsets) + 1
        offsets[root] = len(data) + 1
        data += b"\n%d 0 obj\n<< /Type /Catalog /Pages %d 0 R >>\nendobj" % (root, trees[0])
    return with_table(data, offsets, root) if root else None


def with_table(data: bytes, offsets: dict[int, int], root: int) -> bytes:
    """The bytes followed by a cross-reference table and a trailer, one section for each object."""
    rows = b"".join(b"%d 1\n%010d 00000 n \n" % (number, offsets[number]) for number in sorted(offsets))
    size, place = max(offsets) + 1, len(data) + 1
    ending = b"trailer\n<< /Size %d /Root %d 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, root, place)
    return data + b"\nxref\n0 1\n0000000000 65535 f \n" + rows + ending
