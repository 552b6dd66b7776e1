"""A conversation as a Python script that has it with the openai SDK."""

from __future__ import annotations

import pprint
from collections.abc import Sequence

from engine.acting.shipped_tools import TOOLS
from engine.catalog import Model
from engine.hosting.request import options, wire_message
from engine.messages import Message, Sampling
from engine.tools import Tool

LOCAL_URL = "http://localhost:8000/v1"
HEAD = '''"""{question}"""

import json
import os

from openai import OpenAI
{imports}
{client}
messages = {messages}
{tools}'''
PLAIN = """
reply = client.chat.completions.create(
    model={model!r},
    messages=messages,
    {settings},
)
print(reply.choices[0].message.content)
"""
LOOP = """

def run(call):
    try:
        result = FUNCTIONS[call.function.name](**json.loads(call.function.arguments or "{{}}"))
    except Exception as error:
        result = f"Error: {{error}}"
    return {{"role": "tool", "tool_call_id": call.id, "content": str(result)}}


for _ in range({rounds}):
    reply = client.chat.completions.create(
        model={model!r},
        messages=messages,
        tools=TOOLS,
        {settings},
    )
    message = reply.choices[0].message
    messages.append(message)
    if not message.tool_calls:
        break
    messages += [run(call) for call in message.tool_calls]
print(message.content)
"""


def as_python(
    model: Model, messages: Sequence[Message], tools: Sequence[Tool], sampling: Sampling, rounds: int = 8
) -> str:
    """The script. Keys are read from the environment; they are never part of it.

    A model on this machine is asked at LOCAL_URL, where somebody has to serve it. Tools that do not ship are left
    for the reader to write.
    """
    settings = {name: value for name, value in options(sampling, ()).items() if name != "stream_options"}
    extra = {name: settings.pop(name) for name in ("top_k", "repetition_penalty") if name in settings}
    if extra:
        settings["extra_body"] = extra
    margin = ",\n        " if tools else ",\n    "
    spelled = margin.join(f"{name}={value!r}" for name, value in settings.items())
    question = next((m.content for m in reversed(messages) if m.role == "user"), "A conversation")
    head = HEAD.format(
        question=docstring(question),
        imports=imports(tools),
        client=client(model),
        messages=pretty([wire_message(message) for message in messages]),
        tools=described(tools),
    )
    body = LOOP if tools else PLAIN
    return (
        head + body.format(model=model.base if model.endpoint else model.name, settings=spelled, rounds=rounds)
    ).replace("import json\n", "import json\n" if tools else "", 1)


def docstring(text: str) -> str:
    """The first line of a text as it may stand within three quotation marks."""
    line = " ".join(text.split())[:80].replace("\\", "\\\\").replace('"', "'")
    return line or "A conversation"


def client(model: Model) -> str:
    """The line that makes the client, with where its key comes from."""
    if model.endpoint:
        name = model.key_name or "API_KEY"
        return f'client = OpenAI(base_url={model.endpoint!r}, api_key=os.environ.get("{name}", "none"))'
    return (
        f"# {model.name} runs within Diptych; serve it to other programs first: python -m engine.serve --port 8000\n"
        f'client = OpenAI(base_url=os.environ.get("BASE_URL", {LOCAL_URL!r}), api_key="none")'
    )


def imports(tools: Sequence[Tool]) -> str:
    """The import of the tools that ship; run the script where Diptych's folder is on the path."""
    names = sorted(tool.name for tool in tools if ships(tool))
    return f"\nfrom engine.acting.shipped_tools import {', '.join(names)}\n" if names else ""


def described(tools: Sequence[Tool]) -> str:
    """The tools as the request holds them, and the functions behind them."""
    if not tools:
        return ""
    lines = [f"TOOLS = {pretty([tool.spec for tool in tools])}"]
    for tool in tools:
        if not ships(tool):
            given = ", ".join(tool.parameters["properties"])
            lines.append(f'\n\ndef {tool.name}({given}):\n    raise NotImplementedError("write {tool.name} here")\n')
    lines.append(f"FUNCTIONS = {{{', '.join(f'{t.name!r}: {t.name}' for t in tools)}}}")
    return "\n".join(lines) + "\n"


def ships(tool: Tool) -> bool:
    """Whether the tool comes with Diptych."""
    return any(tool is each for each in TOOLS)


def pretty(value: object) -> str:
    """A value as Python source over several lines."""
    return pprint.pformat(value, width=110, sort_dicts=False)
