"""The login's limits: how often a password may be guessed, how long a login lasts, what it must cover."""

from __future__ import annotations

import hmac
import re
import time
from collections import deque
from collections.abc import Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

from fastapi import HTTPException

WRONG_A_NAME = 5  # wrong passwords a minute for one name
WRONG_IN_ALL = 20  # and for all names together: behind a tunnel every caller has the same address
MINUTE = 60.0
SHUT_FOR = "Five wrong passwords shut this form for a minute, to the right one, too."
LASTS = 12 * 3600.0  # seconds after which a login must be repeated
MOST_NAMES = 1000
# Gradio answers these without a login; whoever knows an event's id could end it
COVERED = re.compile(r"/+gradio_api/+(cancel|stream|heartbeat|reset)(/|$)", re.IGNORECASE)


class Entrance:
    """One owner's name and password, and the logins that they opened. Times are monotonic seconds."""

    def __init__(self, auth: tuple[str, str], clock: Callable[[], float] = time.monotonic):
        self.auth, self.clock = auth, clock
        self.wrong: dict[str, deque[float]] = {}
        self.since: dict[str, float] = {}

    def __call__(self, name: str, password: str) -> bool:
        """Whether this is the owner; Gradio asks it at /login. Raises HTTPException 400 after too many wrong tries.

        400, not 429, because Gradio's form says something at 400 alone; what it says is that the password is wrong, so
        SHUT_FOR stands above it.
        """
        now = self.clock()
        for times in self.wrong.values():
            while times and now - times[0] > MINUTE:
                times.popleft()
        self.wrong = {each: times for each, times in self.wrong.items() if times}
        if len(self.wrong.get(name, ())) >= WRONG_A_NAME or sum(map(len, self.wrong.values())) >= WRONG_IN_ALL:
            raise HTTPException(400, "Too many wrong passwords. Wait a minute, then try again.", {"Retry-After": "60"})
        given = [part.encode() for part in (name, password)]
        right = [hmac.compare_digest(mine.encode(), part) for mine, part in zip(self.auth, given, strict=True)]
        if not all(right):
            self.wrong.setdefault(name[:200], deque()).append(now)
        return all(right)

    def refusal(self, path: str, tokens: MutableMapping[str, str], cookies: str, cookie_id: str) -> str | None:
        """Why a request for a plain path may not pass without a login; None when it may.

        `tokens` are Gradio's logins by token, from which those that lasted too long are taken.
        """
        now = self.clock()
        self.since = {token: self.since.get(token, now) for token in tokens}
        for token in [token for token, since in self.since.items() if now - since > LASTS]:
            tokens.pop(token, None)
        if COVERED.match(path) and not any(token in tokens for token in given_tokens(cookies, cookie_id)):
            return "Log in first: this Diptych belongs to somebody."
        return None


def given_tokens(cookies: str, cookie_id: str) -> list[str]:
    """The login tokens in a Cookie header."""
    try:
        found: Any = SimpleCookie(cookies)
    except CookieError:
        return []
    names = (f"access-token-{cookie_id}", f"access-token-unsecure-{cookie_id}")
    return [found[name].value for name in names if name in found]
