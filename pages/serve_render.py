"""The Serve tab's HTML; every name and text from a person is escaped here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape

from engine.serve import Service
from engine.serving.keys import Key

MOST_NAMES = 24


def about(url: str, names: Sequence[str]) -> str:
    """The address and what may stand as `model`."""
    shown = " ".join(f"<code>{escape(name)}</code>" for name in names[:MOST_NAMES])
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return (
        f'<dl class="serve-about"><dt>Address</dt><dd><code id="serve-address">{escape(url)}</code></dd>'
        f"<dt>Models</dt><dd>{shown}{more}</dd></dl>"
    )


def needed(key_needed: bool) -> str:
    """Whether programs must send a key."""
    if key_needed:
        return '<p class="hint">Others can reach this server, so every program needs a key.</p>'
    return '<p class="hint">Only this machine reaches the server, so no key is needed; one with limits can be used.</p>'


def key_table(found: Sequence[Key]) -> str:
    """The keys, newest first; revoked ones stay in sight."""
    if not found:
        return '<p class="quiet">No keys yet.</p>'
    rows = "".join(
        f'<tr data-state="{"revoked" if key.revoked else "good"}"><th scope="row">{escape(key.name)}</th>'
        f"<td>{time.strftime('%d %b %Y', time.localtime(key.created))}</td>"
        f"<td>{key.at_once:,} at once, {key.per_minute:,} a minute{', /metrics' if key.owner else ''}</td>"
        f"<td>{'revoked' if key.revoked else 'good'}</td></tr>"
        for key in reversed(found)
    )
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("Key", "Made", "Limits", "State"))
    return f'<div class="scroll"><table class="keys"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def figures(service: Service) -> str:
    """Figures since the start; times are of the newest 500 values, of streams alone."""
    gate, found = service.gate, service.metrics
    answered = sum(count for (_, status), count in found.requests.items() if status == 200)
    refused = {name: sum(n for (_, s), n in found.requests.items() if s == status) for name, status in REFUSED.items()}
    cells = (
        ("Replies running", f"{gate.running:,} of {gate.at_once:,}"),
        ("Waiting in line", f"{gate.waiting:,} of {gate.in_line:,}"),
        ("Requests answered", f"{answered:,}"),
        ("Turned away", ", ".join(f"{count:,} {name}" for name, count in refused.items() if count) or "none"),
        ("Tokens read, written", f"{found.tokens['prompt']:,}, {found.tokens['completion']:,}"),
        (
            "First token, p50 and p95",
            f"{ms(found.first_token.percentile(0.5))}, {ms(found.first_token.percentile(0.95))}",
        ),
        ("Between tokens, p50 and p95", f"{ms(found.between.percentile(0.5))}, {ms(found.between.percentile(0.95))}"),
        ("Left or broken off", f"{found.disconnects:,}, {found.broken_streams:,}"),
    )
    return '<dl class="serve-figures">' + "".join(f"<div><dt>{a}</dt><dd>{b}</dd></div>" for a, b in cells) + "</dl>"


REFUSED = {"as too many": 429, "without a good key": 401, "as wrong": 400}


def ms(seconds: float | None) -> str:
    """Milliseconds, or a dash."""
    return "–" if seconds is None else f"{1000 * seconds:,.0f} ms"
