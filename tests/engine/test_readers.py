"""Files of rows as people have them: encodings, broken lines, hostile JSON, odd CSV. A bad row costs only itself."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest

from engine.data import table as tables
from engine.data.encodings import encoding_of
from engine.data.readers import READERS, read_table
from engine.datasets import read
from engine.errors import Problem

GOOD = [{"question": f"What is {n}?", "answer": f"It is {n}."} for n in range(12)]


def lines(rows: list) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def faults(path: Path) -> dict[int, str]:
    return {fault.row: fault.why for fault in read_table(path).faults}


@pytest.mark.parametrize("ending", sorted(set(READERS) - {".txt", ".md"}))
def test_every_kind_of_file_gives_the_same_examples(tmp_path: Path, ending: str):
    import pandas

    frame, path = pandas.DataFrame(GOOD), tmp_path / f"rows{ending}"
    match ending:
        case ".jsonl" | ".ndjson":
            path.write_text(lines(GOOD))
        case ".json":
            path.write_text(json.dumps(GOOD, indent=2))
        case ".csv":
            frame.to_csv(path, index=False)
        case ".tsv":
            frame.to_csv(path, index=False, sep="\t")
        case ".parquet":
            frame.to_parquet(path)
    dataset = read(path)
    assert [(e.prompt, e.response) for e in dataset.examples] == [(r["question"], r["answer"]) for r in GOOD]
    assert dataset.problems() == dataset.warnings() == []


def test_text_is_read_by_paragraph_or_else_by_line(tmp_path: Path):
    by_paragraph = read_table(file(tmp_path, "a.txt", "one\ntwo\n\n\nthree\n"))
    assert [(row.number, row.cells["text"]) for row in by_paragraph.rows] == [(1, "one\ntwo"), (5, "three")]
    assert [row.cells["text"] for row in read_table(file(tmp_path, "b.txt", "one\r\ntwo")).rows] == ["one", "two"]


@pytest.mark.parametrize(
    "value", [{"data": GOOD}, {"version": 1, "train": GOOD}, {k: [r[k] for r in GOOD] for k in GOOD[0]}]
)
def test_json_may_hold_its_rows_in_an_object_or_as_columns(tmp_path: Path, value: dict):
    assert len(read(file(tmp_path, "a.json", json.dumps(value)))) == 12


def test_one_conversation_in_a_json_file_is_one_row(tmp_path: Path):
    talk = {"messages": [{"role": "user", "content": "U"}, {"role": "assistant", "content": "A"}]}
    assert len(read(file(tmp_path, "a.json", json.dumps(talk)))) == 1
    assert len(read(file(tmp_path, "a.jsonl", json.dumps(talk, indent=1)))) == 1


def test_json_that_is_jsonl_and_jsonl_that_is_json_are_read(tmp_path: Path):
    assert len(read(file(tmp_path, "a.json", lines(GOOD)))) == 12
    assert len(read(file(tmp_path, "a.jsonl", json.dumps(GOOD, indent=1)))) == 12


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "utf-8"])
@pytest.mark.parametrize("ending", [".jsonl", ".csv"])
def test_encodings_are_told_from_the_bytes(tmp_path: Path, encoding: str, ending: str):
    text = "question,answer\nCafé?,Déjà vu – “oui”\n" if ending == ".csv" else lines(
        [{"question": "Café?", "answer": "Déjà vu – “oui”"}]
    )  # fmt: skip
    dataset = read(file(tmp_path, f"a{ending}", text.encode(encoding)))
    assert (dataset.examples[0].prompt, dataset.examples[0].response) == ("Café?", "Déjà vu – “oui”")
    assert bool(dataset.notes) == (encoding not in ("utf-8", "utf-8-sig"))


@pytest.mark.parametrize("ending", [".jsonl", ".csv"])
def test_undecodable_bytes_cost_their_own_row(tmp_path: Path, ending: str):
    good = [{"question": "é", "answer": "ü"}] * 2
    broken = lines(good).encode() + b'{"question": "\xff\xfe", "answer": "x"}\n' + lines(good).encode()
    if ending == ".csv":
        broken = "question,answer\né,ü\né,ü\n".encode() + b"\xff\xfe,x\n" + "é,ü\né,ü\n".encode()
    path = file(tmp_path, f"a{ending}", broken)
    assert len(read(path)) == 4 and faults(path) == {3: tables.UNDECODED}
    assert "Row 3 left out: it holds bytes that are not text in the file's encoding." in read(path).warnings()


def test_one_broken_line_does_not_change_the_encoding_of_a_file(tmp_path: Path):
    assert encoding_of(file(tmp_path, "a", "é".encode() + b" \xe9"))[0] == "utf-8"
    assert encoding_of(file(tmp_path, "b", b"caf\xe9"))[0] == "cp1252"
    assert encoding_of(file(tmp_path, "c", b"caf\xe9 \x81"))[0] == "utf-8"


@pytest.mark.parametrize(("name", "size"), [("a.jsonl", 2**30), ("a.csv", 2**28), ("a.txt", 2**28)])
def test_line_of_a_gigabyte_is_refused_without_eating_memory(tmp_path: Path, name: str, size: int):
    path = tmp_path / name
    head, foot = {
        "a.jsonl": (b'{"question": "a", "answer": "b"}\n{"question": "', b'"}\n{"question": "a", "answer": "b"}\n'),
        "a.csv": (b"question,answer\na,b\n", b"\nc,d\n"),
        "a.txt": (b"first\n", b"\nlast\n"),
    }[name]
    with path.open("wb") as out:
        out.write(head)
        start = out.tell()
        out.seek(start + size)  # a hole: no disk is used
        out.write(foot)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    table = read_table(path)
    assert len(table.rows) == 2
    assert [(fault.row, fault.why) for fault in table.faults] == [(2, tables.TOO_LONG)]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "more than 200 MB were held"


def test_deeply_nested_json_costs_its_own_row(tmp_path: Path):
    deep = '{"question": ' + "[" * 200_000 + "]" * 200_000 + ', "answer": "x"}\n'
    path = file(tmp_path, "a.jsonl", lines(GOOD[:1]) + deep + lines(GOOD[1:2]))
    assert faults(path) == {2: "its JSON is nested too deeply"} and len(read(path)) == 2
    with pytest.raises(Problem, match="nested too deeply"):
        read(file(tmp_path, "b.json", "[" * 200_000))


def test_key_that_stands_twice_costs_its_row(tmp_path: Path):
    path = file(tmp_path, "a.jsonl", lines(GOOD[:1]) + '{"question": "a", "answer": "b", "answer": "c"}\n')
    assert "the key 'answer' stands twice" in faults(path)[2] and len(read(path)) == 1


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{'question': 1}", "it is not JSON"),
        ('{"question": "cut o', "it is not JSON"),
        ("[1, 2]", "it is a list and not an object"),
        ('"text"', "it is a text and not an object"),
        ("null", "it is empty and not an object"),
        ("9" * 5000, "cannot be used|not JSON that can be used"),
    ],
)
def test_lines_that_are_no_objects_cost_themselves(tmp_path: Path, line: str, why: str):
    import re

    path = file(tmp_path, "a.jsonl", lines(GOOD[:2]) + line + "\n\n" + lines(GOOD[2:3]))
    assert list(faults(path)) == [3] and re.search(why, faults(path)[3])
    assert [example.row for example in read(path).examples] == [1, 2, 5], "row numbers are the file's lines"


def test_broken_json_names_its_line(tmp_path: Path):
    with pytest.raises(Problem, match=r"not valid JSON.*line 3"):
        read(file(tmp_path, "a.json", '[\n{"question": "a"},\n{"question": b}]'))


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.csv", "question,answer\n"), ("a.csv", ""), ("a.jsonl", "\n\n"), ("a.json", "[]"), ("a.txt", " \n")],
)
def test_file_without_rows_says_so(tmp_path: Path, name: str, text: str):
    with pytest.raises(Problem, match=r"holds (only a header|no rows)"):
        read(file(tmp_path, name, text))


def test_csv_with_too_many_cells_costs_its_row_and_missing_ones_are_empty(tmp_path: Path):
    path = file(tmp_path, "a.csv", "question,answer,kind\na,b,c\na,b, c,d\na,b\n")
    assert faults(path) == {2: "it has 4 cells under 3 columns"} and len(read(path)) == 2


def test_csv_keeps_quotes_line_breaks_and_commas(tmp_path: Path):
    dataset = read(file(tmp_path, "a.csv", 'question,answer\r\n"a, ""b""","one\r\ntwo"\r\n'))
    assert (dataset.examples[0].prompt, dataset.examples[0].response) == ('a, "b"', "one\r\ntwo")


def test_semicolons_separate_too(tmp_path: Path):
    assert read(file(tmp_path, "a.csv", "question;answer\na, b;c\n")).examples[0].prompt == "a, b"


def test_quote_that_never_closes_does_not_take_the_file_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import csv

    old = csv.field_size_limit(100)
    try:
        path = file(tmp_path, "a.csv", 'question,answer\na,b\na,"b\n' + "c,d\n" * 60)
        assert "it is not CSV" in faults(path)[2] and len(read(path)) > 10
    finally:
        csv.field_size_limit(old)


def test_header_that_names_a_column_twice_is_refused(tmp_path: Path):
    with pytest.raises(Problem, match="names a column twice: 'answer'"):
        read(file(tmp_path, "a.csv", "question,answer,answer\na,b,c\n"))


@pytest.mark.parametrize("content", [b"", b"PAR1 not really PAR1", b"\x00" * 100])
def test_broken_parquet_says_so(tmp_path: Path, content: bytes):
    with pytest.raises(Problem, match="not a Parquet file"):
        read(file(tmp_path, "a.parquet", content))


def test_unknown_ending_and_missing_file_are_refused(tmp_path: Path):
    with pytest.raises(Problem, match="none of the files that can be read here"):
        read(file(tmp_path, "a.exe", b"MZ"))
    with pytest.raises(Problem, match="cannot be opened"):
        read(tmp_path / "nowhere.jsonl")


def test_rows_beyond_the_limit_are_left_out_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tables, "MOST_ROWS", 5)
    for name, text in (
        ("a.jsonl", lines(GOOD)),
        ("a.json", json.dumps(GOOD)),
        ("a.csv", "question,answer\n" + "a,b\n" * 9),
    ):
        dataset = read(file(tmp_path, name, text))
        assert len(dataset) == 5
        assert any("Only the first 5 rows are read" in note for note in dataset.notes)


def test_file_of_exactly_the_limit_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tables, "MOST_ROWS", 12)
    assert read(file(tmp_path, "a.jsonl", lines(GOOD))).notes == ()
