"""The web site of an invented company, out of assets/company, on loopback for as long as one brochure takes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from engine.net import Allowance
from engine.settings import ASSETS

FOLDER = ASSETS / "company"
HOST = "127.0.0.1"
FRONT = "index.html"


class Pages(BaseHTTPRequestHandler):
    """Hands out the pages by their very names and nothing else; no path is ever put together."""

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].removeprefix("/") or FRONT
        page = next((path for path in FOLDER.glob("*.html") if path.name == name), None)
        body = page.read_bytes() if page else b"There is no such page."
        self.send_response(200 if page else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8" if page else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@contextlib.contextmanager
def company_site() -> Iterator[tuple[str, Allowance]]:
    """(address of the front page, the allowance to read it), until the block is left."""
    server = ThreadingHTTPServer((HOST, 0), Pages)
    server.daemon_threads = True
    port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True, name="company")
    thread.start()
    try:
        yield f"http://{HOST}:{port}/", Allowance(HOST, port)
    finally:
        server.shutdown()
        server.server_close()
