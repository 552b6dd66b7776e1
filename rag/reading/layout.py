"""From lines with their places on a page to text: columns in order, paragraphs, headings."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

WIDER = 1.35  # times the usual distance of lines: from there on a new paragraph
TALLER = 1.15  # times the letters of most of the page: from there on a heading
LONGEST_HEADING = 150
COLUMN = 5  # lines that a column has at least
PROSE = 18  # letters that half of a column's lines have at least; a table's cells are shorter


@dataclass(frozen=True)
class Line:
    """One line of text and its box in points; `top` is above `bottom`, as in PDF.

    `ends` is the bottom of its last letter: pdfium makes one line of two where the first ends in a hyphen.
    """

    text: str
    left: float
    right: float
    top: float
    bottom: float
    ends: float
    at: int = 0  # the first letter's number on the page

    @property
    def height(self) -> float:
        """How tall its letters are, rounded so that equal type compares equal."""
        return round(self.top - self.bottom, 1)


def bars_first(lines: Sequence[Line]) -> Sequence[Line]:
    """The lines, those first that come last in the file but stand above all: a bar a browser laid over the page."""
    if len(lines) > 3 and lines[0].top < min(line.bottom for line in lines[-2:]):
        late = [line for line in lines if line.bottom > lines[0].top]
        return [*late, *(line for line in lines if line not in late)]
    return lines


def columns_in_order(pieces: Sequence[Line], lines: Sequence[Line]) -> list[Line]:
    """The pieces of lines as people read them: where the file jumps between two columns of prose, one after the other.

    What is no prose, such as a table, stays in the lines it came in.
    """
    starts = sorted(piece.left for piece in pieces)
    gutter = max(itertools.pairwise(starts), key=lambda pair: pair[1] - pair[0], default=(0.0, 0.0))[1]
    left = [piece for piece in pieces if piece.right <= gutter + 1]
    right = [piece for piece in pieces if piece.left >= gutter - 1]
    first, second = set(left), set(right)
    jumps = sum((a in first) != (b in first) for a, b in itertools.pairwise(pieces) if {a, b} <= first | second)
    if min(len(left), len(right)) < COLUMN or jumps < 0.3 * len(pieces):
        return list(lines)
    if min(median(len(piece.text) for piece in side) for side in (left, right)) < PROSE:
        return list(lines)
    top = max(piece.top for piece in (*left, *right))
    across = [piece for piece in pieces if piece not in first | second]
    above = [piece for piece in across if piece.bottom >= top - 1]
    return [*above, *left, *right, *(piece for piece in across if piece not in above)]


def structured(lines: Sequence[Line]) -> str:
    """Text with a blank line before each paragraph and two before each heading."""
    body = usual_height(lines)
    pitch = usual_pitch(lines)
    parts: list[str] = []
    for before, line in zip([None, *lines], lines, strict=False):
        heading = is_heading(line, body)
        if before is None:
            parts.append("\n\n" + line.text if heading else line.text)
        elif heading and not (is_heading(before, body) and same_block(before, line, pitch)):
            parts.append("\n\n\n" + line.text)
        elif heading or same_block(before, line, pitch):
            parts.append("\n" + line.text)
        else:
            parts.append("\n\n" + line.text)
    return "".join(parts)


def usual_height(lines: Sequence[Line]) -> float:
    """The height of letters that most of the page's characters have."""
    counts: Counter[float] = Counter()
    for line in lines:
        counts[line.height] += len(line.text)
    return counts.most_common(1)[0][0] if counts else 0.0


def usual_pitch(lines: Sequence[Line]) -> dict[float, float]:
    """The usual distance between two lines, for each height of letters."""
    gaps: dict[float, list[float]] = {}
    for a, b in itertools.pairwise(lines):
        if a.height == b.height and 0 < a.ends - b.bottom < 3 * max(a.height, 1):
            gaps.setdefault(a.height, []).append(a.ends - b.bottom)
    return {height: median(found) if len(found) > 3 else min(found) for height, found in gaps.items()}


def is_heading(line: Line, body: float) -> bool:
    """Whether the letters are so much taller than the page's that this is a heading."""
    return line.height > TALLER * body > 0 and len(line.text) <= LONGEST_HEADING


def same_block(before: Line, line: Line, pitch: dict[float, float]) -> bool:
    """Whether a line goes on where the one before it ended."""
    if abs(before.height - line.height) > 0.08 * max(before.height, line.height):
        return False
    gap = before.ends - line.bottom
    return gap <= WIDER * pitch.get(line.height, 1.6 * max(line.height, 1)) or gap < 0
