"""A folder of printed articles from end to end: added, asked, and the defining passage found without any furniture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rag.headless import main
from rag.store import Store
from tests.rag.articles import DEFINITION, FURNITURE, TEXTS, articles

NAME = "Riverside letters"


def test_passage_that_defines_is_among_three_and_no_furniture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add = ["add", str(articles(tmp_path / "letters")), "--collection", NAME, "--chunk-tokens", "64", "--overlap", "6"]
    assert main(add) == 0
    try:
        with Store.open(NAME) as store:
            texts = {record.path: store.text(record.path) for record in store.files()}
            assert store.count() > 12, "so few passages that any three would do"
        for name, (title, paragraphs) in TEXTS.items():
            text = texts[f"{name}.pdf"]
            assert title in text and all(each in text for each in paragraphs), "text was taken for furniture"
            assert [each for each in FURNITURE if each in text] == []
        capsys.readouterr()
        for mode in ("both", "vector", "keyword"):
            asked = ["search", "What is fat-tailedness?", "--collection", NAME, "--mode", mode, "--k", "3", "--json"]
            assert main(asked) == 0
            hits = json.loads(capsys.readouterr().out)
            found = [hit["file"] for hit in hits if DEFINITION.split(". ")[0] in hit["text"]]
            assert found == ["when the rare rules.pdf"], mode
    finally:
        Store.open(NAME).delete()
