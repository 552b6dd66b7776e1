"""The Brochure region: an address, or the sample company's, in; links, pages and a Markdown brochure out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
from gradio.components import Component

from engine.acting.steps import Words
from engine.brochure import SAMPLING, BrochureEvent, Chosen, Found, Read, Unread, Written, brochure
from engine.errors import UNEXPECTED, Problem
from pages.asking import may_read_pages, require_pages, respond, sampling
from pages.errand import Errand
from pages.form import resolve
from pages.launch import Launch
from pages.parts import asks, visitor
from pages.talk import Talk

ABOUT = (
    '<p class="hint">The model of this tab picks the links that matter on a company\'s front page, as structured '
    "output; their pages are read, and it writes a brochure from them. The sample company is invented and ships with "
    "the app, so this works without a network.{visitors}</p>"
)
NO_PAGES = " Other addresses are for the owner of this page."
EMPTY = '<p class="quiet">The steps will stand here.</p>'
ENDINGS = {
    "stopped": "Stopped by you.",
    "time": "It took longer than five minutes and was ended.",
    "length": "The brochure reached its token limit.",
    "content_filter": "The server's content filter cut the brochure off.",
}


@dataclass(frozen=True)
class Region:
    """The region's widgets."""

    address: gr.Textbox
    write: gr.Button
    stop: gr.Button
    steps: gr.HTML
    sheet: gr.Markdown
    save: gr.Button
    file: gr.Textbox

    def wire(self, talk: gr.State, values: Sequence[Component]) -> None:
        """Make the buttons work; `values` are those of assistant.Setup."""
        errand = gr.State(Errand())
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        outputs = [self.steps, self.sheet, self.save, self.file]
        inputs = [talk, errand, self.address, *values]
        gr.on([self.write.click, self.address.submit], make, inputs, outputs, concurrency_limit=32, **quiet)
        self.stop.click(stop, [errand], None, queue=False, **quiet)
        self.save.click(None, [self.file], None, js="(file) => { window.diptych.save(file); return []; }")


def region(launch: Launch) -> Region:
    """Lay the region out."""
    free = may_read_pages(launch.visitor("somebody"))
    gr.HTML(ABOUT.format(visitors="" if free else NO_PAGES))
    with gr.Row(elem_id="brochure-row"):
        address = gr.Textbox(
            label="Address of a company's web site", lines=1, max_lines=1, scale=1, interactive=free,
            placeholder="Empty: the sample company", max_length=2000, elem_id="brochure-address",
        )  # fmt: skip
        write = gr.Button("Write brochure", variant="primary", scale=0, min_width=140, elem_id="brochure-write")
        halt = gr.Button("Stop", variant="secondary", scale=0, min_width=70, elem_id="brochure-stop")
    steps = gr.HTML(EMPTY, elem_id="brochure-steps")
    sheet = gr.Markdown(elem_id="brochure-sheet", latex_delimiters=[], buttons=["copy"])
    save = gr.Button("Save as Markdown", size="sm", variant="secondary", visible=False, elem_id="brochure-save")
    file = gr.Textbox(visible="hidden", label="The brochure as a file")
    return Region(address, write, halt, steps, sheet, save, file)


@asks("chat")
def make(request: gr.Request, talk: Talk, errand: Errand, address: str, *values: Any) -> Iterator[list[Any]]:
    """Write a brochure, and show every step."""
    who, url = visitor(request), (address or "").strip()
    if url:
        require_pages(who)
        url = url if "://" in url else f"https://{url}"
    model, key = resolve(values[0], "the assistant", talk.desk, who)
    chosen = sampling(*values[-2:])
    drawn = replace(SAMPLING, temperature=chosen.temperature, max_tokens=max(chosen.max_tokens, SAMPLING.max_tokens))
    responder = respond(model, key, False)
    events: Sequence[BrochureEvent] = ()
    try:
        for events in errand.events(lambda stop: brochure(responder, url, drawn, stop)):
            yield shown(events, model.name)
    except Exception as error:
        yield shown(events, model.name, str(error) if isinstance(error, Problem) else UNEXPECTED)
        raise


@asks("stop own")
def stop(request: gr.Request, errand: Errand) -> None:
    """End the work in progress."""
    errand.stop()


def shown(events: Sequence[BrochureEvent], model: str, failed: str = "") -> list[Any]:
    """(steps as HTML, the brochure, its button, its file) of what has come so far, and why nothing more will."""
    lines = [line for event in events for line in told(event)]
    last = events[-1] if events else None
    written = last if isinstance(last, Written) else None
    text = written.markdown if written else "".join(event.text for event in events if isinstance(event, Words))
    if failed:
        lines.append(f'<li class="wrong">{escape(failed)}</li>')
    elif written is None:
        doing = "writing" if text else "reading" if any(isinstance(event, Chosen) for event in events) else "choosing"
        lines.append(f'<li class="live"><span class="pulse" aria-hidden="true"></span>{escape(model)} is {doing}…</li>')
        if not any(isinstance(event, Found) for event in events):
            lines[-1] = '<li class="live"><span class="pulse" aria-hidden="true"></span>reading the front page…</li>'
    file = json.dumps({"name": "brochure.md", "type": "text/markdown", "text": text}, ensure_ascii=False)
    finished = written is not None and bool(text)
    return [f'<ol class="steps">{"".join(lines)}</ol>', text, gr.update(visible=finished), file if finished else ""]


def told(event: BrochureEvent) -> list[str]:
    """An event as lines of the list."""
    match event:
        case Read():
            place = urlsplit(event.url)
            where = escape(place.path if place.hostname == "127.0.0.1" else f"{place.netloc}{place.path}")
            size = f"{event.characters:,} characters"
            return [f"<li>Read <strong>{escape(event.title)}</strong> <code>{where}</code>, {size}</li>"]
        case Unread():
            return [f'<li class="wrong">Not read: {escape(event.why)}</li>']
        case Found(links=links):
            words = ", ".join(escape(link.words or link.url) for link in links[:12])
            return [f"<li>Found {len(links)} links{f': {words}' if links else ''}{'…' if len(links) > 12 else ''}</li>"]
        case Chosen():
            return [chosen_line(event)]
        case Written():
            return written_lines(event)
    return []


def chosen_line(event: Chosen) -> str:
    """Who chose the links, and which."""
    names = ", ".join(escape(link.words or link.url) for link in event.links) or "none"
    if event.by_rule is None:
        after = f" after {len(event.tries)} tries" if len(event.tries) > 1 else ""
        return f"<li>The model chose{after}: {names}</li>"
    return (
        f'<li class="rule">A plain rule chose: {names}. <span class="why">The model\'s own choice could not be used: '
        f"{escape(event.by_rule)}</span></li>"
    )


def written_lines(event: Written) -> list[str]:
    """How the writing ended."""
    lines = []
    if event.by_rule:
        lines.append(
            '<li class="rule">The model wrote next to nothing, so the brochure is put together from the pages by a '
            "plain rule. A larger model writes its own.</li>"
        )
    if told := event.problem or ENDINGS.get(event.reason):
        lines.append(f'<li class="wrong">{escape(told)}</li>')
    read, wrote = event.usage.prompt_tokens, event.usage.completion_tokens
    if wrote is not None:
        lines.append(f'<li class="counts">{read or 0:,} tokens read, {wrote:,} written</li>')
    return lines
