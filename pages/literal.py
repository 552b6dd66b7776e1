"""Words as somebody typed them, in the Markdown that Gradio's Chatbot would otherwise make of them."""

from __future__ import annotations

import functools
import re

SPECIAL = re.compile(r"[\\`*_\[\]<>&~|$]|(?<=:)//")  # of Markdown, HTML, formulas and links, wherever it stands
STARTS = re.compile(r"(\d*)([#+=.)-])")  # what makes a heading, a list or a rule of a line that begins with it
PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"}  # of control characters


@functools.lru_cache(512)  # the page draws every prompt anew at each beat
def literal(text: str) -> str:
    """Markdown that shows a text as it is: line breaks, indentation, every sign, and a picture of control characters.

    It is written by a person and read by a model: what the page shows of it must be what was sent.
    """
    return "\n".join(line(each) for each in text.replace("\r\n", "\n").split("\n"))


def line(text: str) -> str:
    """One line; an empty one keeps its height and does not end the paragraph."""
    words = text.lstrip(" \t")
    indent = len(text[: len(text) - len(words)].expandtabs(4))
    words = SPECIAL.sub(lambda found: entities(found[0]), words)
    if begins := STARTS.match(words):
        words = begins[1] + entities(begins[2]) + words[begins.end() :]
    words = words.translate(PICTURES)
    return "&nbsp;" * indent + words.replace("\t", "&nbsp;" * 4).replace("  ", "&nbsp; ") or "&nbsp;"


def entities(signs: str) -> str:
    """Signs by their numbers, which Markdown reads as nothing but letters."""
    return "".join(f"&#{ord(sign)};" for sign in signs)
