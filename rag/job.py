"""Adding as a job: `python -m rag.job RUN_FOLDER` adds what the folder's request says, and survives the tab."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.errors import Problem
from engine.teaching.runs import FORMAT, Job, all_jobs, read_json, read_lines, runs_folder, slug, write_json
from engine.teaching.turns import Stopped, one_at_a_time
from rag.progress import Event, FileDone, Finished, Progress
from rag.sources import Source, Sources
from rag.storing.place import knowledge_folder
from rag.types import FileReport

KIND = "ingest"
OFTEN = 0.25  # seconds between two notes of progress
KINDNESS = 10  # a job yields the processor to the page
PASSWORDS = "passwords.json"  # readable by its owner alone, and removed as soon as the job has read it


def start(
    collection: str,
    sources: Sources,
    owner: str = "",
    tags: Sequence[str] = (),
    passwords: Sequence[str] | Mapping[str, str] = (),
    remove_gone: bool = False,
    discard: Path | None = None,
) -> Job:
    """Start a process that adds the sources to a collection. `discard` is a folder to remove once all is added."""
    from engine.jobs import free_folder, launched
    from rag.store import Store

    with Store.open(collection) as store:
        name, folder_name = store.settings.name, store.folder.name
    with one_at_a_time():
        folder = free_folder(f"{time.strftime('%Y%m%d-%H%M%S')}-add-{slug(name)}")
        folder.mkdir()
        if passwords:
            given = dict(passwords) if isinstance(passwords, Mapping) else list(passwords)
            handle = os.open(folder / PASSWORDS, os.O_WRONLY | os.O_CREAT, 0o600)
            os.close(handle)
            write_json(folder / PASSWORDS, {"given": given})
        request = {
            "collection": folder_name,
            "name": sources.name,
            "files": [[str(one.path), one.name, list(one.tags), one.problem] for one in sources.files],
            "tags": list(tags),
            "remove_gone": remove_gone,
            "discard": str(discard) if discard else "",
        }
        write_json(folder / "request.json", request)
        write_json(folder / "state.json", {"state": "queued", "since": time.time()})
        record = {
            "format": FORMAT, "kind": KIND, "place": "here", "owner": owner, "makes": "collection",
            "name": f"Adding to {name}", "collection": folder_name, "created": time.time(),
        }  # fmt: skip
        write_json(folder / "run.json", record)
    launched(folder)
    return Job.read(folder)


def jobs_of(collection_folder: str) -> list[Job]:
    """The jobs that add or added to a collection, by its folder's name; newest first."""
    return [job for job in all_jobs(KIND) if job.record.get("collection") == collection_folder]


def progress(job: Job) -> Progress | None:
    """How far the job is; None before it has begun."""
    values = read_json(job.folder / "progress.json")
    return Progress(**values) if values else None


def reports(job: Job) -> list[FileReport]:
    """What became of each file so far; of a file that was tried twice, the later word."""
    known = {field.name for field in dataclasses.fields(FileReport)}
    found = {line["file"]: line for line in read_lines(job.folder / "reports.jsonl") if "file" in line}
    return [FileReport(**{name: value for name, value in line.items() if name in known}) for line in found.values()]


def requested(folder: Path) -> tuple[dict[str, Any], Sources, Sequence[str] | Mapping[str, str]]:
    """(request, sources, passwords) of a run folder; the passwords are removed from it. Raises Problem."""
    request = read_json(folder / "request.json")
    if not request:
        raise Problem("The run folder does not say what to add. Add the documents again.")
    files = tuple(Source(Path(path), name, tuple(tags), problem) for path, name, tags, problem in request["files"])
    given = read_json(folder / PASSWORDS).get("given", ())
    (folder / PASSWORDS).unlink(missing_ok=True)
    return request, Sources(files, request["name"]), given


def add(folder: Path, stop_asked: Callable[[], bool]) -> None:
    """Do the job of a folder. Raises Problem, or Stopped."""
    from engine.teaching.working import tell
    from rag.adding import apply, plan
    from rag.store import Store

    tell(folder, "looking at the files")
    request, sources, passwords = requested(folder)
    with Store(knowledge_folder() / request["collection"]) as store:
        wanted = plan(store, sources)
        tell(folder, "adding")
        done = apply(
            store, wanted, Notes(folder), stop_asked, passwords, bool(request["remove_gone"]), request["tags"]
        )  # fmt: skip
    states = Counter(report.state for report in done)
    if states["cancelled"]:
        raise Stopped
    if request["discard"]:
        shutil.rmtree(request["discard"], ignore_errors=True)
    seconds = time.time() - float(read_json(folder / "run.json").get("created", time.time()))
    write_json(folder / "done.json", {"states": dict(states), "files": len(done), "seconds": round(seconds, 2)})


class Notes:
    """Writes events into a run folder: progress now and then, each file's report as soon as it is settled."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.last = 0.0

    def __call__(self, event: Event) -> None:
        from engine.teaching.checkpoints import append_line

        if isinstance(event, FileDone):
            append_line(self.folder / "reports.jsonl", dataclasses.asdict(event.report))
        elif isinstance(event, Finished):
            self.last = 0.0
        elif time.monotonic() - self.last >= OFTEN:
            self.last = time.monotonic()
            write_json(self.folder / "progress.json", dataclasses.asdict(event))


def main(folder: Path) -> int:
    """Do the job of a run folder; 0 when done, 1 when it failed, 3 when it was stopped."""
    from engine.teaching.working import work

    runs_folder()
    with contextlib.suppress(OSError):
        os.nice(KINDNESS)
    return work(folder, add, lambda folder, stop_asked: contextlib.nullcontext())


if __name__ == "__main__":
    from engine.settings import prepare_process

    prepare_process()
    raise SystemExit(main(Path(sys.argv[1])))
