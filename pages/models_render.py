"""The Models tab's words as HTML: what a look found, the owner's models, what is in memory, the catalogue."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

from engine.amounts import amount
from engine.catalog import Card, Model, cards, shipped
from engine.models.download import Progress
from engine.models.footprint import PRECISIONS, shown_needs, sizes
from engine.models.kept import Entry
from engine.models.loaded import Footprint, Held
from engine.models.prices import dollars
from engine.models.report import Report
from pages.words import duration

MARKS = {"good": ("✓", "All well"), "note": ("!", "To know"), "bad": ("✗", "In the way")}
STATES = {
    "waiting": "waiting to begin",
    "downloading": "downloading",
    "checking": "checking what has arrived",
    "stopped": "stopped",
    "failed": "failed",
}
NOTHING_YET = (
    '<p class="quiet">Nothing was looked at yet. A look asks for names, sizes and the heads of files; no weights are '
    "loaded and nobody's code is run.</p>"
)


def report(found: Report | None, room: int) -> str:
    """Every finding as a sentence, and the memory at each precision."""
    if found is None:
        return NOTHING_YET
    items = "".join(finding_line(each.kind, each.text) for each in found.findings)
    verdict = "It can be added." if found.usable else "It cannot be added like this."
    return (
        f'<div class="looked" data-usable="{str(found.usable).lower()}"><p class="verdict" role="status">'
        f"<strong>{escape(found.title)}</strong>: {verdict}</p>"
        f'<ul class="findings">{items}</ul>{bars(found, room)}</div>'
    )


def finding_line(kind: str, text: str) -> str:
    """One finding with its mark."""
    mark, said = MARKS[kind]
    return (
        f'<li class="{kind}"><span class="mark" aria-hidden="true">{mark}</span>'
        f'<span class="visually-hidden">{said}: </span>{escape(text)}</li>'
    )


def bars(found: Report, room: int) -> str:
    """Bytes in memory at each precision as bars, against what models may take here."""
    if not found.needs:
        return ""
    longest = max(*found.needs.values(), 1)
    rows = ""
    for title, size, fits in shown_needs(found.needs, room):
        said = "" if fits else " · does not fit"
        rows += (
            f'<tr data-fits="{str(fits).lower()}"><th scope="row">{title}</th><td><span class="bar" '
            f'style="--share:{100 * size / longest:.1f}%"></span></td><td>{amount(size)}{said}</td></tr>'
        )
    return (
        f'<table class="needs"><caption>Its weights in memory; models may take {amount(room)} here</caption>'
        f"<tbody>{rows}</tbody></table>"
    )


def shelf(entries: Sequence[Entry], going: dict[str, Progress], mine: bool) -> str:
    """The kept models, each with its state; `mine` says whether folders may be named."""
    if not entries:
        return '<p class="quiet">No models added yet. Look at one, or choose one from the catalogue.</p>'
    return f'<ul class="shelf">{"".join(kept(each, going.get(each.store), mine) for each in entries)}</ul>'


def kept(entry: Entry, going: Progress | None, mine: bool) -> str:
    """One kept model."""
    state = going.state if going else "done" if entry.ready else "gone"
    source = entry.source if mine or entry.place == "hub" else "a folder"
    at = f" at {escape(entry.revision or '')} ({entry.commit[:8]})" if entry.revision else ""
    at = at or (f" ({entry.commit[:8]})" if entry.commit else "")
    facts, precision = entry.facts, "fp32" if entry.kind == "reranker" else entry.precision
    parts = [
        use(entry, mine),
        f"{amount(entry.needs[precision])} in memory" if precision in entry.needs else "",
        f"{amount(entry.size)} on disk" + ("" if entry.store else ", in your own folder"),
        f"{int(facts['context']):,} tokens of context" if facts.get("context") else "",
        escape(str(facts.get("licence") or "")),
    ]
    return (
        f'<li data-state="{state}"><div class="kept-name">{escape(entry.name)}'
        f'<span class="kind">{entry.kind}</span></div><div class="quiet">{escape(source)}{at}</div>'
        f'<div class="quiet">{" · ".join(part for part in parts if part)}</div>{moving(going, entry)}</li>'
    )


def use(entry: Entry, mine: bool) -> str:
    """What a kept model is for, or the precision that it is loaded in."""
    if entry.kind == "adapter":
        return f"adapter on {escape(Path(entry.base).name if entry.place == 'folder' or mine else 'its base')}"
    if entry.kind == "reranker":
        return "reranks passages in Knowledge"
    return PRECISIONS.get(entry.precision, entry.precision)


def moving(going: Progress | None, entry: Entry) -> str:
    """A download's bar and words; nothing for what is here."""
    if going is None or going.state == "done":
        return "" if entry.ready else '<div class="reason">Its files are gone. Delete it, or bring them back.</div>'
    words = [STATES[going.state], f"{amount(going.done)} of {amount(going.total)}"]
    if going.state == "downloading" and going.speed:
        words.append(f"{amount(max(0, going.speed))}/s")
    if going.seconds_left is not None:
        words.append(f"about {duration(going.seconds_left)} left")
    reason = f'<div class="reason">{escape(going.reason)}</div>' if going.reason else ""
    share = f"{100 * going.share:.0f}"
    return (
        f'<progress value="{share}" max="100" aria-label="Download of {escape(entry.name)}">{share} %</progress>'
        f'<div class="quiet going">{" · ".join(words)}</div>{reason}'
    )


def room_line(entries: Sequence[Entry], free: int) -> str:
    """What the downloads take on the disk, each counted once, and what is free."""
    taken = sum({each.store: each.size for each in entries if each.store}.values())
    return f'<p class="hint">Downloads take {amount(taken)} of disk; {amount(free)} are free.</p>'


def memory(held: Sequence[Held], room: int) -> str:
    """What is loaded now."""
    if not held:
        return '<p class="quiet">No model is in memory. One is loaded when it is first asked, or with Load.</p>'
    rows = "".join(
        f'<tr><th scope="row">{escape(", ".join(each.names) or each.title)}</th><td>{PRECISIONS[each.key[2]]}</td>'
        f"<td>{amount(each.bytes)}</td><td>{'answering' if each.busy else 'idle'}</td></tr>"
        for each in held
    )
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("Models on it", "Precision", "Weights", "State"))
    taken = sum(each.bytes for each in held)
    return f'{table(rows, heads)}<p class="hint">{amount(taken)} of the {amount(room)} that models may take.</p>'


def footprint(found: Footprint) -> str:
    """How a load went: reckoned before, held after, and how the process grew."""
    reckoned = f"{amount(found.reckoned)} reckoned before, " if found.reckoned else ""
    grown = ""
    if found.process_before is not None and found.process_after is not None:
        grown = f" The whole process went from {amount(found.process_before)} to {amount(found.process_after)}."
    return (
        f'<p class="note" role="status">{escape(found.name)} is in memory, {PRECISIONS[found.precision]}: {reckoned}'
        f"{amount(found.held)} of weights held now.{grown}</p>"
    )


def told(text: str) -> str:
    """A sentence about what was done."""
    return f'<p class="note" role="status">{escape(text)}</p>'


def catalogue() -> str:
    """What ships, open models by size, and hosted ones."""
    every = cards()
    return (
        f"<h4>Ships with Diptych</h4>{shipped_table()}"
        f"<h4>Open models</h4>{open_table([card for card in every if card.parameters])}"
        f"<h4>Hosted models</h4>{hosted_table([card for card in every if not card.parameters])}"
    )


def shipped_table() -> str:
    """The starter and its adapters."""
    local = [model for model in shipped().values() if not model.endpoint]
    rows = "".join(
        f'<tr><th scope="row">{escape(model.name)}</th><td>{amount(disk_bytes(model))} on disk</td>'
        f"<td>{escape(model.about)}</td></tr>"
        for model in local
    )
    return table(rows)


def disk_bytes(model: Model) -> int:
    """Bytes of a local model's own files."""
    place = model.adapter or Path(model.base)
    return sum(path.stat().st_size for path in place.iterdir() if path.is_file()) if place.is_dir() else 0


def open_table(found: Sequence[Card]) -> str:
    """Open models, the tuned sibling under its base."""
    names = ("Model", "Weights", "Licence", "Context", "Training ends", "fp32", "bf16", "8 bits", "NF4", "")
    heads = "".join(f'<th scope="col">{head}</th>' for head in names)
    rows = ""
    for card in found:
        need = sizes(card.parameters, card.linear, 2)
        cells = [
            f"{card.parameters / 1e6:,.0f} M",
            escape(card.licence) + (" · gated" if card.gated else ""),
            f"{card.context:,}",
            escape(card.cutoff) or "not published",
            *(amount(need[name]) for name in ("fp32", "bf16", "int8", "nf4")),
        ]
        pair = f'<span class="kind">tuned from {escape(card.tuned_from.rpartition("/")[2])}</span>'
        rows += (
            f'<tr><th scope="row" title="{escape(card.about)}">{escape(card.source)} {pair if card.tuned_from else ""}'
            f"</th>{''.join(f'<td>{cell}</td>' for cell in cells)}"
            f'<td><button type="button" data-source="{escape(card.source)}" '
            f'aria-label="Look at {escape(card.source)}">Look</button></td></tr>'
        )
    note = (
        '<p class="hint">Weights in memory, reckoned from each architecture, with what is not quantized in 16 bits; '
        "room to compute in comes on top. Licence, context and cut-off are what the authors published.</p>"
    )
    return table(rows, heads, "runs open-models") + note


def hosted_table(found: Sequence[Card]) -> str:
    """Models behind an endpoint, with prices."""
    names = ("Model", "Context", "Training ends", "1 M tokens in", "1 M tokens out", "Key")
    heads = "".join(f'<th scope="col">{head}</th>' for head in names)
    rows = ""
    for card in found:
        model = shipped().get(card.source)
        key = model.key_name if model else None
        state = "" if not key else f"{key} is set" if os.environ.get(key) else f"{key} is not set"
        prices = [
            dollars(price) if price is not None else "not known" for price in (card.input_price, card.output_price)
        ]
        cells = [f"{card.context:,}", escape(card.cutoff) or "not published", *prices, escape(state)]
        rows += (
            f'<tr><th scope="row" title="{escape(card.about)}">{escape(card.source)}</th>'
            f"{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        )
    note = (
        '<p class="hint">Prices as published in November 2026; Compare shows what each answer cost by them. Any other '
        "endpoint can be used from Compare.</p>"
    )
    return table(rows, heads) + note


def table(rows: str, heads: str = "", kind: str = "runs") -> str:
    """A table that scrolls by itself where it is too wide."""
    head = f"<thead><tr>{heads}</tr></thead>" if heads else ""
    return f'<div class="scroll"><table class="{kind}">{head}<tbody>{rows}</tbody></table></div>'
