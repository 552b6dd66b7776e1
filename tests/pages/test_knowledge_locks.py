"""Locked PDFs on the Knowledge tab: the plan says so, and their passwords are asked for before anything is added."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest

from pages import knowledge_add as add
from pages import knowledge_locks as locks
from pages.knowledge_study import Study
from rag.store import Store
from tests.pages.adding import hands  # noqa: F401 - fixture
from tests.pages.test_knowledge_page import done, herd, request  # noqa: F401 - fixture
from tests.rag.papers import pdf

WORDS = {"red.pdf": "A red fox sleeps in a hollow oak.", "blue.pdf": "A blue whale sings for twenty minutes."}
PASSWORDS = {"red.pdf": "scarlet", "blue.pdf": "indigo"}


@pytest.fixture
def shut(herd: Path) -> Path:  # noqa: F811
    """The herd with two locked PDFs, each with a password of its own."""
    for name, words in WORDS.items():
        pdf(herd / name, [[words]], password=PASSWORDS[name])
    return herd


def texts(study: Study) -> dict[str, str]:
    with Store.open(study.collection) as store:
        return {each.path: store.text(each.path) for each in store.files()}


def test_plan_says_which_files_are_locked_and_apply_asks_for_their_passwords(shut: Path):
    study = Study()
    html, apply, *_ = add.look_into(request(), study, str(shut), "", "")
    assert "4 files: 4 new. 2 files are locked with a password." in html and apply.visible
    assert html.count("new, locked") == 2 and html.count("give its password below") == 2
    region, listed, choice, box, _ = locks.listed(request(), study)
    assert region.visible and choice.choices == [(name, name) for name in sorted(WORDS)] and box == ""
    assert listed.count("needs its password") == 2
    with pytest.raises(gr.Error, match=r"blue\.pdf, red\.pdf are locked\. Give the password below the plan"):
        add.start(request(), study, "", "", False)
    assert study.waiting.sources is not None and Store.folder_of("herd") and not texts(Study("herd")), (
        "the plan was lost"
    )


def test_every_locked_file_may_have_a_password_of_its_own(shut: Path):
    study = Study()
    add.look_into(request(), study, str(shut), "", "")
    with pytest.raises(gr.Error, match=r"does not open red\.pdf"):
        locks.give(request(), study, "red.pdf", "indigo")
    with pytest.raises(gr.Error, match="the box is empty"):
        locks.give(request(), study, "red.pdf", "")
    with pytest.raises(gr.Error, match="Choose one of the locked files"):
        locks.give(request(), study, "yaks/notes.md", "scarlet")
    _, listed, choice, *_ = locks.give(request(), study, "red.pdf", "scarlet")
    assert listed.count("opens with its password") == 1 and choice.value == "blue.pdf"
    with pytest.raises(gr.Error, match=r"The password does not open them all: blue\.pdf is locked"):
        add.start(request(), study, "", "scarlet", False)
    locks.give(request(), study, "blue.pdf", "indigo")
    add.start(request(), study, "", "", False)
    done(study)
    assert WORDS.items() <= texts(study).items()
    assert not locks.listed(request(), study)[0].visible, "the plan is applied, and passwords are still asked for"


def test_one_password_for_all_is_tried_when_the_plan_is_made_and_when_it_is_applied(shut: Path):
    pdf(shut / "blue.pdf", [[WORDS["blue.pdf"]]], password="scarlet")
    study = Study()
    add.look_into(request(), study, str(shut), "", "scarlet")
    assert "needs its password" not in locks.listed(request(), study)[1]
    add.discard(request(), study)
    add.look_into(request(), study, str(shut), "", "")
    add.start(request(), study, "", "scarlet", False)
    done(study)
    assert WORDS.items() <= texts(study).items()


def test_locked_files_can_be_left_out(shut: Path):
    study = Study()
    add.look_into(request(), study, str(shut), "", "")
    locks.give(request(), study, "red.pdf", "scarlet")
    add.start(request(), study, "", "", False, True)
    assert done(study).done["states"] == {"added": 3, "encrypted": 1}
    assert set(texts(study)) == {"red.pdf", "horses/notes.md", "yaks/notes.md"}
