"""Shortens a conversation to what a model can read: from the oldest, and never through the middle of a tool call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from engine.messages import Message

Fits = Callable[[Sequence[Message]], bool]
SHORTEST_RESULT = 200  # characters below which a tool's result is not cut any further
CUT = "\n[the rest was left out: it did not fit]"


def fitted(messages: Sequence[Message], fits: Fits) -> list[Message]:
    """The messages that are sent: system prompt and the turn in progress, and of what was before as much as fits.

    First whole earlier turns go, then whole groups of calls and results of this turn, then ends of long results.
    What still does not fit is sent as it is.
    """
    system = [m for m in messages if m.role == "system"]
    turns = divided([m for m in messages if m.role != "system"], "user")
    while len(turns) > 1 and not fits([*system, *joined(turns)]):
        turns.pop(0)
    rest = joined(turns)
    while not fits([*system, *rest]) and (shorter := without_oldest_group(rest)):
        rest = shorter
    while not fits([*system, *rest]) and (shorter := with_longest_result_halved(rest)):
        rest = shorter
    return [*system, *rest]


def divided(messages: Sequence[Message], role: str) -> list[list[Message]]:
    """The messages in groups that each begin with this role; the first group may begin with another."""
    groups: list[list[Message]] = []
    for message in messages:
        if message.role == role or not groups:
            groups.append([])
        groups[-1].append(message)
    return groups


def joined(groups: Sequence[Sequence[Message]]) -> list[Message]:
    """The messages of all groups."""
    return [message for group in groups for message in group]


def without_oldest_group(turn: Sequence[Message]) -> list[Message]:
    """One turn without its first reply that called tools and the results; empty when it has no more than one."""
    groups = divided(turn, "assistant")
    calling = [at for at, group in enumerate(groups) if group[0].tool_calls]
    if len(calling) < 2:
        return []
    return joined([group for at, group in enumerate(groups) if at != calling[0]])


def with_longest_result_halved(turn: Sequence[Message]) -> list[Message]:
    """One turn with its longest tool result cut to half; empty when all are short."""
    lengths = [len(m.content.removesuffix(CUT)) if m.role == "tool" else 0 for m in turn]
    longest = max(lengths, default=0)
    if longest <= SHORTEST_RESULT:
        return []
    at = lengths.index(longest)
    halved = replace(turn[at], content=turn[at].content.removesuffix(CUT)[: longest // 2] + CUT)
    return [*turn[:at], halved, *turn[at + 1 :]]
