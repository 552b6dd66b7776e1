"""A process that has imported torch and trl once and forks for every job it is told of: run folders on stdin.

Forks share what takes most of a job's start, so that tests may start many real jobs and kill them.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path


def serve() -> None:
    from engine.settings import prepare_process

    prepare_process()
    import torch

    torch.set_num_threads(1)
    import engine.teaching.answers
    import engine.teaching.lesson
    import engine.teaching.outcome
    import engine.teaching.pupil
    from tests.engine.teaching import ANSWER

    engine.teaching.answers.LONGEST_ANSWER = ANSWER
    from engine.teaching.working import work
    from engine.train import train

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children that end leave no zombies
    print("ready", flush=True)
    for line in sys.stdin:
        folder = Path(line.strip())
        child = os.fork()
        if child:
            print(child, flush=True)
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (0, 1, 2):
            os.dup2(log, stream)
        logging.basicConfig(level=logging.INFO, force=True)
        code = 1
        try:
            patch(folder)
            code = work(folder, train)
        except BaseException:
            logging.exception("the job broke")
        finally:
            os._exit(code)


def patch(folder: Path) -> None:
    """Break what the folder's `fault` file names, in this child alone."""
    fault = folder / "fault"
    name = fault.read_text() if fault.exists() else ""
    from engine.teaching.trainer import JobTrainer

    if name == "full disk":

        def full(self: object, folder: str) -> None:
            (Path(folder) / "optimizer.pt").write_bytes(b"half")
            raise OSError(28, "No space left on device")

        save = JobTrainer._save_optimizer_and_scheduler

        def later(self: JobTrainer, folder: str) -> None:
            (full if self.state.global_step > 4 else save)(self, folder)

        JobTrainer._save_optimizer_and_scheduler = later  # type: ignore[method-assign]
    if name == "memory":

        def starved(self: object, *_: object, **__: object) -> None:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9e12 bytes")

        JobTrainer.training_step = starved  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    serve()
