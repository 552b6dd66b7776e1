"""Starts Diptych: `python app.py [--host --port --share --auth USER:PASSWORD --open-demo]`."""

from __future__ import annotations

import logging
import os
import sys

from engine.errors import Problem
from engine.settings import prepare_process

prepare_process()

from pages.launch import Launch, NoOwner, offer  # noqa: E402 - what the process needs is set before gradio loads


def decided(args: list[str]) -> Launch:
    """The start that flags and environment ask for; ends the program with a sentence when it cannot be."""
    try:
        launch = Launch.decide(args, os.environ)
        launch.require_port()
        return launch
    except NoOwner as problem:
        print(f"{problem}\n{offer(args)}", file=sys.stderr)
    except Problem as problem:
        print(problem, file=sys.stderr)
    raise SystemExit(2)


def main(args: list[str]) -> None:
    """Decide, build, serve, and wait until somebody presses Ctrl+C."""
    launch = decided(args)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    from pages.site import serve, site, warm_later

    blocks = site(launch)
    try:
        address = serve(blocks, launch)
    except Problem as problem:
        print(problem, file=sys.stderr)
        raise SystemExit(2) from problem
    print(f"Diptych is at {address}", flush=True)
    warm_later()
    blocks.block_thread()


if __name__ == "__main__":
    main(sys.argv[1:])
