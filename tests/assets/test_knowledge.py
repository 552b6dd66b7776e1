"""The sample collection: its PDFs are what the script draws, and every page of it can be read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from engine.settings import ASSETS
from rag.cleaning import cleaned
from rag.documents import Reader

SAMPLE = ASSETS / "samples" / "knowledge"


def test_the_pdfs_are_what_the_script_draws(tmp_path: Path) -> None:
    script = ASSETS / "samples" / "build_knowledge.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True)
    drawn = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.pdf")}
    shipped = {path.relative_to(SAMPLE): path.read_bytes() for path in SAMPLE.rglob("*.pdf")}
    assert drawn.keys() == shipped.keys() and len(drawn) == 5
    assert all(drawn[name] == shipped[name] for name in drawn)


def test_every_page_reads_clean() -> None:
    with Reader() as reader:
        documents = [reader.read(path) for path in sorted(SAMPLE.rglob("*")) if path.is_file()]
    assert len(documents) == 12 and not any(one.state or one.reason for one in documents)
    for document in documents:
        text = cleaned(document.pages, document.kind).text
        assert len(text) > 400 and "course notes" not in text
    assert any("In Extremistan one case can be larger" in one.text.replace("\n", " ") for one in documents)
