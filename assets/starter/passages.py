"""Numbered passages with a question: answered with [n], or refused when the passages do not hold the answer."""

import tomllib
from pathlib import Path
from random import Random

import names
import prose

FACTS = tomllib.loads((Path(__file__).parent / "facts.toml").read_text(encoding="utf-8"))
REFUSALS = ("The passages do not say.",) * 18 + (
    "I could not find that in the passages.",
    "The passages do not mention it.",
)
ORDERS = (
    "Answer from the passages and mark the source with [n].",
    "Use only the passages below. Cite them as [1], [2]. If they do not hold the answer, say so.",
    "Answer the question from these numbered passages.",
    "Read the passages, then answer with the number of the passage in brackets.",
    "You answer from the given documents only.",
    "Answer with the help of the context.",
    "",
)
ASIDES = (
    "Please tell me: {}",
    "I would like to know: {}",
    "Do you know this? {}",
    "Hi! {}",
    "{} Thanks.",
    "According to the passages: {}",
    "Can you tell me this: {}",
)
VALUES = {
    "food": lambda r: f"{names.common(r, 'adjectives')} {names.common(r, 'things')}",
    "month": lambda r: names.common(r, "months"),
    "weekday": lambda r: names.common(r, "weekdays"),
    "job": lambda r: names.common(r, "jobs"),
    "animal": lambda r: names.common(r, "animals"),
    "thing": lambda r: names.common(r, "things"),
    "colour": lambda r: names.common(r, "colours"),
    "material": lambda r: names.common(r, "materials"),
    "weight": lambda r: f"{names.amount(r)} {r.choice(('kg', 'grams', 'kilos', 'pounds'))}",
    "span": lambda r: f"{r.randint(2, 60)} {r.choice(('hours', 'days', 'months', 'years', 'minutes'))}",
    "percent": lambda r: (
        f"{r.randint(11, 99)}{r.choice(('', '.' + str(r.randint(1, 9))))}{r.choice(('%', ' percent'))}"
    ),
    "decimal": lambda r: r.choice((f"0.{r.randint(1, 9999)}", f"{r.randint(1, 9)}e-{r.randint(2, 6)}")),
    "event": lambda r: f"{names.capital(r)} {r.choice(('fair', 'concert', 'meeting', 'race', 'workshop', 'festival'))}",
    "title": lambda r: (
        f'"The {r.choice((names.common(r, "adjectives").capitalize(), names.capital(r)))} '
        f'{r.choice((names.common(r, "things").capitalize(), names.capital(r)))}"'
    ),
    "method": lambda r: r.choice(
        (
            names.capital(r),
            names.capital(r) + r.choice(("Net", "Former", "LM", "-2", " XL")),
            names.code(r).upper().strip("#"),
        )
    ),
    "room": lambda r: r.choice(
        (
            f"room {names.code(r)}",
            f"the {names.capital(r)} {r.choice(('hall', 'shop', 'lab'))}",
            f"the {names.common(r, 'adjectives')} {r.choice(('hall', 'office', 'library'))}",
        )
    ),
    "model": lambda r: r.choice(
        (
            names.product(r),
            f"{names.capital(r)} {names.common(r, 'things')}",
            names.capital(r) + " " + names.code(r).strip("#"),
        )
    ),
}


def value(rng: Random, kind: str) -> str:
    """Return a value of a kind that facts.toml names."""
    return VALUES[kind](rng) if kind in VALUES else getattr(names, kind)(rng)


def sentence(text: str) -> str:
    """Return the text with its first letter raised."""
    return text[:1].upper() + text[1:]


class Fact:
    """One fact: the sentence a passage holds, questions it answers, the full answer and the bare value."""

    def __init__(self, says: str, asks: list[str], answer: str, bare: str, entity: str) -> None:
        self.says, self.asks, self.answer, self.bare, self.entity = says, asks, answer, bare, entity


def known(rng: Random, kind: str, entity: str, row: dict, bare: str) -> Fact:
    """Return a fact of facts.toml about an entity."""
    fill = {"e": entity, "v": bare}
    return Fact(
        sentence(rng.choice(row["says"]).format(**fill)),
        [sentence(a.format(**fill)) if rng.random() < 0.9 else a.format(**fill).lower() for a in row["asks"]],
        sentence(row["says"][0].format(**fill)),
        bare,
        entity,
    )


def loose(rng: Random, entity: str) -> Fact:
    """Return a fact with an attribute made up on the spot, so that attributes cannot be learned by heart."""
    what = rng.choice(
        (
            names.common(rng, "nouns"),
            f"{names.common(rng, 'nouns')} of the {names.common(rng, 'things')}",
            f"{names.common(rng, 'adjectives')} {names.common(rng, 'things')}",
            names.common(rng, "things"),
            f"{names.common(rng, 'colours')} {names.common(rng, 'animals')}",
            names.invented(rng),
            f"{names.common(rng, 'things')} {rng.choice(('number', 'name', 'size', 'code', 'price', 'limit'))}",
        )
    )
    bare = names.anything(rng)
    says = rng.choice(
        (
            f"The {what} of {entity} is {bare}.",
            f"For {entity} the {what} is {bare}.",
            f"{sentence(entity)} has {bare} as its {what}.",
            f"{bare} is the {what} of {entity}.",
        )
    )
    asks = [
        f"What is the {what} of {entity}?",
        f"Which is the {what} of {entity}?",
        f"{what} of {entity}?",
        f"Tell me the {what} of {entity}.",
        f"What does {entity} have as its {what}?",
    ]
    return Fact(sentence(says), asks, sentence(f"The {what} of {entity} is {bare}."), bare, entity)


def deed(rng: Random, entity: str) -> Fact:
    """Return a fact of the form somebody did something somewhere, asked by who, what, where or when."""
    verb, thing = rng.choice(prose.DEEDS), f"{names.common(rng, 'adjectives')} {names.common(rng, 'things')}"
    spot, moment = names.common(rng, "spots"), names.common(rng, "moments")
    past, base = verb
    article = "an" if thing[0] in "aeiou" else "a"
    says = f"{entity} {past} {article} {thing} {spot} {moment}."
    what = rng.choice(
        (
            ([f"Who {past} the {thing}?", f"Which person {past} the {thing}?"], entity),
            ([f"What did {entity} {base}?", f"What was it that {entity} {past}?"], f"{article} {thing}"),
            ([f"Where did {entity} {base} the {thing}?"], spot),
            ([f"When did {entity} {base} the {thing}?"], moment),
        )
    )
    return Fact(says, what[0], says, what[1], entity)


def topic(rng: Random, kind: str | None = None, make=value) -> tuple[list[Fact], list[Fact]]:
    """Return facts about one entity that a passage may tell, and others that it leaves out."""
    kind = kind or rng.choice(list(FACTS))
    entity = make(rng, FACTS[kind]["of"])
    rows = rng.sample(FACTS[kind]["facts"], k=min(rng.randint(2, 6), len(FACTS[kind]["facts"])))
    facts = [known(rng, kind, entity, row, make(rng, row["v"])) for row in rows]
    if rng.random() < 0.45:
        facts = facts[: rng.randint(1, 2)] + [loose(rng, entity) for _ in range(rng.randint(2, 3))]
    if kind == "person" and rng.random() < 0.4:
        facts += [deed(rng, entity), loose(rng, entity)]
    rng.shuffle(facts)
    keep = rng.randint(1, max(1, len(facts) - 1))
    return facts[:keep], facts[keep:]


def passage(rng: Random, length: int, make=value, kind: str | None = None) -> tuple[str, list[Fact], list[Fact]]:
    """Return a passage of about `length` sentences on one or two entities, the facts told and those left out."""
    told, untold = topic(rng, kind, make)
    if rng.random() < 0.4:
        more, others = topic(rng, kind, make)
        told, untold = told + more, untold + others
    lines = [fact.says for fact in told]
    while len(lines) < length:
        lines.insert(rng.randint(0, len(lines)), prose.filler(rng))
    return " ".join(lines), told, untold


def near(rng: Random, fact: Fact) -> str | None:
    """Return a question about an entity that only looks like the one in the passage."""
    parts = fact.entity.split()
    where = rng.randrange(len(parts))
    new = names.code(rng).strip("#") if any(c.isdigit() for c in parts[where]) else names.capital(rng)
    changed = [*parts[:where], new, *parts[where + 1 :]]
    question = rng.choice(fact.asks)
    return question.replace(fact.entity, " ".join(changed)) if fact.entity in question else None


def quiz(rng: Random, count: int, length: int, questions: int, missing: float = 0.42, make=value):
    """Return the passages as one text, and questions with answer and bare value; a share `missing` is refused."""
    kind = rng.choice(list(FACTS)) if rng.random() < 0.5 else None
    made = [passage(rng, rng.randint(max(1, length - 2), length + 1), make, kind) for _ in range(count)]
    style = rng.choice(("[{}] ", "[{}] ", "[{}] ", f"[{{}}] ({names.invented(rng)}.pdf, page {rng.randint(1, 90)}) "))
    gap = rng.choice(("\n", "\n\n"))
    block = gap.join(style.format(i + 1) + text for i, (text, _, _) in enumerate(made))
    refusal, full = rng.choice(REFUSALS), rng.random() < 0.9
    pairs = []
    while len(pairs) < questions:
        number = rng.randrange(count)
        _, told, untold = made[number]
        if rng.random() >= missing:
            fact = rng.choice(told)
            question, bare, answer = (
                rng.choice(fact.asks),
                fact.bare,
                f"{fact.answer[:-1] if full else sentence(fact.bare)} [{number + 1}].",
            )
        else:
            way, answer, bare = rng.random(), refusal, ""
            if way < 0.5 and untold:
                question = rng.choice(rng.choice(untold).asks)
            elif way < 0.75:
                question = near(rng, rng.choice(told))
            else:
                question = rng.choice(rng.choice([f for side in topic(rng, kind, make) for f in side]).asks)
            if question is None:
                continue
        pairs.append((rng.choice(ASIDES).format(question) if rng.random() < 0.12 else question, answer, bare))
    return block, pairs


def shape(rng: Random) -> tuple[int, int, int]:
    """Return how many passages, how many sentences in each, and how many questions follow."""
    way = rng.random()
    if way < 0.5:
        return 1, rng.randint(1, 5), rng.randint(3, 7)
    if way < 0.8:
        return rng.randint(2, 3), rng.randint(1, 4), rng.randint(3, 8)
    return rng.randint(2, 3), rng.randint(5, 9), rng.randint(4, 8)


def document(rng: Random, size: tuple[int, int, int] | None = None) -> str | list[dict]:
    """Return one document: plain text or the messages of a chat."""
    count, length, questions = size or shape(rng)
    block, asked = quiz(rng, count, length, questions)
    pairs = [(question, answer) for question, answer, _ in asked]
    order = rng.choice(ORDERS)
    way = rng.random()
    if way < 0.45:
        first, system = f"{block}\n\nQuestion: {pairs[0][0]}", (order and [{"role": "system", "content": order}]) or []
        if rng.random() < 0.5:
            first, system = (f"{order}\n\n{first}" if order else first), []
        messages = [*system, {"role": "user", "content": first}, {"role": "assistant", "content": pairs[0][1]}]
        for question, answer in pairs[1:]:
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return messages
    head = f"{order}\n\n{block}" if order else block
    ask, reply, gap = rng.choice(
        (
            ("Question: ", "Answer: ", "\n"),
            ("Q: ", "A: ", "\n"),
            ("Question: ", "Answer: ", "\n\n"),
            ("### Question:\n", "### Answer:\n", "\n\n"),
        )
    )
    return head + "\n\n" + "\n\n".join(f"{ask}{q}{gap}{reply}{a}" for q, a in pairs)
