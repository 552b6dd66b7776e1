"""Bearer keys: made at random, shown once, stored as hashes in the home folder, revocable at any time."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from engine.errors import Problem
from engine.settings import settings
from engine.teaching.runs import write_json

FORMAT = 1
PREFIX = "sk-diptych-"
MOST_KEYS = 200


@dataclass(frozen=True)
class Key:
    """One key without its secret. Limits: requests at once and in a minute. `owner` may also read /metrics."""

    id: str
    name: str
    hash: str
    created: float
    at_once: int = 8
    per_minute: int = 120
    owner: bool = False
    revoked: float | None = None
    made_by: str = ""


def create(name: str, at_once: int = 8, per_minute: int = 120, owner: bool = False, by: str = "") -> tuple[Key, str]:
    """A new key and its secret, which is nowhere kept. Raises Problem."""
    name = " ".join(name.split())[:80]
    wrong = [] if name else ["Give the key a name, such as the person or program it is for."]
    if not 1 <= at_once <= 1000:
        wrong.append("Requests at once must lie between 1 and 1,000.")
    if not 1 <= per_minute <= 100_000:
        wrong.append("Requests a minute must lie between 1 and 100,000.")
    if wrong:
        raise Problem(" ".join(wrong))
    secret = PREFIX + secrets.token_urlsafe(32)
    key = Key(secrets.token_hex(4), name, hashed(secret), time.time(), at_once, per_minute, owner, made_by=by)
    with one_writer():
        known = all_keys()
        if sum(each.revoked is None for each in known) >= MOST_KEYS:
            raise Problem(f"There are {MOST_KEYS} keys already. Revoke those that nobody uses.")
        store([*known, key])
    return key, secret


def revoke(id: str) -> Key:
    """Make a key worthless from the next request on. Raises Problem when there is none of that id."""
    with one_writer():
        known = all_keys()
        found = next((key for key in known if key.id == id and key.revoked is None), None)
        if found is None:
            raise Problem("There is no such key, or it is revoked already.")
        gone = replace(found, revoked=time.time())
        store([gone if key.id == id else key for key in known])
    return gone


def key_of(secret: str) -> Key | None:
    """The key with this secret, revoked ones included; None when it is none of ours.

    Looking hashes up instead of comparing secrets leaves nothing to measure in the time that it takes.
    """
    return next((key for key in all_keys() if key.hash == hashed(secret)), None)


def hashed(secret: str) -> str:
    """SHA-256 in hex; enough for a secret of 256 random bits, which nobody guesses."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def place() -> Path:
    """The file of keys."""
    return settings().home / "keys.json"


_read: dict[Path, tuple[tuple[int, int, int], list[Key]]] = {}


def all_keys() -> list[Key]:
    """Every key, oldest first; read again whenever the file changed. Raises Problem when it cannot be read."""
    try:
        found = place().stat()
    except FileNotFoundError:
        return []
    seen = (found.st_mtime_ns, found.st_size, found.st_ino)
    if _read.get(place(), (None,))[0] != seen:
        try:
            data = json.loads(place().read_text(encoding="utf-8"))
            keys = [Key(**each) for each in data["keys"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Problem(f"The file of keys, {place()}, cannot be read. Move it away and make new keys.") from error
        _read[place()] = (seen, keys)
    return list(_read[place()][1])


@contextlib.contextmanager
def one_writer() -> Iterator[None]:
    """Let one thread of one process at a time change the file."""
    place().parent.mkdir(parents=True, exist_ok=True)
    with place().with_name(".keys.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def store(keys: list[Key]) -> None:
    """Write the file anew, whole or not at all, for this account's eyes only (mkstemp's mode 0600)."""
    write_json(place(), {"format": FORMAT, "keys": [asdict(key) for key in keys]})
