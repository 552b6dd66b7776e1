"""Amounts of bytes in words, the one way for every page and every sentence."""

from __future__ import annotations

UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def amount(size: float) -> str:
    """Bytes for people: kB, MB or GB of 1000, as disks and downloads are counted."""
    for unit, step in UNITS:
        if size >= step:
            return f"{size / step:.1f} {unit}"
    return f"{size:.0f} bytes"
