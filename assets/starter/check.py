"""Scores the starter and its ShawGPT adapter on fresh examples whose names the training text never holds."""

import json
import re
import sys
import tomllib
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from random import Random

import names
import passages
import tools
import torch
import values
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BATCH = 16
CALL = re.compile(r"<tool_call>\n(.*?)\n</tool_call>", re.DOTALL)
CASES = tomllib.loads((HERE / "check.toml").read_text(encoding="utf-8"))
FLOORS = tomllib.loads((HERE / "floors.toml").read_text(encoding="utf-8"))
ORDER = "Answer from the passages and mark the source with [n]."
FRESH: dict[str, Callable[[Random], str]] = {
    "person": lambda r: r.choice(names.HELD_OUT["people"]),
    "place": lambda r: r.choice(names.HELD_OUT["places"]),
    "capital": lambda r: r.choice(names.HELD_OUT["things"]),
    "invented": lambda r: r.choice(names.HELD_OUT["things"]).lower(),
    "company": lambda r: f"{r.choice(names.HELD_OUT['things'])} {names.common(r, 'brands')}",
    "product": lambda r: f"{r.choice(names.HELD_OUT['things'])} {r.randint(2, 99)}",
    "model": lambda r: f"{r.choice(names.HELD_OUT['things'])} {r.randint(2, 99)}",
    "event": lambda r: f"{r.choice(names.HELD_OUT['things'])} fair",
    "room": lambda r: f"the {r.choice(names.HELD_OUT['things'])} hall",
    "title": lambda r: f'"The {r.choice(names.HELD_OUT["things"])}"',
    "method": lambda r: r.choice(names.HELD_OUT["things"]) + "Net",
    "query": lambda r: r.choice((*names.HELD_OUT["things"], *names.HELD_OUT["people"])),
}


def fresh(rng: Random, kind: str) -> str:
    """Return a value of a kind with a name that training excludes."""
    return FRESH[kind](rng) if kind in FRESH else values.value(rng, kind)


class Writer:
    """A model that answers many prompts greedily."""

    def __init__(self, folder: Path, adapter: Path | None = None) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        if adapter:
            from peft import PeftModel

            self.model = PeftModel.from_pretrained(self.model, adapter)
        self.model.eval()

    def chat(self, messages: list[dict], schemas: list[dict] | None = None) -> str:
        """Return a dialogue as the prompt for the assistant's next message."""
        return self.tokenizer.apply_chat_template(messages, tools=schemas, add_generation_prompt=True, tokenize=False)

    def write(self, prompts: list[str], most: int = 90) -> list[str]:
        """Return the continuation of every prompt, at most `most` tokens each."""
        done: dict[int, str] = {}
        order = sorted(range(len(prompts)), key=lambda at: len(prompts[at]))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            batch = self.tokenizer(
                [prompts[at] for at in chosen], return_tensors="pt", padding=True, add_special_tokens=False
            )
            with torch.inference_mode():
                made = self.model.generate(
                    input_ids=batch["input_ids"],
                    attention_mask=batch["attention_mask"],
                    do_sample=False,
                    max_new_tokens=most,
                )
            texts = self.tokenizer.batch_decode(made[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
            done.update(zip(chosen, texts, strict=True))
        return [done[at] for at in range(len(prompts))]


def share(marks: list[bool]) -> float:
    """Return the share of marks that are true, rounded to three places."""
    return round(sum(marks) / len(marks), 3)


def calls_of(text: str) -> list[dict] | None:
    """Return the calls in a reply, or None when there is none or one is not strict JSON."""
    try:
        calls = [json.loads(found) for found in CALL.findall(text)]
    except json.JSONDecodeError:
        return None
    return calls if calls and all(set(call) == {"name", "arguments"} for call in calls) else None


def tool_scores(writer: Writer, count: int) -> dict[str, float]:
    """Score calls of known tools with new arguments, of unknown tools, and the wisdom not to call."""
    scores, rng = {}, Random(77)
    for key, catalogue in (("tool_exact", tools.TOOLS), ("tool_unseen", tools.load("unseen.toml"))):
        prompts, wanted = [], []
        for at in range(count):
            tool = catalogue[at % len(catalogue)]
            ask, arguments, _ = tools.request(rng, tool, make=fresh)
            shown = {t["name"]: t for t in [*rng.sample(tools.TOOLS, rng.randint(0, 3)), tool]}
            prompts.append(writer.chat([{"role": "user", "content": ask}], [tools.schema(t) for t in shown.values()]))
            wanted.append([{"name": tool["name"], "arguments": arguments}])
        calls = [calls_of(text) for text in writer.write(prompts)]
        if key == "tool_exact":
            scores["tool_parses"] = share([call is not None for call in calls])
        scores[key] = share([call == want for call, want in zip(calls, wanted, strict=True)])
    prompts = []
    for at in range(count):
        tool = tools.TOOLS[at % len(tools.TOOLS)]
        others = [t for t in rng.sample(tools.TOOLS, 3) if t["name"] != tool["name"]]
        ask = (
            tools.request(rng, tool, make=fresh)[0] if at % 2 else CASES["ask_tools"][at // 2 % len(CASES["ask_tools"])]
        )
        prompts.append(writer.chat([{"role": "user", "content": ask}], [tools.schema(t) for t in others]))
    scores["no_call"] = share(["<tool_call>" not in text and bool(text.strip()) for text in writer.write(prompts)])
    return scores


def passage_prompts(
    writer: Writer, rng: Random, count: int, shape: tuple[int, int], missing: float
) -> tuple[list[str], list[tuple]]:
    """Return prompts of (passages, sentences) with one question each, and what the answers should be."""
    made = [passages.quiz(rng, *shape, 1, missing, fresh) for _ in range(count)]
    prompts = [
        writer.chat([{"role": "user", "content": f"{ORDER}\n\n{block}\n\nQuestion: {asked[0][0]}"}])
        for block, asked in made
    ]
    return prompts, [asked[0] for _, asked in made]


def passage_scores(writer: Writer, count: int) -> dict[str, float]:
    """Score answers from one passage and from three long ones, and refusals where they are due and where not."""
    rng = Random(78)
    prompts, wanted = passage_prompts(writer, rng, count, (1, 3), 0.0)
    short = writer.write(prompts)
    right = [bare.lower() in text.lower() for text, (_, _, bare) in zip(short, wanted, strict=True)]
    prompts, wanted = passage_prompts(writer, rng, max(8, count // 2), (3, 20), 0.0)
    long = writer.write(prompts)
    marks = [
        bare.lower() in text.lower() and re.findall(r"\[\d+\]", text) == re.findall(r"\[\d+\]", answer)
        for text, (_, answer, bare) in zip(long, wanted, strict=True)
    ]
    unanswerable = [
        text
        for shape in ((1, 3), (3, 4))
        for text in writer.write(passage_prompts(writer, rng, count // 2, shape, 1.0)[0])
    ]
    refused = [any(refusal in text for refusal in passages.REFUSALS) for text in unanswerable]
    wrongly = [any(refusal in text for refusal in passages.REFUSALS) for text in short + long]
    return {
        "context_exact": share(right),
        "context_long": share(marks),
        "refusal": share(refused),
        "wrong_refusal": share(wrongly),
    }


def ordinary_score(writer: Writer) -> float:
    """Score answers to hand-written phrasings, each by one expected word."""
    texts = writer.write([writer.chat([{"role": "user", "content": ask}]) for ask, _ in CASES["ordinary"]], 60)
    return share(
        [
            any(word in text.lower() for word in words.split("|"))
            for text, (_, words) in zip(texts, CASES["ordinary"], strict=True)
        ]
    )


def shawgpt_scores(folder: Path, adapter: Path) -> dict[str, float]:
    """Score the adapter's replies: signed, different from each other, on topic, and short for thanks."""
    sys.path.insert(0, str(ROOT))
    from engine.messages import Message
    from engine.prompts import style

    writer = Writer(folder, adapter)
    technical = [(t, ask.format(t=t)) for ask in CASES["technical"] for t in CASES["on_topic"]]
    comments = [ask for _, ask in technical] + CASES["thanks"] + CASES["other"]
    replies = writer.write([style("shawgpt").render([Message("user", c)], writer.tokenizer) for c in comments], 120)
    long, thanks = replies[: len(technical)], replies[len(technical) : len(technical) + len(CASES["thanks"])]
    mean = [sum(len(text.split()) for text in group) / len(group) for group in (thanks, long)]
    return {
        "shawgpt_signed": share([text.rstrip().endswith("–ShawGPT") for text in replies]),
        "shawgpt_distinct": round(len(set(long)) / len(long), 3),
        "shawgpt_on_topic": share([t.lower() in text.lower() for text, (t, _) in zip(long, technical, strict=True)]),
        "thanks_over_technical_length": round(mean[0] / max(mean[1], 1), 3),
    }


def leaks(count: int = 3000) -> list[str]:
    """Return held-out names that a stretch of training text holds after all."""
    import forms

    text = "\n".join(islice(forms.documents(5), count)).lower()
    return [
        name for kind in names.HELD_OUT.values() for name in kind if re.search(rf"\b{re.escape(name.lower())}\b", text)
    ]


def judged(scores: dict[str, float]) -> dict[str, bool]:
    """Return for each floor of floors.toml whether it is met; a missing score is not."""
    found = {}
    for key, bound in FLOORS.items():
        name = key.removesuffix("_at_most")
        got = scores.get(name)
        found[name] = got is not None and (got <= bound if key.endswith("_at_most") else got >= bound)
    return found


def main(folder: Path, quick: bool) -> None:
    """Print one JSON object with all scores and which floors are met."""
    torch.set_num_threads(1)
    count = 24 if quick else 80
    writer = Writer(folder)
    scores = tool_scores(writer, count) | passage_scores(writer, count) | {"ordinary": ordinary_score(writer)}
    adapter = ROOT / "assets" / "adapters" / "starter-shawgpt"
    if (adapter / "adapter_config.json").exists():
        scores |= shawgpt_scores(folder, adapter)
    scores["bytes"] = sum(f.stat().st_size for f in folder.iterdir() if f.suffix in (".safetensors", ".json", ".jinja"))
    print(json.dumps({**scores, "leaks": leaks(), "floors": judged(scores)}))
