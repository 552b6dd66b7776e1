"""Mends letters and words: normal form, ligatures, invisible marks, hyphens at the ends of lines, wrapped lines."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

LIGATURES = {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "ft", "ﬆ": "st"}
INVISIBLE = "\u200b\u200c\u2060\ufeff\xad\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
TABLE = str.maketrans({**LIGATURES, **dict.fromkeys(INVISIBLE, ""), "\xa0": " ", "\u202f": " ", "\u2028": "\n"})
TABLE |= {code: "" for code in range(32) if chr(code) not in "\n\t\x02"}
BROKEN = re.compile(r"([^\W\d_]+)(?:[\ufffe\x02]\n?|-\n(?=[^\W\d_]))([^\W\d_]+)")
MARKED = re.compile("[\ufffe\x02]")
WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
STARTS = re.compile(r"[-•‣–*·]\s|\[\d+\]|\d+[.)]\s|#|>|\|")  # a line that begins something of its own
CODE = re.compile(r"^\s{2,}|[=;{}]|\w\(.*\)|^(def|for|if|import|from|return|print|class)\b|\\\w|^\W*$")
FULL = 0.6  # of the longest line: a line of a wrapped paragraph is at least that long


def plain_letters(text: str) -> str:
    """Unicode NFC without ligatures, odd blanks, invisible marks and control characters."""
    return unicodedata.normalize("NFC", text.translate(TABLE))


def unhyphenated(texts: Sequence[str]) -> list[str]:
    """Words joined that a line's end cut in two; the hyphen stays where the rest of the file writes one.

    pdfium puts U+FFFE or U+0002 where it saw such a hyphen.
    """
    whole = "\n".join(BROKEN.sub(" ", text) for text in texts)
    words = Counter(word.casefold() for word in WORD.findall(whole))
    parts = {part for word in words for part in word.split("-")}

    def mend(found: re.Match[str]) -> str:
        first, second = found.group(1), found.group(2)
        together, apart = first + second, f"{first}-{second}"
        if words[together.casefold()] != words[apart.casefold()]:
            return together if words[together.casefold()] > words[apart.casefold()] else apart
        known = first.casefold() in parts and second.casefold() in parts
        return apart if known or second[0].isupper() else together

    return [MARKED.sub("-", BROKEN.sub(mend, BROKEN.sub(mend, text))) for text in texts]


def joined_lines(text: str) -> str:
    """Paragraphs whose wrapped lines are one line again; code, lists and short lines keep their ends."""
    longest = max((len(part) for line in text.split("\n") for part in MARKED.split(line)), default=0)
    return "\n\n".join(joined_block(block, longest) for block in text.split("\n\n"))


def joined_block(block: str, longest: int) -> str:
    """One paragraph on one line; a hyphen at a line's end stays there for `unhyphenated` to judge."""
    lines = block.split("\n")
    if sum(bool(CODE.search(line)) for line in lines) > len(lines) / 2:
        return block
    parts = [lines[0]]
    for before, line in itertools.pairwise(lines):
        wrapped = before and line and len(MARKED.split(before)[-1]) >= FULL * longest and not STARTS.match(line)
        parts.append((" " if wrapped and not before.endswith("-") else "\n") + line)
    return "".join(parts)
