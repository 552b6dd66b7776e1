"""A conversation with tools from the command line: `python -m engine.agent QUESTION --model starter --json`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from engine.acting.own_tools import own_tools
from engine.acting.shapes import Shape, shape_named, shapes
from engine.acting.shipped_tools import TOOLS, tools_named
from engine.acting.steps import Done, Step, Words
from engine.agent import converse
from engine.catalog import Model, find
from engine.errors import Problem
from engine.messages import Message, Sampling, ToolCall, ToolResult
from engine.respond import Responder, responder_for
from engine.settings import settings
from engine.structured import Shaped, shaped

DEFAULT_TOOLS = "get_ticket_price,calculator,now"  # three: small models lose their way among more


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        prog="python -m engine.agent",
        description=__doc__,
        epilog="`python -m engine.agent brochure -h` writes brochures.",
    )
    options.add_argument("question", help="what is asked")
    model_options(options)
    options.add_argument(
        "--schema", help=f"answer as JSON in this shape: {', '.join(shapes())}, or a JSON schema's file"
    )
    options.add_argument("--tools", default=DEFAULT_TOOLS, help=f"of {', '.join(t.name for t in TOOLS)}; or none")
    options.add_argument("--system", default="", help="system prompt")
    options.add_argument("--max-new-tokens", type=int, default=256, help="of each reply")
    options.add_argument("--temperature", type=float, default=0.0)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--json", action="store_true", help="print a JSON list, one object a step")
    return options


def model_options(options: argparse.ArgumentParser) -> None:
    """The options that say who answers; see asked."""
    options.add_argument("--model", default="starter", help="a model's name, folder or Hub id")
    options.add_argument("--endpoint", help="base URL of an OpenAI-compatible server, in place of --model")
    options.add_argument("--endpoint-model", help="the model's name at that server")
    options.add_argument("--key-name", help="environment variable that holds the server's key")
    options.add_argument("--describe-tools", action="store_true", help="write the tools into the prompt")


def asked(args: argparse.Namespace) -> Responder:
    """The model that answers. Raises Problem."""
    if not args.endpoint:
        return responder_for(find(args.model), describe_tools=args.describe_tools)
    if not args.endpoint_model:
        raise Problem("Name the server's model with --endpoint-model.")
    key = None
    if args.key_name and not (key := os.environ.get(args.key_name)):
        raise Problem(f"The environment variable {args.key_name} is empty. Set it to the server's key.")
    return responder_for(Model(args.endpoint_model, args.endpoint_model, endpoint=args.endpoint), key)


def described(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """Steps as plain data: words in one piece between calls, calls, results. Done is none of them."""
    found: list[dict[str, Any]] = []
    for step in steps:
        match step:
            case Words(text=text):
                if not found or found[-1]["kind"] != "words":
                    found.append({"kind": "words", "text": ""})
                found[-1]["text"] += text
            case ToolCall():
                found.append({"kind": "tool_call", "id": step.id, "name": step.name, "arguments": step.arguments})
            case ToolResult():
                result = {"kind": "tool_result", "id": step.id, "name": step.name, "content": step.content}
                found.append({**result, "error": step.error, "seconds": round(step.seconds, 3)})
    return [each for each in found if each["kind"] != "words" or each["text"].strip()]


def readable(step: dict[str, Any]) -> str:
    """A step for people."""
    if step["kind"] == "words":
        return step["text"].strip()
    if step["kind"] == "tool_call":
        return f"-> {step['name']}({step['arguments']})"
    return f"<- {step['content']}  ({step['seconds']} s)"


def in_shape(responder: Responder, messages: Sequence[Message], shape: Shape, sampling: Sampling) -> int:
    """Print the answer as validated JSON; 1 when the model did not manage it."""
    *_, last = shaped(responder, messages, shape, sampling)
    if not isinstance(last, Shaped) or last.reason != "stop":
        problem = last.problem if isinstance(last, Shaped) else None
        sys.stderr.write(f"{problem or 'There was no answer in time.'}\n")
        return 1
    if last.loose:
        sys.stderr.write(f"{last.loose}\n")
    sys.stdout.write(f"{json.dumps(last.value, ensure_ascii=False, indent=2)}\n")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer one question; 0 when the turn came to its end, 1 when it failed or hit a limit, 2 for a bad request."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["brochure"]:
        from engine.headless_brochure import main as brochure

        return brochure(given[1:])
    args = parser().parse_args(given)
    sampling = Sampling(temperature=args.temperature, max_tokens=args.max_new_tokens, seed=args.seed)
    system = [Message("system", args.system)] if args.system.strip() else []
    try:
        if wrong := sampling.problems():
            raise Problem(" ".join(wrong))
        if args.schema:
            return in_shape(asked(args), [*system, Message("user", args.question)], shape_named(args.schema), sampling)
        names = [name.strip() for name in args.tools.split(",") if name.strip() not in ("", "none")]
        tools = tools_named(names, own_tools(settings().tools)[0])
        responder = asked(args)
    except Problem as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    steps = list(converse(responder, [*system, Message("user", args.question)], tools, sampling))
    found, done = described(steps), steps[-1]
    text = json.dumps(found, ensure_ascii=False, indent=2) if args.json else "\n".join(map(readable, found))
    sys.stdout.write(f"{text}\n")
    if not isinstance(done, Done) or done.reason in ("stop", "tool_calls"):
        return 0
    sys.stderr.write(f"{done.problem or f'The turn ended early: {done.reason}.'}\n")
    return 1
