"""Locked files of a plan: which there are, and their passwords, tried before anything is added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from engine.errors import Problem
from pages import knowledge_render as render
from pages.knowledge_study import Study, Waiting
from pages.parts import asks
from rag.documents import Reader

NAMED = 5  # files that a sentence names
FOR_ALL = ""  # in place of a file's name, in what the job is given


def locked(waiting: Waiting) -> list[str]:
    """The files of a plan that open with a password only."""
    return [each.file for each in waiting.plan.reports if each.encrypted] if waiting.plan else []


def missing(waiting: Waiting) -> list[str]:
    """The locked files whose password is not known yet."""
    return [name for name in locked(waiting) if name not in waiting.passwords]


def tried(waiting: Waiting, files: Sequence[str], password: str) -> list[str]:
    """Keep a password for those of the files that it opens; which these are."""
    if not (password and files):
        return []
    with Reader() as reader:
        sources = {name: waiting.plan.sources[name] for name in files}
        opened = [name for name, one in sources.items() if not reader.stays_locked(one.path, one.name, password)]
    waiting.passwords |= dict.fromkeys(opened, password)
    return opened


def unlocked(waiting: Waiting, password: str, leave: bool) -> dict[str, str]:
    """The passwords for the job by file, the one for all files tried on the rest.

    Raises Problem where a file stays locked, unless such files are to be left out.
    """
    tried(waiting, missing(waiting), password)
    if (rest := missing(waiting)) and not leave:
        more = f" and {len(rest) - NAMED} more" if len(rest) > NAMED else ""
        names, are = ", ".join(rest[:NAMED]) + more, "is" if len(rest) == 1 else "are"
        what = "The password does not open them all: " if password else ""
        raise Problem(
            f"{what}{names} {are} locked. Give the password below the plan, or choose to leave locked files out."
        )
    return {**waiting.passwords, **({FOR_ALL: password} if password else {})}


@asks("add documents")
def listed(request: gr.Request, study: Study) -> list[Any]:
    """The locked files of the plan and a box for a password; nothing where there is none."""
    names, rest = locked(study.waiting), missing(study.waiting)
    choice = gr.Dropdown(choices=names, value=next(iter(rest or names), None))
    leave = gr.skip() if names else gr.Checkbox(value=False)
    return [gr.Column(visible=bool(names)), render.locks(names, rest), choice, "", leave]


@asks("add documents")
def give(request: gr.Request, study: Study, file: str | None, password: str) -> list[Any]:
    """Take the password of one file, if it opens it."""
    if file not in locked(study.waiting):
        raise Problem("Choose one of the locked files first.")
    if not password:
        raise Problem(f"Write the password of {file} first; the box is empty.")
    if not tried(study.waiting, [file], password):
        raise Problem(f"That password does not open {file}. Check it and give it again.")
    return listed(request, study)
