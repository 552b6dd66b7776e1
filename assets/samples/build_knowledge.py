"""Makes the sample collection's PDFs from knowledge_pages.toml: `python assets/samples/build_knowledge.py [FOLDER]`.

Needs reportlab (requirements-dev.txt). The same text gives the same bytes on every machine.
"""

import sys
import tomllib
from pathlib import Path

from reportlab.lib.pagesizes import A5
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import PageBreak, Paragraph, SimpleDocTemplate, Spacer

HERE = Path(__file__).parent
BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=10.5, leading=15, spaceAfter=8)
TITLE = ParagraphStyle("title", parent=BODY, fontName="Helvetica-Bold", fontSize=18, leading=23, spaceAfter=12)
HEADING = ParagraphStyle("heading", parent=BODY, fontName="Helvetica-Bold", fontSize=13, leading=18, spaceBefore=6)
MARGIN = 50  # points


def build(source: dict, target: Path) -> None:
    """Write one document: a title, sections with a heading each, a running head and page numbers."""

    def furniture(canvas: Canvas, document: SimpleDocTemplate) -> None:
        canvas.setFont("Helvetica-Oblique", 8)
        canvas.drawString(MARGIN, A5[1] - 30, f"{source['title']} - course notes")
        canvas.drawCentredString(A5[0] / 2, 25, str(document.page))

    flow = [Paragraph(source["title"], TITLE)]
    for section in source["sections"]:
        if section.get("new_page"):
            flow.append(PageBreak())
        flow.append(Paragraph(section["heading"], HEADING))
        flow += [Paragraph(" ".join(part.split()), BODY) for part in section["text"].strip().split("\n\n")]
        flow.append(Spacer(1, 6))
    target.parent.mkdir(parents=True, exist_ok=True)
    document = SimpleDocTemplate(
        str(target), pagesize=A5, leftMargin=MARGIN, rightMargin=MARGIN, topMargin=MARGIN, bottomMargin=MARGIN,
        title=source["title"], author="Diptych", invariant=1, pageCompression=0,
    )  # fmt: skip
    document.build(flow, onFirstPage=furniture, onLaterPages=furniture)


def main(folder: Path) -> None:
    """Write every PDF of the sample collection below a folder."""
    for source in tomllib.loads((HERE / "knowledge_pages.toml").read_text(encoding="utf-8"))["documents"]:
        build(source, folder / source["file"])


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "knowledge")
