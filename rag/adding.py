"""Adding documents: first a plan, then what it says, so that adding twice changes nothing and a cut is never seen."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.errors import Problem
from rag.documents import Reader
from rag.drafts import Draft, drafted, in_background, tags_for
from rag.embedders import Embedder, embedder
from rag.embedding import embed_drafts
from rag.progress import Event, FileDone, Finished, Pace, Progress
from rag.reading.kinds import Refused, kind_of
from rag.sources import Source, Sources, gathered
from rag.store import Store
from rag.types import FileRecord, FileReport

__all__ = ["Event", "FileDone", "Finished", "Plan", "Progress", "apply", "plan"]
CHANGING = ("new", "changed")  # what is read and embedded
UNPACKED = ".unpacked"  # folder inside the collection's for what comes out of a zip
WINDOW = 512  # chunks that are sorted by length and embedded together
ENOUGH = 128  # chunks that are worth a start while the next file is still being read


@dataclass(frozen=True)
class Plan:
    """What adding would do, a report for each file; `seconds` is about how long it takes."""

    reports: tuple[FileReport, ...]
    seconds: float
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False)
    hashes: Mapping[str, str] = field(default_factory=dict, repr=False)

    def count(self, state: str) -> int:
        """How many files are in a state."""
        return sum(report.state == state for report in self.reports)

    @property
    def changes(self) -> bool:
        """Whether applying it would do anything besides removing what is gone."""
        return any(report.state in (*CHANGING, "moved") for report in self.reports)


def plan(
    store: Store, sources: Sources | Sequence[Path], reader: Reader | None = None, passwords: Sequence[str] = ()
) -> Plan:
    """Compare the sources with the store by their content; nothing is changed. Paths are folders or single files.

    States: new, changed, same, moved (within its folder), gone (it was in a folder of that name and is no longer),
    refused. `encrypted` are files that none of the passwords opens.
    """
    if not isinstance(sources, Sources):
        sources = gathered(sources, store.folder / UNPACKED)
    known = store.files()
    by_path = {record.path: record for record in known}
    taken = placed(sources, known)
    missing = [record for record in known if record.path not in taken]
    lost = by_content(missing)
    reports: list[FileReport] = []
    hashes: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        counter = reader or stack.enter_context(Reader())
        for name, source in taken.items():
            report, digest = planned(source, name, by_path, lost)
            if report.state in CHANGING:
                report = counted(report, source, counter, passwords)
            reports.append(report)
            hashes[name] = digest
    moved, folders = {report.moved_from for report in reports}, sources.folders
    gone = [one for one in missing if one.source in folders and one.path not in moved]
    reports += [FileReport(one.path, "gone", one.pages, one.chunks, "It is no longer in the folder.") for one in gone]
    return Plan(tuple(reports), Pace.of(store).estimate(reports), taken, hashes)


def counted(report: FileReport, source: Source, reader: Reader, passwords: Sequence[str]) -> FileReport:
    """The report with about how many pages the file has, and whether it stays locked."""
    pages = reader.count(source.path, source.name)
    locked = source.path in reader.locked
    if locked and any(not reader.stays_locked(source.path, source.name, each) for each in passwords):
        locked = False
    return report.but(pages=pages, encrypted=locked)


def by_content(known: Sequence[FileRecord]) -> dict[tuple[str, str], list[FileRecord]]:
    """The files by their folder and the hash of their bytes."""
    found: dict[tuple[str, str], list[FileRecord]] = {}
    for record in known:
        found.setdefault((record.source, record.hash), []).append(record)
    return found


def placed(sources: Sources, known: Sequence[FileRecord]) -> dict[str, Source]:
    """The sources by their paths in the collection, each with its folder; no two get one path."""
    owners = {record.path: record.source for record in known}
    taken = {source.name for source in sources.files}
    found: dict[str, Source] = {}
    for source in sources.files:
        name = settled(source, sources, owners, taken)
        taken.add(name)
        found[name] = replace(source, folder=sources.folder_of(source))
    return found


def settled(source: Source, sources: Sources, owners: Mapping[str, str], taken: set[str]) -> str:
    """A source's path in the collection: where its folder has it already, with the folder's name in front or without.

    A path of another folder gets the name in front. `owners` are the folders of known paths, `taken` is this drop's.
    """
    folder, name = sources.folder_of(source), source.name
    if not folder or owners.get(name) == folder:
        return name
    other = f"{folder}/{name}" if sources.name else name.removeprefix(f"{folder}/")
    if owners.get(other) == folder and other not in taken:
        return other
    while owners.get(name, folder) != folder or (name != source.name and name in taken):
        name = f"{folder}/{name}"
    return name


def planned(
    source: Source,
    name: str,
    by_path: Mapping[str, FileRecord],
    lost: Mapping[tuple[str, str], list[FileRecord]],
) -> tuple[FileReport, str]:
    """(report of one source, its hash). A lost file that turns up here is taken out, so that it is moved once."""
    try:
        if source.problem:
            raise Refused(source.problem)
        kind_of(source.path, source.name)
        size, digest = source.path.stat().st_size, source.hash
    except Refused as refused:
        return FileReport(name, refused.state, reason=refused.reason), ""
    except OSError as error:
        return FileReport(name, "refused", reason=f"The file cannot be read: {error.strerror or error}."), ""
    known = by_path.get(name)
    if known and known.hash == digest:
        return FileReport(name, "same", known.pages, known.chunks, known.reason, bytes=size), digest
    if known:
        return FileReport(name, "changed", bytes=size), digest
    if others := lost.get((source.folder, digest)):
        other = others.pop(0)
        return FileReport(name, "moved", other.pages, other.chunks, moved_from=other.path, bytes=size), digest
    return FileReport(name, "new", bytes=size), digest


@contextlib.contextmanager
def alone(store: Store) -> Iterator[None]:
    """Hold the collection for adding. Raises Problem where another process adds to it."""
    with (store.folder / "adding.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Problem(
                f"Documents are being added to '{store.settings.name}' just now. Wait until that is done, or stop it."
            ) from None
        yield


def apply(
    store: Store,
    plan: Plan,
    on_event: Callable[[Event], None] = lambda event: None,
    stop: Callable[[], bool] = lambda: False,
    passwords: Sequence[str] | Mapping[str, str] = (),
    remove_gone: bool = False,
    tags: Sequence[str] = (),
    model: Embedder | None = None,
) -> list[FileReport]:
    """Do what the plan says; what a file's FileDone told is on the disk by then. Returns the reports, by file.

    `passwords` are tried on every locked file, or given by its path. `tags` go to all files besides their folders'.
    `stop` is asked between batches: what is done stays, the rest is reported as cancelled. Raises Problem.
    """
    started = time.monotonic()
    done: dict[str, FileReport] = {}

    def finished(report: FileReport) -> None:
        done[report.file] = report
        on_event(FileDone(report))

    with alone(store):
        work = [report for report in plan.reports if report.state in CHANGING]
        if work:
            made = store.settings
            model = model or embedder(made.embedder, made.query_prefix)
            store.check_embedder(model)
        for report in plan.reports:
            if report.state not in CHANGING:
                finished(settle(store, report, plan, tags, remove_gone))
        if work and model:
            add_all(store, plan, work, model, tags, passwords, finished, on_event, stop)
        for report in work:
            if report.file not in done:
                finished(report.but(state="cancelled", reason="Adding was stopped before this file. Add it again."))
    reports = [done[report.file] for report in plan.reports]
    on_event(Finished(tuple(reports), time.monotonic() - started))
    return reports


def settle(store: Store, report: FileReport, plan: Plan, tags: Sequence[str], remove_gone: bool) -> FileReport:
    """What needs no reading: files that stayed, moved, went or are refused."""
    record = store.file(report.moved_from or report.file)
    if report.state == "moved" and record:
        source = plan.sources[report.file]
        store.move_file(record.id, report.file, tags_for(source, record, tags), source.folder)
    elif report.state == "gone" and remove_gone:
        store.remove_file(report.file)
        return report.but(state="removed", reason="")
    elif report.state == "same" and record and not set(tags) <= set(record.tags):
        store.set_tags(record.id, list(dict.fromkeys([*record.tags, *tags])))
    return report


def add_all(
    store: Store,
    plan: Plan,
    work: Sequence[FileReport],
    model: Embedder,
    tags: Sequence[str],
    passwords: Sequence[str] | Mapping[str, str],
    finished: Callable[[FileReport], None],
    on_event: Callable[[Event], None],
    stop: Callable[[], bool],
) -> None:
    """Read in one thread and its child process, embed in this one, a window of files at a time."""
    pace = Pace.of(store, work)
    model.load_ahead()
    ahead = ((report, plan.sources[report.file], plan.hashes[report.file]) for report in work)
    with contextlib.closing(in_background(drafted(store, ahead, model, tags, passwords))) as drafts:
        window: list[Draft] = []
        for draft in drafts:
            if stop():
                return
            if draft:
                pace.read(draft)
                on_event(pace.progress("reading", draft.report.file))
                window.append(draft)
            size = sum(len(one.chunks) for one in window)
            if window and (size >= WINDOW or (draft is None and size >= ENOUGH)):
                embed_drafts(store, window, model, pace, finished, on_event, stop)
                window = []
        embed_drafts(store, window, model, pace, finished, on_event, stop)
    pace.keep(store)
