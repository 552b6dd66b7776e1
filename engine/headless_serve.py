"""The server from the command line, and its keys."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Sequence

from engine import serve
from engine.catalog import find
from engine.errors import Problem
from engine.serving import keys
from engine.serving.served import PassagesFor
from engine.settings import LOOPBACK

PORT = 8000
NO_KEYS = (
    "Others can reach {host}, so this server needs keys, and there are none yet. Make the first one with:\n"
    "    python -m {program} --new-key NAME"
)


def parser(program: str) -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog=f"python -m {program}", description=serve.__doc__)
    add_options(options)
    return options


def add_options(options: argparse.ArgumentParser) -> None:
    """Put the options on a parser."""
    options.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    options.add_argument("--port", type=int, default=PORT, help=f"default {PORT}; 0 takes a free one")
    options.add_argument("--key-needed", action="store_true", help="ask for keys on this machine too")
    options.add_argument("--model", action="append", default=[], metavar="FOLDER", help="serve this too; repeat")
    options.add_argument("--at-once", type=int, default=64, help="replies decoded at the same time")
    options.add_argument("--in-line", type=int, default=64, help="replies that may wait for those")
    options.add_argument("--new-key", metavar="NAME", help="make a key, print it once, and end")
    options.add_argument("--requests-at-once", type=int, default=8, help="limit of the new key")
    options.add_argument("--requests-a-minute", type=int, default=120, help="limit of the new key")
    options.add_argument("--owner", action="store_true", help="the new key may read /metrics")
    options.add_argument("--keys", action="store_true", help="list the keys and end")
    options.add_argument("--revoke-key", metavar="ID", help="make a key worthless and end")


def main(
    arguments: Sequence[str] | None = None,
    program: str = "engine.serve",
    passages_for: PassagesFor | None = None,
    collections: Callable[[], Sequence[str]] = tuple,
) -> int:
    """Serve, or look after the keys; 2 when that cannot be. Documents: see engine.serve.create."""
    return served(parser(program).parse_args(arguments), program, passages_for, collections)


def served(
    args: argparse.Namespace,
    program: str,
    passages_for: PassagesFor | None = None,
    collections: Callable[[], Sequence[str]] = tuple,
) -> int:
    """See `main`, with the options read."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        if args.new_key or args.revoke_key or args.keys:
            print(about_keys(args))
            return 0
        needed = args.key_needed or args.host not in LOOPBACK
        if needed and not any(key.revoked is None for key in keys.all_keys()):
            raise Problem(NO_KEYS.format(host=args.host, program=program))
        if args.at_once < 1 or args.in_line < 0:
            raise Problem("--at-once must be at least 1, and --in-line at least 0.")
        more = [find(name) for name in args.model]
        service = serve.create(needed, more, passages_for, collections, args.at_once, args.in_line)
        serve.run(service, args.host, args.port, lambda url: print(f"Serving at {url}", flush=True))
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 2
    return 0


def about_keys(args: argparse.Namespace) -> str:
    """What making, revoking or listing keys prints."""
    if args.new_key:
        _, secret = keys.create(args.new_key, args.requests_at_once, args.requests_a_minute, args.owner)
        return f"{secret}\nThis is shown once and kept nowhere. Send it as 'Authorization: Bearer ...'."
    if args.revoke_key:
        return f"The key '{keys.revoke(args.revoke_key).name}' is revoked."
    return "\n".join(map(line, keys.all_keys())) or "There are no keys."


def line(key: keys.Key) -> str:
    """A key in the list."""
    made = time.strftime("%Y-%m-%d", time.localtime(key.created))
    limits = f"{key.at_once} at once, {key.per_minute} a minute"
    return (
        f"{key.id}  {made}  {key.name}  ({limits}{', owner' if key.owner else ''}){'  revoked' if key.revoked else ''}"
    )
