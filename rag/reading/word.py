"""Word documents as pages of text: a page ends where Word last drew a page break, or where the author set one."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from rag.reading.kinds import Refused

LARGEST_INSIDE = 200 * 2**20  # bytes that the parts of a document may unpack to
BREAK = "\f"


def word_pages(path: Path) -> tuple[list[tuple[str, str]], str]:
    """(label, text) of each page. Raises Refused."""
    check_zip(path)
    import docx
    from docx.opc.exceptions import PackageNotFoundError

    try:
        document = docx.Document(str(path))
    except (PackageNotFoundError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise Refused(f"It is no whole Word document ({type(error).__name__}). Save it again, or as PDF.") from None
    blocks = []
    for block in document.iter_inner_content():
        blocks.append(table_text(block) if hasattr(block, "rows") else paragraph_text(block))
    pages = "\n\n".join(block for block in blocks if block.strip(" \t")).split(BREAK)
    texts = [page.strip("\n") for page in pages]
    if len(texts) > 1 and not texts[-1]:
        texts.pop()
    return [(str(at + 1), text) for at, text in enumerate(texts)], ""


def check_zip(path: Path) -> None:
    """Refuse a document that would unpack to more than is sane."""
    try:
        with zipfile.ZipFile(path) as parts:
            size = sum(part.file_size for part in parts.infolist())
            names = parts.namelist()
    except zipfile.BadZipFile:
        raise Refused("The file is damaged: it ends too early or is no Word document.", "failed") from None
    if size > LARGEST_INSIDE:
        raise Refused(f"It would unpack to {size / 2**20:.0f} MB; at most {LARGEST_INSIDE // 2**20} MB are read.")
    if "word/document.xml" not in names:
        raise Refused("It is a zip or another Office file, not a Word document.")


def paragraph_text(paragraph: Any) -> str:
    """A paragraph's text; headings begin with #, and page breaks are form feeds."""
    pieces = []
    for element in paragraph._p.iter():
        tag = element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
        if tag == "t":
            pieces.append(element.text or "")
        elif tag == "tab":
            pieces.append("\t")
        elif tag == "lastRenderedPageBreak" or (tag == "br" and "page" in element.attrib.values()):
            pieces.append(BREAK)
        elif tag in ("br", "cr"):
            pieces.append("\n")
    text = "".join(pieces)
    style = str(getattr(paragraph.style, "name", "") or "")
    if text.strip() and (style == "Title" or style.startswith("Heading")):
        level = style.removeprefix("Heading ")
        before, broken, after = text.rpartition(BREAK)
        return f"{before}{broken}\n{'#' * int(level) if level.isdigit() else '#'} {after}"
    return text


def table_text(table: Any) -> str:
    """A table's rows as lines; a merged cell is told once."""
    lines = []
    for row in table.rows:
        cells: list[str] = []
        for cell in row.cells:
            text = " ".join(cell.text.split())
            if not cells or cells[-1] != text:
                cells.append(text)
        lines.append(" | ".join(cells))
    return "\n".join(line for line in lines if line.strip(" |"))
