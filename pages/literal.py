"""Words as somebody typed them, in the Markdown that Gradio's Chatbot would otherwise make of them."""

from __future__ import annotations

import re

SPECIAL = re.compile(r"[\\`*_\[\]<>&~|$]|(?<=:)//")  # of Markdown, HTML, formulas and links, wherever it stands
STARTS = re.compile(r"(\d*)([#+=.)-])")  # what makes a heading, a list or a rule of a line that begins with it


def literal(text: str) -> str:
    """Markdown that shows a text as it is: line breaks, indentation, every sign, and a picture of control characters.

    It is written by a person and read by a model: what the page shows of it must be what was sent.
    """
    return "\n".join(line(each) for each in text.replace("\r\n", "\n").split("\n"))


def line(text: str) -> str:
    """One line; an empty one keeps its height and does not end the paragraph."""
    words = text.lstrip(" \t")
    indent = len(text[: len(text) - len(words)].expandtabs(4))
    words = SPECIAL.sub(entities, words)
    if begins := STARTS.match(words):
        words = begins[1] + entities(begins[2]) + words[begins.end() :]
    words = "".join(chr(0x2400 + ord(sign)) if sign < " " and sign != "\t" else sign for sign in words)
    return "&nbsp;" * indent + words.replace("\t", "&nbsp;" * 4).replace("  ", "&nbsp; ") or "&nbsp;"


def entities(found: re.Match | str) -> str:
    """Signs by their numbers, which Markdown reads as nothing but letters."""
    return "".join(f"&#{ord(sign)};" for sign in (found if isinstance(found, str) else found[0]))
