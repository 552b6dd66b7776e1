"""Tools as JSON schemas: those of a TOML file, and others made up on the spot with ways to ask for them."""

import json
import tomllib
from pathlib import Path
from random import Random

import names
from values import GENERIC, NUMERIC, typed, value

HERE = Path(__file__).parent


def load(name: str) -> list[dict]:
    """Return the tools of a TOML file beside this module."""
    return tomllib.loads((HERE / name).read_text(encoding="utf-8"))["tool"]


TOOLS = load("tools.toml")
MORE_TOOLS = load("more_tools.toml")  # for training alone
SMALL_WORDS = {
    "place": ("in", "at", "to", "from", "near", "for"),
    "person": ("for", "of", "by", "with", "to", "named"),
    "small": ("for", "with", "of", "up to", ""),
    "number": ("for", "with", "of", "at"),
    "hour": ("at", "from", "until", "by"),
    "date": ("on", "for", "since", "before"),
    "email": ("to", "at", "for"),
    "link": ("at", "from", "on"),
    "code": ("number", "with", "of", "for"),
    "query": ("about", "on", "for"),
    "invented": ("called", "named", "to", "from", "into", "as", "new name"),
    "capital": ("of", "for", "called", "the"),
}


def schema(tool: dict, rng: Random | None = None) -> dict:
    """Return a tool as the JSON schema that chat templates expect; rng leaves some descriptions out."""
    properties, required = {}, []
    for name, kind, about in tool["args"]:
        entry: dict = {"type": NUMERIC.get(kind, "string")}
        if kind.startswith("enum:"):
            entry["enum"] = kind[5:].split("|")
        if not (rng and rng.random() < 0.3):
            entry["description"] = about
        properties[name.rstrip("?")] = entry
        if not name.endswith("?"):
            required.append(name)
    function = {
        "name": tool["name"],
        "description": tool["about"],
        "parameters": {"type": "object", "properties": properties, "required": required},
    }
    return {"type": "function", "function": function}


def phrasings(rng: Random, verb: str, thing: str, args: list[list[str]]) -> list[str]:
    """Return ways to ask for a tool made up on the spot: by argument names, by bare values, or by small words."""
    act = rng.choice(
        (
            f"{verb} {thing}",
            f"{verb} the {thing}",
            f"please {verb} a {thing}",
            f"I want to {verb} the {thing}",
            f"{thing} {verb}",
            f"can you {verb} a {thing}",
            f"I need to {verb} {thing}s",
            f"{thing}",
            f"show me the {thing}",
            f"when is the {thing}",
            f"what does the {thing} cost",
            f"how often does the {thing} come",
            f"how many {thing}s",
            f"next {thing}",
        )
    )
    spoken = [(name.replace("_", " "), "{" + name + "}", kind) for name, kind, _ in args]
    named = [f"{name} {field}" for name, field, _ in spoken]
    loose = []
    for name, field, kind in spoken:
        word = rng.choice(SMALL_WORDS.get(kind, ("for", "of", "with", "called", "as")))
        tail = f" {name}" if NUMERIC.get(kind) in ("integer", "number") and rng.random() < 0.6 else ""
        loose.append(f"{word} {field}{tail}")
    bare = [field for _, field, _ in spoken]
    mixed = rng.sample(loose, len(loose))
    asks = [f"{act} with {' and '.join(named)}", f"{act}, {', '.join(named)}", f"{act}: {', '.join(bare)}"]
    asks += [f"{act} {' '.join(bare)}", f"{act} {' '.join(loose)}", f"{act} {' '.join(mixed)}"]
    end = rng.choice(("?", ".", "", " please", ", please."))
    return [ask + end for ask in asks] + [f"{act} {' '.join(loose)}", f"{act} {' '.join(mixed)}"]


def novel(rng: Random) -> dict:
    """Return a tool made up on the spot, with its phrasings."""
    verb, thing = (
        names.common(rng, "verbs"),
        rng.choice((names.common(rng, "things"), names.common(rng, "animals"), names.invented(rng))),
    )
    verb = rng.choice((verb, verb, "get", "find", "set", "check", "list", names.invented(rng)))
    name = rng.choice(
        (f"{verb}_{thing}", f"{verb}_{thing}", f"{thing}_{verb}", f"{verb}{thing.capitalize()}", f"{verb}_the_{thing}")
    )
    args = []
    for plain, kind in rng.sample(GENERIC, rng.choice((1, 1, 2, 2, 3))):
        arg = rng.choice(
            (plain, plain, f"{thing}_{plain}", names.invented(rng), f"{names.common(rng, 'adjectives')}_{plain}")
        )
        args.append(
            [arg, kind, rng.choice((f"The {arg.replace('_', ' ')}", f"The {arg.replace('_', ' ')} of the {thing}"))]
        )
    asks = phrasings(rng, verb, thing, args)
    result = rng.choice(("amount", "price", "capital", "code", "date", "person", "done"))
    tells = (
        rng.choice(("The result is {r}.", f"The {thing} is {{r}}.", "It is {r}."))
        if result != "done"
        else "It is done."
    )
    return {
        "name": name,
        "about": rng.choice(
            (f"{verb.capitalize()} a {thing}.", f"{verb.capitalize()} the {thing}.", f"Can {verb} any {thing}.")
        ),
        "args": args,
        "asks": [a[:1].upper() + a[1:] if rng.random() < 0.5 else a for a in asks],
        "result": result,
        "tells": tells,
    }


def render_call(name: str, arguments: dict) -> str:
    """Return a call in the Hermes form."""
    call = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{call}\n</tool_call>"


def request(rng: Random, tool: dict, asks: list[str] | None = None, make=value) -> tuple[str, dict, dict]:
    """Return a request for a tool, its arguments as typed JSON, and the texts behind them."""
    ask = rng.choice(asks or tool["asks"])
    texts = {name.rstrip("?"): make(rng, kind) for name, kind, _ in tool["args"]}
    if rng.random() < 0.15:
        texts = {
            name.rstrip("?"): texts[name.rstrip("?")].lower()
            if kind in ("place", "person")
            else texts[name.rstrip("?")]
            for name, kind, _ in tool["args"]
        }
    arguments = {
        name.rstrip("?"): typed(kind, texts[name.rstrip("?")])
        for name, kind, _ in tool["args"]
        if "{" + name.rstrip("?") + "}" in ask
    }
    return ask.format(**texts), arguments, texts
