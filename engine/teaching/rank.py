"""One of several processes that teach a model (`python -m engine.teaching.rank RUN_FOLDER CHANNEL`).

accelerate's launcher starts it; `engine.teaching.several` watches it and reads from the channel how it ended.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.teaching.identity import alive, identity
from engine.teaching.runs import read_json, write_json
from engine.teaching.several import GLANCE, KEEPER
from engine.teaching.turns import Stopped

BROKEN = ("gloo", "nccl", "closed by peer", "reset by peer", "tcpstore")  # in errors that tell of another's end


def main(arguments: Sequence[str]) -> int:
    """Teach together with the others and say how it ended: 0 done or stopped, 1 failed."""
    folder, channel = (Path(argument) for argument in arguments)
    mine = channel / f"rank-{os.environ['RANK']}.json"
    told: dict[str, Any] = {"process": identity()}
    write_json(mine, told)
    leave_with(read_json(channel / KEEPER))
    logging.basicConfig(
        level=logging.INFO if os.environ["RANK"] == "0" else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        taught(folder)
        told["state"] = "done"
    except Stopped:
        told["state"] = "stopped"
    except Exception as error:
        from engine.teaching.working import in_words

        told |= {"state": "failed", "reason": in_words(error), "lost": lost(error)}
    write_json(mine, told)
    return int(told["state"] == "failed")


def taught(folder: Path) -> None:
    """Join the others and train. Raises what `engine.train.train` does."""
    from engine.teaching.crew import Crew
    from engine.train import train

    crew = Crew.joined()
    train(folder, (folder / "stop").exists, crew)


def leave_with(keeper: dict[str, Any]) -> None:
    """End this process as soon as the one that watches it, or the launcher, is gone: nobody would stop it any more."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent and alive(keeper):
            time.sleep(GLANCE)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="keeper", daemon=True).start()


def lost(error: Exception) -> bool:
    """Whether an error says no more than that another process is gone."""
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in text for word in BROKEN)


if __name__ == "__main__":
    from engine.settings import prepare_process

    prepare_process()
    raise SystemExit(main(sys.argv[1:]))
