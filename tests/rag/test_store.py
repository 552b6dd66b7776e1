"""The store holds what it was given, says what changed, and refuses what does not fit."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from engine.errors import Problem
from rag.embedders import Embedder
from rag.store import Store, list_collections, unreadable_collections
from rag.storing.schema import FILE
from rag.types import Chunk, FileRecord, Page
from tests.rag.putting import Hashed, added


def test_a_collection_is_made_found_renamed_and_deleted() -> None:
    Store.create("Tails & more").close()
    assert "Tails & more" in [one.name for one in list_collections()]
    with pytest.raises(Problem, match="already"):
        Store.create("Tails & more")
    with Store.open("Tails & more") as store:
        store.rename("Heads")
    with pytest.raises(Problem, match="There is no collection 'Tails & more'"):
        Store.open("Tails & more")
    Store.open("Heads").delete()
    assert "Heads" not in [one.name for one in list_collections()]
    with pytest.raises(Problem, match="empty"):
        Store.create(" \n ")


def test_two_names_with_one_slug_get_two_folders() -> None:
    with Store.create("A b") as first, Store.create("a B") as second:
        assert first.folder != second.folder
        first.delete()
        second.delete()


def test_chunks_pages_and_vectors_come_back_as_they_went_in(store: Store, papers_folder: Path) -> None:
    model = Hashed()
    reports = added(store, papers_folder, model)
    assert store.count() == sum(report.chunks for report in reports.values()) > 3
    ids, vectors = store.vectors()
    assert vectors.dtype == np.float32 and vectors.shape == (store.count(), 384)
    chunks = store.chunks(ids)
    assert [one.id for one in chunks] == ids and [one.number for one in chunks] == sorted(one.number for one in chunks)
    assert np.allclose(vectors, model.embed_passages([one.text for one in chunks]))
    for chunk in chunks:
        assert store.text(chunk.file)[chunk.start : chunk.end] == chunk.text
        assert chunk.tags == (chunk.file.split("/")[0],)
    page = store.page("tails/notes.pdf", 1)
    assert page and page.raw.startswith("Page 1 on fat tails.")
    assert store.page("tails/notes.pdf", 9) is None
    original = store.original("tails/notes.pdf")
    assert original and original.read_bytes() == (papers_folder / "tails/notes.pdf").read_bytes()
    assert store.original("models/notes.md") is None and not store.faults()


def test_words_are_found_by_their_stem_and_told(store: Store, papers_folder: Path) -> None:
    added(store, papers_folder)
    found = store.keyword_search("What is the quantizing of adaptations?", 50)
    assert {store.chunk(one).file for one, _, _ in found} == {"models/notes.md", "models/extra.txt"}  # type: ignore[union-attr]
    assert {word for _, _, matched in found for word in matched} == {"quantization", "adaptation"}
    assert [score for _, score, _ in found] == sorted((score for _, score, _ in found), reverse=True)
    assert store.keyword_search("tails", 9, {"tag": "models"}) == []
    assert store.keyword_search('" OR (NEAR * -', 5) == [] and store.keyword_search("", 5) == []


def test_filters_narrow_by_file_kind_and_tag(store: Store, papers_folder: Path) -> None:
    added(store, papers_folder)
    files = {store.chunk(one).file for one in store.matching({"tag": ["models"], "kind": "md"})}  # type: ignore[union-attr]
    assert files == {"models/notes.md"} and store.tags() == ["models", "tails"]
    assert store.count({"file": "models/extra.txt"}) == len(store.chunks_of("models/extra.txt"))
    with pytest.raises(Problem, match="no filter"):
        store.matching({"colour": "red"})


def test_the_version_rises_and_tells_what_changed(store: Store, papers_folder: Path) -> None:
    assert store.changes(store.version()) == ([], [])
    added(store, papers_folder)
    version, before = store.version(), {one.id for one in store.chunks()}
    assert set(store.changes(0)[0]) == before
    store.remove_file("models/notes.md")
    upserted, removed = store.changes(version)
    assert not upserted and set(removed) == before - {one.id for one in store.chunks()}
    version = store.version()
    store.set_tags(store.files()[0].id, ["x"])
    assert set(store.changes(version)[0]) == {one.id for one in store.chunks_of(store.files()[0].path)}


def test_nothing_of_a_removed_file_stays_on_the_disk(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "secret.md").write_text("The password of the vault is xylophonequartet.")
    (folder / "other.md").write_text("Nothing to see.")
    added(store, folder)
    store.remove_file("secret.md")
    store.compact()
    on_disk = b"".join(path.read_bytes() for path in store.folder.rglob("*") if path.is_file())
    assert b"xylophone" not in on_disk and b"Nothing to see" in on_disk


def test_another_model_is_refused_in_words(store: Store, tmp_path: Path) -> None:
    other = Hashed()
    other.fingerprint = "0" * 32  # type: ignore[misc]
    with pytest.raises(Problem, match=r"cannot search it.*re-index"):
        store.check_embedder(other)
    (tmp_path / "a.md").write_text("Some text.")
    with pytest.raises(Problem, match="cannot search it"):
        added(store, tmp_path, other)
    assert store.files() == []


def test_vectors_of_another_length_are_refused(store: Store) -> None:
    with pytest.raises(Problem, match="do not fit"):
        store.put_vectors(["text"], np.ones((1, 768), dtype=np.float32))


def test_a_chunk_without_its_vector_leaves_nothing_behind(store: Store) -> None:
    record = FileRecord(0, "a.md", "0" * 64, 1, "md", 1, 1)
    chunk = Chunk("", "a.md", 0, (), 0, "1", 0, 0, 4, "text")
    with pytest.raises(ValueError, match="no vector"):
        store.put_file(record, [Page(0, "1", "text", "text")], [chunk])
    assert store.files() == [] and store.version() == 0


def test_halves_of_surrogate_pairs_do_not_reach_the_store(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"There is something before it \xed\xa0\x80 and there is something after it.")
    added(store, tmp_path)
    json.dumps([one.text for one in store.chunks()]).encode()
    assert store.count() == 1


def test_threads_may_share_a_store(store: Store, papers_folder: Path) -> None:
    added(store, papers_folder)
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda: counts.append(len(store.keyword_search("adaptation", 50)))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counts) == 8 and len(set(counts)) == 1


def test_a_damaged_file_and_one_of_a_newer_version_are_refused_in_words(store: Store) -> None:
    folder = store.folder
    with store.writing(changed=False) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE name = 'format'")
    with pytest.raises(Problem, match="newer version"):
        Store(folder)
    store.close()
    for path in folder.glob(f"{FILE}*"):
        path.unlink()
    (folder / FILE).write_bytes(b"this is no database at all, but it is long enough to look at" * 40)
    with pytest.raises(Problem, match="damaged"):
        Store(folder)
    (folder / FILE).unlink()
    with sqlite3.connect(folder / FILE) as connection:
        connection.execute("CREATE TABLE something (x)")
    with pytest.raises(Problem, match="no collection that can be read"):
        Store(folder)


def test_a_collection_travels_as_one_file(store: Store, papers_folder: Path, tmp_path: Path) -> None:
    added(store, papers_folder)
    path = store.export_to(tmp_path / "shelf.zip")
    with Store.import_from(path, owner="jo") as copy:
        assert copy.settings.name == f"{store.settings.name} 2" and copy.settings.owner == "jo"
        assert [(one.id, one.text, one.page) for one in copy.chunks()] == [
            (one.id, one.text, one.page) for one in store.chunks()
        ]
        assert np.array_equal(copy.vectors()[1], store.vectors()[1])
        assert copy.original("tails/notes.pdf") and not copy.faults()
        assert added(copy, papers_folder)["models/notes.md"].state == "same"
        copy.delete()


def test_a_collection_whose_file_is_broken_is_named_and_the_others_stay(store: Store) -> None:
    broken = Store.create("To be broken")
    broken.close()
    (broken.folder / "store.sqlite").write_bytes(b"no database" * 1000)
    try:
        found = unreadable_collections()
        assert list(found) == [broken.folder.name] and broken.folder.name in found[broken.folder.name]
        listed = [one.name for one in list_collections()]
        assert store.settings.name in listed and "To be broken" not in listed
    finally:
        shutil.rmtree(broken.folder)
    assert not unreadable_collections()


def test_an_export_that_was_tampered_with_is_refused_and_leaves_nothing(
    store: Store, papers_folder: Path, tmp_path: Path
) -> None:
    added(store, papers_folder)
    good = store.export_to(tmp_path / "good.zip")
    names = [one.name for one in list_collections()]

    def changed(member: str, data: bytes) -> Path:
        path = tmp_path / "bad.zip"
        with zipfile.ZipFile(good) as source, zipfile.ZipFile(path, "w") as target:
            for name in source.namelist():
                target.writestr(name, data if name == member else source.read(name))
        return path

    with zipfile.ZipFile(good) as source:
        lines = source.read("files.jsonl")
    bad = [
        changed("collection.json", b"{}"),
        changed("vectors.npy", b"\x80\x04cposix\nsystem\n"),
        changed("files.jsonl", lines.replace(b'"hash": "', b'"hash": "../')),
        changed("files.jsonl", b"[1, 2"),
    ]
    (tmp_path / "none.zip").write_bytes(b"no zip")
    for path in [*bad, tmp_path / "none.zip", tmp_path / "missing.zip"]:
        with pytest.raises(Problem):
            Store.import_from(path)
    assert [one.name for one in list_collections()] == names


def test_the_default_embedder_needs_no_weights_to_count() -> None:
    model = Embedder()
    assert (model.dimension, model.max_tokens, model.special_tokens) == (384, 256, 2)
    assert model.count_tokens("Fat tails") == len(model.offsets("Fat tails")) == 2
    assert Embedder("BAAI/bge-small-en-v1.5").query_prefix.startswith("Represent this sentence")


def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="not on this machine"):
        _ = Embedder("nobody/no-such-model").folder
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(Problem, match="no tokenizer"):
        Embedder(str(tmp_path)).count_tokens("x")
