"""Tools: schemas from functions, strict arguments, limits, and the ones that ship."""

from __future__ import annotations

import json
import threading
import time
from typing import Literal

import jsonschema
import pytest

from engine.acting.shipped_tools import TOOLS, calculator, convert_units, get_ticket_price, now, tools_named
from engine.errors import Problem
from engine.messages import ToolCall
from engine.tools import RESULT_BYTES, Tool, answer, cut

NEVER = threading.Event()


def book(city: str, nights: int, breakfast: bool = False, kind: Literal["single", "double"] | None = None) -> str:
    """Book a hotel
    room.

    Args:
        city: The city
        nights: How many
            nights
        breakfast: Whether breakfast is wanted
        kind: The kind of room

    Returns:
        A code
    """
    return f"{city}/{nights}/{breakfast}/{kind}"


def ping() -> dict:
    """Say pong."""
    return {"said": "pong ü"}


BOOK, PING = Tool.from_function(book), Tool.from_function(ping)


def told(
    tool: Tool | None, arguments: str, seconds: float = 5, stop: threading.Event = NEVER, name: str = "x"
) -> tuple:
    """(content, error) of the result that a model would read."""
    result = answer(ToolCall("c1", tool.name if tool else name, arguments), tool, ["book", "ping"], seconds, stop)
    assert result.id == "c1" and result.seconds >= 0
    return result.content, result.error


def test_schema_comes_from_types_and_docstring():
    assert BOOK.spec["function"] == {
        "name": "book",
        "description": "Book a hotel room.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "The city"},
                "nights": {"type": "integer", "description": "How many nights"},
                "breakfast": {"type": "boolean", "description": "Whether breakfast is wanted"},
                "kind": {"type": "string", "enum": ["single", "double"], "description": "The kind of room"},
            },
            "required": ["city", "nights"],
        },
    }


@pytest.mark.parametrize("tool", [*TOOLS, BOOK, PING], ids=lambda tool: tool.name)
def test_every_schema_is_one(tool: Tool):
    jsonschema.Draft202012Validator.check_schema(tool.parameters)
    assert tool.about and json.loads(json.dumps(tool.spec)) == tool.spec


def test_what_cannot_be_a_tool_is_told_with_every_complaint():
    def bare(a, *rest, when: complex = 1j):
        pass

    def stale(a: str) -> str:
        """Do.

        Args:
            a: Fine
            b: Long gone
        """
        return a

    with pytest.raises(Problem) as caught:
        Tool.from_function(bare)
    for part in ("no docstring", "'a' has no type", "'rest' cannot be given by name", "the type of 'when'"):
        assert part in str(caught.value)
    with pytest.raises(Problem, match="tells of 'b', which is no parameter"):
        Tool.from_function(stale)


def test_arguments_reach_the_function_with_their_defaults():
    assert told(BOOK, '{"city": "Oslo", "nights": 2}') == ("Oslo/2/False/None", False)
    assert told(BOOK, '{"nights": 2, "city": "Oslo", "kind": "single", "breakfast": true}') == (
        "Oslo/2/True/single",
        False,
    )


@pytest.mark.parametrize("arguments", ["", "  ", "{}"])
def test_a_tool_without_arguments_runs_on_nothing(arguments: str):
    assert told(PING, arguments) == ('{"said": "pong ü"}', False)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ('{"city": "Oslo", "nights": 2', "not valid JSON"),
        ("{'city': 'Oslo', 'nights': 2}", "not valid JSON"),
        ('{"city": "Oslo", "nights": 2,}', "not valid JSON"),
        ('```json\n{"city": "Oslo", "nights": 2}\n```', "not valid JSON"),
        ('{"city": "Oslo", "nights": 2} and more', "not valid JSON"),
        ('{"city": "Oslo", "nights": NaN}', "NaN is not JSON"),
        ('{"city": "Oslo", "city": "Rome", "nights": 2}', "comes twice"),
        ('["Oslo", 2]', "one JSON object"),
        ("null", "one JSON object"),
        ("", "'city' is missing. The argument 'nights' is missing."),
        ('{"city": "Oslo", "nights": "2"}', "'nights' is wrong: input should be a valid integer"),
        ('{"city": "Oslo", "nights": true}', "'nights' is wrong"),
        ('{"city": 7, "nights": 2}', "'city' is wrong: input should be a valid string"),
        ('{"city": "Oslo", "nights": 2, "kind": "suite"}', "'single' or 'double'"),
        ('{"city": "Oslo", "nights": 2, "stars": 5}', "no argument 'stars'; the arguments are: city, nights"),
        ("[" * 60_000, "nested too deeply"),
        ('"' + "x" * 70_000 + '"', "longer than"),
    ],
)
def test_arguments_are_read_strictly_and_nothing_runs(arguments: str, sentence: str):
    content, error = told(BOOK, arguments)
    assert error and sentence in content and content.startswith("Error: ") and "Nothing was run." in content


def test_unknown_tool_is_named_with_those_there_are():
    assert told(None, "{}", name="fly") == ("Error: there is no tool named 'fly'. The tools are: book, ping.", True)


def test_exceptions_become_results():
    def broken() -> str:
        """Break."""
        raise ZeroDivisionError("by zero")

    def leaving() -> str:
        """Leave."""
        raise SystemExit(3)

    assert told(Tool.from_function(broken), "") == ("Error: broken failed: ZeroDivisionError: by zero", True)
    assert told(Tool.from_function(leaving), "") == ("Error: leaving failed: SystemExit: 3", True)


def test_slow_tool_is_given_up_and_told_to_end():
    ended = threading.Event()

    def slow(*, stop: threading.Event) -> str:
        """Wait."""
        if stop.wait(30):
            ended.set()
        return "late"

    tool = Tool.from_function(slow)
    assert tool.parameters == {"type": "object", "properties": {}, "required": []}
    began = time.monotonic()
    content, error = told(tool, "", seconds=0.2)
    assert error and "did not answer within 0.2 seconds" in content and time.monotonic() - began < 8
    assert ended.wait(8), "the tool was not told that nobody waits any more"
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    assert told(tool, "", seconds=10, stop=stop) == ("Error: the person stopped this tool.", True)


def test_a_long_result_is_cut_at_its_bytes_and_says_so():
    result = cut("ü" * 20_000)
    assert len(result.encode()) <= RESULT_BYTES and result.endswith("has 40,000 bytes]")
    assert cut("ü" * 8192) == "ü" * 8192 and cut("a\ud800b") == "a?b"


def test_ticket_prices():
    assert get_ticket_price("delhi", " MUMBAI ") == get_ticket_price("Mumbai", "Delhi") == "$89"
    assert get_ticket_price("Delhi", "Atlantis") == "unknown"


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        *(("2 * (3 + 4)", "14"), ("0.1 + 0.2", "0.3"), ("2^10", "1024"), ("7 × 6 − 2", "40"), ("9 % 4", "1")),
        *(("1e3", "1000"), ("sqrt(2)", "1.41421356237"), ("-3 ** 2", "-9"), ("max(1, 2, 3)", "3")),
        ("round(2.567, 2)", "2.57"),
    ],
)
def test_calculator_works_out(expression: str, result: str):
    assert calculator(expression) == result


@pytest.mark.parametrize(
    "expression",
    [
        *("9**9**9", "9**300*9**300", "1e999", "10**-400", "1/0", "sqrt(-1)", "(-8)**0.5", "", "2 +", "a", "True + 1"),
        *("__import__('os').system('true')", "().__class__", "[1]*9", "'a'*9", "(lambda: 1)()", "abs(x=1)", "print(1)"),
        *("-" * 200 + "1", "9" * 301, "1 if 1 else 2", "2\x00", "exp(1e6)", "round(1, 2, 3)", "0**-1", "f'{1}'"),
    ],
)
def test_calculator_refuses_in_a_moment(expression: str):
    began = time.monotonic()
    with pytest.raises(Problem):
        calculator(expression)
    assert time.monotonic() - began < 5


def test_units():
    assert convert_units(100, "°F", "celsius") == "37.7777777778" and convert_units(0, "C", "K") == "273.15"
    assert convert_units(5, "miles", "KM") == "8.04672" and convert_units(1, "nautical mile", "m") == "1852"
    for bad in (("parsecs", "km"), ("kg", "km"), ("kg", "celsius")):
        with pytest.raises(Problem):
            convert_units(1, *bad)


def test_the_time_anywhere():
    assert "JST" in now("tokyo") and "CE" in now("Europe/Paris") and now().count(":") == 1
    with pytest.raises(Problem, match="not known"):
        now("Atlantis")


def test_tools_are_found_by_name():
    assert [tool.name for tool in tools_named(["now", "calculator"])] == ["now", "calculator"]
    with pytest.raises(Problem, match="The tools are: get_ticket_price"):
        tools_named(["os_system"])
