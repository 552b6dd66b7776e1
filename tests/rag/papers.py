"""Documents for the tests of rag, drawn or written on the spot, sound ones and broken ones."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from reportlab.lib.pagesizes import A4
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas


def pdf(path: Path, pages: Sequence[Sequence[str]], password: str | None = None, labels: bool = False) -> Path:
    """A PDF with these lines on its pages; locked with a password, or with roman labels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = None if password is None else StandardEncryption(password, ownerPassword="owner", strength=128)
    canvas = Canvas(str(path), pagesize=A4, encrypt=lock)
    for number, lines in enumerate(pages):
        if labels:
            canvas.addPageLabel(number, style="ROMAN_LOWER", start=number + 1)
        for at, line in enumerate(lines):
            canvas.drawString(72, 770 - 16 * at, line)
        canvas.showPage()
    canvas.save()
    return path


def two_columns(path: Path, left: Sequence[str], right: Sequence[str]) -> Path:
    """A page whose file writes the columns line by line across the page."""
    canvas = Canvas(str(path), pagesize=A4)
    for at, (first, second) in enumerate(zip(left, right, strict=True)):
        canvas.drawString(60, 770 - 16 * at, first)
        canvas.drawString(320, 770 - 16 * at, second)
    canvas.save()
    return path


def scanned(path: Path) -> Path:
    """A page that is only a picture."""
    picture = io.BytesIO()
    Image.new("L", (200, 300), 200).save(picture, "PNG")
    picture.seek(0)
    canvas = Canvas(str(path), pagesize=A4)
    canvas.drawImage(ImageReader(picture), 50, 50, 400, 600)
    canvas.save()
    return path


def with_unicode(path: Path, text: str) -> Path:
    """A page whose letters, from left to right, stand for any characters: their font says so in a ToUnicode map."""
    codes = {letter: code for code, letter in enumerate(dict.fromkeys(text), start=65)}

    def utf_16(letter: str) -> bytes:
        return letter.encode("utf-16-be", "surrogatepass").hex().encode()

    rows = b"\n".join(b"<%02x> <%s>" % (code, utf_16(letter)) for letter, code in codes.items())
    to_unicode = (
        b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def /CMapType 2 def "
        b"1 begincodespacerange <00> <ff> endcodespacerange %d beginbfchar\n%s\nendbfchar endcmap end end"
    ) % (len(codes), rows)
    shown = bytes(codes[letter] for letter in text).hex().encode()
    content = b"BT /F 24 Tf 72 700 Td <%s> Tj ET" % shown
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
        b"/Resources << /Font << /F 5 0 R >> >> >>",
        b"<< /Length %d >> stream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 6 0 R >>",
        b"<< /Length %d >> stream\n%s\nendstream" % (len(to_unicode), to_unicode),
    ]
    path.write_bytes(assembled(objects))
    return path


def assembled(objects: Sequence[bytes]) -> bytes:
    """A PDF of numbered objects, the first of which is the catalog."""
    data, places = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    rows = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    table = b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, rows)
    return data + table + b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, len(data))


def bomb(path: Path, megabytes: int) -> Path:
    """A PDF whose page unpacks to that many megabytes."""
    content = zlib.compress(b" " * (megabytes * 2**20), 9)
    stream = b"<< /Length %d /Filter /FlateDecode >> stream\n%s\nendstream" % (len(content), content)
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R >>"
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>", page, stream]
    path.write_bytes(assembled(objects))
    return path


def prose(topic: str, sentences: int = 12) -> str:
    """Some different sentences on a topic."""
    return " ".join(
        f"Sentence number {at} speaks about {topic} and about what follows from {at * 7}." for at in range(sentences)
    )
