"""A Hub on 127.0.0.1 that follows a script: repositories with files, gates, faults and a pace, and a list of requests.

It speaks what huggingface_hub 2.4 asks of the real one: model info with blobs, trees, HEAD and GET with ranges.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

PIECE = 16 * 1024  # bytes between two looks at the script while a file is sent


@dataclass
class Repo:
    """One repository. `key` opens a gated or private one; `pace` is seconds for each PIECE of a file.

    The next `cuts` answers with a file break off after `cut_after` bytes; `silent` seconds pass before any answer;
    `moved_to` is another server to which all files are redirected, as the Hub does with large ones.
    `broken` is a status that every request gets. A file longer than `stall_at` stands still there until that is 0.
    """

    files: dict[str, bytes]
    gated: str = ""
    private: bool = False
    key: str = ""
    card: dict = field(default_factory=dict)
    revisions: tuple[str, ...] = ("main",)
    pace: float = 0.0
    cuts: int = 0
    cut_after: int = 100_000
    silent: float = 0.0
    stall_at: int = 0
    moved_to: str = ""
    broken: int = 0
    forged: dict[str, bytes] = field(default_factory=dict)

    def open_to(self, key: str) -> bool:
        """Whether this key opens it."""
        return bool(key) and key == self.key

    @property
    def commit(self) -> str:
        """A commit that follows from the files."""
        return hashlib.sha1(b"".join(name.encode() + data for name, data in sorted(self.files.items()))).hexdigest()

    @classmethod
    def of(cls, folder: Path, **more: object) -> Repo:
        """A repository with the files of a folder."""
        return cls({path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}, **more)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    range: str
    authorization: str


class Hub:
    """The server's state: `repos` by id, and every request."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.asked: list[Asked] = []
        self.address = ""
        self.over = False

    def sent(self, file: str) -> list[Asked]:
        """The requests for a file's content."""
        return [each for each in self.asked if each.method == "GET" and each.path.endswith(f"/{file}")]


class Answers(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        key = self.headers.get("authorization", "").removeprefix("Bearer ")
        self.hub.asked.append(Asked(self.command, path, self.headers.get("range", ""), key))
        if found := re.fullmatch(r"/api/models/(.+?)/tree/([^/]+)(?:/(.+))?", path):
            self.tree(found[1], found[2], key, found[3] or "")
        elif found := re.fullmatch(r"/api/models/(.+?)(?:/revision/(.+))?", path):
            self.info(found[1], found[2] or "main", key)
        elif found := re.fullmatch(r"/(.+?)/resolve/([^/]+)/(.+)", path):
            self.file(found[1], found[2], found[3], key, body)
        else:
            self.refuse(404, "")

    def repo(self, name: str, revision: str, key: str) -> Repo | None:
        repo = self.hub.repos.get(name)
        if repo:
            time.sleep(repo.silent)
        if repo is None or (repo.private and not repo.open_to(key)):
            self.refuse(401, "RepoNotFound")
        elif repo.broken:
            self.refuse(repo.broken, "")
        elif revision not in (*repo.revisions, repo.commit):
            self.refuse(404, "RevisionNotFound")
        else:
            return repo
        return None

    def info(self, name: str, revision: str, key: str) -> None:
        repo = self.repo(name, revision, key)
        if repo is None:
            return
        siblings = []
        for file, data in repo.files.items():
            sibling: dict = {"rfilename": file, "size": len(data), "blobId": hashlib.sha1(data).hexdigest()}
            if file.endswith((".safetensors", ".bin")):
                sibling["lfs"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "pointerSize": 130}
            siblings.append(sibling)
        found = {"id": name, "modelId": name, "sha": repo.commit, "siblings": siblings, "cardData": repo.card}
        self.send(json.dumps(found | {"gated": repo.gated or False, "private": repo.private, "tags": []}).encode())

    def tree(self, name: str, revision: str, key: str, folder: str) -> None:
        repo = self.repo(name, revision, key)
        if repo is None:
            return
        if folder:
            self.refuse(404, "EntryNotFound")
            return
        oid = {file: hashlib.sha1(data).hexdigest() for file, data in repo.files.items()}
        found = [{"type": "file", "path": file, "size": len(repo.files[file]), "oid": oid[file]} for file in oid]
        self.send(json.dumps(found).encode())

    def file(self, name: str, revision: str, file: str, key: str, body: bool) -> None:
        repo = self.repo(name, revision, key)
        if repo is None:
            return
        if repo.gated and not repo.open_to(key):
            self.refuse(403, "GatedRepo")
            return
        if file not in repo.files:
            self.refuse(404, "EntryNotFound")
            return
        if repo.moved_to and body:
            self.send(b"", 302, {"Location": f"{repo.moved_to}{self.path}"})
            return
        data = repo.forged.get(file, repo.files[file]) if body else repo.files[file]
        first, last = 0, len(data) - 1
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", "")):
            first, last = int(wanted[1]), min(last, int(wanted[2] or last))
        self.send_response(206 if wanted else 200)
        self.send_header("X-Repo-Commit", repo.commit)
        self.send_header("ETag", f'"{hashlib.sha256(repo.files[file]).hexdigest()}"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last + 1 - first))
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.end_headers()
        if body:
            self.pour(repo, data[first : last + 1])

    def pour(self, repo: Repo, data: bytes) -> None:
        cut = repo.cuts > 0 and len(data) > repo.cut_after
        if cut:
            repo.cuts -= 1
            data = data[: repo.cut_after]
        try:
            for start in range(0, len(data), PIECE):
                self.wfile.write(data[start : start + PIECE])
                time.sleep(repo.pace)
                while repo.stall_at and start >= repo.stall_at and not self.hub.over:
                    time.sleep(0.02)
        except OSError:
            cut = True
        self.close_connection = self.close_connection or cut

    def refuse(self, status: int, code: str) -> None:
        self.send(b"no", status, {"X-Error-Code": code, "X-Error-Message": "refused"} if code else {})

    def send(self, data: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@contextmanager
def scripted_hub() -> Iterator[Hub]:
    """A running Hub."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Answers,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        hub.over = True
        server.shutdown()
        server.server_close()
        thread.join()
