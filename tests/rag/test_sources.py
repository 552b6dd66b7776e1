"""What a folder, a zip or a list brings: clean names, one row for each bad entry, nothing outside of its place."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

import pytest

from engine.errors import Problem
from rag import sources
from rag.sources import clean_name, from_files, from_folder, from_path, from_zip, gathered


def test_a_folder_gives_its_files_with_their_folders_as_tags(tmp_path: Path) -> None:
    for name in ("a.md", "people/a.md", "people/deep/b.md", ".git/config", "__MACOSX/a.md", "people/.DS_Store"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    found = from_folder(tmp_path)
    assert [(one.name, one.tags) for one in found.files] == [
        ("a.md", ()),
        ("people/a.md", ("people",)),
        ("people/deep/b.md", ("people", "deep")),
    ]
    assert found.name == tmp_path.name


def test_symbolic_links_are_refused_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key.txt").write_text("key")
    inside = tmp_path / "docs"
    inside.mkdir()
    (inside / "link.txt").symlink_to(tmp_path / "secret/key.txt")
    (inside / "folder").symlink_to(tmp_path / "secret")
    os.mkfifo(inside / "pipe.txt")
    found = {one.name: one.problem for one in from_folder(inside).files}
    assert set(found) == {"link.txt", "folder", "pipe.txt"}
    assert "symbolic link" in found["link.txt"] and "symbolic link" in found["folder"] and "pipe" in found["pipe.txt"]


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "..\\..\\boot.ini", "a/../../b.md", "./x/.././../y.md", "\x00..\x00/z"]
)
def test_names_never_point_outside(name: str) -> None:
    made = clean_name(name)
    assert made and not made.startswith("/") and ".." not in made.split("/") and "\x00" not in made


def test_hostile_names_are_shown_clean_and_stay_apart(tmp_path: Path) -> None:
    names = [
        "; rm -rf.md",
        "-rf.md",
        "gpj\u202eexe.md",
        "line\nbreak.md",
        "<b>x</b>.md".replace("/", "_"),
        "e\u0301.md",
    ]
    for name in names:
        (tmp_path / name).write_text("x")
    (tmp_path / os.fsdecode(b"bad\xff.md")).write_text("x")
    found = [one.name for one in from_folder(tmp_path).files]
    assert len(set(found)) == len(names) + 1
    assert all(name.isprintable() and name.encode() for name in found)
    assert "é.md" in found and "gpj_exe.md" in found


def test_two_names_that_become_one_get_numbers(tmp_path: Path) -> None:
    paths = [tmp_path / "1.md", tmp_path / "2.md"]
    for path in paths:
        path.write_text("x")
    assert [one.name for one in from_files(paths, ["x\u200b.md", "x\u200c.md"]).files] == ["x_ (2).md", "x_.md"]


def test_folders_that_come_together_keep_their_names_as_first_part_and_tag(tmp_path: Path) -> None:
    for name in ("employees/intro.md", "employees/deep/b.md", "products/intro.md", "alone.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    found = gathered([tmp_path / name for name in ("employees", "products", "alone.md")], tmp_path / "out")
    assert [(one.name, one.tags, found.folder_of(one)) for one in found.files] == [
        ("alone.md", (), ""),
        ("employees/deep/b.md", ("employees", "deep"), "employees"),
        ("employees/intro.md", ("employees",), "employees"),
        ("products/intro.md", ("products",), "products"),
    ]
    assert found.folders == {"employees", "products"}
    alone = gathered([tmp_path / "employees"], tmp_path / "out")
    assert [one.name for one in alone.files] == ["deep/b.md", "intro.md"] and alone.folders == {"employees"}


def test_a_single_file_never_passes_for_one_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a\\b.md").write_text("text")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/c.md").write_text("text")
    found = gathered([tmp_path / "a\\b.md", tmp_path / "docs"], tmp_path / "out")
    assert [one.name for one in found.files] == ["a_b.md", "docs/c.md"] and found.folders == {"docs"}


def entry(name: str, mode: int = 0) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.external_attr = mode << 16
    made.compress_type = zipfile.ZIP_DEFLATED
    return made


def test_a_zip_is_unpacked_below_its_folder_and_bad_entries_cost_a_row(tmp_path: Path) -> None:
    path = tmp_path / "docs.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry("good/a.md"), "text of a")
        archive.writestr(entry("../evil.md"), "outside")
        archive.writestr(entry("/abs.md"), "outside")
        archive.writestr(entry("link.md", stat.S_IFLNK | 0o777), "/etc/passwd")
        archive.writestr(entry("tool.exe"), "MZ")
        archive.writestr(entry("bomb.txt"), b"0" * (11 * 2**20))
        archive.writestr(entry(".hidden.md"), "x")
    found = {one.name: one for one in from_zip(path, tmp_path / "out").files}
    assert found["good/a.md"].path.read_text() == "text of a" and found["good/a.md"].tags == ("good",)
    for name, words in (("evil.md", "outside"), ("abs.md", "outside"), ("link.md", "link"), ("bomb.txt", "bomb")):
        assert words in found[name].problem, name
    assert "not read" in found["tool.exe"].problem and ".hidden.md" not in found
    assert [one.name for one in tmp_path.rglob("*") if one.is_file()] == ["docs.zip", "00000.md"]


def test_a_zip_that_lies_about_a_size_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "docs.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", b"word " * 5000)
    data = path.read_bytes()
    size = (25000).to_bytes(4, "little")
    path.write_bytes(data.replace(size, (10).to_bytes(4, "little")))
    found = from_zip(path, tmp_path / "out").files[0]
    assert "cannot be unpacked" in found.problem or found.path.stat().st_size <= 10


def test_a_zip_that_is_too_large_or_broken_is_refused_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "docs.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "x" * 2000)
        archive.writestr("b.txt", "y" * 2000)
    monkeypatch.setattr(sources, "MOST_UNPACKED", 3000)
    with pytest.raises(Problem, match="would unpack"):
        from_zip(path, tmp_path / "out")
    monkeypatch.setattr(sources, "MOST_FILES", 1)
    with pytest.raises(Problem, match="more than 1 files"):
        from_zip(path, tmp_path / "out")
    path.write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(Problem, match="no whole zip"):
        from_zip(path, tmp_path / "out")


def test_a_path_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="nothing at"):
        from_path(tmp_path / "nowhere", tmp_path / "out")
