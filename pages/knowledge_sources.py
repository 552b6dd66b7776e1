"""Answers, their sources and cited pages as HTML; every text from a file or a model is escaped here."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import replace
from html import escape

from pages.knowledge_form import MODES
from pages.knowledge_plots import cosine_histogram
from pages.knowledge_render import table, tags
from pages.knowledge_study import EMPTY_SOURCES, Search, Study, Turn
from pages.render import count
from rag.citing import Quote
from rag.render import Picture, spans
from rag.retrieve import Retrieved
from rag.types import Chunk, Hit
from rag.why import Standing, why, wished

MARK = re.compile(r"\[(\d{1,3})\]")
WORD = re.compile(r"\w+")
HEADING = re.compile(r"^#{1,6} +", re.MULTILINE)  # of Markdown, which is no word of the text
FUSED = {"both": "Rank after fusing both", "vector": "Rank of the search", "keyword": "Rank of the search"}
EXCERPT = 420  # characters of a passage in the list of sources


def answer(text: str, cited: Sequence[int], running: bool = False) -> str:
    """An answer with its marks [n] made buttons that open the passage; marks without a passage stay plain text."""
    known = set(cited)

    def button(found: re.Match[str]) -> str:
        number = int(found[1])
        if number not in known:
            return found[0]
        return (
            f'<button type="button" class="cite" data-cite="{number}" title="Open passage {number}">{number}</button>'
        )

    body = MARK.sub(button, escape(text.strip(), quote=False))
    cursor = '<span class="pulse" aria-hidden="true"></span>' if running else ""
    paragraphs = [f"<p>{part}</p>" for part in re.split(r"\n\s*\n", body) if part.strip()]
    if running:
        return "".join(
            [*paragraphs[:-1], f"<p>{cursor}</p>" if not paragraphs else paragraphs[-1][:-4] + cursor + "</p>"]
        )
    return "".join(paragraphs)


def pane(study: Study) -> str:
    """What stands beside the answer: the page that is open, the hits, and how near they are."""
    (number, opened), search = study.opened, study.search
    if search is None:
        running = study.board is not None and study.board.running
        return '<p class="quiet">Looking into the documents…</p>' if running else EMPTY_SOURCES
    found = search.retrieved
    if not found.hits:
        return opened + nothing_near(found) + histogram(found)
    turn = next((turn for turn in study.turns if turn.search is search), Turn(""))
    return opened + sources(found.hits, turn.cited, number, turn.read, found) + histogram(found)


def nothing_near(found: Retrieved) -> str:
    """Where nothing reaches the cutoff: what came nearest."""
    if found.nearest is None:
        return '<p class="quiet">There is nothing in this collection yet.</p>'
    text = f"Nothing reaches the cutoff of {found.cutoff:.2f}; the model was not asked. Nearest were:"
    near = [replace(hit, rank=rank) for rank, hit in enumerate(nearest_of(found), 1)]
    return f'<p class="note">{text}</p><div class="below">{sources(near)}</div>'


def nearest_of(found: Retrieved) -> tuple[Hit, ...]:
    """The three hits that came nearest to the cutoff without reaching it."""
    return (found.below or ((found.nearest,) if found.nearest else ()))[:3]


def histogram(found: Retrieved) -> str:
    """How near the passages are to the question, its hits and the cutoff."""
    shown = found.distribution
    drawn = cosine_histogram(shown.edges, shown.question, shown.background, shown.hits, found.cutoff)
    return f'<div class="histograms">{drawn}</div>'


def sources(
    hits: Sequence[Hit],
    cited: Sequence[int] = (),
    opened: int | None = None,
    read: Sequence[str] = (),
    found: Retrieved | None = None,
) -> str:
    """The hits as a list in the order of their numbers: where from, how near, why, and the passage's beginning.

    `read` are the passages as the model read them, in the same order; a toy reads only a part of each. `found` is the
    search that gave the hits.
    """
    if not hits:
        return ""
    rows = (source(hit, cited, opened, read[at] if at < len(read) else "", found) for at, hit in enumerate(hits))
    return f'<ol class="sources">{"".join(rows)}</ol>'


def source(hit: Hit, cited: Sequence[int], opened: int | None, read: str = "", found: Retrieved | None = None) -> str:
    """One hit."""
    chunk, mark = hit.chunk, ' data-cited="yes"' if hit.rank in cited else ""
    current = ' aria-current="true"' if hit.rank == opened else ""
    also = "".join(f"<li>{escape(each.file)}, {escape(each.pages)}</li>" for each in hit.also)
    same = f'<ul class="also" aria-label="The same text also stands in">{also}</ul>' if also else ""
    part = ""
    if read and " ".join(read.split()) != " ".join(chunk.text.split()):
        part = f'<dt>What the model read of it</dt><dd class="read">{escape(read)}</dd>'
    return (
        f'<li{mark}{current}><button type="button" class="open-source" data-cite="{hit.rank}">{where(hit)}'
        f'</button><p class="excerpt">{matched(excerpt(chunk.text), hit.matched)}</p>{same}'
        f'<details class="why"><summary>Why this passage</summary>{reasons(hit, part, found)}</details></li>'
    )


def brief(hit: Hit, cited: Sequence[int], read: str = "") -> str:
    """One hit in a line that opens: inside is the passage, or what of it the model read. It needs no server."""
    mark = ' data-cited="yes"' if hit.rank in cited else ""
    text = matched(HEADING.sub("", read or hit.chunk.text), hit.matched)
    fold = f'<summary class="open-source">{where(hit)}</summary><p class="excerpt">{text}</p>'
    return f"<li{mark}><details>{fold}</details></li>"


def about_marks(doubtful: Sequence[int] = (), mended: int = 0, removed: int = 0) -> list[str]:
    """What a careful reader should know of the marks in an answer, in sentences."""
    said = []
    if doubtful:
        which = ", ".join(map(str, doubtful))
        said.append(f"Passage {which} shares few words with what it is cited for: look for yourself.")
    if mended:
        were = "was" if mended == 1 else "were"
        said.append(f"{count(mended, 'mark')} {were} set or struck by where the words stand: the model is a toy.")
    if removed:
        were = "was" if removed == 1 else "were"
        said.append(f"{count(removed, 'mark')} that pointed to no passage {were} taken out.")
    return said


def about_quotes(found: Sequence[Quote]) -> list[str]:
    """What a careful reader should know of the quotations in an answer, in sentences."""
    return [f"No cited page holds this quotation: “{each.text}”" for each in found if not each.numbers]


def where(hit: Hit) -> str:
    """A hit's number, its file and page with their tags, and how near it is."""
    chunk = hit.chunk
    return (
        f'<span class="number">{hit.rank}</span><span class="where"><strong>{escape(chunk.file)}</strong>, '
        f'{escape(chunk.pages)} {tags(chunk.tags)}</span><span class="score" title="cosine">{hit.cosine:.3f}</span>'
    )


def reasons(hit: Hit, part: str = "", found: Retrieved | None = None) -> str:
    """Each part of a hit's rank; `part` is what of it the model read, `found` the search that gave it."""
    told = why(found, hit) if found else None
    facts = [("Cosine to the question", f"{hit.cosine:.3f}")]
    facts.append(("Rank by meaning", str(hit.vector_rank) if hit.vector_rank else "not among them"))
    words = ", ".join(hit.matched)
    facts.append(("Rank by words", str(hit.keyword_rank) if hit.keyword_rank else "not among them"))
    if words:
        facts.append(("Words in common", words))
    if abs(hit.score - hit.cosine) > 1e-9:
        facts.append(("Score after fusing both ranks", f"{hit.score:.4f}"))
    if found and told and told.fused_rank:
        facts.append((FUSED[found.mode], str(told.fused_rank)))
    if hit.rerank is not None:
        facts.append(("Score of the cross-encoder", f"{hit.rerank:.3f}"))
        if told and told.rerank_change is not None:
            facts.append(("Change by reranking", moved(told.rerank_change)))
    facts.append(("Place in the end", str(hit.rank)))
    rows = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    return f"<dl>{rows}{f'<div>{part}</div>' if part else ''}</dl>"


def moved(places: int) -> str:
    """How far a hit went up (above 0) or down, in words."""
    return f"{count(abs(places), 'place')} {'up' if places > 0 else 'down'}" if places else "nothing"


def absent(found: Standing, search: Search) -> str:
    """Where a page stands for the question that was searched for, and the passages that stand before it."""
    words = f"rank {found.keyword_rank:,} by words" if found.keyword_rank else "none of the question's words"
    below = " Its cosine lies below the cutoff." if found.below_cutoff else ""
    line = (
        f"{escape(searched(search))} the best passage of "
        f"{escape(found.chunk.file)}, {escape(found.chunk.pages)} is number {found.rank:,} of "
        f"{found.of:,}: cosine {found.cosine:.3f}, rank {found.vector_rank:,} by meaning, {words}.{below}"
    )
    rows = [
        f'<tr><td>{at}</td><th scope="row">{escape(chunk.file)}</th><td>{escape(chunk.pages)}</td>'
        f"<td>{cosine:.3f}</td></tr>"
        for at, (chunk, cosine) in enumerate(found.beaten_by, 1)
    ]
    before = table(("Rank", "Stands before it", "Page", "Cosine"), rows, "beaten") if rows else ""
    return f'<p class="plan-line">{line}</p>{before}'


def searched(search: Search) -> str:
    """A search as the beginning of a sentence: its question, its filter, and whether it was reranked."""
    only = wished(search.how.where)
    among = f" among passages tagged {only}" if only else ""
    order = ", reranked" if search.how.rerank else ""
    return f"For “{search.question}”, searched by {MODES[search.how.mode].lower()}{among}{order},"


def excerpt(text: str) -> str:
    """The beginning of a passage."""
    line = " ".join(HEADING.sub("", text).split())
    return line if len(line) <= EXCERPT else f"{line[:EXCERPT].rsplit(' ', 1)[0]}…"


def matched(text: str, words: Sequence[str]) -> str:
    """A text with the words that it shares with the question marked."""
    wanted = {word.casefold() for word in words}
    parts, at = [], 0
    for found in WORD.finditer(text):
        if found[0].casefold() in wanted:
            parts += [escape(text[at : found.start()]), f"<b>{escape(found[0])}</b>"]
            at = found.end()
    return "".join([*parts, escape(text[at:])])


def passage_view(
    chunk: Chunk, page_text: str, picture: Picture | None, note: str = "", number: int | None = None
) -> str:
    """A cited page: drawn with the passage marked where it is a PDF, else its text with the passage marked."""
    head = f"{number}. " if number else ""
    title = f"<summary>{head}{escape(chunk.file)}, {escape(chunk.pages)}</summary>"
    told = f'<p class="hint">{escape(note)}</p>' if note else ""
    marked = marked_text(page_text or chunk.text, chunk.text)
    if picture is None:
        return f'<details class="passage" open>{title}{told}<div class="page-text">{marked}</div></details>'
    seen = "" if picture.boxes else '<p class="hint">The passage could not be found again on the drawn page.</p>'
    words = escape(f"Page {chunk.page_label} of {chunk.file}, the passage marked in yellow")
    size = f'width="{picture.width}" height="{picture.height}" data-boxes="{len(picture.boxes)}"'
    return (
        f'<details class="passage" open>{title}{told}{seen}<img class="page-picture" alt="{words}" {size} '
        f'src="data:image/png;base64,{base64.b64encode(picture.png).decode()}">'
        f'<details><summary>The page as text</summary><div class="page-text">{marked}</div></details></details>'
    )


def marked_text(page: str, passage: str) -> str:
    """A page's text with the passage in <mark>, wherever pieces of it stand."""
    parts, at = [], 0
    for start, end in spans(page, passage):
        parts += [escape(page[at:start]), f"<mark>{escape(page[start:end])}</mark>"]
        at = end
    return "".join([*parts, escape(page[at:])])
