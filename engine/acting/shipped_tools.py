"""The tools that come with Diptych, written as any owner's tool would be."""

from __future__ import annotations

import difflib
import functools
import threading
import tomllib
import zoneinfo
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from engine.acting.arithmetic import spelled, work_out
from engine.errors import Problem
from engine.net import page_text
from engine.settings import ASSETS
from engine.tools import Tool

UNKNOWN = "unknown"
NEAR = 0.8  # of 1, by difflib's ratio: a letter missing, doubled, wrong or swapped with its neighbour
# degrees of a scale as Celsius: (value + shift) * factor; Kelvin first subtracts
SCALES = {"celsius": (0.0, 1.0), "fahrenheit": (-32.0, 5 / 9), "kelvin": (-273.15, 1.0)}
SCALE_NAMES = {"c": "celsius", "°c": "celsius", "f": "fahrenheit", "°f": "fahrenheit", "k": "kelvin"}


def get_ticket_price(origin: str, destination: str) -> str:
    """Get the price of a return ticket to a city.

    Args:
        origin: The city of departure
        destination: The city to travel to
    """
    asked = (plain(origin), plain(destination))
    if price := prices().get(frozenset(asked)):
        return price
    meant = tuple(city_like(name) for name in asked)
    price = prices().get(frozenset(meant))
    return f"{' to '.join(name.title() for name in meant)}: {price}" if price else UNKNOWN


def calculator(expression: str) -> str:
    """Work out an arithmetic expression.

    Args:
        expression: The expression, such as 2 * (3 + 4)
    """
    return work_out(expression)


def now(timezone: str | None = None) -> str:
    """Tell the current date and time.

    Args:
        timezone: A city or time zone
    """
    moment = datetime.now(zone(timezone)) if timezone and timezone.strip() else datetime.now().astimezone()
    return moment.strftime("%A, %d %B %Y, %H:%M %Z")


def convert_units(value: float, from_unit: str, to_unit: str) -> str:
    """Convert a value from one unit to another.

    Args:
        value: The value to convert
        from_unit: The unit of the value
        to_unit: The unit wanted
    """
    given, wanted = plain(from_unit), plain(to_unit)
    scales = [SCALE_NAMES.get(name.removeprefix("degrees "), name.removeprefix("degrees ")) for name in (given, wanted)]
    if all(scale in SCALES for scale in scales):
        (shift, factor), (back, divisor) = (SCALES[scale] for scale in scales)
        return spelled(round((value + shift) * factor / divisor - back, 10))
    for name, shown in ((given, from_unit), (wanted, to_unit)):
        if name not in units():
            raise Problem(f"The unit '{shown[:40]}' is not known.")
    (kind, size), (other, wanted_size) = units()[given], units()[wanted]
    if kind != other:
        raise Problem(f"'{from_unit}' is a unit of {kind} and '{to_unit}' one of {other}.")
    return spelled(value * size / wanted_size)


def read_page(url: str, *, stop: threading.Event | None = None) -> str:
    """Read a web page and return its text.

    Args:
        url: The address of the page
    """
    return page_text(url, stop)


SHIPPED: tuple[Callable[..., str], ...] = (get_ticket_price, calculator, now, convert_units, read_page)
TOOLS = tuple(Tool.from_function(function) for function in SHIPPED)
WEB = frozenset({"read_page"})  # tools that reach the network: who may use them is a question of access


def tools_named(names: Sequence[str], more: Sequence[Tool] = ()) -> list[Tool]:
    """The tools of those names among the shipped ones and `more`. Raises Problem with the names there are."""
    found = {tool.name: tool for tool in (*TOOLS, *more)}
    if unknown := [name for name in names if name not in found]:
        raise Problem(f"There is no tool '{unknown[0]}'. The tools are: {', '.join(found)}.")
    return [found[name] for name in names]


def plain(name: str) -> str:
    """A name without case, outer spaces and doubled ones."""
    return " ".join(name.split()).casefold()


def city_like(name: str) -> str:
    """The one city of the table that is spelled nearly like this, as in "deli" for "delhi"; else the name itself."""
    cities = {city for route in prices() for city in route}
    near = difflib.get_close_matches(name, cities, n=2, cutoff=NEAR)
    return near[0] if len(near) == 1 else name


@functools.cache
def prices() -> dict[frozenset[str], str]:
    """Fares by their two cities."""
    data = tomllib.loads((ASSETS / "tools" / "ticket_prices.toml").read_text(encoding="utf-8"))
    return {frozenset(map(plain, route["between"])): route["price"] for route in data["route"]}


@functools.cache
def units() -> dict[str, tuple[str, float]]:
    """(kind, size) of every unit by all its names."""
    data: dict[str, Any] = tomllib.loads((ASSETS / "tools" / "units.toml").read_text(encoding="utf-8"))
    found: dict[str, tuple[str, float]] = {}
    for kind, entries in data.items():
        for name, (size, *others) in entries.items():
            found |= {each: (kind, float(size)) for each in (name, name.replace("_", " "), *others)}
    return found


def zone(name: str) -> zoneinfo.ZoneInfo:
    """The time zone of that name or of that city. Raises Problem."""
    wanted = plain(name).replace(" ", "_")
    for known in sorted(zoneinfo.available_timezones()):
        if wanted in (known.casefold(), known.rpartition("/")[2].casefold()):
            return zoneinfo.ZoneInfo(known)
    raise Problem(f"The time zone '{name[:40]}' is not known. Name it like Europe/Paris or by a large city.")
