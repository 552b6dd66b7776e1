"""The way in for folders: a route that takes one file with its relative path, which Gradio's own widget throws away.

The page's script sends each file of a folder by itself (`POST diptych/upload?batch=…&path=a/b.pdf`, the bytes as the
body) into a batch, a folder of the home folder that nothing serves. Another route hands out one export.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
import unicodedata
from pathlib import Path, PurePosixPath

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from engine.access import Visitor, require
from engine.errors import Problem
from engine.settings import settings
from engine.teaching.runs import slug
from pages.entrance import given_tokens
from pages.launch import Launch

ADDRESS, EXPORT = "/diptych/upload", "/diptych/export"
BATCH = re.compile(r"[0-9a-f]{32}")
UNITS = {"kb": 10**3, "mb": 10**6, "gb": 10**9}
MOST_FILES = 5000  # of one batch
MOST_BYTES = 2 * 10**9  # of one batch
LONGEST_PATH, LONGEST_NAME = 1000, 240  # in UTF-8 bytes; most file systems end at 255 a name
KEPT = 24 * 3600  # seconds after which a batch that nobody applied is thrown away
OWNER, SIZES = ".owner", ".sizes"  # beside the files of a batch: who sent them, and how many bytes each had


def routes() -> list[Route]:
    """The ways in and out, to stand before Gradio's own."""
    return [Route(ADDRESS, receive, methods=["POST"]), Route(EXPORT, hand_out, methods=["GET"])]


async def receive(request: Request) -> Response:
    """Take one file of a batch; answers {"saved": path, "bytes": n} or {"error": sentence} with a 4xx status."""
    try:
        who = caller(request)
        require(who, "add documents")
        if request.headers.get("x-diptych") != "upload":  # a foreign page cannot send this header without asking
            raise Problem("Uploads come from Diptych's own page.")
        path = checked(request.query_params.get("path", ""))
        folder = await run_in_threadpool(batch_folder, request.query_params.get("batch", ""), who.name, True)
        size = await saved(request, folder, path)
        return JSONResponse({"saved": str(path), "bytes": size})
    except Problem as problem:
        return JSONResponse({"error": str(problem)}, status_code=400)


async def hand_out(request: Request) -> Response:
    """One collection as a file, written for this request and thrown away after it; 403 with a sentence else."""
    try:
        require(caller(request), "export collection")
        folder = Path(await run_in_threadpool(tempfile.mkdtemp, prefix="diptych-export-"))
        try:
            file = await run_in_threadpool(written, folder, request.query_params.get("name", ""))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    except Problem as problem:
        return PlainTextResponse(str(problem), status_code=403)
    done = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    return FileResponse(file, media_type="application/octet-stream", filename=file.name, background=done)


def written(folder: Path, name: str) -> Path:
    """The collection of that name, exported into a folder."""
    from rag.store import Store

    with Store.open(name) as store:
        return store.export_to(folder / f"{slug(name)}.zip")


def caller(request: Request) -> Visitor:
    """Who sends a request past Gradio's own routes: its login cookie says, as in gradio.routes.App."""
    launch = request.scope.get("diptych.launch")
    if not isinstance(launch, Launch):
        return Visitor("visitor")
    app = request.app
    tokens = given_tokens(request.headers.get("cookie", ""), app.cookie_id)
    return launch.visitor(next((app.tokens[token] for token in tokens if token in app.tokens), None))


def checked(path: str) -> PurePosixPath:
    """A relative path inside a batch. Raises Problem for anything that could lead elsewhere or cannot be a name."""
    path = unicodedata.normalize("NFC", path)
    parts = path.split("/")
    shown = f"'{path[:80]}'" if path.isprintable() else "This file's name"
    if not path.strip() or any(part.strip() in ("", ".", "..") for part in parts) or "\\" in path:
        raise Problem(f"{shown} is not a path inside a folder. Rename the file and drop it again.")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in path) or "\ufffd" in path:
        raise Problem("A file's name holds characters that no name should hold. Rename the file and drop it again.")
    if re.match(r"[A-Za-z]:", path):
        raise Problem(f"{shown} is not a path inside a folder. Rename the file and drop it again.")
    if len(path.encode()) > LONGEST_PATH or any(len(part.encode()) > LONGEST_NAME for part in parts):
        raise Problem(f"{shown} is too long a path. Shorten it and drop the file again.")
    return PurePosixPath(path)


def uploads() -> Path:
    """Where batches lie."""
    return settings().home / "uploads"


def batch_folder(batch: str, owner: str, make: bool = False) -> Path:
    """The folder of a batch; its first file founds it. Raises Problem for a batch that is not this person's."""
    if not BATCH.fullmatch(batch or ""):
        raise Problem("This upload has no valid number. Drop the files again.")
    folder = uploads() / batch
    if make and not folder.exists():
        forget_old()
        found(folder, owner)
    try:
        told = json.loads((folder / OWNER).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Problem("These files are not on the server any more. Drop them again.") from error
    if told.get("owner") != owner:
        raise Problem("These files belong to somebody else. Drop your own.")
    return folder / "files"


def found(folder: Path, owner: str) -> None:
    """Make a batch with its owner in one step, as the first files come together; the first of them wins."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix="new-"))
    (beside / OWNER).write_text(json.dumps({"owner": owner, "since": time.time()}), encoding="utf-8")
    try:
        beside.rename(folder)
    except OSError:  # another file of the batch was faster
        shutil.rmtree(beside, ignore_errors=True)


def forget(batch: str, owner: str) -> None:
    """Throw a batch away, once its files are in a collection or are no longer wanted."""
    shutil.rmtree(batch_folder(batch, owner).parent, ignore_errors=True)


def forget_old() -> None:
    """Throw away what was sent and never applied."""
    limit = time.time() - KEPT
    for folder in uploads().glob("*"):
        if BATCH.fullmatch(folder.name) and folder.stat().st_mtime < limit:
            shutil.rmtree(folder, ignore_errors=True)


async def saved(request: Request, folder: Path, path: PurePosixPath) -> int:
    """Write the body below a folder, whole or not at all; its size in bytes. Raises Problem above the limits."""
    most, target = largest(), folder / path
    room = await run_in_threadpool(prepared, folder, target)
    part = folder.parent / f"part-{os.urandom(8).hex()}"
    size = 0
    try:
        with part.open("wb") as file:
            async for piece in request.stream():
                size += len(piece)
                if size > most:
                    raise Problem(
                        f"{path.name} is larger than {settings().max_upload}. Leave it out, split it, or have "
                        "the app's owner set DIPTYCH_UPLOAD_MB to more."
                    )
                if size > room:
                    raise Problem(f"These files together are larger than {MOST_BYTES // 10**9} GB. Add them in parts.")
                await run_in_threadpool(file.write, piece)
        part.replace(target)
        with (folder.parent / SIZES).open("a", encoding="ascii") as sizes:
            sizes.write(f"{size}\n")
    except (ClientDisconnect, OSError) as error:
        raise Problem(f"{path.name} did not arrive whole. Send it again.") from error
    finally:
        part.unlink(missing_ok=True)
    return size


def prepared(folder: Path, target: Path) -> int:
    """Make the folder of a file, and say how many bytes the batch still has room for. Raises Problem."""
    sizes = folder.parent / SIZES
    taken = [int(line) for line in sizes.read_text(encoding="ascii").split()] if sizes.exists() else []
    if len(taken) >= MOST_FILES:
        raise Problem(f"{MOST_FILES:,} files are the most at a time. Add the folder in parts, or as a zip.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Problem(f"{target.name} has the same path as another file's folder. Rename one of them.") from error
    if target.is_dir():
        raise Problem(f"{target.name} is a folder already. Rename one of them.")
    return MOST_BYTES - sum(taken)


def largest() -> int:
    """Bytes that one file may have: the limit that Gradio's own uploads have."""
    found = re.fullmatch(r"(\d+)\s*([kmg]b)", settings().max_upload.strip().lower())
    return int(found[1]) * UNITS[found[2]] if found else 50 * 10**6
