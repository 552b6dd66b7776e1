"""How every `python -m ...` command of this repository begins and ends."""

from __future__ import annotations

import importlib
import os
import sys
from typing import NoReturn

from engine.settings import prepare_process

INTERRUPTED = 130  # as shells tell a command that Ctrl+C ended
NOBODY_READS = 141  # and one whose output goes to a pipe that was closed


def command(module: str) -> NoReturn:
    """End this process with what `main()` of a module returns.

    Ctrl+C ends it in words and at once, without waiting for threads that still load a model. So does a reader of the
    output that has seen enough (`| head`), without words.
    """
    prepare_process()
    try:
        code = importlib.import_module(module).main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr, flush=True)
        os._exit(INTERRUPTED)
    except BrokenPipeError:
        os._exit(NOBODY_READS)
    raise SystemExit(code)
