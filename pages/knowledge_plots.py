"""The two pictures of the Knowledge tab as SVG of our own: a histogram of cosines, and the map of all passages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, HEAD, FOOT = 460, 110, 30, 20  # units of the histogram: bars, words above, numbers below
SIDE, EDGE = 600, 24  # the map's square and its margin
COLOURS = 10  # classes in assets/knowledge.css; further groups share the last one
NAMED = 9  # groups with a colour of their own, largest first
SHORT = 280  # characters of a passage that the hover card shows


@dataclass(frozen=True)
class Dot:
    """One passage on the map. Coordinates are of any scale; `rank` is its place among the question's hits."""

    id: str
    x: float
    y: float
    z: float
    group: str
    title: str
    text: str
    rank: int | None = None


@dataclass(frozen=True)
class Star:
    """Where the question lies."""

    x: float
    y: float
    z: float
    text: str


def cosine_histogram(
    edges: Sequence[float], question: Sequence[int], background: Sequence[int], hits: Sequence[float], cutoff: float
) -> str:
    """How near the passages are to the question (bars) and to questions about something else (the line).

    `edges` has one number more than the two counts; the question's hits are ticks, the cutoff is a dashed line.
    """
    if not any(question):
        return ""
    used = [at for at, (a, b) in enumerate(zip(question, background, strict=True)) if a or b]
    marks = [*hits, cutoff]
    low = min(edges[used[0]], *marks) - 0.02
    high = max(edges[used[-1] + 1], *marks) + 0.04
    scale = WIDTH / (high - low)
    tall, other = max(question), max(*background, 1)
    bars = "".join(
        f'<rect x="{(edges[at] - low) * scale + 0.5:.1f}" y="{HEAD + HEIGHT * (1 - number / tall):.1f}" '
        f'width="{max((edges[at + 1] - edges[at]) * scale - 1, 1):.1f}" height="{HEIGHT * number / tall:.1f}"><title>'
        f"{edges[at]:.2f} to {edges[at + 1]:.2f}: {number:,} passages</title></rect>"
        for at, number in enumerate(question)
        if number
    )
    ticks = "".join(
        f'<path class="hit" d="M{(value - low) * scale:.1f} {HEAD - 6}V{HEAD + HEIGHT}">'
        f"<title>hit {rank}: {value:.3f}</title></path>"
        for rank, value in enumerate(hits, 1)
    )
    line = "".join(
        f"{(edges[at] - low) * scale:.1f},{HEAD + HEIGHT * (1 - background[at] / other):.1f} "
        f"{(edges[at + 1] - low) * scale:.1f},{HEAD + HEIGHT * (1 - background[at] / other):.1f} "
        for at in range(used[0], used[-1] + 1)
    )
    told = f"{len(hits)} hits from {min(hits):.2f} to {max(hits):.2f}, " if hits else "no hits, "
    words = f"Histogram of cosines to the question: {told}cutoff {cutoff:.2f}"
    return (
        f'<figure class="cosines"><figcaption>How near the passages are to this question</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEAD + HEIGHT + FOOT}" role="img" aria-label="{words}">{bars}'
        f'<polyline class="elsewhere" points="{line.strip()}"/>{ticks}{cosine_axis(low, high)}'
        f"{cutoff_line(cutoff, low, scale)}</svg>{KEY}</figure>"
    )


KEY = """<p class="legend"><span class="key bar"></span>passages against this question <span class="key line"></span>
against questions about something else <span class="key tick"></span>hits of this question</p>"""


def cosine_axis(low: float, high: float) -> str:
    """The base line with a number at every fifth of a cosine."""
    base, scale = HEAD + HEIGHT, WIDTH / (high - low)
    numbers = "".join(
        f'<text x="{(at / 5 - low) * scale:.1f}" y="{base + 14}" text-anchor="middle">{at / 5:.1f}</text>'
        for at in range(-5, 6)
        if low + 0.02 < at / 5 < high - 0.02
    )
    return f'<path d="M0 {base}H{WIDTH}"/>{numbers}'


def cutoff_line(cutoff: float, low: float, scale: float) -> str:
    """A dashed line at the cutoff."""
    x = (cutoff - low) * scale
    side, place = ("end", x - 4) if x > WIDTH / 2 else ("start", x + 4)
    return (
        f'<path class="limit" d="M{x:.1f} 12V{HEAD + HEIGHT}"/>'
        f'<text class="limit" x="{place:.1f}" y="20" text-anchor="{side}">cutoff {cutoff:.2f}</text>'
    )


def scatter(dots: Sequence[Dot], star: Star | None, what: str, deep: bool = False) -> str:
    """The map: a dot for each passage, coloured by group, hits ringed and numbered, the question as a star.

    A `deep` map has three axes and is turned by dragging.
    """
    if not dots:
        return '<p class="quiet">There are no passages to draw yet.</p>'
    sizes = Counter(dot.group for dot in dots)
    order = {group: min(at, COLOURS - 1) for at, (group, _) in enumerate(sizes.most_common())}
    place = scaled([*dots, *([star] if star else [])])
    plain = [circle(dot, order[dot.group], place(dot)) for dot in dots if dot.rank is None]
    found = sorted((dot for dot in dots if dot.rank is not None), key=lambda dot: -(dot.rank or 0))
    rings = [circle(dot, order[dot.group], place(dot)) for dot in found]
    words = f"Map of {len(dots):,} passages, coloured by {what}" + (", with the question and its hits" if star else "")
    drawn = f'<g class="dots">{"".join(plain)}{"".join(rings)}</g>{star_mark(star, place(star)) if star else ""}'
    return (
        f'<div class="map"><svg viewBox="0 0 {SIDE} {SIDE}"{" data-deep" * deep} role="img" '
        f'aria-label="{escape(words)}">{drawn}</svg>'
        f'<div class="map-card" hidden></div></div>{legend(sizes, order, what)}'
    )


def scaled(points: Sequence[Dot | Star]):  # type: ignore[no-untyped-def]
    """A function that puts a point into the unit cube around 0, all axes with the same scale."""
    middle = [(min(axis) + max(axis)) / 2 for axis in zip(*((p.x, p.y, p.z) for p in points), strict=True)]
    reach = max(abs(value - middle[at]) for p in points for at, value in enumerate((p.x, p.y, p.z))) or 1.0

    def place(point: Dot | Star) -> tuple[float, float, float]:
        x, y, z = ((value - middle[at]) / reach for at, value in enumerate((point.x, point.y, point.z)))
        return x, y, z

    return place


def screen(x: float, y: float) -> tuple[float, float]:
    """Coordinates in [-1, 1] as places in the picture; up is up."""
    half = SIDE / 2 - EDGE
    return SIDE / 2 + x * half, SIDE / 2 - y * half


def circle(dot: Dot, colour: int, at: tuple[float, float, float]) -> str:
    """A passage as a dot; its three coordinates travel along so that the page's script can turn the map."""
    x, y = screen(at[0], at[1])
    data = (
        f'data-id="{escape(dot.id)}" data-at="{at[0]:.4f},{at[1]:.4f},{at[2]:.4f}" data-title="{escape(dot.title)}" '
        f'data-group="{escape(dot.group)}" data-text="{escape(shortened(dot.text))}"'
    )
    if dot.rank is None:
        return f'<circle class="c{colour}" cx="{x:.1f}" cy="{y:.1f}" r="4" {data}/>'
    return (
        f'<g class="found" transform="translate({x:.1f} {y:.1f})" {data}><circle class="c{colour}" r="6"/>'
        f'<circle class="ring" r="10"/><text x="12" y="-8">{dot.rank}</text></g>'
    )


def star_mark(star: Star, at: tuple[float, float, float]) -> str:
    """The question."""
    x, y = screen(at[0], at[1])
    return (
        f'<g class="star" transform="translate({x:.1f} {y:.1f})" data-at="{at[0]:.4f},{at[1]:.4f},{at[2]:.4f}" '
        f'data-title="Your question" data-text="{escape(shortened(star.text))}">'
        '<path d="M0-11 3-4 11-4 5 1 7 9 0 4-7 9-5 1-11-4-3-4Z"/></g>'
    )


def legend(sizes: Counter[str], order: dict[str, int], what: str) -> str:
    """The colours and what they stand for, largest first."""
    rows = [
        f'<li><span class="swatch c{order[group]}"></span>{escape(group or "none")} <small>{number:,}</small></li>'
        for group, number in sizes.most_common(NAMED)
    ]
    if len(sizes) > NAMED:
        rows.append(f'<li><span class="swatch c{COLOURS - 1}"></span>{len(sizes) - NAMED} more</li>')
    return f'<ul class="map-legend" aria-label="Colours by {escape(what)}">{"".join(rows)}</ul>'


def shortened(text: str) -> str:
    """The beginning of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= SHORT else f"{line[:SHORT]}…"
