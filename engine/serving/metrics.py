"""Counts of the server in Prometheus' text form; written in the event loop's thread alone."""

from __future__ import annotations

import bisect
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from engine.messages import Usage

TIMES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds; upper bounds
KEPT = 500  # newest values, for the percentiles that the page shows


@dataclass
class Histogram:
    """Seconds by upper bound, and the newest ones themselves."""

    about: str
    counts: list[int] = field(default_factory=lambda: [0] * (len(TIMES) + 1))
    sum: float = 0.0
    newest: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    def add(self, seconds: float, count: int = 1) -> None:
        """Take `count` values of so many seconds each."""
        self.counts[bisect.bisect_left(TIMES, seconds)] += count
        self.sum += seconds * count
        self.newest.append(seconds)

    def percentile(self, share: float) -> float | None:
        """That percentile of the newest values; None where there are none."""
        ordered = sorted(self.newest)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None

    def lines(self, name: str) -> Iterator[str]:
        """The histogram as Prometheus reads it."""
        yield f"# HELP {name} {self.about}"
        yield f"# TYPE {name} histogram"
        so_far = 0
        for bound, count in zip((*map(str, TIMES), "+Inf"), self.counts, strict=True):
            so_far += count
            yield f'{name}_bucket{{le="{bound}"}} {so_far}'
        yield f"{name}_sum {self.sum:.6f}"
        yield f"{name}_count {so_far}"


@dataclass
class Metrics:
    """What this server did since it started."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)  # by path and status
    tokens: Counter[str] = field(default_factory=Counter)  # "prompt" and "completion"
    broken_streams: int = 0
    disconnects: int = 0
    first_token: Histogram = field(
        default_factory=lambda: Histogram("Seconds from a request to the first token of its stream.")
    )
    between: Histogram = field(default_factory=lambda: Histogram("Seconds between two tokens of a stream."))

    def heard(self, now: float, arrived: float, last: float | None, tokens: int) -> None:
        """Take tokens of one reply that came together; `last` is when others of it came before."""
        if last is None:
            self.first_token.add(now - arrived)
        elif tokens:
            self.between.add((now - last) / tokens, tokens)

    def counted(self, usage: Usage) -> None:
        """Take the token counts of a reply that is over."""
        self.tokens["prompt"] += usage.prompt_tokens or 0
        self.tokens["completion"] += usage.completion_tokens or 0

    def text(self, running: int, waiting: int) -> str:
        """Everything, in Prometheus' text form 0.0.4."""
        return "\n".join(self.lines(running, waiting)) + "\n"

    def lines(self, running: int, waiting: int) -> Iterator[str]:
        """The lines of `text`."""
        yield "# HELP diptych_requests_total Requests by path and status."
        yield "# TYPE diptych_requests_total counter"
        for (path, status), count in sorted(self.requests.items()):
            yield f'diptych_requests_total{{path="{path}",status="{status}"}} {count}'
        yield "# HELP diptych_tokens_total Tokens read and written."
        yield "# TYPE diptych_tokens_total counter"
        for kind in ("prompt", "completion"):
            yield f'diptych_tokens_total{{kind="{kind}"}} {self.tokens[kind]}'
        plain = (
            ("diptych_broken_streams_total", "counter", "Streams that ended with an error.", self.broken_streams),
            ("diptych_disconnects_total", "counter", "Clients that left before the end.", self.disconnects),
            ("diptych_replies_running", "gauge", "Replies being decoded.", running),
            ("diptych_replies_waiting", "gauge", "Replies in line.", waiting),
        )
        for name, kind, about, value in plain:
            yield f"# HELP {name} {about}\n# TYPE {name} {kind}\n{name} {value}"
        yield from self.first_token.lines("diptych_first_token_seconds")
        yield from self.between.lines("diptych_between_tokens_seconds")
