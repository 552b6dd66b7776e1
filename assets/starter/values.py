"""Values that tools take and give back, as a user writes them and as JSON holds them."""

from collections.abc import Callable
from random import Random

import names
import passages
import prose
import topics

NUMERIC = {"small": "integer", "number": "number", "switch": "boolean", "yesno": "boolean"}
MAKES: dict[str, Callable[[Random], str]] = {
    "small": lambda r: str(r.randint(2, 99)),
    "number": lambda r: r.choice((str(r.randint(2, 2000)), f"{r.randint(1, 99)}.{r.randint(1, 99)}")),
    "switch": lambda r: r.choice(("on", "off")),
    "yesno": lambda r: r.choice(("yes", "no")),
    "unit": lambda r: names.common(r, "units"),
    "money": lambda r: names.common(r, "money"),
    "language": lambda r: names.common(r, "languages"),
    "roomname": lambda r: names.common(r, "rooms"),
    "reason": lambda r: names.common(r, "reasons"),
    "task": lambda r: prose.fill(r, r.choice(names.PHRASES["tasks"])),
    "symbol": lambda r: "".join(r.choice("ABCDEFGHIKLMNOPRSTUVWXYZ") for _ in range(r.randint(2, 4))),
    "query": lambda r: r.choice(
        (
            lambda: topics.pick(r)[0],
            lambda: names.product(r),
            lambda: names.person(r),
            lambda: names.capital(r),
            lambda: f"{names.common(r, 'adjectives')} {names.common(r, 'things')}s",
        )
    )(),
    "sum": lambda r: r.choice(
        (
            lambda: f"{r.randint(2, 999)} {r.choice('+-*/')} {r.randint(2, 99)}",
            lambda: f"{r.randint(2, 99)}{r.choice('+-*/')}{r.randint(2, 99)}",
            lambda: f"({r.randint(2, 99)} {r.choice('+-')} {r.randint(2, 99)}) {r.choice('*/')} {r.randint(2, 30)}",
            lambda: f"{r.randint(1, 99)}.{r.randint(1, 9)} {r.choice('+-*/')} {r.randint(2, 99)}",
        )
    )(),
    "moment": lambda r: f"{names.hour(r)} on {names.date(r)}",
    "km": lambda r: f"{r.randint(2, 9000)} km",
    "weather": lambda r: f"{names.common(r, 'adjectives')} and {r.randint(-20, 40)} degrees",
    "done": lambda r: r.choice(("ok", "done", "true")),
    "status": lambda r: r.choice(
        ("on its way", "delivered", "not sent yet", "in " + names.place(r), "lost", "being packed")
    ),
    "sentence": lambda r: r.choice((lambda: r.choice(topics.pick(r)[1]), lambda: prose.filler(r)))(),
}
GENERIC = (
    ("name", "person"),
    ("city", "place"),
    ("id", "code"),
    ("count", "small"),
    ("date", "date"),
    ("size", "small"),
    ("color", "colour"),
    ("user", "person"),
    ("topic", "query"),
    ("country", "place"),
    ("code", "code"),
    ("value", "number"),
    ("label", "capital"),
    ("owner", "person"),
    ("speed", "enum:low|medium|high"),
    ("animal", "animal"),
    ("item", "product"),
    ("time", "hour"),
    ("recipient", "email"),
    ("level", "small"),
    ("address", "link"),
    ("key", "invented"),
    ("silent", "yesno"),
    ("location", "place"),
    ("hours", "small"),
    ("minutes", "small"),
    ("days", "small"),
    ("pieces", "small"),
    ("number", "small"),
    ("weight", "number"),
    ("town", "place"),
    ("port", "place"),
    ("customer", "person"),
    ("title", "capital"),
    ("street", "capital"),
    ("first", "invented"),
    ("second", "invented"),
    ("old_value", "invented"),
    ("new_value", "invented"),
)


def value(rng: Random, kind: str) -> str:
    """Return a value of any kind that tools.toml or facts.toml names, as a user would write it."""
    if kind.startswith("enum:"):
        return rng.choice(kind[5:].split("|"))
    return MAKES[kind](rng) if kind in MAKES else passages.value(rng, kind)


def typed(kind: str, text: str) -> str | int | float | bool:
    """Return a value as its JSON type."""
    kind = NUMERIC.get(kind, "string")
    if kind == "boolean":
        return text in ("on", "yes")
    return {"integer": int, "number": lambda t: float(t) if "." in t else int(t)}.get(kind, str)(text)
