"""Chroma over the store: the same answers as exact search, one owner, and damage of every kind survived."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import Problem
from engine.settings import ROOT
from rag import index as index_module
from rag.exact import Exact
from rag.index import Index
from rag.indexing.keeping import read_state, write_state
from rag.indexing.looking import looked_at
from rag.indexing.probing import probe
from rag.store import Store
from tests.rag.shelves import directions, filled, made_up

pytestmark = pytest.mark.timeout(900)  # the first test of a run loads the embedding model, which a busy machine delays

QUESTIONS = directions(12, seed=5)


def quiet(sentence: str) -> None:
    """Takes what the index tells."""


def top(search: Index | Exact, where: dict | None = None) -> list[list[str]]:
    return [[one for one, _ in search.search(vector, 10, where)] for vector in QUESTIONS]


@pytest.fixture
def store() -> Iterator[Store]:
    made = made_up("many passages", 1300)
    yield made
    made.delete()


def test_chroma_and_exact_search_have_the_same_top_ten(store: Store) -> None:
    with Index(store) as index:
        assert top(index) == top(Exact(store))
        near = dict(index.search(QUESTIONS[0], 10))
        assert near == pytest.approx(dict(Exact(store).search(QUESTIONS[0], 10)), abs=1e-5)


def test_filters_hold_in_both(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = top(Exact(store), {"tag": "odd"})
    with Index(store) as index:
        assert top(index, {"tag": "odd"}) == exact
        monkeypatch.setattr(index_module, "EXACT", 0)  # now through the graph
        assert top(index, {"tag": "odd"}) == exact


def test_index_catches_up_with_what_came_changed_moved_and_went(store: Store) -> None:
    with Index(store) as index:
        assert index.count() == 1300
        new = directions(3, seed=8)
        filled(store, {"new.md": (("odd",), ["one", "two", "three"])}, new)
        store.remove_file("file 000100.md")
        moved = store.file("file 000300.md")
        assert moved is not None
        store.move_file(moved.id, "elsewhere/file.md")
        assert index.catch_up() > 0
        assert index.count() == store.count() == 1203
        assert top(index) == top(Exact(store))
        assert index.search(new[0], 1)[0][1] == pytest.approx(1.0, abs=1e-5)
        assert index.catch_up() == 0
        assert not index.told


def test_index_that_was_closed_opens_again_without_being_made_anew(store: Store) -> None:
    with Index(store) as index:
        before = top(index)
    for _ in range(2):
        with Index(store) as index:
            assert index.told == []
            assert top(index) == before


def test_second_process_is_refused_in_words(store: Store) -> None:
    code = (
        "import sys; from pathlib import Path; from rag.store import Store; from rag.index import Index\n"
        "try: Index(Store(Path(sys.argv[1])))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    with Index(store) as index:
        command = [sys.executable, "-c", code, str(store.folder)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=600)
        assert done.stdout.startswith("InUse The index of 'many passages' is in use by another Diptych (process ")
        with pytest.raises(Problem, match="in use"):
            Index(store)
        assert top(index) == top(Exact(store))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout == ""


def graph_file(store: Store, name: str) -> Path:
    """A file of the index by its name."""
    return next(path for path in (store.folder / "chroma").rglob(name) if path.is_file())


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


FILES = ("header.bin", "data_level0.bin", "link_lists.bin", "length.bin", "index_metadata.pickle", "chroma.sqlite3")
FEW = [(name, half) for name in ("header.bin", "index_metadata.pickle", "chroma.sqlite3", "state.json")]
FEW += [("data_level0.bin", flipped), ("link_lists.bin", zeros)]
ALL = [(name, how) for name in (*FILES, "state.json") for how in (half, flipped, zeros, Path.unlink)]


def survives(store: Store, damages: list[tuple[str, Callable[[Path], None]]]) -> None:
    """After each damage the index opens, and its top ten are as before; all but harmless ones are told."""
    with Index(store) as index:
        before = top(index)
    folder = store.folder / "chroma"
    safe = folder.with_name("safe copy")
    shutil.copytree(folder, safe)
    for name, damage in damages:
        shutil.rmtree(folder)
        shutil.copytree(safe, folder)
        damage(graph_file(store, name))
        with Index(store, quiet) as index:
            assert top(index) == before, f"{name} after {damage.__name__}"
            assert index.told == [] or "made anew" in index.told[0]
            assert index.told or (name, damage) not in FEW, f"{name} after {damage.__name__} went unnoticed"


def test_damaged_index_is_told_and_made_anew(store: Store) -> None:
    survives(store, FEW)


@pytest.mark.parametrize(
    ("name", "damage"), [("data_level0.bin", zeros), ("chroma.sqlite3", half), ("chroma.sqlite3", Path.unlink)]
)
def test_damage_under_an_open_index_is_told_and_survived(
    store: Store, name: str, damage: Callable[[Path], None]
) -> None:
    with Index(store, quiet) as index:
        before = top(index)
        damage(graph_file(store, name))
        assert top(index) == before
        filled(store, {"new.md": (("odd",), ["one"])}, directions(1, seed=8))
        index.catch_up()
        assert len(index.told) == 1 and "made anew" in index.told[0]
        assert top(index) == top(Exact(store)) and not index.look().wrong
    with Index(store, quiet) as index:
        assert index.told == []


def test_index_that_lacks_passages_of_the_store_is_told_and_made_anew(store: Store) -> None:
    with Index(store) as index:
        before = top(index)
        index._collection.delete(ids=[chunk.id for chunk in store.chunks()[:3]])
        assert "(1,297 of 1,300 passages)" in index.look().sentence and index.look().wrong
    assert looked_at(store).wrong
    with Index(store, quiet) as index:
        assert "does not hold what the store holds" in index.told[0]
        assert top(index) == before


@pytest.mark.slow
def test_every_damage_to_every_file_is_survived(store: Store) -> None:
    survives(store, ALL)


def test_child_dies_of_a_damaged_graph_and_this_process_does_not(store: Store) -> None:
    with Index(store) as index:
        folder = index.generation
    assert probe(store.folder, folder) == ""
    flipped(graph_file(store, "header.bin"))  # opening it ends a process with a segmentation fault
    assert "damaged" in probe(store.folder, folder)


def test_index_that_was_left_in_the_middle_of_a_change_is_made_anew(store: Store) -> None:
    with Index(store) as index:
        before = top(index)
    state = read_state(store.folder / "chroma")
    assert state is not None
    write_state(store.folder / "chroma", replace(state, busy=True))
    with Index(store, quiet) as index:
        assert "in the middle of a change" in index.told[0]
        assert top(index) == before


def test_index_of_another_embedding_model_is_made_anew(store: Store) -> None:
    with Index(store, quiet) as index:
        store.save_settings(replace(store.settings, fingerprint="another"))
        filled(store, {"more.md": (("odd",), ["more"])}, directions(1, seed=3))
        index.catch_up()
        assert "another embedding model" in index.told[0]
        assert top(index) == top(Exact(store))


def test_rebuild_leaves_one_folder_and_the_same_answers(store: Store) -> None:
    with Index(store) as index:
        before, seen = top(index), []
        assert index.rebuild(lambda done, of: seen.append((done, of))) == 1300
        assert seen[-1] == (1300, 1300)
        assert top(index) == before
        assert [path.name for path in (store.folder / "chroma").iterdir() if path.is_dir()] == [index.generation.name]


def test_empty_collection_has_an_empty_index() -> None:
    empty = made_up("nothing in it", 0)
    try:
        for _ in range(2):
            with Index(empty, quiet) as index:
                assert index.search(QUESTIONS[0], 5) == []
                assert index.told == []
    finally:
        empty.delete()
