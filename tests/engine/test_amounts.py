"""Bytes in words."""

import pytest

from engine.amounts import amount


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (1.26e6, "1.3 MB"), (2.04e9, "2.0 GB"), (3e12, "3000.0 GB")],
)
def test_bytes_are_told_in_powers_of_a_thousand(size: float, words: str):
    assert amount(size) == words
