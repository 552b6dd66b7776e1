"""The process that reads files, under limits (`python -m rag.reading.child`): requests in, pages out, as JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from rag.reading.kinds import Kind, Refused, kind_of

LONGEST_PAGE = 200_000  # characters of one page that are kept
LONGEST_FILE = 30_000_000  # characters of one file that are kept
MOST_PAGES = 5_000
MEMORY = 2 * 2**30  # bytes of address space


def limit_memory(size: int = MEMORY) -> None:
    """Let the system refuse memory beyond a size, where it can."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        return


def pages_of(kind: Kind, path: Path, request: dict[str, Any]) -> Iterator[int | tuple[str, str] | Refused]:
    """The number of pages, (label, text) of each, and a Refused at the end where something was lost."""
    if kind.name == "pdf":
        from rag.reading.pdf import pdf_pages

        yield from pdf_pages(path, request.get("passwords", ()), Path(request["copy"]) if request.get("copy") else None)
        return
    from rag.reading import plain
    from rag.reading.word import word_pages

    readers: dict[str, Callable[[Path], tuple[list[tuple[str, str]], str]]] = {
        "txt": plain.text_pages, "md": plain.markdown_pages, "html": plain.html_pages, "csv": plain.table_pages,
        "docx": word_pages,
    }  # fmt: skip
    pages, note = readers[kind.name](path)
    yield len(pages)
    yield from pages
    if note:
        yield Refused(note, "note")


def answer(request: dict[str, Any], out: IO[str]) -> None:
    """Read one file and write what is in it, a line for each page and one for the end."""
    path = Path(request["path"])
    try:
        kind = kind_of(path, request.get("name", ""))
        if request.get("count"):
            say(out, end=True, kind=kind.name, pages=counted(kind, path), notes=[])
            return
        tell(kind, path, request, out)
    except Refused as refused:
        say(out, end=True, refused=refused.reason, state=refused.state)
    except MemoryError:
        say(out, end=True, refused=f"Reading it takes more than {MEMORY // 2**30} GB of memory.", state="failed")
    except OSError as error:
        say(out, end=True, refused=f"The file cannot be read: {error.strerror or error}.", state="failed")
    except Exception as error:
        say(out, end=True, refused=f"The file cannot be read: it is damaged ({type(error).__name__}).", state="failed")


def counted(kind: Kind, path: Path) -> int:
    """How many pages a plan should reckon with: those of a PDF, otherwise one for 3,000 bytes."""
    if kind.name == "pdf":
        from rag.reading.pdf import page_count

        return page_count(path)
    return 1 + path.stat().st_size // 3000


def tell(kind: Kind, path: Path, request: dict[str, Any], out: IO[str]) -> None:
    """Write the pages of a file of that kind."""
    notes, cut, written, lost = [kind.note] if kind.note else [], 0, 0, 0
    for index, found in enumerate(pages_of(kind, path, request), start=-1):
        if isinstance(found, int):
            say(out, kind=kind.name, pages=found)
        elif isinstance(found, Refused):
            notes.append(found.reason)
            lost += found.state != "note"
        elif index >= MOST_PAGES or written > LONGEST_FILE:
            notes.append(f"Reading stopped after {index} pages, which is the limit.")
            lost += 1
            break
        else:
            label, text = found
            cut += len(text) > LONGEST_PAGE
            written += min(len(text), LONGEST_PAGE)
            say(out, page=index, label=label, text=text[:LONGEST_PAGE], cut=len(text) > LONGEST_PAGE)
    if cut:
        notes.append(f"{cut} pages hold more than {LONGEST_PAGE} characters; the rest of them was left out.")
    say(out, end=True, kind=kind.name, notes=notes, lost=lost)


def say(out: IO[str], **values: Any) -> None:
    """One line of JSON, at once."""
    out.write(json.dumps(values) + "\n")
    out.flush()


def main() -> None:
    """Answer requests, one line each, until there are no more. What libraries print goes to the error stream."""
    limit_memory()
    out = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    for line in sys.stdin:
        answer(json.loads(line), out)


if __name__ == "__main__":
    main()
