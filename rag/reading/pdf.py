"""PDF pages as text: pdfium first, pypdf where pdfium cannot open the file. Runs in the child process only."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rag.reading.kinds import Refused
from rag.reading.layout import Line, bars_first, columns_in_order, structured
from rag.reading.mend import mended

LOCKED = "It is locked with a password. Give its password and add it again."
WRONG = "The password that was given does not open it. Check it and add the file again."
NOT_OPENED = "It cannot be opened as PDF, neither by pdfium nor by pypdf: it is damaged. Save or download it again."
CUT = "The file ends in the middle (its last bytes are missing); {read} of {pages} pages could be read."
MENDED = "pdfium cannot open it, so it was read by pypdf, which does not tell columns apart."
FAILED = "{failed} of {pages} pages could not be read."
END = re.compile(rb"%%EOF|startxref\s+\d")  # either stands at the end of a whole file
PADDING = b"\0\t\r\n "
GAP = 1.2  # times the height of the letters: a wider blank may stand between two columns
REMOVE_SECURITY = 3  # FPDF_REMOVE_SECURITY of fpdf_save.h


def opened(path: Path, passwords: Sequence[str]) -> Any:
    """The document in pdfium, or None where it is damaged. Raises Refused where it is locked."""
    import pypdfium2
    from pypdfium2 import raw

    for password in (None, *passwords):
        try:
            return pypdfium2.PdfDocument(path, password=password)
        except pypdfium2.PdfiumError as error:
            if error.err_code != raw.FPDF_ERR_PASSWORD:
                return None if b"%%EOF" in tail(path) else opened_without_end(path)
    raise Refused(WRONG if passwords else LOCKED, "encrypted")


def opened_without_end(path: Path) -> Any:
    """The document in pdfium after its missing table was made anew; None where that is not enough."""
    import pypdfium2

    data = mended(path)
    if data is None:
        return None
    try:
        document = pypdfium2.PdfDocument(data)
        return document if len(document) else None
    except pypdfium2.PdfiumError:
        return None


def pdf_pages(path: Path, passwords: Sequence[str], copy: Path | None) -> Iterator[int | tuple[str, str] | Refused]:
    """First the number of pages, then (label, text) of each; at the end a Refused where something was lost.

    `copy` is where a locked file goes without its lock, so that its pages can be drawn later.
    """
    document = opened(path, passwords)
    if document is None:
        yield from pages_by_pypdf(path, passwords)
        return
    if copy and locked(document):
        document.save(copy, flags=REMOVE_SECURITY)
    count, read = len(document), 0
    yield count
    for index in range(count):
        text = page_text(document, index)
        read += bool(text.strip())
        yield label_of(document, index), text
    if lacks_end(path):
        yield Refused(CUT.format(read=read, pages=count))


def locked(document: Any) -> bool:
    """Whether the file is encrypted, be it with an empty password."""
    from pypdfium2 import raw

    return raw.FPDF_GetSecurityHandlerRevision(document) != -1


def label_of(document: Any, index: int) -> str:
    """What is printed on a page, or its number from 1."""
    try:
        return document.get_page_label(index).strip() or str(index + 1)
    except (ValueError, UnicodeError, RuntimeError):
        return str(index + 1)


def tail(path: Path) -> bytes:
    """The last 2 KiB of a file, without what fills it up to a size."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2**16))
        return file.read().rstrip(PADDING)[-2048:]


def lacks_end(path: Path) -> bool:
    """Whether the last bytes of a file are missing."""
    return not END.search(tail(path))


def page_text(document: Any, index: int) -> str:
    """A page's text, with blank lines between paragraphs and two before headings; empty where it is damaged."""
    import pypdfium2

    try:
        page = document[index]
        words = page.get_textpage()
    except pypdfium2.PdfiumError:
        return ""
    try:
        text = words.get_text_range()
        lines = lines_of(words, text)
        return structured(bars_first(lines)) if lines else text.replace("\r\n", "\n")
    finally:
        words.close()
        page.close()


def lines_of(words: Any, text: str) -> list[Line]:
    """Each line with where it stands and how tall its letters are; empty where characters cannot be told apart."""
    from pypdfium2 import raw

    wide = text.isascii() or max(text) < "\U00010000"
    units = len(text) if wide else len(text.encode("utf-16-le", "surrogatepass")) // 2
    if units != words.count_chars():
        return []
    found, at = [], 0
    for part in text.split("\r\n"):
        size = len(part) if wide else len(part.encode("utf-16-le", "surrogatepass")) // 2
        if part.strip():
            first = at + len(part) - len(part.lstrip())
            line = line_at(words, part.strip(), first, at + size - 1 - (len(part) - len(part.rstrip())))
            if line is None:
                return []
            found.append(line)
        at += size + 2
    # as many runs of letters as that for a line: there may be columns, which pdfium joined across the gap
    if wide and raw.FPDFText_CountRects(words, 0, -1) >= 1.6 * len(found):
        return columns_in_order([piece for line in found for piece in apart(words, line)], found)
    return found


def line_at(words: Any, text: str, first: int, last: int) -> Line | None:
    """The line between two characters of the page; None where pdfium knows no place for the first."""
    start, end = box_of(words, first), box_of(words, last)
    if start is None:
        return None
    end = end or start
    return Line(text, start[0], max(end[1], start[0]), start[2], start[3], end[3], first)


def box_of(words: Any, at: int) -> tuple[float, float, float, float] | None:
    """(left, right, top, bottom) of one character's cell in points."""
    from pypdfium2 import raw

    box = raw.FS_RECTF()
    if not raw.FPDFText_GetLooseCharBox(words, at, ctypes.byref(box)):
        return None
    return box.left, box.right, box.top, box.bottom


def apart(words: Any, line: Line) -> Iterator[Line]:
    """A line in pieces, cut at blanks that are as wide as the gap between columns."""
    begin = 0
    for at, letter in enumerate(line.text):
        if letter == " " and 0 < at < len(line.text) - 1:
            before, after = box_of(words, line.at + at - 1), box_of(words, line.at + at + 1)
            if before and after and after[0] - before[1] > GAP * max(line.height, 1):
                if piece := line_at(words, line.text[begin:at], line.at + begin, line.at + at - 1):
                    yield piece
                begin = at + 1
    if piece := line_at(words, line.text[begin:], line.at + begin, line.at + len(line.text) - 1):
        yield piece


def pages_by_pypdf(path: Path, passwords: Sequence[str]) -> Iterator[int | tuple[str, str] | Refused]:
    """The same from pypdf, which mends more damage and is slower. Raises Refused."""
    import logging

    from pypdf import PdfReader
    from pypdf.errors import DependencyError, PyPdfError

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = PdfReader(path, strict=False)
        if reader.is_encrypted and not any(reader.decrypt(password) for password in ("", *passwords)):
            raise Refused(WRONG if passwords else LOCKED, "encrypted")
        count = len(reader.pages)
    except DependencyError:
        raise Refused(LOCKED, "encrypted") from None
    except (PyPdfError, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise Refused(NOT_OPENED, "failed") from None
    if count == 0:
        raise Refused(NOT_OPENED, "failed")
    yield count
    read = failed = 0
    for index, label in enumerate(labels_by_pypdf(reader, count)):
        text = ""
        try:
            text = reader.pages[index].extract_text()
            read += bool(text.strip())
        except Exception:
            failed += 1
        yield label, text
    yield what_was_lost(path, read, failed, count)


def labels_by_pypdf(reader: Any, count: int) -> list[str]:
    """What is printed on each page, or its number from 1."""
    try:
        labels = reader.page_labels
    except Exception:  # a broken table of labels costs the labels, not the text
        labels = []
    return [(labels[at].strip() if at < len(labels) else "") or str(at + 1) for at in range(count)]


def what_was_lost(path: Path, read: int, failed: int, pages: int) -> Refused:
    """The sentence for a file that pypdf alone could open; a note where every page of it was read."""
    if lacks_end(path):
        return Refused(CUT.format(read=read, pages=pages))
    if failed:
        return Refused(f"{MENDED} {FAILED.format(failed=failed, pages=pages)}")
    return Refused(MENDED, "note")


def page_count(path: Path) -> int:
    """How many pages a PDF has; 0 where pdfium cannot open it."""
    try:
        document = opened(path, ())
    except Refused:
        return 0
    return len(document) if document else 0
