"""Model repositories on the Hub: what one holds and may be read, and what the Hub's refusals mean in words."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from engine.errors import Problem
from engine.models.headers import Header, header
from engine.models.sources import LONGEST_TEXT, PLAIN_NAME, File, Place
from engine.settings import settings

log = logging.getLogger(__name__)
SITE = "https://huggingface.co"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}|[A-Za-z0-9][\w.-]{0,95}")
ADDRESS = re.compile(r"https?://(?:www\.)?huggingface\.co/([^/?#]+/[^/?#]+)(?:/(?:tree|blob|commit)/([^?#]+?))?/?")
REVISION = re.compile(r"[\w][\w./-]{0,199}")
PATIENCE = 15.0  # seconds without a byte after which a question to the Hub is given up
LONGEST_READ = 60.0  # seconds for one head or one small file, however slowly it drips
LONGEST_REASON = 200
PART = ".part"  # at the end of the name of a file that is still arriving


class Repository:
    """One revision of a model repository as a Source, read at its commit. Making one asks the Hub what is in it.

    Raises Problem: missing, private, another revision, no network. A gated repository can be listed by everybody;
    `gated` is "" or how access is given, and reading its files raises Problem until it is.
    """

    place: Place = "hub"

    def __init__(self, name: str, revision: str | None = None):
        from huggingface_hub import HfApi

        self.name, self.revision = name, revision or None
        self.api = HfApi(endpoint=site(), token=token())
        with explaining(name, self.revision):
            info = self.api.model_info(name, revision=self.revision, files_metadata=True, timeout=PATIENCE)
        self.commit = str(info.sha or "")
        self.gated = str(info.gated) if getattr(info, "gated", False) else ""
        self.files = {each.name: each for each in map(listed, info.siblings or []) if each}
        self.about = described(info)

    def text(self, file: str) -> str:
        """See Source."""
        return self._read(file, None, LONGEST_TEXT).decode("utf-8", "replace")

    def header(self, files: Sequence[str]) -> Header:
        """See Source. Only the heads are asked for, not a byte of the weights behind them."""
        found: Header = {}
        for file in files:
            size = self.files[file].size
            found |= header(file, size, lambda first, count, file=file: self._read(file, first, count))  # type: ignore[misc]
        return found

    def _read(self, file: str, first: int | None, count: int) -> bytes:
        """At most `count` bytes of a file, from `first` on. Raises Problem."""
        latest = time.monotonic() + LONGEST_READ
        last = None if first is None else first + count - 1
        with (
            explaining(self.name, self.revision, file),
            opened(self.name, self.commit or "main", file, first, last) as response,
        ):
            skip = first or 0 if response.status_code == 200 else 0  # a server that does not know ranges
            body = bytearray()
            for chunk in response.iter_bytes(16 * 1024):
                body += chunk
                if len(body) >= skip + count:
                    break
                if time.monotonic() > latest:
                    raise TimeoutError(file)
        return bytes(body[skip : skip + count])


@contextlib.contextmanager
def opened(name: str, commit: str, file: str, first: int | None = None, last: int | None = None) -> Iterator[Any]:
    """The answer to a request for a file, or for its bytes from `first` to `last`; what it raises is the library's."""
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    address = f"{site()}/{name}/resolve/{quote(commit, safe='')}/{quote(file)}"
    headers = {**build_hf_headers(token=token()), "Accept-Encoding": "identity"}
    if first is not None:
        headers["Range"] = f"bytes={first}-{'' if last is None else last}"
    with get_session().stream("GET", address, headers=headers, timeout=PATIENCE) as response:
        hf_raise_for_status(response)
        yield response


def bring(name: str, commit: str, file: File, folder: Path) -> None:
    """Download a file into a folder, going on where an earlier try broke off. Raises Problem.

    huggingface_hub 2.4 starts every file anew, so the part that has come is kept here.
    """
    part = folder / f"{file.name}{PART}"
    had = part.stat().st_size if part.is_file() else 0
    if had > file.size:
        part.unlink()
        had = 0
    if had < file.size or not had:
        with (
            explaining(name, commit, file.name),
            opened(name, commit, file.name, had or None) as response,
            # a server that does not know ranges begins at the start
            part.open("ab" if response.status_code == 206 else "wb") as out,
        ):
            for chunk in response.iter_bytes():  # as they come: of a line that breaks nothing is lost
                out.write(chunk)
    if part.stat().st_size < file.size:
        raise Problem(f"The connection to {place()} broke off. Try again.")
    part.replace(folder / file.name)


def set_patience() -> None:
    """Let no question of huggingface_hub wait without end: 2.4 sets no limit where it asks for a snapshot's commit."""
    from huggingface_hub.utils import get_session

    session = get_session()
    hooks = session.event_hooks
    if impatient not in hooks["request"]:
        session.event_hooks = {**hooks, "request": [*hooks["request"], impatient]}


def impatient(request: Any) -> None:
    """Give a question that sets no limits of its own those of this module; a commit may take the Hub longer."""
    if request.method in ("GET", "HEAD"):
        limits = request.extensions.get("timeout") or {}
        unset = {part: PATIENCE for part in ("connect", "read", "write", "pool") if limits.get(part) is None}
        request.extensions["timeout"] = {**limits, **unset}


def site() -> str:
    """The Hub's address: HF_ENDPOINT, or huggingface.co."""
    return (os.environ.get("HF_ENDPOINT") or SITE).rstrip("/")


def place() -> str:
    """The Hub's host, for sentences."""
    return urlsplit(site()).hostname or "huggingface.co"


def token() -> Any:
    """The server's token; False where there is none, so that no other is looked for."""
    return settings().hub_token or False


def listed(sibling: Any) -> File | None:
    """A file of the repository; None for what lies in a folder or has an odd name, which is never asked for."""
    name, size = getattr(sibling, "rfilename", None), getattr(sibling, "size", None)
    if not isinstance(name, str) or not PLAIN_NAME.fullmatch(name) or not isinstance(size, int) or size < 0:
        return None
    lfs = getattr(sibling, "lfs", None)
    found = str(getattr(lfs, "sha256", "") or "")
    return File(name, size, found if re.fullmatch(r"[0-9a-f]{64}", found) else "")


def described(info: Any) -> dict[str, str]:
    """What the model's card says: licence, and the model it was made from."""
    card = getattr(info, "card_data", None)
    said = card.to_dict() if card is not None and hasattr(card, "to_dict") else {}
    bases = said.get("base_model")
    base = bases[0] if isinstance(bases, list) and bases else bases
    licence = said.get("license_name") if said.get("license") == "other" else said.get("license")
    found = {"licence": licence, "base": base}
    return {key: value for key, value in found.items() if isinstance(value, str) and value}


def asked(text: str) -> tuple[str, str | None]:
    """(id, revision or None) of what a person typed: an id, ID@REVISION, or an address. Raises Problem."""
    text = text.strip()
    if found := ADDRESS.fullmatch(text):
        name, revision = found[1], found[2]
    else:
        name, _, revision = text.partition("@")
    if not HUB_ID.fullmatch(name) or ".." in name:
        raise Problem(f"'{text}' is neither a folder on this machine nor a Hub id such as HuggingFaceTB/SmolLM2-135M.")
    return name, checked_revision(revision)


def checked_revision(revision: str | None) -> str | None:
    """A branch, tag, commit or pull request; None for the newest. Raises Problem for what can be none of these."""
    revision = (revision or "").strip() or None
    if revision and (not REVISION.fullmatch(revision) or ".." in revision):
        raise Problem(f"'{revision}' is no revision. Write a branch, a tag, a commit, or refs/pr/1.")
    return revision


@contextlib.contextmanager
def explaining(name: str, revision: str | None = None, file: str = "") -> Iterator[None]:
    """Turn what the Hub's library raises inside into a Problem; the library's own words go to the log."""
    try:
        yield
    except Problem:
        raise
    except Exception as error:
        log.warning("%s on %s failed", name, site(), exc_info=error)
        raise Problem(trouble(name, revision, file, error)) from error


def trouble(name: str, revision: str | None, file: str, error: Exception) -> str:
    """The sentence for an error of the Hub's library."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return gated_words(name, bool(token()))
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{name} has no revision '{revision}'. Write a branch, a tag, a commit, or refs/pr/1."
    if isinstance(error, errors.EntryNotFoundError):
        return f"{name} has no file {file} at this revision."
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.RepositoryNotFoundError) or (status == 401 and not token()):
        return missing_words(name)
    if isinstance(error, errors.HfHubHTTPError):
        return refused(name, status)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so the Hub is not asked. Unset it and start again, or give a folder."
    return unreachable(name, error)


def missing_words(name: str) -> str:
    """The sentence for a repository that is not there, or looks like that from here."""
    if token():
        return f"There is no model {name} on {place()}, or this server's HF_TOKEN may not read it."
    return (
        f"There is no model {name} on {place()}, or it is private; then set HF_TOKEN to a token that may read it and "
        "start again."
    )


def gated_words(name: str, has_token: bool) -> str:
    """What to do about a gated repository."""
    first = f"{name} is gated: accept its terms on {SITE}/{name} while logged in"
    if has_token:
        return (
            f"{first} as the owner of this server's HF_TOKEN; where its author must agree, wait for that. Look again."
        )
    return f"{first}, then set HF_TOKEN to a token that may read it and start again."


def refused(name: str, status: int | None) -> str:
    """The sentence for a status that means no particular thing about the repository."""
    if status == 401:
        return f"{place()} does not know this server's HF_TOKEN. Make a new one, set it and start again."
    if status == 403:
        return f"This server's HF_TOKEN may not read {name}. Give the token that right, or take another."
    if status == 429:
        return f"{place()} has been asked too often and wants a rest. Wait some minutes and try again."
    return f"{place()} has trouble of its own (status {status}). Try again later."


def unreachable(name: str, error: Exception) -> str:
    """The sentence for a connection that was not made, or broke."""
    kind = type(error).__name__
    if "Timeout" in kind:
        return f"{place()} did not answer within {PATIENCE:.0f} seconds. Try again, or later."
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return f"The connection to {place()} broke off. Try again."
    if "Connect" in kind or isinstance(error, ConnectionError):
        return f"{place()} cannot be reached from here. Connect and try again, or give a folder."
    if "Protocol" in kind or "ReadError" in kind or isinstance(error, OSError):
        return f"The connection to {place()} broke off. Try again."
    reason = (str(error).strip().splitlines() or ["no reason was given"])[0][:LONGEST_REASON]
    return f"{name} cannot be read from {place()}: {reason}"
