"""The mix of documents that the starter is trained on, drawn by weight from a seeded generator."""

import json
from collections.abc import Iterator
from random import Random

import calls
import passages
import prose
import talk
import tools
import topics

END = "<|endoftext|>"
TOOLS_HEAD = "# Tools\n\nCall one or more of these functions when they help:\n<tools>"
TOOLS_TAIL = (
    "\n</tools>\n\nWrite each call as a JSON object with name and arguments "
    "within <tool_call></tool_call> tags.<|im_end|>\n"
)
MIX = {  # share of documents, not of tokens
    passages.document: 0.38,
    topics.cited: 0.03,
    calls.dialogue: 0.17,
    calls.deciding: 0.15,
    talk.document: 0.24,
    prose.copied_list: 0.03,
    prose.echo: 0.02,
    prose.drill: 0.02,
    prose.plain_list: 0.01,
    prose.document: 0.01,
    topics.faq: 0.08,
    topics.questions: 0.01,
    topics.instruct: 0.2,
    topics.thread: 0.02,
    topics.article: 0.01,
}
LONG_MIX = {passages.document: 0.6, calls.dialogue: 0.3, prose.document: 0.05, topics.faq: 0.05}


def render(messages: list[dict], schemas: list[dict] | None = None) -> str:
    """Return a chat as its template writes it; much faster than Jinja, and held equal to it by a test."""
    text, messages = "", list(messages)
    if schemas:
        head = messages.pop(0)["content"] + "\n\n" if messages[0]["role"] == "system" else ""
        lines = "".join("\n" + json.dumps(s, ensure_ascii=False) for s in schemas)
        text = f"<|im_start|>system\n{head}{TOOLS_HEAD}{lines}{TOOLS_TAIL}"
    for at, message in enumerate(messages):
        role = message["role"]
        if role == "tool":
            text += "<|im_start|>user" if messages[at - 1]["role"] != "tool" else ""
            text += f"\n<tool_response>\n{message['content']}\n</tool_response>"
            text += "<|im_end|>\n" if at + 1 == len(messages) or messages[at + 1]["role"] != "tool" else ""
            continue
        calls = [tools.render_call(**call["function"]) for call in message.get("tool_calls", ())]
        text += (
            f"<|im_start|>{role}\n"
            + "\n".join(([message["content"]] if message["content"] else []) + calls)
            + "<|im_end|>\n"
        )
    return text


def as_text(made: str | list | tuple) -> str:
    """Return any form's document as text."""
    if isinstance(made, str):
        return made
    return render(*made) if isinstance(made, tuple) else render(made)


def long_document(rng: Random) -> str:
    """Return a document of roughly 800 to 3,000 tokens."""
    form = rng.choices(list(LONG_MIX), LONG_MIX.values())[0]
    if form is passages.document:
        return as_text(passages.document(rng, (rng.randint(2, 5), rng.randint(8, 20), rng.randint(8, 14))))
    if form is calls.dialogue:
        return as_text(calls.dialogue(rng, 7))
    return as_text(form(rng))


def documents(seed: int, long: float = 0.0) -> Iterator[str]:
    """Yield training documents without end; a share `long` of them is long."""
    rng, forms, weights = Random(seed), list(MIX), list(MIX.values())
    while True:
        yield long_document(rng) if rng.random() < long else as_text(rng.choices(forms, weights)[0](rng))
