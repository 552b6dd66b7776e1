"""Questions out from the command line: `python -m rag search|ask|measure|agent`, on the store itself, exactly."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.catalog import Model, find
from engine.errors import Problem
from engine.grounding import DEFAULT, forms
from engine.messages import Message, Sampling
from rag import sample
from rag.answer import ANSWERING, Answer, Found, Words, ask
from rag.collection import MODES, Collection, How
from rag.headless import command
from rag.measure import Measured, at_size, table
from rag.questions import read_questions
from rag.retrieve import Retrieved, retrieve
from rag.store import Store
from rag.types import Hit


def register(commands: Any) -> None:
    """The commands of questions out, each with its function as `run`."""
    search = command(commands, "search", run_search, "the passages nearest to a question")
    search.add_argument("question")
    how_options(search)
    asking = command(commands, "ask", run_ask, "an answer with numbered sources")
    asking.add_argument("question")
    how_options(asking)
    model_options(asking)
    asking.add_argument("--no-context", action="store_true", help="ask the bare question")
    asking.add_argument("--form", choices=list(forms()), default=DEFAULT, help="how the passages are put")
    asking.add_argument("--system", default="", help="system prompt")
    asking.add_argument("--max-new-tokens", type=int, default=ANSWERING.max_tokens)
    asking.add_argument("--temperature", type=float, default=ANSWERING.temperature)
    asking.add_argument("--seed", type=int, default=0)
    measuring = command(commands, "measure", run_measure, "hit@k, MRR and nDCG over a file of questions with labels")
    measuring.add_argument("questions", type=Path, help="JSONL rows: question, and file, page, passage or keywords")
    measuring.add_argument("--mode", action="append", choices=MODES, help="repeat; all without it")
    measuring.add_argument("--k", type=int, action="append", help="repeat; 3, 5 and 10 without it")
    measuring.add_argument("--chunk-tokens", type=int, action="append", default=[], help="also at this size; repeat")
    agent = command(commands, "agent", run_agent, "a conversation turn in which the model may search the documents")
    agent.add_argument("question")
    model_options(agent)
    agent.add_argument("--describe-tools", action="store_true", help="write the tool into the prompt")


def how_options(options: argparse.ArgumentParser) -> None:
    """How a collection is searched."""
    default = How()
    options.add_argument("--k", type=int, default=default.k, help="passages, 1 to 50")
    options.add_argument("--mode", choices=MODES, default=default.mode)
    options.add_argument("--cutoff", type=float, help="lowest cosine; the collection's own without it, -1 for none")
    options.add_argument("--file", action="append", default=[], help="only in this file; repeat")
    options.add_argument("--tag", action="append", default=[], help="only in files with this tag; repeat")
    options.add_argument("--rerank", default="", metavar="MODEL", help="a cross-encoder's folder or Hub id")


def model_options(options: argparse.ArgumentParser) -> None:
    """Who answers."""
    options.add_argument("--model", default="starter", help="a model's name, folder or Hub id")
    options.add_argument("--endpoint", help="base URL of an OpenAI-compatible server, in place of --model")
    options.add_argument("--endpoint-model", help="the model's name at that server")
    options.add_argument("--key-name", help="environment variable that holds the server's key")


def how_from(args: argparse.Namespace) -> How:
    """The options as a way to search."""
    where = {name: values for name, values in (("file", args.file), ("tag", args.tag)) if values}
    return How(args.k, args.mode, args.cutoff, where or None, args.rerank)


def model_from(args: argparse.Namespace) -> tuple[Model, str | None]:
    """The model that answers, and the key for its endpoint. Raises Problem."""
    if not args.endpoint:
        return find(args.model), None
    if not args.endpoint_model:
        raise Problem("Name the server's model with --endpoint-model.")
    if args.key_name and not os.environ.get(args.key_name):
        raise Problem(f"The environment variable {args.key_name} is empty. Set it to the server's key.")
    key = os.environ.get(args.key_name) if args.key_name else None
    return Model(args.endpoint_model, args.endpoint_model, endpoint=args.endpoint), key


@contextmanager
def collection(args: argparse.Namespace) -> Iterator[Collection]:
    """The collection of the command, searched exactly; the sample is read now where it has not been."""
    sample.ready(args.collection, lambda sentence: print(sentence, file=sys.stderr))
    with Store.open(args.collection) as store:
        yield Collection(store)


def run_search(args: argparse.Namespace) -> int:
    """Print the hits; 0 also where there are none, which is said on the error stream."""
    with collection(args) as asked:
        found = retrieve(asked, args.question, **vars(how_from(args)))
    if not found.hits:
        print(nothing(found), file=sys.stderr)
    if args.json:
        print(json.dumps([printed(hit) for hit in found.hits], ensure_ascii=False, indent=2))
    else:
        print("\n\n".join(readable(hit) for hit in found.hits))
    return 0


def nothing(found: Retrieved) -> str:
    """What to say where no passage is near enough."""
    if found.nearest is None:
        return "There is nothing in this collection yet."
    chunk = found.nearest.chunk
    return (
        f"No passage reaches the cutoff of {found.cutoff:.2f}. The nearest is in {chunk.file}, {chunk.pages} "
        f"(cosine {found.nearest.cosine:.2f})."
    )


def printed(hit: Hit) -> dict[str, Any]:
    """A hit as plain data; pages count from 1, `page_label` is what is printed on the page."""
    chunk = hit.chunk
    return {
        "rank": hit.rank, "file": chunk.file, "page": chunk.page + 1, "page_label": chunk.page_label,
        "score": round(hit.score, 6), "cosine": round(hit.cosine, 6), "vector_rank": hit.vector_rank,
        "keyword_rank": hit.keyword_rank, "matched": list(hit.matched), "rerank": hit.rerank, "tags": list(chunk.tags),
        "start": chunk.start, "end": chunk.end, "id": chunk.id,
        "also": [{"file": each.file, "page": each.page + 1} for each in hit.also], "text": chunk.text,
    }  # fmt: skip


def readable(hit: Hit) -> str:
    """A hit for people."""
    ranks = f"vector {hit.vector_rank or '-'}, keyword {hit.keyword_rank or '-'}"
    return f"[{hit.rank}] {hit.chunk.file}, {hit.chunk.pages} (cosine {hit.cosine:.3f}, {ranks})\n{hit.chunk.text}"


def run_ask(args: argparse.Namespace) -> int:
    """Print an answer with its sources, words as they come; 0 also where the documents do not say."""
    model, key = model_from(args)
    sampling = Sampling(temperature=args.temperature, max_tokens=args.max_new_tokens, seed=args.seed)
    if wrong := sampling.problems():
        raise Problem(" ".join(wrong))
    with collection(args) as asked:
        events = ask(
            args.question, asked, model, (), not args.no_context, how_from(args), args.form, args.system, sampling, key
        )
        for event in events:
            match event:
                case Words(text=text) if not args.json:
                    print(text, end="", flush=True)
                case Answer() if args.json:
                    print(json.dumps(described(event), ensure_ascii=False, indent=2))
                case Answer():
                    print(sources(event))
                case Found():
                    pass
    return 0


def sources(answer: Answer) -> str:
    """What stands below an answer on a terminal."""
    if answer.refused:
        return answer.text
    mended = f"\n\n{answer.text}" if answer.mended_marks else ""
    lines = [f"[{hit.rank}] {hit.chunk.file}, {hit.chunk.pages} (cosine {hit.cosine:.3f})" for hit in answer.hits]
    return mended + "\n\n" + "\n".join(lines) if lines else mended


def described(answer: Answer) -> dict[str, Any]:
    """An answer as plain data."""
    by_number = {hit.rank: hit for hit in answer.hits}
    cited = [
        {**asdict(each), "file": hit.chunk.file, "page": hit.chunk.page + 1, "support": round(each.support, 3)}
        for each in answer.citations
        for hit in (by_number[each.number],)
    ]
    return {
        "question": answer.question, "question_used": answer.question_used, "answer": answer.text,
        "model": answer.model, "refused": answer.refused, "citations": cited,
        "quotes": [asdict(quote) for quote in answer.quotes], "removed_marks": answer.removed_marks,
        "mended_marks": answer.mended_marks, "hits": [printed(hit) for hit in answer.hits],
        "nearest": printed(answer.nearest) if answer.nearest else None, "cutoff": answer.cutoff,
        "tokens": answer.tokens, "seconds": round(answer.seconds, 3), "end": answer.end, "prompt": answer.prompt,
    }  # fmt: skip


def run_measure(args: argparse.Namespace) -> int:
    """Print a row for every chunk size, mode and k."""
    questions = read_questions(args.questions)
    ks, modes = args.k or [3, 5, 10], args.mode or list(MODES)
    if wrong := [k for k in ks if not 1 <= k <= 50]:
        raise Problem(f"k lies between 1 and 50; {wrong[0]} does not.")
    with ExitStack() as open_ones:
        asked = open_ones.enter_context(collection(args))
        sized = [open_ones.enter_context(at_size(asked.store, tokens)) for tokens in args.chunk_tokens]
        if not args.json:
            print(HEAD, flush=True)
        rows = table([asked, *sized], questions, modes, ks, lambda row: None if args.json else print(line(row)))
    if args.json:
        print(json.dumps([row.row() for row in rows], ensure_ascii=False, indent=2))
    return 0


HEAD = f"{'chunk':>6} {'mode':8} {'k':>3} {'hit@k':19} {'MRR':19} {'nDCG':19} {'p50 ms':>7} {'p95 ms':>7}"


def line(row: Measured) -> str:
    """A measured way as one line under HEAD."""
    scores = [row.score(name) for name in ("hit", "mrr", "ndcg")]
    shown = " ".join(f"{one.mean:.3f} [{one.low:.3f} {one.high:.3f}]" for one in scores)
    p50, p95 = row.milliseconds
    return f"{row.chunk_tokens:6} {row.mode:8} {row.k:3} {shown} {p50:7.1f} {p95:7.1f}"


def run_agent(args: argparse.Namespace) -> int:
    """Let a model answer with the tool search_documents, and print every step."""
    from engine.acting.steps import Done
    from engine.agent import converse
    from engine.headless_agent import described as steps_of
    from engine.headless_agent import readable as step_readable
    from engine.respond import responder_for
    from rag.tool import search_documents

    model, key = model_from(args)
    with collection(args) as asked:
        responder = responder_for(model, key, args.describe_tools)
        asking: Sequence[Message] = [Message("user", args.question)]
        steps = list(converse(responder, asking, [search_documents(asked)], Sampling(temperature=0)))
    found, done = steps_of(steps), steps[-1]
    print(json.dumps(found, ensure_ascii=False, indent=2) if args.json else "\n".join(map(step_readable, found)))
    if isinstance(done, Done) and done.reason not in ("stop", "tool_calls"):
        print(done.problem or f"The turn ended early: {done.reason}.", file=sys.stderr)
        return 1
    return 0
