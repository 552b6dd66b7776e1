"""Retrieval against the LangChain course's own chain, on its own questions: `python -m benchmarks.retrieve FOLDER`.

FOLDER holds knowledge-base/ with sub-folders of Markdown and evaluation/tests.jsonl with questions and keywords, as the
course ed-donner/llm_engineering publishes them (Insurellm). Its chain: chunks of 1000 characters with 200 overlap,
all-MiniLM-L6-v2, Chroma, k = 10. It needs `pip install --no-deps langchain-chroma==1.1.0 langchain-huggingface==1.2.3`;
without them the same parts are put together by hand, which is said.

Every list is cut where its characters exceed what the course's chain retrieves on average (at k = 5 for the hits, at
k = 10 for the rest), since larger chunks otherwise win by their size. Intervals: bootstrap over the questions, paired.
`--latency` measures a search from question to passages at 1,000, 10,000 and 100,000 chunks instead.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from engine.settings import prepare_process

prepare_process()
os.environ["DIPTYCH_HOME"] = tempfile.mkdtemp(prefix="diptych-benchmark-")

from benchmarks.ingest import precisions  # noqa: E402
from rag.adding import apply, plan  # noqa: E402
from rag.collection import Collection  # noqa: E402
from rag.measure import Outcome, at_size, interval, judged, paired, percentile  # noqa: E402
from rag.questions import Question, read_questions  # noqa: E402
from rag.retrieve import retrieve  # noqa: E402
from rag.store import Store  # noqa: E402
from rag.types import Chunk, CollectionSettings, FileRecord, Page  # noqa: E402

COURSE = {"size": 1000, "overlap": 200, "k": 10}
MODES = ("vector", "keyword", "both")
SIZES = (128, 192)  # tokens of a chunk, besides the default 256
FLOOR_MS = 100  # p95 at 10,000 chunks
Ranking = Callable[[str], Sequence[Chunk]]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("--latency", nargs="*", type=int, metavar="CHUNKS", help="sizes of the collections")
    options.add_argument("--questions", type=int, default=150, help="how many, from the start")
    options.add_argument("--precisions", nargs="*", help="further ones of the embedder (bf16 where it is fast, int8)")
    options.add_argument("--sizes", nargs="*", type=int, default=list(SIZES), help="further chunk sizes in tokens")
    args = options.parse_args()
    questions = read_questions(args.folder / "evaluation" / "tests.jsonl")[: args.questions]
    if args.latency is not None:
        latency(args.folder, questions, args.latency or [1_000, 10_000, 100_000])
        return
    quality(args.folder, questions, args.sizes, precisions() if args.precisions is None else args.precisions)


# -- quality ----


def quality(folder: Path, questions: Sequence[Question], sizes: Sequence[int], precisions: Sequence[str]) -> None:
    """The table, and the figures that have floors as JSON."""
    ask, chunks = course(folder)
    lists = [ask(each.question) for each in questions]
    budgets = tuple(sum(len(c.text) for found in lists for c in found[:k]) / len(lists) for k in (5, COURSE["k"]))
    mean = sum(len(chunk.text) for chunk in chunks) / len(chunks)
    print(f"{len(questions)} questions, {len(chunks)} chunks of the course with {mean:.0f} characters on average")
    print(f"budget: {budgets[0]:.0f} characters for the hits, {budgets[1]:.0f} for MRR and nDCG@10\n")
    print(
        f"{'way':26} {'chunks':>6} {'MRR':>6} {'hit':>6} {'nDCG':>6}   differences from the course with 95 % intervals"
    )
    base = outcomes(questions, lists, chunks, budgets)
    row("the course's chain", len(chunks), base, None)
    results = {}
    with store_of(folder) as store:
        made = Collection(store)
        for mode in MODES:
            results[mode] = ours(made, questions, mode, budgets, base, f"{mode}, 256 tokens")
        for size in sizes:
            with at_size(store, size) as other:
                results[f"both {size}"] = ours(other, questions, "both", budgets, base, f"both, {size} tokens")
    for precision in precisions:
        with store_of(folder, precision) as store:
            for mode in ("vector", "both"):
                name = f"{mode}, {precision}"
                results[name] = ours(Collection(store), questions, mode, budgets, base, name)
    print(json.dumps({name: figures(found, base) for name, found in results.items()}))


def ours(
    collection: Collection,
    questions: Sequence[Question],
    mode: str,
    budgets: tuple[float, ...],
    base: list[Outcome],
    name: str,
) -> list[Outcome]:
    """One way of ours, without a cutoff."""
    lists = [
        [hit.chunk for hit in retrieve(collection, each.question, 50, mode, cutoff=-1).hits]  # type: ignore[arg-type]
        for each in questions
    ]
    chunks = collection.store.chunks()
    found = outcomes(questions, lists, chunks, budgets)
    row(name, len(chunks), found, base)
    return found


def outcomes(
    questions: Sequence[Question], lists: Sequence[Sequence[Chunk]], chunks: Sequence[Chunk], budgets: tuple[float, ...]
) -> list[Outcome]:
    """The scores of every question within the budgets: the hit within the small one, the rest within the large one."""
    made = []
    for asked, found in zip(questions, lists, strict=True):
        few, many = (within(found, budget) for budget in budgets)
        at_many = judged(asked, many[: COURSE["k"]], chunks, COURSE["k"])
        hit = judged(asked, few, chunks, max(1, len(few))).hit
        made.append(Outcome(asked, hit, at_many.mrr, at_many.ndcg, at_many.rank, 0.0, tuple(many)))
    return made


def within(found: Sequence[Chunk], budget: float) -> list[Chunk]:
    """The beginning of a list that holds no more characters than the budget; never less than one chunk."""
    kept: list[Chunk] = []
    used = 0
    for chunk in found:
        used += len(chunk.text)
        if kept and used > budget:
            break
        kept.append(chunk)
    return kept


def row(name: str, count: int, found: list[Outcome], base: list[Outcome] | None) -> None:
    """One line of the table."""
    means = [interval([getattr(each, score) for each in found]).mean for score in ("mrr", "hit", "ndcg")]
    line = f"{name:26} {count:6} " + " ".join(f"{mean:6.3f}" for mean in means)
    if base is not None:
        for score in ("mrr", "hit", "ndcg"):
            one = paired([getattr(a, score) for a in found], [getattr(b, score) for b in base])
            line += f"   {score} {one.mean:+.3f} [{one.low:+.3f} {one.high:+.3f}]"
    print(line, flush=True)


def figures(found: list[Outcome], base: list[Outcome]) -> dict[str, list[float]]:
    """Each score's difference from the course with its interval."""
    made = {}
    for score in ("mrr", "hit", "ndcg"):
        one = paired([getattr(a, score) for a in found], [getattr(b, score) for b in base])
        made[score] = [round(value, 4) for value in (one.mean, one.low, one.high)]
    return made


@contextmanager
def store_of(folder: Path, precision: str = "") -> Iterator[Store]:
    """The folder as a collection with the default settings, or with the embedder in another precision."""
    name = f"insurellm {precision}".strip()
    embedder = f"{CollectionSettings.embedder}:{precision}" if precision else CollectionSettings.embedder
    with Store.create(name, CollectionSettings(name, embedder=embedder)) as store:
        apply(store, plan(store, [folder / "knowledge-base"]))
        yield store


def course(folder: Path) -> tuple[Ranking, list[Chunk]]:
    """(its search, its chunks): Markdown files as they are, cut by characters, searched in Chroma."""
    from langchain_core.documents import Document
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    root = folder / "knowledge-base"
    documents = [
        Document(path.read_text(encoding="utf-8"), metadata={"file": path.relative_to(root).as_posix()})
        for path in sorted(root.rglob("*.md"))
    ]
    splitter = RecursiveCharacterTextSplitter(chunk_size=COURSE["size"], chunk_overlap=COURSE["overlap"])
    pieces = splitter.split_documents(documents)
    chunks = [
        Chunk(str(n), piece.metadata["file"], 0, (), 0, "1", 0, 0, 0, piece.page_content)
        for n, piece in enumerate(pieces)
    ]
    return chain(pieces, chunks), chunks


def chain(pieces: Sequence, chunks: Sequence[Chunk]) -> Ranking:
    """The course's vector store as a search for k passages."""
    from engine import embed

    place = tempfile.mkdtemp(prefix="diptych-course-")
    try:
        from langchain_chroma import Chroma
        from langchain_huggingface import HuggingFaceEmbeddings
    except ImportError:
        print("(langchain-chroma and langchain-huggingface are not installed: the same parts, put together by hand)")
        import chromadb

        held = chromadb.PersistentClient(place).create_collection("course", embedding_function=None)
        held.add(ids=[c.id for c in chunks], embeddings=embed.embed([c.text for c in chunks]))
        return lambda question: [
            chunks[int(one)]
            for one in held.query(query_embeddings=embed.embed([question]), n_results=COURSE["k"])["ids"][0]
        ]
    embeddings = HuggingFaceEmbeddings(model_name=str(embed.folder()))
    ids = [chunk.id for chunk in chunks]
    kept = Chroma.from_documents(list(pieces), embeddings, ids=ids, persist_directory=place)
    retriever = kept.as_retriever(search_kwargs={"k": COURSE["k"]})
    return lambda question: [chunks[int(document.id)] for document in retriever.invoke(question)]


# -- latency ----


def latency(folder: Path, questions: Sequence[Question], sizes: Sequence[int]) -> None:
    """Milliseconds from a question to its passages, through the index and exactly, with its parts."""
    from rag.index import Index

    root = folder / "knowledge-base"
    sentences = [line for path in sorted(root.rglob("*.md")) for line in path.read_text("utf-8").splitlines() if line]
    found = {}
    print(f"{'chunks':>8} {'through':8} {'p50 ms':>8} {'p95 ms':>8}   median of embed, vector, keyword, fuse")
    for size in sizes:
        with many(size, sentences) as store:
            began = time.perf_counter()
            with Index(store) as index:
                print(f"{size:8,} index built in {time.perf_counter() - began:.1f} s", flush=True)
                for name, collection in (("Chroma", Collection(store, index)), ("exact", Collection(store))):
                    found[f"{name} {size}"] = timed(collection, questions, name, size)
    print(json.dumps(found))


def timed(collection: Collection, questions: Sequence[Question], name: str, size: int) -> dict[str, float]:
    """Searches one after the other; the first few only warm up."""
    times, parts = [], []
    for number, asked in enumerate(questions):
        began = time.perf_counter()
        made = retrieve(collection, asked.question, 3)
        if number >= 5:
            times.append(1000 * (time.perf_counter() - began))
            parts.append(made.milliseconds)
    p50, p95 = percentile(times, 0.5), percentile(times, 0.95)
    middle = [percentile([part[what] for part in parts], 0.5) for what in ("embed", "vector", "keyword", "fuse")]
    print(f"{size:8,} {name:8} {p50:8.1f} {p95:8.1f}   {', '.join(f'{value:.1f}' for value in middle)}", flush=True)
    return {"p50": round(p50, 1), "p95": round(p95, 1)}


@contextmanager
def many(size: int, sentences: Sequence[str]) -> Iterator[Store]:
    """A store of `size` chunks: lines of the folder shuffled into passages, with vectors spread like real ones."""
    import numpy as np

    from rag.embedders import embedder

    model, rng, numbers = embedder(), random.Random(0), np.random.default_rng(0)
    middles = model.embed_passages(rng.sample(list(sentences), min(300, len(sentences))))
    chosen = CollectionSettings(f"many {size}", fingerprint=model.fingerprint, dimension=model.dimension)
    with Store.create(f"many {size}", chosen) as store:
        for start in range(0, size, 1000):
            count = min(1000, size - start)
            texts = [f"{start + n}. " + "\n".join(rng.choices(sentences, k=8)) for n in range(count)]
            vectors = middles[numbers.integers(0, len(middles), count)] + 0.04 * numbers.normal(size=(count, 384))
            store.put_vectors(texts, (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32))
            pages = [Page(n, str(n + 1), text, text) for n, text in enumerate(texts)]
            made = [Chunk("", "", 0, (), n, str(n + 1), n, 0, len(text), text) for n, text in enumerate(texts)]
            store.put_file(FileRecord(0, f"{start}.md", str(start), 1, "md", count, count), pages, made)
        yield store


if __name__ == "__main__":
    main()
