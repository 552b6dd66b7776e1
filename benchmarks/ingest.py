"""A folder into a searchable collection, beside LlamaIndex and LangChain: `python -m benchmarks.ingest --peers PEERS`.

PEERS is a folder with what ingest-requirements.txt names (see there). Each way runs in a process of its own, cold (an
empty store) and then again on the unchanged folder, with the same embedding model in fp32, chunks of 256 of its
tokens with an overlap of 25, and the same threads. The clock runs from before the imports to the last vector on the
disk; the peers' Chroma folder and our store are both durable then. Peers are used as their own guides show them:
(b) SimpleDirectoryReader + SentenceSplitter + VectorStoreIndex over Chroma, (c) the loaders of LangChain's guide
(pypdf, one document a page) + RecursiveCharacterTextSplitter by tokens + langchain-chroma.
Further rows, without a part in the floors: Diptych in bf16, where the processor has it, and in int8.
Without --folder the script draws one of PDFs like printed web articles, with running heads, and Markdown files.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.shapes import as_a_peer

ROOT = Path(__file__).resolve().parent.parent
WAYS = ("diptych", "llama-index", "langchain")
PRECISIONS = ("bf16", "int8")  # of further rows, which have no part in the floors
FLOORS = {"cold": 2.0, "repeated": 20.0}
TOKENS, OVERLAP = 256, 25


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--folder", type=Path, help="documents of your own")
    options.add_argument(
        "--peers", type=Path, help="where ingest-requirements.txt was installed; without it, ours only"
    )
    options.add_argument("--files", type=int, default=12, help="PDFs to draw")
    options.add_argument("--pages", type=int, default=12, help="pages of each")
    options.add_argument("--one", help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.one:
        print(json.dumps(measured(*json.loads(args.one))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder.resolve() if args.folder else drawn(Path(temporary) / "folder", args.files, args.pages)
        ways = [*(WAYS if args.peers else WAYS[:1]), *(f"diptych:{one}" for one in precisions())]
        print(f"{folder if args.folder else 'drawn folder'}, {os.cpu_count()} cores")
        print(f"{'way':12} {'run':9}  seconds   CPU s  pages/s  chunks/s  chunks  peak MB  phases", flush=True)
        rows = []
        for way in ways:
            for row in both(way, folder, Path(temporary) / way, args.peers):
                print(line_of(row), flush=True)
                rows.append(row)
    print(json.dumps(summary(rows)))


def precisions() -> list[str]:
    """Those of PRECISIONS that this processor computes fast."""
    from engine.weights import fast_bf16

    return [one for one in PRECISIONS if one != "bf16" or fast_bf16()]


def line_of(row: dict[str, Any]) -> str:
    """One run as a line of the table."""
    rates = f"{row['pages'] / row['seconds']:8.1f} {row['chunks'] / row['seconds']:9.1f}"
    size = f"{row['chunks']:7} {row['megabytes']:8.0f}"
    return f"{row['way']:12} {row['run']:9} {row['seconds']:8.2f} {row['cpu']:7.2f} {rates} {size}  {row['phases']}"


def both(way: str, folder: Path, home: Path, peers: Path | None) -> Iterator[dict[str, Any]]:
    """The cold and the repeated run of one way."""
    for run in ("cold", "repeated"):
        peer = way in WAYS[1:]
        paths = [str(ROOT), *([str(peers.resolve())] if peers and peer else [])]
        environment = {
            **(as_a_peer() if peer else os.environ),
            "PYTHONPATH": os.pathsep.join(paths),
            "DIPTYCH_HOME": str(home),
            "HF_HUB_OFFLINE": "1",
        }
        request = json.dumps([way, str(folder), str(home)])
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.ingest", "--one", request],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{way}: {done.stderr[-2000:]}")
        row = json.loads(done.stdout.strip().splitlines()[-1])
        yield {"way": way, "run": run, **row, "seconds": time.perf_counter() - started}


def measured(way: str, folder: str, home: str) -> dict[str, Any]:
    """Run one way in this process; its phases in seconds, its processor time and its memory with its children's."""
    from engine.settings import prepare_process

    prepare_process()
    clock = Clock()
    ways = {"llama-index": llama_index, "langchain": langchain}
    pages, chunks = ways.get(way, functools.partial(diptych, way))(Path(folder), Path(home), clock)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "pages": pages,
        "chunks": chunks,
        "cpu": sum(one.ru_utime + one.ru_stime for one in used),
        "megabytes": sum(one.ru_maxrss for one in used) / 1024,
        "phases": clock.phases,
    }


class Clock:
    """Seconds of each phase."""

    def __init__(self) -> None:
        self.phases: dict[str, float] = {}
        self.last = time.perf_counter()

    def __call__(self, phase: str) -> None:
        now = time.perf_counter()
        self.phases[phase] = round(now - self.last, 2)
        self.last = now


def diptych(way: str, folder: Path, home: Path, clock: Clock) -> tuple[int, int]:
    """What `python -m rag add` does: plan and apply; a precision stands behind a colon."""
    from rag.adding import apply, plan
    from rag.store import Store
    from rag.types import CollectionSettings

    chosen = CollectionSettings("bench", embedder=CollectionSettings.embedder + way.removeprefix("diptych"))
    with Store.open("bench") if Store.folder_of("bench") else Store.create("bench", chosen) as store:
        wanted = plan(store, [folder])
        clock("imports and plan")
        reports = apply(store, wanted)
        clock("read, clean, cut, embed, store")
        return sum(report.pages for report in reports), store.count()


def llama_index(folder: Path, home: Path, clock: Clock) -> tuple[int, int]:
    """The guide's five lines, over a Chroma folder, with the splitter and the model given."""
    import chromadb
    from llama_index.core import Settings, SimpleDirectoryReader, StorageContext, VectorStoreIndex
    from llama_index.core.node_parser import SentenceSplitter
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding
    from llama_index.vector_stores.chroma import ChromaVectorStore
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    Settings.llm = None
    Settings.embed_model = HuggingFaceEmbedding(model_name=str(model_folder()), device="cpu")
    clock("imports and model")
    documents = SimpleDirectoryReader(str(folder), recursive=True).load_data()
    clock("read")
    splitter = SentenceSplitter(
        chunk_size=TOKENS,
        chunk_overlap=OVERLAP,
        tokenizer=lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
    )
    nodes = splitter.get_nodes_from_documents(documents)
    clock("cut")
    collection = chromadb.PersistentClient(str(home / "chroma")).get_or_create_collection("bench")
    storage = StorageContext.from_defaults(vector_store=ChromaVectorStore(chroma_collection=collection))
    VectorStoreIndex(nodes, storage_context=storage)
    clock("embed, store")
    return len(documents), len(nodes)


def langchain(folder: Path, home: Path, clock: Clock) -> tuple[int, int]:
    """The guide's loader, splitter and vector store."""
    from langchain_chroma import Chroma
    from langchain_core.documents import Document
    from langchain_huggingface import HuggingFaceEmbeddings
    from langchain_text_splitters import RecursiveCharacterTextSplitter
    from pypdf import PdfReader
    from tokenizers import Tokenizer

    embeddings = HuggingFaceEmbeddings(model_name=str(model_folder()), model_kwargs={"device": "cpu"})
    tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    clock("imports and model")
    documents = []
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".pdf":
            pages = [page.extract_text() for page in PdfReader(path).pages]
        elif path.is_file():
            pages = [path.read_text(encoding="utf-8")]
        else:
            continue
        documents += [Document(text, metadata={"source": str(path), "page": at}) for at, text in enumerate(pages)]
    clock("read")
    splitter = RecursiveCharacterTextSplitter(
        chunk_size=TOKENS, chunk_overlap=OVERLAP,
        length_function=lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids),
    )  # fmt: skip
    chunks = splitter.split_documents(documents)
    clock("cut")
    Chroma("bench", embeddings, persist_directory=str(home / "chroma")).add_documents(chunks)
    clock("embed, store")
    return len(documents), len(chunks)


def model_folder() -> Path:
    """Where all-MiniLM-L6-v2 lies."""
    from engine import embed

    place = embed.folder()
    if place is None:
        raise SystemExit("the embedding model is not on this machine")
    return place


def drawn(folder: Path, files: int, pages: int) -> Path:
    """A folder of PDFs with running heads and of Markdown files, the same on every machine."""
    from reportlab.lib.pagesizes import A4
    from reportlab.pdfgen.canvas import Canvas

    folder.mkdir(parents=True)
    for number in range(files):
        dice = random.Random(number)
        canvas = Canvas(str(folder / f"article-{number}.pdf"), pagesize=A4, invariant=1)
        for page in range(pages):
            canvas.setFont("Helvetica", 8)
            canvas.drawString(60, 815, f"3/8/24, 6:43 PM   Article {number}, printed from a web page")
            canvas.drawString(60, 25, f"https://example.org/articles/{number}   {page + 1}/{pages}")
            canvas.setFont("Helvetica", 11)
            for at, line in enumerate(lines(dice, 38)):
                canvas.drawString(60, 780 - 19 * at, line)
            canvas.showPage()
        canvas.save()
        text = "\n\n".join(f"## Part {part}\n\n{' '.join(lines(dice, 6))}" for part in range(4))
        (folder / f"notes-{number}.md").write_text(f"# Notes {number}\n\n{text}\n", encoding="utf-8")
    return folder


def lines(dice: random.Random, count: int) -> list[str]:
    """Lines of about ninety letters that read like sentences; vowels and consonants alternate in their words."""
    found: list[str] = []
    words: list[str] = []
    vocabulary = VOCABULARY.split()
    while len(found) < count:
        words.append(dice.choice(vocabulary) + ("." if dice.random() < 0.08 else ""))
        if sum(map(len, words)) + len(words) > 88:
            found.append(" ".join(words))
            words = []
    return found


VOCABULARY = (
    "model data tail value weight rare event large small mean sample signal wave time train loss rate step layer token "
    "text page word question answer source chunk vector index search the a of and to in is that for with as are by on "
    "from which this these when where one two more less than about measure compare learn change cause effect graph "
    "distribution probability wealth height average median variance power law limit theorem quantity adaptation"
)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Ratios to the faster peer, of wall-clock and of processor time, and whether the floors are met."""
    found: dict[str, Any] = {}
    for run in FLOORS:
        ours = next(row for row in rows if row["way"] == "diptych" and row["run"] == run)
        peers = [row for row in rows if row["way"] in WAYS[1:] and row["run"] == run]
        if peers:
            found[run] = round(min(row["seconds"] for row in peers) / ours["seconds"], 2)
            found[f"{run}_cpu"] = round(min(row["cpu"] for row in peers) / ours["cpu"], 2)
    found["met"] = all(found.get(run, 0) >= floor for run, floor in FLOORS.items())
    return found


if __name__ == "__main__":
    main()
