"""How the app starts: address, share link, login or open demo, decided from flags and their environment twins."""

from __future__ import annotations

import argparse
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engine.access import Mode, Visitor
from engine.errors import Problem
from engine.settings import LOOPBACK, number, switched_on

PORT = 7860
EVERYWHERE = "0.0.0.0"  # noqa: S104 - on a Space only its proxy reaches the app
# settings of Gradio that open files or run code for whoever can reach the page
UNSAFE_IN_PUBLIC = (
    "GRADIO_VIBE_MODE",
    "GRADIO_HOT_RELOAD",
    "GRADIO_WATCH_DIRS",
    "GRADIO_DEBUG",
    "GRADIO_LOCAL_DEV_MODE",
    "GRADIO_PROFILING",
    "GRADIO_ALLOWED_PATHS",
    "GRADIO_MCP_SERVER",
)


class NoOwner(Problem):
    """The app would be reachable by others while nobody is its owner."""


@dataclass(frozen=True)
class Launch:
    """One decided start. `mode` is what a caller without a login is; `auth` is the owner's name and password."""

    host: str = "127.0.0.1"
    port: int = PORT
    share: bool = False
    auth: tuple[str, str] | None = field(default=None, repr=False)
    open_demo: bool = False
    on_space: bool = False

    @property
    def mode(self) -> Mode:
        """Local: only this machine reaches the page. Owner: one logs in first. Visitor: an open demo."""
        if self.open_demo:
            return "visitor"
        return "owner" if self.auth else "local"

    @property
    def public(self) -> bool:
        """Whether others than the person at this machine can reach the page."""
        return self.share or self.on_space or self.host not in LOOPBACK

    def visitor(self, username: str | None) -> Visitor:
        """Who is behind a request; `username` is the login's, None without one."""
        if self.mode == "owner" and not username:
            return Visitor("visitor")
        return Visitor(self.mode, username or "")

    @classmethod
    def decide(cls, args: Sequence[str], env: Mapping[str, str]) -> Launch:
        """Read flags first, then DIPTYCH_HOST, _PORT, _SHARE, _AUTH and _OPEN_DEMO. Raises Problem."""
        flags = parser().parse_args(args)
        on_space = "SPACE_ID" in env
        host = flags.host or env.get("DIPTYCH_HOST") or (EVERYWHERE if on_space else cls.host)
        port = flags.port if flags.port is not None else int(number(env, "DIPTYCH_PORT", PORT))
        share = flags.share or switched_on(env, "DIPTYCH_SHARE")
        auth = login(flags.auth or env.get("DIPTYCH_AUTH"))
        open_demo = flags.open_demo or switched_on(env, "DIPTYCH_OPEN_DEMO")
        if auth and open_demo:
            raise Problem(
                "--auth and --open-demo contradict each other: with a login nobody is an anonymous visitor. "
                "Give only one of them (DIPTYCH_AUTH and DIPTYCH_OPEN_DEMO count too)."
            )
        found = cls(host, port, share, auth, open_demo or (on_space and not auth), on_space)
        found.check(env)
        return found

    def require_port(self) -> None:
        """Raise Problem where the port cannot be listened on: before the page is built, which takes seconds."""
        try:
            with socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((self.host, self.port))
        except OSError as error:
            raise unusable(self.port, self.host, error) from error

    def check(self, env: Mapping[str, str]) -> None:
        """Raise Problem where starting like this would be unsafe or impossible."""
        if not 0 <= self.port <= 65535:
            raise Problem(f"The port must lie between 0 and 65535; {self.port} does not.")
        if not self.public:
            return
        if self.mode == "local":
            way = "a share link" if self.share else f"the address {self.host}"
            raise NoOwner(f"With {way} others can reach this page, so it needs an owner who logs in.")
        switched = [name for name in UNSAFE_IN_PUBLIC if env.get(name)]
        if switched:
            raise Problem(
                f"{', '.join(switched)} must not be set while others can reach this page: it would hand them files "
                "or run their code. Unset it, or start without --share and without --host."
            )


def unusable(port: int, host: str, error: OSError) -> Problem:
    """What to say where the server cannot listen."""
    return Problem(f"Port {port} of {host} cannot be used ({error.strerror or error}). Choose another with --port.")


def login(text: str | None) -> tuple[str, str] | None:
    """USER:PASSWORD as a pair; None when no login is wanted. Raises Problem when it is not such a pair."""
    if not text:
        return None
    user, colon, password = text.partition(":")
    if not (colon and user.strip() and len(password) >= 8):
        raise Problem(
            "--auth (or DIPTYCH_AUTH) must be USER:PASSWORD with a password of at least 8 characters, "
            "for example --auth me:correct-horse-battery."
        )
    return user.strip(), password


def offer(args: Sequence[str]) -> str:
    """The two ways out of NoOwner, with a password made for this once."""
    given = " ".join(["python app.py", *args])
    return (
        f"Start it with a login (this password is new and shown only here):\n"
        f"    {given} --auth owner:{secrets.token_urlsafe(15)}\n"
        f"or let everybody compare, chat and ask, and nothing more:\n"
        f"    {given} --open-demo"
    )


def parser() -> argparse.ArgumentParser:
    """The flags; None or False where one was not given, so that the environment can speak."""
    flags = argparse.ArgumentParser(
        prog="python app.py",
        description="Diptych: a base model and its fine-tuned self, side by side.",
        epilog="Each flag has an environment twin: DIPTYCH_HOST, DIPTYCH_PORT, DIPTYCH_SHARE, DIPTYCH_AUTH, "
        "DIPTYCH_OPEN_DEMO.",
    )
    flags.add_argument("--host", help="address to listen on (default 127.0.0.1: this machine only)")
    flags.add_argument("--port", type=int, help=f"port to listen on (default {PORT}; 0 takes a free one)")
    flags.add_argument("--share", action="store_true", help="also open a public gradio.live link; needs --auth")
    flags.add_argument("--auth", metavar="USER:PASSWORD", help="ask for this login; who has it is the owner")
    flags.add_argument("--open-demo", action="store_true", help="anybody may compare, chat and ask, no more")
    return flags
