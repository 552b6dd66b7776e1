"""Every kind of document as pages, and every kind of fault as one row with a sentence."""

from __future__ import annotations

import os
import re
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path

import docx
import pytest

from rag.documents import Reader
from tests.rag import papers


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Reader() as made:
        yield made


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_pages_keep_their_index_and_their_printed_label(reader: Reader, tmp_path: Path) -> None:
    document = reader.read(papers.pdf(tmp_path / "a.pdf", [["First page."], ["Second page."]], labels=True))
    assert [(page.index, page.label, page.text) for page in document.pages] == [
        (0, "i", "First page."),
        (1, "ii", "Second page."),
    ]
    assert not document.state and not document.reason


def test_a_pdf_with_an_empty_password_opens_by_itself(reader: Reader, tmp_path: Path) -> None:
    document = reader.read(papers.pdf(tmp_path / "a.pdf", [["Open to all."]], password=""))
    assert document.pages[0].text == "Open to all."


def test_a_locked_pdf_asks_for_its_password_and_opens_with_the_right_one(reader: Reader, tmp_path: Path) -> None:
    path = papers.pdf(tmp_path / "a.pdf", [["A secret page."]], password="sesame")
    asked, wrong = reader.read(path), reader.read(path, passwords=["simsim"])
    assert (asked.state, asked.pages) == ("encrypted", ()) and "Give its password" in asked.reason
    assert wrong.state == "encrypted" and "does not open it" in wrong.reason
    right = reader.read(path, passwords=["simsim", "sesame"], copy=tmp_path / "copy.pdf")
    assert right.pages[0].text == "A secret page."
    assert reader.read(tmp_path / "copy.pdf").pages[0].text == "A secret page."


def test_counting_pages_notes_which_files_are_locked(tmp_path: Path) -> None:
    shut = papers.pdf(tmp_path / "shut.pdf", [["Nobody reads this."]] * 2, password="a key")
    plain = papers.pdf(tmp_path / "plain.pdf", [["Everybody reads this."]] * 3)
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4\nnothing of it is left")
    with Reader() as reader:
        counts = [reader.count(path) for path in (shut, plain, tmp_path / "broken.pdf")]
        assert counts == [0, 3, 0] and reader.locked == {shut}
        assert reader.stays_locked(shut, password="another key") and not reader.stays_locked(shut, password="a key")
        assert len(reader.read(plain).pages) == 3, "the next file got what was left of the last one"


def test_a_scan_is_told_from_a_page_with_words(reader: Reader, tmp_path: Path) -> None:
    document = reader.read(papers.scanned(tmp_path / "scan.pdf"))
    assert [page.fault for page in document.pages] == ["empty"] and not document.state


def test_a_pdf_without_its_end_gives_what_is_left(reader: Reader, tmp_path: Path) -> None:
    whole = papers.pdf(tmp_path / "a.pdf", [[f"Page number {at} of the book."] for at in range(20)]).read_bytes()
    document = reader.read(written(tmp_path / "cut.pdf", whole[: whole.rindex(b"xref\n") - 200]))
    assert document.lost and "ends in the middle" in document.reason
    assert "Page number 3 of the book." in document.text


def test_a_whole_pdf_that_pdfium_cannot_open_keeps_its_labels_and_is_not_called_cut(
    reader: Reader, tmp_path: Path
) -> None:
    whole = papers.pdf(tmp_path / "a.pdf", [["First page."], ["Second page."]], labels=True).read_bytes()
    astray = re.sub(rb"/Root \d+ 0 R", b"/Root 99 0 R", whole)
    document = reader.read(written(tmp_path / "astray.pdf", astray))
    assert [(page.label, page.text.strip()) for page in document.pages] == [
        ("i", "First page."),
        ("ii", "Second page."),
    ]
    assert "read by pypdf" in document.reason and "ends in the middle" not in document.reason and not document.lost


def test_a_page_that_pypdf_cannot_read_is_counted_and_broken_labels_cost_only_the_labels(
    reader: Reader, tmp_path: Path
) -> None:
    whole = papers.pdf(tmp_path / "a.pdf", [["First page."], ["Second page."]], labels=True).read_bytes()
    astray = re.sub(rb"/Root \d+ 0 R", b"/Root 99 0 R", whole).replace(b"/Nums [ 0 ", b"/Nums [ /0")
    broken = astray.replace(b"/FlateDecode ]", b"/NoneDecode_ ]", 1)
    document = reader.read(written(tmp_path / "astray.pdf", broken))
    assert [(page.label, page.text.strip()) for page in document.pages] == [("1", ""), ("2", "Second page.")]
    assert document.lost and "1 of 2 pages could not be read" in document.reason


def test_a_whole_pdf_that_was_filled_up_with_zeros_is_not_called_cut(reader: Reader, tmp_path: Path) -> None:
    path = papers.pdf(tmp_path / "a.pdf", [["First page."]])
    document = reader.read(written(tmp_path / "full.pdf", path.read_bytes() + bytes(4096)))
    assert document.text == "First page." and not document.lost and not document.reason


def test_bytes_that_are_no_pdf_at_all_fail_with_a_sentence(reader: Reader, tmp_path: Path) -> None:
    document = reader.read(written(tmp_path / "a.pdf", b"%PDF-1.7\n" + os.urandom(3000)))
    assert document.state == "failed" and "damaged" in document.reason


def test_what_cannot_be_read_is_refused_in_words(reader: Reader, tmp_path: Path) -> None:
    cases = {
        "empty.pdf": (b"", "0 bytes"),
        "letter.pdf": (b"Dear all, this is plain text.", "no PDF"),
        "song.txt": (b"ID3\x00\x01\x02\x03" * 50, "does not look like text"),
        "photo.jpg": (b"\xff\xd8\xff", "not read"),
        "report.docx": (b"plain words", "no Word document"),
        "torn.docx": (b"PK\x03\x04 and then nothing", "damaged"),
    }
    for name, (data, words) in cases.items():
        document = reader.read(written(tmp_path / name, data))
        assert document.state in ("refused", "failed") and words in document.reason, name


def test_html_that_calls_itself_pdf_is_read_as_html_and_says_so(reader: Reader, tmp_path: Path) -> None:
    page = b"<!doctype html><html><head><title>Tails</title></head><body><nav>Home Shop</nav><p>Fat ones.</p></body>"
    document = reader.read(written(tmp_path / "a.pdf", page))
    assert document.kind == "html" and "was read as HTML" in document.reason
    assert "Fat ones." in document.text and "Shop" not in document.text and "# Tails" in document.text


def test_text_in_other_encodings_keeps_its_letters(reader: Reader, tmp_path: Path) -> None:
    text = "Größe, café, “quoted” – naïve."
    for name, encoding in (("utf8", "utf-8"), ("windows", "cp1252"), ("wide", "utf-16"), ("marked", "utf-8-sig")):
        document = reader.read(written(tmp_path / f"{name}.txt", text.encode(encoding)))
        assert document.text == text, name
    document = reader.read(written(tmp_path / "bare.txt", ("Plain letters only. " * 20).encode("utf-16-le")))
    assert document.text.startswith("Plain letters only.")


def test_halves_of_surrogate_pairs_never_come_out(reader: Reader, tmp_path: Path) -> None:
    in_text = reader.read(written(tmp_path / "a.txt", b"before \xed\xa0\x80 after"))
    in_pdf = reader.read(papers.with_unicode(tmp_path / "a.pdf", "ab\ud800cd"))
    for document in (in_text, in_pdf):
        document.text.encode("utf-8")
        assert document.pages


def test_letters_that_run_from_right_to_left_come_in_reading_order(reader: Reader, tmp_path: Path) -> None:
    shalom = "שלום"
    document = reader.read(papers.with_unicode(tmp_path / "a.pdf", shalom[::-1]))  # as it stands on the page
    assert document.text.strip() == shalom


def test_two_columns_are_read_one_after_the_other(reader: Reader, tmp_path: Path) -> None:
    left = [f"left line {at} of the text" for at in range(12)]
    right = [f"right line {at} of the text" for at in range(12)]
    text = reader.read(papers.two_columns(tmp_path / "a.pdf", left, right)).text
    assert text.index("left line 11") < text.index("right line 0")


def test_five_hundred_pages_all_arrive(reader: Reader, tmp_path: Path) -> None:
    document = reader.read(papers.pdf(tmp_path / "a.pdf", [[f"This is page {at}."] for at in range(500)]))
    assert len(document.pages) == 500 and document.pages[499].text == "This is page 499."


def test_a_font_that_maps_to_nothing_is_called_garbled(reader: Reader, tmp_path: Path) -> None:
    document = reader.read(papers.with_unicode(tmp_path / "a.pdf", "\ue001\ue002\ue003\ue004"))
    assert [page.fault for page in document.pages] == ["garbled"]


def test_a_word_document_keeps_headings_tables_and_page_breaks(reader: Reader, tmp_path: Path) -> None:
    made = docx.Document()
    made.add_heading("Findings", level=1)
    made.add_paragraph("Tails are fat.")
    made.add_page_break()
    made.add_paragraph("On the second page.")
    table = made.add_table(rows=1, cols=2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "rank", "8"
    made.save(str(tmp_path / "a.docx"))
    pages = reader.read(tmp_path / "a.docx").pages
    assert len(pages) == 2 and "# Findings" in pages[0].text and "Tails are fat." in pages[0].text
    assert "On the second page." in pages[1].text and "rank | 8" in pages[1].text


def test_a_word_document_that_unpacks_to_too_much_is_refused(reader: Reader, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.docx", "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("word/document.xml", b"0" * (201 * 2**20))
    document = reader.read(tmp_path / "a.docx")
    assert document.state == "refused" and "unpack" in document.reason


def test_a_page_that_unpacks_to_much_more_costs_only_its_row(tmp_path: Path) -> None:
    with Reader(seconds=60) as reader:
        document = reader.read(papers.bomb(tmp_path / "bomb.pdf", 200))
        assert not any(page.text.strip() for page in document.pages)
        assert reader.read(papers.pdf(tmp_path / "b.pdf", [["Still here."]])).text == "Still here."


def test_a_table_names_its_columns_in_every_row(reader: Reader, tmp_path: Path) -> None:
    rows = "name;wealth\n" + "".join(f"person {at};{at}\n" for at in range(1, 51))
    pages = reader.read(written(tmp_path / "a.csv", rows.encode())).pages
    assert [page.label for page in pages] == ["rows 1–40", "rows 41–50"]
    assert "name: person 50; wealth: 50" in pages[1].text


def test_reading_that_takes_too_long_is_ended_and_the_next_file_is_read(tmp_path: Path) -> None:
    long = papers.pdf(tmp_path / "long.pdf", [[f"Page {at}."] for at in range(400)])
    with Reader(seconds=1e-6) as reader:
        document = reader.read(long)
        assert document.state == "failed" and "longer than" in document.reason
        reader.seconds = 60
        assert len(reader.read(long).pages) == 400


def test_a_reader_that_was_killed_is_started_again(tmp_path: Path) -> None:
    path = papers.pdf(tmp_path / "a.pdf", [["Read me."]])
    with Reader() as reader:
        assert reader.read(path).text == "Read me."
        assert reader.process
        os.kill(reader.process.pid, signal.SIGKILL)
        reader.process.wait()
        assert reader.read(path).text == "Read me."
