"""A conversation as a script: it does with the openai SDK what the page did."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from engine.acting.as_python import as_python
from engine.acting.shipped_tools import tools_named
from engine.catalog import Model, find
from engine.messages import Message, Sampling, ToolCall
from engine.settings import ROOT
from engine.tools import Tool
from tests.fake_openai import FakeOpenAI, Script, raw

CALL = {"id": "a", "type": "function", "function": {"name": "get_ticket_price", "arguments": "{}"}}


def whole(content: str | None, calls: list[dict[str, Any]] | None = None) -> Script:
    """An answer that is not streamed."""
    import json

    message = {"role": "assistant", "content": content, **({"tool_calls": calls} if calls else {})}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    body = {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    return raw(json.dumps(body).encode(), mark="application/json")


def ran(script: str) -> str:
    """What the script prints, run as a program beside Diptych."""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_script_asks_calls_and_prints_as_the_page_did():
    earlier = [
        Message("system", 'Be "accurate".'),
        Message("user", 'from Delhi?\n""" \\'),
        Message("assistant", "", (ToolCall("x", "now", "{}"),)),
        Message("tool", "Monday", tool_call_id="x"),
    ]
    arguments = '{"origin": "Delhi", "destination": "Mumbai"}'
    price = {**CALL, "function": {"name": "get_ticket_price", "arguments": arguments}}
    unknown = {**CALL, "id": "b", "function": {"name": "rm", "arguments": ""}}
    tools = tools_named(["get_ticket_price"])
    with FakeOpenAI(whole(None, [price, unknown]), whole("It costs $89.")) as server:
        model = Model("mine", "tiny", endpoint=server.url)
        script = as_python(model, [*earlier, Message("user", "price?")], tools, Sampling(top_k=5, seed=3))
        assert ran(script) == "It costs $89."
        first, second = (request.json for request in server.requests)
    assert first["messages"][0] == {"role": "system", "content": 'Be "accurate".'} and len(first["messages"]) == 5
    assert first["tools"] == [tools[0].spec] and first["model"] == "tiny" and first["top_k"] == 5 and first["seed"] == 3
    assert [m["content"] for m in second["messages"][-2:]] == ["$89", "Error: 'rm'"]


def test_without_tools_it_is_short_and_keys_are_never_in_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-secret")
    script = as_python(find("gpt-4o-mini"), [Message("user", "hi")], (), Sampling())
    assert 'os.environ.get("OPENAI_API_KEY"' in script and "canary" not in script and "import json" not in script
    with FakeOpenAI(whole("Hello!")) as server:
        assert ran(as_python(Model("m", "m", endpoint=server.url), [Message("user", "hi")], (), Sampling())) == "Hello!"


def test_a_local_model_is_told_how_to_be_served_and_own_tools_are_left_to_write():
    def dice() -> int:
        """Throw a die."""
        return 4

    script = as_python(find("starter"), [Message("user", "hi")], [Tool.from_function(dice)], Sampling())
    compile(script, "script", "exec")
    assert "raise NotImplementedError" in script and "BASE_URL" in script and "from engine" not in script
