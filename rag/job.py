"""Changing a collection as a job: `python -m rag.job RUN_FOLDER` adds, re-indexes or cleans; it survives the tab."""

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
from typing import TYPE_CHECKING, Any

from engine.errors import Problem
from engine.teaching.runs import FORMAT, Job, all_jobs, read_json, read_lines, runs_folder, slug, write_json
from engine.teaching.turns import Stopped, one_at_a_time
from rag.progress import Event, FileDone, Finished, Progress
from rag.sources import Source, Sources
from rag.storing.place import knowledge_folder
from rag.types import FileReport

if TYPE_CHECKING:
    from rag.store import Store

Work = Callable[[Path, "Store", Mapping[str, Any], Callable[[], bool]], dict[str, int]]
KIND = "ingest"
OFTEN = 0.25  # seconds between two notes of progress
KINDNESS = 10  # a job yields the processor to the page
TITLES = {
    "add": "Adding to {}", "reindex": "Re-indexing {}", "keep": "Cleaning {} anew", "phrases": "Cleaning {} anew",
}  # fmt: skip
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
    request = {
        "name": sources.name,
        "files": [[str(one.path), one.name, list(one.tags), one.problem] for one in sources.files],
        "tags": list(tags),
        "remove_gone": remove_gone,
        "discard": str(discard) if discard else "",
    }
    return begun("add", collection, owner, request, passwords)


def start_reindex(collection: str, owner: str = "", embedder: str = "", chunk_tokens: int = 0) -> Job:
    """Start a process that cuts and embeds a collection anew; without a model or a length, with those it has."""
    return begun("reindex", collection, owner, {"embedder": embedder, "chunk_tokens": chunk_tokens})


def start_keeping(collection: str, lines: Sequence[str], file: str = "", owner: str = "") -> Job:
    """Start a process that cleans one file anew, or all, with these lines kept; see rebuilding.set_kept."""
    return begun("keep", collection, owner, {"lines": list(lines), "file": file})


def start_phrases(collection: str, phrases: Sequence[str], owner: str = "") -> Job:
    """Start a process that cleans all files anew, with lines that hold one of these phrases taken away."""
    return begun("phrases", collection, owner, {"phrases": list(phrases)})


def begun(
    work: str,
    collection: str,
    owner: str,
    request: Mapping[str, Any],
    passwords: Sequence[str] | Mapping[str, str] = (),
) -> Job:
    """Write a run folder for a kind of WORK on a collection and start its process. Raises Problem."""
    from engine.jobs import free_folder, launched
    from rag.store import Store

    with Store.open(collection) as store:
        name, folder_name = store.settings.name, store.folder.name
    with one_at_a_time():
        folder = free_folder(f"{time.strftime('%Y%m%d-%H%M%S')}-{work}-{slug(name)}")
        folder.mkdir()
        if passwords:
            given = dict(passwords) if isinstance(passwords, Mapping) else list(passwords)
            handle = os.open(folder / PASSWORDS, os.O_WRONLY | os.O_CREAT, 0o600)
            os.close(handle)
            write_json(folder / PASSWORDS, {"given": given})
        write_json(folder / "request.json", {**request, "work": work, "collection": folder_name})
        write_json(folder / "state.json", {"state": "queued", "since": time.time()})
        record = {
            "format": FORMAT, "kind": KIND, "place": "here", "owner": owner, "makes": "collection",
            "name": TITLES[work].format(name), "collection": folder_name, "created": time.time(), "work": work,
        }  # fmt: skip
        write_json(folder / "run.json", record)
    launched(folder)
    return Job.read(folder)


def jobs_of(collection_folder: str) -> list[Job]:
    """The jobs that change or changed a collection, by its folder's name; newest first."""
    found = [job for job in all_jobs(KIND) if job.record.get("collection") == collection_folder]
    return sorted(found, key=lambda job: float(job.record.get("created", 0)), reverse=True)  # several in one second


def progress(job: Job) -> Progress | None:
    """How far the job is; None before it has begun."""
    values = read_json(job.folder / "progress.json")
    return Progress(**values) if values else None


def reports(job: Job) -> list[FileReport]:
    """What became of each file so far; of a file that was tried twice, the later word."""
    known = {field.name for field in dataclasses.fields(FileReport)}
    found = {line["file"]: line for line in read_lines(job.folder / "reports.jsonl") if "file" in line}
    return [FileReport(**{name: value for name, value in line.items() if name in known}) for line in found.values()]


def requested(folder: Path, request: Mapping[str, Any]) -> tuple[Sources, Sequence[str] | Mapping[str, str]]:
    """(sources, passwords) of a run folder; the passwords are removed from it."""
    files = tuple(Source(Path(path), name, tuple(tags), problem) for path, name, tags, problem in request["files"])
    given = read_json(folder / PASSWORDS).get("given", ())
    (folder / PASSWORDS).unlink(missing_ok=True)
    return Sources(files, request["name"]), given


def do(folder: Path, stop_asked: Callable[[], bool]) -> None:
    """Do the job of a folder. Raises Problem, or Stopped."""
    from rag.store import Store

    request = read_json(folder / "request.json")
    if not request:
        raise Problem("The run folder does not say what to do. Start it again from the Knowledge tab.")
    with Store(knowledge_folder() / request["collection"]) as store:
        states = WORK[request.get("work", "add")](folder, store, request, stop_asked)
    seconds = time.time() - float(read_json(folder / "run.json").get("created", time.time()))
    write_json(folder / "done.json", {"states": states, "files": sum(states.values()), "seconds": round(seconds, 2)})


def add(folder: Path, store: Store, request: Mapping[str, Any], stop_asked: Callable[[], bool]) -> dict[str, int]:
    """Add the files of a request; how many ended in which state. Raises Problem, or Stopped."""
    from engine.teaching.working import tell
    from rag.adding import apply, plan

    tell(folder, "looking at the files")
    sources, passwords = requested(folder, request)
    wanted = plan(store, sources)
    tell(folder, "adding")
    done = apply(store, wanted, Notes(folder), stop_asked, passwords, bool(request["remove_gone"]), request["tags"])
    states = Counter(report.state for report in done)
    if states["cancelled"]:
        raise Stopped
    if request["discard"]:
        shutil.rmtree(request["discard"], ignore_errors=True)
    return dict(states)


def reindex(folder: Path, store: Store, request: Mapping[str, Any], stop_asked: Callable[[], bool]) -> dict[str, int]:
    """Cut and embed the collection anew. Raises Problem, or Stopped."""
    from engine.teaching.working import tell
    from rag.rebuilding import rebuild

    tell(folder, "cutting the pages anew")
    model, tokens = request["embedder"] or None, request["chunk_tokens"] or None
    overlap = tokens // 10 if tokens else None
    if not rebuild(store, model, tokens, overlap, Notes(folder), stop_asked):
        raise Stopped
    return {"reindexed": len(store.files())}


def clean(folder: Path, store: Store, request: Mapping[str, Any], stop_asked: Callable[[], bool]) -> dict[str, int]:
    """Clean one file anew, or all, with other lines kept or other phrases taken away. Raises Problem, or Stopped."""
    from engine.teaching.working import tell
    from rag.rebuilding import set_kept, set_phrases

    tell(folder, "cleaning the pages anew")
    if request["work"] == "phrases":
        whole = set_phrases(store, request["phrases"], Notes(folder), stop_asked)
    else:
        whole = set_kept(store, request["lines"], request["file"], Notes(folder), stop_asked)
    if not whole:
        raise Stopped
    return {"cleaned": 1 if request.get("file") else len(store.files())}


WORK: dict[str, Work] = {"add": add, "reindex": reindex, "keep": clean, "phrases": clean}


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
    return work(folder, do, lambda folder, stop_asked: contextlib.nullcontext())


if __name__ == "__main__":
    from engine.settings import prepare_process

    prepare_process()
    raise SystemExit(main(Path(sys.argv[1])))
