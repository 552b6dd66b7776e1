"""The Data tab's words and pictures as HTML; every piece of text from a file is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from engine.data.survey import Survey, shown_tokens
from engine.data.tokens import LOSSES, Tokens
from engine.data.vocabulary import tokenizer_of
from engine.datasets import Dataset, Example
from pages.bench import PAGE, Bench
from pages.histogram import histogram
from pages.render import count

CLIPPED = 240  # characters of a cell in the table
MOST_TOKENS = 3000  # tokens that are drawn one by one
EMPTY = """<div class="quiet data-empty"><p>Nothing is loaded yet. Open a sample, or bring examples of your own: 50 to
10,000 of them as jsonl, json, csv, tsv, parquet or txt.</p><p>Columns are recognised by their names: messages;
question and answer; instruction, input and output; prompt and completion; comment and response; text. Any others can
be chosen by hand.</p></div>"""
UNSEEN = '<p class="hint">It cannot be shown like this; the reason stands above.</p>'
WAITING = '<p class="stats live"><span class="pulse" aria-hidden="true"></span>counting tokens…</p>'


def headline(bench: Bench) -> str:
    """The dataset's name, how many rows it has, what its columns were taken for, and what was done to it."""
    if bench.table is None:
        return EMPTY
    found = bench.dataset
    parts = [count(len(found), "row") if found else count(len(bench.table.rows), "row")]
    parts += [", ".join(f"{part}: {column}" for part, column in bench.mapping.items())] if bench.mapping else []
    parts += [f"after preparing: {', '.join(bench.steps)} left out"] if bench.steps else []
    print_ = f' <code title="SHA-256 of the rows">{found.fingerprint[:12]}</code>' if found else ""
    return (
        f'<h3 class="data-name">{escape(bench.table.name)}{print_}</h3><p class="hint">{escape(" · ".join(parts))}</p>'
    )


def complaints(bench: Bench) -> str:
    """Everything that is wrong or worth knowing, at once."""
    if bench.dataset is None:
        return marked([bench.trouble], "wrong", "✗", "To be put right") if bench.trouble else ""
    wrong, known = bench.dataset.problems(), bench.dataset.warnings()
    if bench.survey:
        wrong, known = wrong + bench.survey.problems(), known + bench.survey.warnings()
    wrong += [bench.unseen] if bench.unseen else []
    if not wrong and not known:
        fine = '<p class="fine"><span aria-hidden="true">✓</span> Nothing to complain about.</p>'
        return f'<div class="complaints">{fine}</div>' if bench.survey else ""
    lists = marked(wrong, "wrong", "✗", "Before this can be trained on")
    return f'<div class="complaints">{lists}{marked(known, "known", "!", "Good to know")}</div>'


def marked(sentences: Sequence[str], kind: str, mark: str, title: str) -> str:
    """A titled list of sentences; empty without any."""
    items = "".join(f'<li><span aria-hidden="true">{mark}</span> {escape(text)}</li>' for text in sentences)
    return f'<section class="{kind}"><h4>{title}</h4><ul>{items}</ul></section>' if items else ""


def table(bench: Bench) -> str:
    """One page of rows. Each row's number is a button that shows it."""
    if not bench.dataset or not bench.dataset.examples:
        return ""
    first = bench.at // PAGE * PAGE
    body = "".join(
        table_row(bench, place, example)
        for place, example in enumerate(bench.dataset.examples[first : first + PAGE], first)
    )
    last = min(first + PAGE, len(bench.dataset))
    plain = all(example.plain for example in bench.dataset.examples[first:last])
    heads = ("Text",) if plain else ("Prompt", "Response")
    columns = "".join(f'<th scope="col">{head}</th>' for head in ("Row", *heads, "Tokens"))
    return (
        f'<table class="rows"><caption>Rows {first + 1:,} to {last:,} of {len(bench.dataset):,}</caption>'
        f"<thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table>"
    )


def table_row(bench: Bench, place: int, example: Example) -> str:
    """One row of the table."""
    texts = (example.response,) if example.plain else (example.prompt, example.response)
    cells = "".join(f'<td><div class="clip">{escape(clipped(text))}</div></td>' for text in texts)
    length = ""
    if bench.survey:
        tokens = bench.survey.lengths[place]
        over = ' <abbr title="longer than the limit">✂</abbr>' if tokens > bench.survey.limit else ""
        length = f"{tokens:,}{over}"
    current = ' aria-current="true"' if place == bench.at else ""
    button = f'<button type="button" data-place="{place}"{current}>{example.row:,}</button>'
    return (
        f'<tr{current} data-place="{place}"><th scope="row">{button}</th>{cells}<td class="number">{length}</td></tr>'
    )


def clipped(text: str) -> str:
    """The beginning of a long text."""
    return text if len(text) <= CLIPPED else f"{text[:CLIPPED]}…"


def row(bench: Bench) -> str:
    """The row that is shown, as the model will read it: its tokens, and which of them carry loss."""
    if not bench.dataset or not bench.dataset.examples:
        return ""
    number = bench.dataset.examples[bench.at].row
    title = f"<h3>Row {number:,} as the model reads it</h3>"
    tokens = bench.tokens()
    if tokens is None or bench.look is None:
        return title + (UNSEEN if bench.unseen else WAITING)
    tokenizer = tokenizer_of(bench.look.model)
    body = drawn(shown_tokens(tokens, tokenizer))
    return f"{title}{figures(tokens, tokenizer, LOSSES[bench.look.loss])}<p class='tokens'>{body}</p>{LEGEND}"


LEGEND = (
    '<p class="legend"><span class="token loss">underlined</span> carries loss: the model learns to write it. '
    '<span class="token">plain</span> is only read. Shades alternate from token to token.</p>'
)


def figures(tokens: Tokens, tokenizer: Any, loss: str) -> str:
    """How many tokens carry loss, what was cut, and whether the stop token is trained."""
    ending = escape(str(tokenizer.convert_ids_to_tokens(tokens.ids[-1]))) if tokens.ids else ""
    lines = [f"{tokens.trained:,} of {count(len(tokens.ids), 'token')} carry loss ({loss})"]
    if tokens.stops:
        lines.append(f'<span class="fine">✓ the stop token <code>{ending}</code> is trained</span>')
    else:
        lines.append('<span class="differs">≠ no stop token is trained here</span>')
    if tokens.cut:
        lines.append(f'<span class="differs">✂ {count(tokens.cut, "token")} cut off</span>')
    if not tokens.trained:
        lines.append('<span class="differs">≠ nothing is learned from this row</span>')
    return f'<p class="stats">{" · ".join(lines)}</p>'


def drawn(tokens: Sequence[tuple[str, bool]]) -> str:
    """Each token as a span; line breaks are marked and kept."""
    more = len(tokens) - MOST_TOKENS
    spans = []
    for place, (text, loss) in enumerate(tokens[:MOST_TOKENS]):
        shade = "odd" if place % 2 else "even"
        shown = escape(text).replace("\n", '<span class="break" aria-hidden="true">↵</span>\n')
        spans.append(f'<span class="token {shade}{" loss" if loss else ""}">{shown}</span>')
    return "".join(spans) + (f" … and {count(more, 'token')} more" if more > 0 else "")


def statistics(bench: Bench) -> str:
    """Counts and histograms over all rows."""
    if bench.dataset is None:
        return ""
    if bench.survey is None:
        return "" if bench.unseen else WAITING
    if not bench.survey.lengths:
        return ""
    return f'{counts(bench.dataset, bench.survey)}<div class="histograms">{pictures(bench.survey)}</div>'


def counts(dataset: Dataset, found: Survey) -> str:
    """The figures as a list of terms."""
    ordered = sorted(found.lengths)
    side = "start" if found.side == "left" else "end"
    terms = {
        "rows": f"{len(dataset):,}",
        "left out": f"{len(dataset.faults):,}",
        "tokens in all": f"{sum(found.lengths):,}",
        "with loss": f"{sum(found.meant):,}",
        "median length": f"{ordered[len(ordered) // 2]:,}",
        "longest": f"{ordered[-1]:,}",
        f"cut at the {side}": f"{len(found.cut):,}",
        "repeats": f"{len(found.repeated):,}",
        "odd characters": f"{len(found.odd):,}",
        **{f"in {name} script": f"{rows:,}" for name, rows in found.scripts.items()},
    }
    return '<dl class="counts">' + "".join(f"<div><dt>{n}</dt><dd>{v}</dd></div>" for n, v in terms.items()) + "</dl>"


def pictures(found: Survey) -> str:
    """Histograms of whole examples, with the limit drawn in, of their two parts, and of each column."""
    most = max(found.lengths)
    parts = (("Whole example", found.lengths), ("Without loss (prompt)", found.prompts), ("With loss", found.meant))
    others = [(f"Column: {name}", lengths, max(lengths)) for name, lengths in found.columns.items()]
    whole = [histogram(title, lengths, most, found.limit) for title, lengths in parts]
    return "".join(whole) + "".join(histogram(t, lengths, tall, found.limit) for t, lengths, tall in others if tall)


def told(sentence: str) -> str:
    """What a button has done."""
    return f'<p class="hint" role="status">{escape(sentence)}</p>'
