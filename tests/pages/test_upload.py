"""The upload route over HTTP: relative paths kept, hostile ones refused, limits, logins, other people's batches."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

import gradio as gr
import httpx
import pytest

from engine import settings as engine_settings
from engine.errors import Problem
from pages import upload
from tests.pages.scripted import serving

MARK = {"x-diptych": "upload"}
BATCH = "0123456789abcdef0123456789abcdef"


def send(address: str, path: str, body: bytes = b"text", batch: str = BATCH, **options) -> httpx.Response:
    query = f"batch={quote(batch)}&path={quote(path, safe='')}"
    options = {"headers": MARK, **options}
    return httpx.post(f"{address}{upload.ADDRESS}?{query}", content=body, timeout=30, **options)


@pytest.fixture
def batch() -> Iterator[str]:
    """A batch number of this test alone, forgotten at its end."""
    number = os.urandom(16).hex()
    yield number
    upload.shutil.rmtree(upload.uploads() / number, ignore_errors=True)


def test_two_files_of_one_name_keep_their_folders(page: tuple[str, gr.Blocks], batch: str):
    for path, body in (("docs/a/readme.md", b"one"), ("docs/b/readme.md", b"three"), ("docs/grün ☃.txt", b"")):
        assert send(page[0], path, body, batch).json() == {"saved": path, "bytes": len(body)}
    folder = upload.batch_folder(batch, "")
    found = {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}
    assert found == {"docs/a/readme.md": b"one", "docs/b/readme.md": b"three", "docs/grün ☃.txt": b""}
    assert not list(folder.parent.glob("part-*")), "half a file was left behind"
    upload.forget(batch, "")
    with pytest.raises(Problem, match="not on the server any more"):
        upload.batch_folder(batch, "")


@pytest.mark.parametrize(
    "path",
    [
        "../x.txt", "a/../../x.txt", "/etc/x.txt", "a//b.txt", "", " ", ".", "a/./b", "..\\x.txt", "a\\b.txt",
        "C:/x.txt", "a\x00b.txt", "a\nb.txt", "x" * 241, "/".join(["abcdefghi"] * 110), "a/ .. /b", "a/",
    ],
)  # fmt: skip
def test_hostile_paths_are_refused_in_a_sentence(page: tuple[str, gr.Blocks], batch: str, path: str):
    answer = send(page[0], path, batch=batch)
    assert answer.status_code == 400 and "ile" in answer.json()["error"]
    assert not (upload.uploads() / batch).exists(), "a refused file founded a batch"


def test_bytes_that_are_no_text_are_refused_as_a_name(page: tuple[str, gr.Blocks], batch: str):
    answer = httpx.post(f"{page[0]}{upload.ADDRESS}?batch={batch}&path=%FF%FE.txt", content=b"x", headers=MARK)
    assert answer.status_code == 400 and "characters that no name should hold" in answer.json()["error"]


def test_number_of_a_batch_cannot_be_a_path(page: tuple[str, gr.Blocks]):
    for number in ("../../x", "", "ABC", "0" * 31, "0" * 33):
        assert "no valid number" in send(page[0], "a.txt", batch=number).json()["error"]


def test_large_files_and_full_batches_are_refused_and_leave_nothing(page, batch: str, monkeypatch):
    small = replace(engine_settings.settings(), max_upload="1kb")
    monkeypatch.setattr(upload, "settings", lambda: small)
    assert "larger than 1kb" in send(page[0], "big.pdf", b"x" * 1001, batch).json()["error"]
    assert send(page[0], "fits.pdf", b"x" * 1000, batch).status_code == 200
    monkeypatch.setattr(upload, "MOST_BYTES", 1500)
    assert "together are larger" in send(page[0], "second.pdf", b"x" * 600, batch).json()["error"]
    monkeypatch.setattr(upload, "MOST_FILES", 1)
    assert "1 files are the most" in send(page[0], "third.pdf", b"x", batch).json()["error"]
    folder = upload.batch_folder(batch, "")
    assert [each.name for each in folder.rglob("*") if each.is_file()] == ["fits.pdf"]


def test_file_cannot_take_the_place_of_a_folder(page: tuple[str, gr.Blocks], batch: str):
    assert send(page[0], "a/b.txt", batch=batch).status_code == 200
    assert "is a folder already" in send(page[0], "a", batch=batch).json()["error"]
    assert "same path as another file" in send(page[0], "a/b.txt/c.txt", batch=batch).json()["error"]


def test_pages_of_others_cannot_upload(page: tuple[str, gr.Blocks], batch: str):
    assert "own page" in send(page[0], "a.txt", batch=batch, headers={}).json()["error"]
    foreign = {**MARK, "origin": "http://evil.example"}
    assert send(page[0], "a.txt", batch=batch, headers=foreign).status_code == 403


def test_visitors_may_not_and_owners_log_in_first(batch: str):
    with serving("--open-demo", tabs=("Serve",)) as (address, _):
        assert "Visitors of an open demo may not add documents" in send(address, "a.txt", batch=batch).json()["error"]
    with serving("--auth", "me:correct-horse", tabs=("Serve",)) as (address, _):
        assert "may not add documents" in send(address, "a.txt", batch=batch).json()["error"]
        stranger = {"cookies": {"access-token-x": "y"}}
        assert send(address, "a.txt", batch=batch, **stranger).status_code == 400
        login = httpx.post(f"{address}/login", data={"username": "me", "password": "correct-horse"})
        cookies = {"cookies": dict(login.cookies)}
        assert send(address, "a.txt", batch=batch, **cookies).status_code == 200
    told = json.loads((upload.uploads() / batch / upload.OWNER).read_text())
    assert told["owner"] == "me"
    with pytest.raises(Problem, match="belong to somebody else"):
        upload.batch_folder(batch, "you")


def test_batches_that_nobody_applied_are_thrown_away(page: tuple[str, gr.Blocks], batch: str):
    old = upload.uploads() / ("f" * 32)
    old.mkdir(parents=True)
    os.utime(old, (1, 1))
    assert send(page[0], "a.txt", batch=batch).status_code == 200
    assert not old.exists()


def test_upload_works_behind_the_proxy_of_a_space(batch: str):
    env = {"SPACE_ID": "me/diptych", "DIPTYCH_AUTH": "me:correct-horse"}
    outside = {"host": "me-diptych.hf.space", "x-forwarded-proto": "https", "x-forwarded-host": "me-diptych.hf.space"}
    with serving(env=env, tabs=("Serve",)) as (address, _):
        local = address.replace("0.0.0.0", "127.0.0.1")
        login = httpx.post(f"{local}/login", data={"username": "me", "password": "correct-horse"}, headers=outside)
        cookies = "; ".join(f"{name}={value}" for name, value in login.cookies.items())
        own = {**MARK, **outside, "origin": "https://me-diptych.hf.space", "cookie": cookies}
        assert send(local, "a/b.txt", batch=batch, headers=own).json() == {"saved": "a/b.txt", "bytes": 4}
        foreign = {**own, "origin": "https://somebody-else.hf.space"}
        assert send(local, "a/c.txt", batch=batch, headers=foreign).status_code == 403


def test_first_files_of_a_batch_may_come_together(page):
    """The page sends three at once: whichever founds the batch, none is told that it is gone."""
    from concurrent.futures import ThreadPoolExecutor

    from pages.upload import batch_folder

    for number in range(40):
        with ThreadPoolExecutor(8) as pool:
            folders = list(pool.map(lambda _, batch=f"{number:032x}": batch_folder(batch, "", True), range(8)))
        assert len(set(folders)) == 1
