"""Question-and-answer pages, comment threads and definitions about the topics of knowledge.toml."""

import tomllib
from pathlib import Path
from random import Random

import names
import prose
from names import PHRASES

TOPICS = []
for block in tomllib.loads((Path(__file__).parent / "knowledge.toml").read_text(encoding="utf-8"))["topics"].split(
    "\n\n"
):
    first, *rest = block.strip().splitlines()
    TOPICS.append((first.split("|"), rest))
FRAMES = (
    ("Q: ", "\nA: ", "\n\n"),
    ("Q: ", "\nA: ", "\n"),
    ("Question: ", "\nAnswer: ", "\n\n"),
    ("### Question:\n", "\n\n### Answer:\n", "\n\n"),
    ("### Question: ", "\n### Answer: ", "\n\n"),
    ("### Instruction:\n", "\n\n### Response:\n", "\n\n"),
    ("Human: ", "\nAssistant: ", "\n\n"),
    ("", "\n", "\n\n"),
)
PREFACE = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n",
    "",
    "",
    "",
)
SIGNS = ("", "", "", " –{s}", "\n–{s}", " - {s}", "\n\n–{s}")


def raise_first(text: str) -> str:
    """Return the text with its first letter raised."""
    return text[:1].upper() + text[1:]


def pick(rng: Random) -> tuple[str, list[str]]:
    """Return one way to name a topic and the sentences about it."""
    ways, lines = rng.choice(TOPICS)
    return rng.choice(ways), lines


def say(rng: Random, template: str, topic: str, other: str = "data") -> str:
    """Fill a comment's template with a topic and invented names."""
    return template.format(
        t=topic,
        T=raise_first(topic),
        u=other,
        n=names.person(rng),
        p=names.place(rng),
        y=names.year(rng),
        a=names.common(rng, "animals"),
        thing=names.common(rng, "things"),
        food=names.common(rng, "things"),
        job=names.common(rng, "jobs"),
    )


def explained(rng: Random, lines: list[str], most: int = 3) -> str:
    """Return one to three of a topic's sentences in their order, nearly always with its definition."""
    chosen = set(rng.sample(range(len(lines)), min(len(lines), rng.randint(1, most))))
    if rng.random() < 0.8:
        chosen = set(sorted(chosen)[1:]) | {0}
    return " ".join(line for at, line in enumerate(lines) if at in chosen)


def loosely(rng: Random) -> str:
    """Return a careless way of asking about {t}, put together from an opening, a middle and an end."""
    ask = rng.choice(PHRASES["openers"]) + rng.choice(PHRASES["cores"]) + rng.choice(PHRASES["closers"])
    return ask[:1].upper() + ask[1:] if rng.random() < 0.5 else ask


def question(rng: Random) -> tuple[str, str]:
    """Return a question about a topic and its answer."""
    topic, lines = pick(rng)
    if rng.random() < 0.5:
        return say(rng, rng.choice(PHRASES["what"]), topic), explained(rng, lines)
    return say(rng, loosely(rng), topic), explained(rng, lines)


def exchange(rng: Random) -> tuple[str, str]:
    """Return a comment under a video and a reply that fits it and takes up its topic."""
    (topic, lines), (other, _) = pick(rng), pick(rng)
    way = rng.random()
    if way < 0.5:
        reply = rng.choice(PHRASES["reply_heads"]) + explained(rng, lines, 2)
        if topic.lower() not in reply.lower():
            reply = rng.choice(
                (f"About {topic}: {reply}", f"{reply} So much for {topic}.", f"{raise_first(topic)}, in short: {reply}")
            )
        pair = (
            rng.choice(PHRASES["what"] + PHRASES["asks"]) if rng.random() < 0.7 else loosely(rng),
            reply + rng.choice(PHRASES["reply_tails"]),
        )
    else:
        pair = [
            rng.choice(side)
            for side in rng.choice(
                (
                    (PHRASES["thanks"], PHRASES["thanks_back"]),
                    (PHRASES["grumbles"], PHRASES["grumbles_back"]),
                    (PHRASES["wishes"], PHRASES["wishes_back"]),
                    (PHRASES["casual"], PHRASES["casual_back"]),
                )
            )
        ]
    return say(rng, pair[0], topic, other), say(rng, pair[1], topic, other)


def faq(rng: Random) -> str:
    """Return a page of questions with answers in one of eight frames."""
    ask, reply, gap = rng.choice(FRAMES)
    head = rng.choice(("", "", "FAQ\n\n", "Frequently asked questions\n\n", "Questions and answers\n\n", "Quiz\n\n"))
    preface = rng.choice(PREFACE) if "Instruction" in ask else head
    return preface + gap.join(ask + q + reply + a for q, a in (question(rng) for _ in range(rng.randint(1, 7))))


def questions(rng: Random) -> str:
    """Return a list of questions that goes on with more questions."""
    mark = rng.choice(("", "- ", "{}. ", "Q: ", "* "))
    asked = [
        say(
            rng, rng.choice(PHRASES["what"][:3] + (PHRASES["what"] + PHRASES["asks"])[-12:]), pick(rng)[0], pick(rng)[0]
        )
        for _ in range(rng.randint(4, 12))
    ]
    return "\n".join(mark.format(i + 1) + q for i, q in enumerate(asked))


def instruct(rng: Random) -> str:
    """Return a prompt in [INST] marks with the reply that follows."""
    way = rng.random()
    if way < 0.45:
        comment, reply = exchange(rng)
        signer = rng.choice((names.capital(rng), names.capital(rng) + "GPT", names.person(rng)))
        order = rng.choice(
            (
                f"{signer} answers comments under videos. Reply to this comment.",
                "Reply to the comment below.",
                f"You are {signer}. Answer the comment.",
                "Write a reply to this YouTube comment.",
                f"{signer} replies to viewers of a channel about data science. Be kind and plain.",
            )
        )
        shape = rng.choice(
            ("{o}\n\nComment: {c}", "{o}\n\n{c}", "{o} {c}", "{o}\nPlease respond to the following comment.\n\n{c}")
        )
        return f"[INST] {shape.format(o=order, c=comment)} [/INST] {reply}"
    if way < 0.85:
        asked, answer = question(rng)
        return f"[INST] {asked} [/INST] {answer}"
    text = prose.filler(rng)
    return f"### Instruction:\nRepeat the input.\n\n### Input:\n{text}\n\n### Response:\n{text}"


def thread(rng: Random) -> str:
    """Return comments under a video, some with replies, that go on and on."""
    style = rng.choice(("bare", "named", "at", "comment", "gap"))
    sign = rng.choice(SIGNS)
    signer = names.capital(rng)
    lines = []
    for _ in range(rng.randint(3, 10)):
        comment, reply = exchange(rng)
        who, whom = names.person(rng), names.person(rng)
        if style == "named":
            lines.append(f"{who}: {comment}")
            if rng.random() < 0.5:
                lines.append(f"{whom}: {reply}")
        elif style == "at":
            handle = "@" + names.invented(rng) + rng.choice(("", str(rng.randint(1, 99))))
            lines.append(f"{handle} {comment}")
            if rng.random() < 0.5:
                lines.append(f"  {handle} {reply}")
        elif style == "comment":
            lines.append(f"Comment: {comment}\nReply: {reply}{sign.format(s=signer)}")
        else:
            lines.append(comment)
    return ("\n\n" if style in ("comment", "gap") else "\n").join(lines)


def article(rng: Random) -> str:
    """Return a few paragraphs of plain statements about topics, each under a heading or not."""
    parts = []
    for topic, lines in (pick(rng) for _ in range(rng.randint(1, 4))):
        head = rng.choice((f"# {raise_first(topic)}\n\n", f"{raise_first(topic)}: ", ""))
        parts.append(head + " ".join(rng.sample(lines, len(lines))) + rng.choice(("", " " + prose.filler(rng))))
    return "\n\n".join(parts)


def cited(rng: Random) -> list[dict]:
    """Return numbered passages about topics with a question answered by a sentence and its number."""
    chosen = rng.sample(TOPICS, rng.randint(2, 4))
    block = "\n\n".join(f"[{i + 1}] {explained(rng, lines)}" for i, (_, lines) in enumerate(chosen))
    at = rng.randrange(len(chosen))
    told = block.split("\n\n")[at].split("] ", 1)[1].split(". ")[0].rstrip(".")
    if rng.random() < 0.35:
        asked, answer = rng.choice([t for t in TOPICS if t not in chosen])[0], "The passages do not say."
    else:
        asked, answer = chosen[at][0], f"{told} [{at + 1}]."
    ask = say(rng, rng.choice(PHRASES["what"]), rng.choice(asked))
    return [{"role": "user", "content": f"{block}\n\nQuestion: {ask}"}, {"role": "assistant", "content": answer}]
