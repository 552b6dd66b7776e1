"""Which chunks a search may find: a metadata filter as SQL, and a question as a full-text query."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from engine.errors import Problem

Where = Mapping[str, "str | Sequence[str]"]
CONDITIONS = {
    "file": "f.path IN ({})",
    "kind": "f.kind IN ({})",
    "tag": "EXISTS (SELECT 1 FROM json_each(f.tags) WHERE value IN ({}))",
}
CONDITIONS["doc_type"] = CONDITIONS["tags"] = CONDITIONS["tag"]
# words that nearly every English passage holds; left out where another word remains
COMMON = """
a an and are as at be been but by can could did do does for from had has have how i if in into is it its me my of on or
our should so than that the their them then there these they this those to was we were what when where which who whom
whose why will with would you your
"""
LONGEST_QUERY = 64  # words


def condition(where: Where | None) -> tuple[str, list[Any]]:
    """SQL over files f with its values. Keys are file, kind and tag; several values mean any. Raises Problem."""
    parts, values = [], []
    for name, wanted in (where or {}).items():
        if name not in CONDITIONS:
            raise Problem(f"There is no filter '{name}'. Filter by file, tag or kind.")
        chosen = [wanted] if isinstance(wanted, str) else list(wanted)
        if chosen:
            parts.append(CONDITIONS[name].format(", ".join("?" * len(chosen))))
            values += chosen
    return " AND ".join(parts), values


def match_expression(question: str) -> str:
    """The question's words, any of which may occur, as FTS5 reads them; empty where it has none."""
    words = list(dict.fromkeys(re.findall(r"[^\W_]+", question.lower())))
    telling = [word for word in words if word not in COMMON.split()] or words
    return " OR ".join(f'"{word}"' for word in telling[:LONGEST_QUERY])
