"""A page of a PDF as a picture with the cited passage marked; the drawing runs in a child that may die."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
import unicodedata
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from engine.errors import Problem
from engine.settings import ROOT

WIDTH = 920  # pixels of a picture: sharp on a desktop, small enough to travel inside the page
SECONDS = 30  # for one page; a plain one takes well under a second
MEMORY = 2 * 2**30  # bytes of address space that the child may take
TALLEST = 4000  # pixels; a page that is a long ribbon is drawn smaller
SEED = 24  # letters that must agree before a stretch counts as the passage
STEP = 6  # letters to go on by where a seed is not found
MARK = (255, 214, 64)  # what a marked line is multiplied with: yellow under black letters
BETWEEN = re.compile(r"\W*", re.UNICODE)


@dataclass(frozen=True)
class Picture:
    """A drawn page: PNG bytes, its size in pixels, and the boxes (left, top, right, bottom) that are marked."""

    png: bytes
    width: int
    height: int
    boxes: tuple[tuple[int, int, int, int], ...]


def picture(path: Path, page: int, passage: str, password: str = "") -> Picture:
    """Draw page `page` (from 0) of a PDF. Raises Problem with a sentence where it cannot be drawn."""
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise Problem("The file that the passage came from is no longer there.") from error
    return drawn(str(path), changed, page, passage, password)


@functools.lru_cache(maxsize=32)
def drawn(path: str, changed: int, page: int, passage: str, password: str) -> Picture:
    """The picture out of a child process; `changed` only keeps an old picture from being shown for a new file."""
    wish = json.dumps({"path": path, "page": page, "passage": passage, "password": password})
    command = [sys.executable, "-m", "rag.render"]
    try:
        child = subprocess.run(  # noqa: S603 - our own module, no shell
            command, input=wish.encode(), capture_output=True, timeout=SECONDS, cwd=ROOT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Problem(f"Drawing this page took longer than {SECONDS} seconds; it is shown as text.") from error
    head, _, png = child.stdout.partition(b"\n")
    if child.returncode or not head:
        raise Problem("This page cannot be drawn; it is shown as text.")
    told = json.loads(head)
    boxes = tuple((int(a), int(b), int(c), int(d)) for a, b, c, d in told["boxes"])
    return Picture(png, int(told["width"]), int(told["height"]), boxes)


def spans(page: str, passage: str) -> list[tuple[int, int]]:
    """Where a passage stands in a page's text, as (start, end) in order; only letters and digits count.

    A passage was cleaned (ligatures, hyphens at line ends, running heads) and may begin on the page before, so it
    is looked for piece by piece: a seed of SEED letters is found, then followed both ways as far as both agree.
    """
    letters, places = plain(page)
    wanted, _ = plain(passage)
    seed = min(SEED, len(wanted))
    found: list[tuple[int, int]] = []
    at = after = 0
    while seed and at + seed <= len(wanted):
        piece = wanted[at : at + seed]
        start = letters.find(piece, after)
        if start < 0:
            start = letters.find(piece)
        if start < 0:
            at += STEP
            continue
        back = 0
        while back < min(STEP, at, start) and letters[start - back - 1] == wanted[at - back - 1]:
            back += 1
        length = seed
        while at + length < len(wanted) and letters[start + length : start + length + 1] == wanted[at + length]:
            length += 1
        found.append((places[start - back], places[start + length - 1] + 1))
        at, after = at + length, start + length
    return joined(page, sorted(found))


def plain(text: str) -> tuple[str, list[int]]:
    """Letters and digits of a text in one case and normal form, and for each the place that it came from."""
    letters: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        for each in unicodedata.normalize("NFKC", character).casefold():
            if each.isalnum():
                letters.append(each)
                places.append(place)
    return "".join(letters), places


def joined(text: str, found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans that overlap, or have only spaces and punctuation between them, made one."""
    made: list[tuple[int, int]] = []
    for start, end in found:
        if made and (start <= made[-1][1] or BETWEEN.fullmatch(text, made[-1][1], start)):
            made[-1] = (made[-1][0], max(end, made[-1][1]))
        else:
            made.append((start, end))
    return made


def draw(path: str, page: int, passage: str, password: str) -> tuple[dict[str, Any], bytes]:
    """Draw in this process: the picture's size and boxes, and its PNG bytes."""
    import pypdfium2

    with pypdfium2.PdfDocument(path, password=password or None) as document:
        drawn_page = document[page]
        wide, tall = drawn_page.get_size()
        bitmap = drawn_page.render(scale=min(WIDTH / wide, TALLEST / tall))
        image = bitmap.to_pil().convert("RGB")
        boxes = marked_boxes(drawn_page, bitmap.get_posconv(drawn_page), passage)
    out = BytesIO()
    marked(image, boxes).save(out, "PNG")
    return {"width": image.width, "height": image.height, "boxes": boxes}, out.getvalue()


def marked_boxes(page: Any, position: Any, passage: str) -> list[tuple[int, int, int, int]]:
    """The passage's lines on a pdfium page, in pixels of the picture."""
    import pypdfium2.raw as pdfium

    words = page.get_textpage()
    codes = (pdfium.FPDFText_GetUnicode(words, place) for place in range(words.count_chars()))
    text = "".join(chr(code) if code else " " for code in codes)
    boxes = []
    for start, end in spans(text, passage):
        for number in range(words.count_rects(start, end - start)):
            left, bottom, right, top = words.get_rect(number)
            (x1, y1), (x2, y2) = position.to_bitmap(left, top), position.to_bitmap(right, bottom)
            boxes.append((min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)))
    return lines(boxes)


def lines(boxes: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Boxes of letters and words in reading order, joined where they stand beside each other on one line."""
    made: list[tuple[int, int, int, int]] = []
    for left, top, right, bottom in boxes:
        if made:
            a, b, c, d = made[-1]
            shared, height = min(bottom, d) - max(top, b), min(bottom - top, d - b)
            if shared > 0 and 2 * shared >= height and left - c < max(bottom - top, d - b) and right > a:
                made[-1] = (min(a, left), min(b, top), max(c, right), max(d, bottom))
                continue
        made.append((left, top, right, bottom))
    return made


def marked(image: Any, boxes: list[tuple[int, int, int, int]]) -> Any:
    """The picture with boxes coloured as with a marker pen: dark letters stay dark."""
    from PIL import Image, ImageChops, ImageDraw

    ink = Image.new("RGB", image.size, (255, 255, 255))
    pen = ImageDraw.Draw(ink)
    for left, top, right, bottom in boxes:
        pen.rectangle((left - 2, top - 2, right + 2, bottom + 2), fill=MARK)
    return ImageChops.multiply(image, ink)


def limited() -> None:
    """Let this process take only so much memory and time; where the system knows no such limits, go on."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def main() -> int:
    """The child: a wish as JSON on stdin; a line of JSON and then the PNG on stdout."""
    limited()
    wish = json.loads(sys.stdin.buffer.read())
    told, png = draw(wish["path"], int(wish["page"]), wish["passage"], wish["password"])
    sys.stdout.buffer.write(json.dumps(told).encode() + b"\n" + png)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
