"""Dialogues with tools: calls, results and answers, and the cases in which no call is right."""

import json
from random import Random

import names
import passages
import talk
import topics
from tools import MORE_TOOLS, TOOLS, novel, request, schema
from values import typed, value

NONE = ("I have no tool for that.",) * 19 + ("None of my tools can do that.",)
SYSTEMS = (
    "You are a helpful assistant.",
    "You help customers of an airline.",
    "Answer briefly.",
    "Use the tools when they help.",
)


def called(tool: dict, arguments: dict) -> dict:
    """Return a call as it stands in an assistant's message."""
    return {"type": "function", "function": {"name": tool["name"], "arguments": arguments}}


def drawn(rng: Random) -> dict:
    """Return a tool: a known one, one of those for training alone, or one made up on the spot."""
    way = rng.random()
    return novel(rng) if way < 0.35 else rng.choice(MORE_TOOLS if way < 0.6 else TOOLS)


def result(rng: Random, tool: dict) -> tuple[str, str]:
    """Return what a tool gives back, as plain text or JSON, and the value in it."""
    found = value(rng, tool["result"])
    return rng.choice(
        (
            found,
            found,
            json.dumps({"result": found}, ensure_ascii=False),
            json.dumps({tool["result"]: found}, ensure_ascii=False),
        )
    ), found


def run(rng: Random, tool: dict, arguments: dict, texts: dict) -> list[dict]:
    """Return the messages of one call: the call, its result and the answer in plain words."""
    raw, found = result(rng, tool)
    if rng.random() < 0.06:
        raw, told = (
            f"Error: {rng.choice(('not found', 'time out', 'no connection', 'unknown ' + names.invented(rng)))}",
            "",
        )
        told = f"Sorry, that did not work: {raw[7:]}."
    else:
        end = tool["tells"].format(r=found, **texts)
        told = end[:-1] if end.endswith("..") else end
    call = called(tool, arguments)
    return [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": raw},
        {"role": "assistant", "content": told},
    ]


def offered(rng: Random, tool: dict | None, most: int) -> list[dict]:
    """Return the tools of a prompt in random order, with the one wanted among them."""
    others = [drawn(rng) for _ in range(rng.randint(0 if tool else 1, most - 1))]
    found = {t["name"]: t for t in others + ([tool] if tool else [])}
    chosen = list(found.values())
    rng.shuffle(chosen)
    return chosen


def lacking(rng: Random, tool: dict) -> list[dict]:
    """Return a request that leaves an argument out, the question for it, and the call that follows."""
    full = [
        a
        for a in tool["asks"]
        if all("{" + n.rstrip("?") + "}" in a for n, _, _ in tool["args"] if not n.endswith("?"))
    ]
    _, arguments, texts = request(rng, tool, full)
    first = tool["args"][0][0].rstrip("?")
    act = tool["about"][:-1]
    arguments = {first: typed(tool["args"][0][1], texts[first])}
    ask = rng.choice(
        (act[0].lower() + act[1:] + ", please", act + ", please.", "Can you " + act[0].lower() + act[1:] + "?")
    )
    reply = f"Please tell me the {first.replace('_', ' ')}."
    return [*talk.turn(ask, reply), {"role": "user", "content": texts[first]}, *run(rng, tool, arguments, texts)]


def searched(rng: Random, most: int) -> tuple[list[dict], list[dict]]:
    """Return a dialogue in which a search gives back numbered passages and the answer cites one of them."""
    tool = next(t for t in TOOLS if t["name"] == "search_documents")
    block, asked = passages.quiz(rng, rng.randint(1, 3), rng.randint(1, 3), 1)
    question, answer, _ = asked[0]
    call = called(tool, {"question": question})
    body = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": block},
        {"role": "assistant", "content": answer},
    ]
    return body, [schema(t, rng) for t in offered(rng, tool, most)]


def both(rng: Random, tool: dict, other: dict) -> list[dict]:
    """Return a request that takes two calls at once."""
    asked = [(t, *request(rng, t), *result(rng, t)) for t in (tool, other)]
    joint = rng.choice((" And ", " Also: ", " and ", "\n"))
    calls = [called(t, a) for t, _, a, *_ in asked]
    tells = " ".join(t["tells"].format(r=found, **texts) for t, _, _, texts, _, found in asked)
    return [
        {"role": "user", "content": joint.join(ask for _, ask, *_ in asked)},
        {"role": "assistant", "content": "", "tool_calls": calls},
        *({"role": "tool", "content": raw} for *_, raw, _ in asked),
        {"role": "assistant", "content": tells},
    ]


def single(rng: Random, tool: dict) -> list[dict]:
    """Return a request with its call, and now and then one that changes a single argument of it."""
    ask, arguments, texts = request(rng, tool)
    body = [{"role": "user", "content": ask}, *run(rng, tool, arguments, texts)]
    for _ in range(rng.choice((0, 1, 1, 2)) if "more" in tool else 0):
        kind = next(kind for name, kind, _ in tool["args"] if name == tool["more"])
        text = value(rng, kind)
        texts, arguments = texts | {tool["more"]: text}, arguments | {tool["more"]: typed(kind, text)}
        body.append({"role": "user", "content": rng.choice(tool["follow"]).format(**texts)})
        body += run(rng, tool, arguments, texts)
    return body


def unfit(rng: Random, shown: list[dict]) -> list[dict]:
    """Return a request for a tool that is not there, or talk that needs none."""
    way = rng.random()
    if way < 0.75:
        tool = drawn(rng)
        if tool["name"] not in {t["name"] for t in shown}:
            return talk.turn(request(rng, tool)[0], rng.choice(NONE))
    return talk.small(rng) if way < 0.88 else talk.turn(*topics.question(rng))


def rounds(rng: Random, shown: list[dict]) -> list[dict]:
    """Return one round of talk with the tools shown."""
    tool, way = rng.choice(shown), rng.random()
    if way < 0.4:
        return unfit(rng, shown)
    if way < 0.43 and sum(not name.endswith("?") for name, _, _ in tool["args"]) == 1:
        return lacking(rng, tool)
    return both(rng, tool, rng.choice(shown)) if way < 0.48 else single(rng, tool)


def deciding(rng: Random) -> tuple[list[dict], list[dict]]:
    """Return many requests in a row, each with its call alone or without one: which tool, if any, is all they teach."""
    found = {t["name"]: t for t in (drawn(rng) for _ in range(12)) if len(t["args"]) < 3}
    tools = list(found.values())
    shown, hidden = tools[: rng.choice((1, 2, 2, 3, 3))], tools[3:]
    messages: list[dict] = []
    for _ in range(rng.randint(4, 8)):
        if hidden and rng.random() < 0.45:
            messages += talk.turn(request(rng, rng.choice(hidden))[0], rng.choice(NONE))
            continue
        tool = rng.choice(shown)
        ask, arguments, _ = request(rng, tool)
        call = called(tool, arguments)
        messages += [{"role": "user", "content": ask}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    return messages, [schema(t, rng) for t in shown]


def dialogue(rng: Random, most: int = 3) -> tuple[list[dict], list[dict]]:
    """Return the messages of a dialogue of two to five rounds, and the schemas its prompt holds."""
    if rng.random() < 0.08:
        return searched(rng, most)
    tool = drawn(rng)
    shown = offered(rng, tool, most)
    system = f"You work for {names.company(rng)}." if rng.random() < 0.2 else rng.choice(SYSTEMS)
    messages = [{"role": "system", "content": system}] if rng.random() < 0.4 else []
    for _ in range(rng.choice((2, 3, 4, 4, 5))):
        messages += rounds(rng, shown)
    return messages, [schema(t, rng) for t in shown]
