"""A histogram of lengths as an SVG picture."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

BINS = 24
WIDTH, HEIGHT, FOOT, HEAD = 320, 96, 18, 16  # units of the picture: bars, then the axis' numbers below
LABEL = 70  # and the width that the label on the left needs


def histogram(title: str, lengths: Sequence[int], most: int, limit: int) -> str:
    """Bars over 0 to `most` tokens; a dashed line at `limit` where that lies within."""
    step = max(1, -(-(most + 1) // BINS))
    bins = [0] * (most // step + 1)
    for length in lengths:
        bins[min(length // step, len(bins) - 1)] += 1
    tall, end = max(bins), step * len(bins)
    wide = WIDTH / len(bins)
    bars = "".join(
        f'<rect x="{at * wide + 0.5:.1f}" y="{HEAD + HEIGHT * (1 - number / tall):.1f}" width="{wide - 1:.1f}" '
        f'height="{HEIGHT * number / tall:.1f}"><title>{bar_words(at * step, step, number)}</title></rect>'
        for at, number in enumerate(bins)
        if number
    )
    over = sum(length > limit for length in lengths)
    words = f"{title}: {min(lengths):,} to {max(lengths):,} tokens, {over:,} rows above the limit of {limit:,}"
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {WIDTH} {HEAD + HEIGHT + FOOT}" role="img" '
        f'aria-label="{escape(words)}">{bars}{axis(end, tall)}{limit_line(limit, end)}</svg></figure>'
    )


def bar_words(start: int, step: int, number: int) -> str:
    """What a bar says when it is pointed at."""
    span = f"{start:,}" if step == 1 else f"{start:,} to {start + step - 1:,}"
    return f"{span} tokens: {number:,} rows"


def axis(end: int, tall: int) -> str:
    """The base line, its two ends, and how many rows the tallest bar stands for."""
    base = HEAD + HEIGHT
    return (
        f'<path d="M0 {base}H{WIDTH}"/><text x="0" y="{base + 13}">0</text>'
        f'<text x="{WIDTH}" y="{base + 13}" text-anchor="end">{end:,} tokens</text>'
        f'<text x="0" y="10">{tall:,} rows</text>'
    )


def limit_line(limit: int, end: int) -> str:
    """A dashed line at the limit; an arrow where it lies beyond the picture."""
    if limit >= end:
        return f'<text class="limit" x="{WIDTH}" y="10" text-anchor="end">limit {limit:,} →</text>'
    x = WIDTH * limit / end
    side = "end" if x > WIDTH / 2 else "start"
    place = x - 4 if side == "end" else max(x + 4, LABEL)
    return (
        f'<path class="limit" d="M{x:.1f} 2V{HEAD + HEIGHT}"/>'
        f'<text class="limit" x="{place:.1f}" y="10" text-anchor="{side}">limit {limit:,}</text>'
    )
