"""A question answered from a collection: numbered passages in, words with checked marks out, as typed events."""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from engine.catalog import Model
from engine.grounding import DEFAULT, TOY_CHARACTERS, Form, form_named, inert, refusal, shortened, toy
from engine.messages import Message, Sampling
from engine.respond import Generation, Passage, Responder, responder_for
from rag.citing import Citation, Marks, Quote, citations, mended, quotes, sentences
from rag.collection import Collection, How, passage
from rag.retrieve import Retrieved, retrieve
from rag.types import Hit

ANSWERING = Sampling(temperature=0, max_tokens=300)
QUOTING = "In the documents:"  # stands before the sentence that is quoted where a toy cites nothing that holds
WHOLE = re.compile(r"[.!?][\"”’)]*$")  # how a sentence ends, and a heading does not
SHORTEST = 5  # words of a sentence worth quoting
REMEMBERED = 6  # earlier messages that go into the prompt


@dataclass(frozen=True)
class Found:
    """What was retrieved, before the first word. `read` are the passages as the model reads them, number i + 1."""

    retrieved: Retrieved
    read: tuple[Passage, ...]


@dataclass(frozen=True)
class Words:
    """More words of the answer; marks that point nowhere are not among them."""

    text: str


@dataclass(frozen=True)
class Answer:
    """The whole answer. `hits` are in the order of their numbers, `cited` are the numbers that the text cites.

    `removed_marks` pointed nowhere. `mended_marks` were set, moved or struck by their passages' words, for toys only.
    `refused` says that nothing was near enough and no model was asked. `prompt` is what the model read.
    """

    question: str
    question_used: str
    text: str
    hits: tuple[Hit, ...] = ()
    citations: tuple[Citation, ...] = ()
    quotes: tuple[Quote, ...] = ()
    removed_marks: int = 0
    mended_marks: int = 0
    refused: bool = False
    nearest: Hit | None = None
    cutoff: float | None = None
    model: str = ""
    prompt: str = ""
    tokens: int | None = None
    seconds: float = 0.0
    first_token_seconds: float | None = None
    end: str = "stop"

    @property
    def cited(self) -> tuple[int, ...]:
        """The numbers that the text cites, ascending."""
        return tuple(sorted({citation.number for citation in self.citations}))


AnswerEvent = Found | Words | Answer


def ask(
    question: str,
    collection: Collection,
    model: Model | Responder,
    history: Sequence[Message] = (),
    context: bool = True,
    how: How | None = None,
    form: str = DEFAULT,
    system: str = "",
    sampling: Sampling = ANSWERING,
    key: str | None = None,
) -> Generator[AnswerEvent]:
    """Found, then Words as they come, then Answer. Closing it stops the model. Raises Problem.

    Without `context` the model is asked the bare question. With it, and with nothing above the cutoff, the answer says
    that the documents do not say, and no model is asked. A model that is no toy also rewrites follow-up questions.
    """
    began = time.perf_counter()
    responder = responder_for(model, key) if isinstance(model, Model) else model
    name = model.name if isinstance(model, Model) else type(model).__name__
    small = isinstance(model, Model) and toy(model)
    how = how or How()
    if not context:
        yield from bare(question, responder, history, system, sampling, name)
        return
    able = None if small else responder
    retrieved = retrieve(collection, question, **vars(how), history=history, responder=able)
    wanted, told = form_named(form), tuple(passage(hit) for hit in retrieved.hits)
    if not told:
        yield Found(retrieved, ())
        yield refused(retrieved, name, time.perf_counter() - began)
        return
    before = (*([Message("system", system)] if system.strip() else []), *(() if small else plain(history)))
    read = fitting(retrieved.question_used, told, wanted, responder, before, sampling, small)
    yield Found(retrieved, read)
    asked = Message("user", wanted.write(retrieved.question_used if small else retrieved.question, read))
    generation, marks = Generation(iter(())), Marks(len(read))
    text = ""
    for words in streamed(generation, marks, responder, (*before, asked), sampling):
        text += words
        yield Words(words)
    text, changed = text.strip(), 0
    if small:
        text, changed = checked(text, retrieved, read, collection)
    yield Answer(
        question=retrieved.question,
        question_used=retrieved.question_used,
        text=text,
        hits=retrieved.hits,
        citations=citations(text, [inert(hit.chunk.text) for hit in retrieved.hits[: len(read)]]),
        quotes=quotes(text, [page_text(collection, hit) for hit in retrieved.hits[: len(read)]]),
        removed_marks=marks.removed,
        mended_marks=changed,
        nearest=retrieved.nearest,
        cutoff=retrieved.cutoff,
        model=name,
        prompt=generation.begin.prompt if generation.begin else asked.content,
        tokens=generation.tokens or None,
        seconds=time.perf_counter() - began,
        first_token_seconds=generation.first_token_seconds,
        end=generation.reason or "stop",
    )


def checked(text: str, retrieved: Retrieved, read: Sequence[Passage], collection: Collection) -> tuple[str, int]:
    """(a toy's answer with marks that are right, how many were changed); without any, with the best sentence quoted."""
    text, changed = mended(
        text, [inert(hit.chunk.text) for hit in retrieved.hits[: len(read)]], retrieved.question_used
    )
    if re.search(r"\[\d+\]", text):
        return text, changed
    number, sentence = best_sentence(collection, retrieved.question_used, [each.text for each in read])
    return f"{text}\n\n{QUOTING} “{sentence}” [{number}]".strip(), changed + 1


def best_sentence(collection: Collection, question: str, passages: Sequence[str]) -> tuple[int, str]:
    """(number of the passage, the sentence of it that is nearest to the question)."""
    longer = [
        (number, " ".join(sentence.split()))
        for number, text in enumerate(passages, 1)
        for sentence, _ in sentences(text)
        if len(sentence.split()) >= SHORTEST
    ]
    whole = [each for each in longer if WHOLE.search(each[1])]  # no heading
    found = whole or longer or [(1, " ".join(passages[0].split()))]
    cosines = collection.model.embed_passages([sentence for _, sentence in found]) @ collection.vector_of(question)
    return found[int(cosines.argmax())]


def bare(
    question: str, responder: Responder, history: Sequence[Message], system: str, sampling: Sampling, name: str
) -> Iterator[AnswerEvent]:
    """The answer without any documents, its words as they are."""
    before = (*([Message("system", system)] if system.strip() else []), *plain(history))
    generation, text = Generation(responder.reply((*before, Message("user", question.strip())), sampling)), ""
    for piece in generation:
        text += piece.text
        yield Words(piece.text)
    prompt = generation.begin.prompt if generation.begin else question
    yield Answer(
        question, question, text.strip(), model=name, prompt=prompt, tokens=generation.tokens or None,
        seconds=generation.seconds, first_token_seconds=generation.first_token_seconds, end=generation.reason or "stop",
    )  # fmt: skip


def streamed(
    generation: Generation, marks: Marks, responder: Responder, messages: Sequence[Message], sampling: Sampling
) -> Iterator[str]:
    """The words of a reply, cleaned of marks that point nowhere; what there is to know of it is in `generation`."""
    with closing(responder.reply(messages, sampling)) as events:
        generation.events = events
        for piece in generation:
            if shown := marks.feed(piece.text):
                yield shown
    if rest := marks.finish():
        yield rest


def fitting(
    question: str,
    passages: Sequence[Passage],
    form: Form,
    responder: Responder,
    before: Sequence[Message],
    sampling: Sampling,
    small: bool,
) -> tuple[Passage, ...]:
    """The passages as short as the model needs them to read the prompt whole."""
    fits = getattr(responder, "fits", None)

    def whole(text: str) -> bool:
        return bool(fits and fits((*before, Message("user", text)), sampling))

    return shortened(question, passages, form, whole if fits else None, TOY_CHARACTERS if small else None)


def refused(retrieved: Retrieved, model: str, seconds: float) -> Answer:
    """The answer where nothing is near enough: it names what came nearest."""
    nearest = retrieved.nearest
    text = refusal(passage(nearest) if nearest else None)
    return Answer(
        retrieved.question, retrieved.question_used, text, refused=True, nearest=nearest, cutoff=retrieved.cutoff,
        model=model, seconds=seconds,
    )  # fmt: skip


def plain(history: Sequence[Message]) -> list[Message]:
    """The last turns of a talk, as words."""
    return [message for message in history if message.role in ("user", "assistant") and message.content][-REMEMBERED:]


def page_text(collection: Collection, hit: Hit) -> str:
    """The cleaned text of the pages that a hit stands on."""
    chunk = hit.chunk
    pages = (collection.store.page(chunk.file_id, index) for index in range(chunk.page, chunk.last_page + 1))
    return " ".join([*(page.text for page in pages if page), chunk.text])


def answered(events: Iterator[AnswerEvent]) -> Answer:
    """The answer at the end of `ask`, for callers that need no streaming."""
    *_, last = events
    if not isinstance(last, Answer):
        raise TypeError("ask ended without an answer")
    return last
