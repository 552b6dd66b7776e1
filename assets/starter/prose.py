"""Everyday prose from templates, and lists that go on or are copied from."""

from random import Random

import names
from names import PHRASES, common

IRREGULAR = {
    "bring": "brought",
    "build": "built",
    "buy": "bought",
    "catch": "caught",
    "choose": "chose",
    "cut": "cut",
    "draw": "drew",
    "drink": "drank",
    "drive": "drove",
    "eat": "ate",
    "find": "found",
    "forget": "forgot",
    "give": "gave",
    "keep": "kept",
    "leave": "left",
    "lend": "lent",
    "lose": "lost",
    "make": "made",
    "sell": "sold",
    "send": "sent",
    "take": "took",
    "wear": "wore",
    "see": "saw",
    "hide": "hid",
    "throw": "threw",
    "steal": "stole",
    "read": "read",
    "hear": "heard",
    "win": "won",
}
REGULAR = [
    "borrow",
    "carry",
    "clean",
    "collect",
    "cook",
    "count",
    "cover",
    "drop",
    "finish",
    "fix",
    "fold",
    "lift",
    "measure",
    "mend",
    "mix",
    "notice",
    "offer",
    "open",
    "order",
    "pack",
    "paint",
    "pick",
    "pull",
    "push",
    "repair",
    "return",
    "share",
    "touch",
    "use",
    "wash",
    "watch",
    "wrap",
]
DEEDS = [(past, base) for base, past in IRREGULAR.items()]
DEEDS += [
    (base + ("d" if base.endswith("e") else "ped" if base in ("drop", "wrap") else "ed"), base)
    for base in REGULAR
    if not base.endswith("y")
] + [("carried", "carry")]
NUMBERS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")


def fill(rng: Random, template: str) -> str:
    """Fill a template's fields with everyday words and invented names."""
    past, past2 = rng.choice(DEEDS)[0], rng.choice(DEEDS)[0]
    words = {
        "adj": common(rng, "adjectives"),
        "adj2": common(rng, "adjectives"),
        "thing": common(rng, "things"),
        "thing2": common(rng, "things"),
        "animal": common(rng, "animals"),
        "people": common(rng, "people"),
        "people2": common(rng, "people"),
        "verb": common(rng, "verbs"),
        "verb2": common(rng, "verbs"),
        "adv": common(rng, "adverbs"),
        "moment": common(rng, "moments"),
        "spot": common(rng, "spots"),
        "feeling": common(rng, "feelings"),
        "past": past,
        "past2": past2,
    }
    words["adv_"], words["moment_"] = words["adv"].capitalize(), words["moment"].capitalize()
    for key, make in (
        ("name", names.person),
        ("name2", names.person),
        ("place", names.place),
        ("n", names.amount),
        ("price", names.price),
    ):
        if "{" + key + "}" in template:
            words[key] = make(rng)
    return template.format(**words)


def filler(rng: Random) -> str:
    """Return one everyday sentence."""
    return fill(rng, rng.choice(PHRASES["fillers"]))


def story(rng: Random) -> str:
    """Return a short tale in which a named person and a thing come back."""
    name, thing, place = names.person(rng), common(rng, "things"), names.place(rng)
    adj, verb, animal = common(rng, "adjectives"), common(rng, "verbs"), common(rng, "animals")
    lines = [
        rng.choice(
            (
                f"{name} lived in {place}.",
                f"Once there was a {common(rng, 'people')} called {name}.",
                f"{name} had a {adj} {thing}.",
                f"{common(rng, 'moments').capitalize()}, {name} went to {place}.",
            )
        )
    ]
    for _ in range(rng.randint(2, 7)):
        lines.append(
            rng.choice(
                (
                    f"{rng.choice(PHRASES['links'])}{name} {rng.choice(DEEDS)[0]} the {thing}.",
                    f"The {thing} was {common(rng, 'adjectives')}.",
                    f'"I want to {verb}," said {name}.',
                    f"{rng.choice(PHRASES['links'])}the {animal} came to {place}.",
                    f"A {animal} saw {name} and was {common(rng, 'feelings')}.",
                    f"{name} liked to {verb} with the {animal}.",
                    f"{name} was {common(rng, 'feelings')}, because the {thing} was in {place}.",
                    filler(rng),
                )
            )
        )
    lines.append(
        rng.choice(
            (
                f"{name} was {common(rng, 'feelings')}.",
                f"From then on {name} kept the {thing}.",
                f"And that is how {name} {rng.choice(DEEDS)[0]} the {adj} {thing}.",
                "That was all.",
            )
        )
    )
    return " ".join(line[:1].upper() + line[1:] for line in lines)


def letter(rng: Random) -> str:
    """Return a short letter or message."""
    to, sender, thing = names.person(rng), names.person(rng), common(rng, "things")
    middle = " ".join(filler(rng) for _ in range(rng.randint(1, 3)))
    opening = rng.choice(("thank you for", "I am writing about", "I have lost"))
    plan = rng.choice(("Let us meet", "I will call you", "Please reply"))
    close = rng.choice(("Best wishes", "Yours", "See you soon", "Kind regards"))
    return (
        f"{rng.choice(('Dear', 'Hello', 'Hi'))} {to},\n\n{opening} the {thing}. {middle} {plan} on {names.date(rng)} "
        f"at {names.hour(rng)}.\n\n{close},\n{sender}"
    )


def items(rng: Random, count: int) -> list[str]:
    """Return different list items of one kind."""
    kind = rng.choice(
        (
            names.anything,
            names.person,
            names.place,
            names.code,
            names.capital,
            names.product,
            names.company,
            lambda r: common(r, "things"),
            lambda r: common(r, "animals"),
            lambda r: fill(r, r.choice(PHRASES["tasks"])),
        )
    )
    found: list[str] = []
    while len(found) < count:
        item = kind(rng)
        if item not in found:
            found.append(item)
    return found


def plain_list(rng: Random) -> str:
    """Return a list with a heading that simply goes on."""
    mark = rng.choice(("- {t}", "{n}. {t}", "* {t}", "{n}) {t}"))
    head = rng.choice(PHRASES["list_heads"]).format(common(rng, "things"))
    return f"{head}:\n" + "\n".join(mark.format(n=i + 1, t=t) for i, t in enumerate(items(rng, rng.randint(3, 10))))


def copied_list(rng: Random) -> str | list[dict]:
    """Return a list followed by questions whose answers are copied from it."""
    things = items(rng, rng.randint(3, 7))
    mark = rng.choice(("- {t}", "{n}. {t}", "{t}"))
    block = "\n".join(mark.format(n=i + 1, t=t) for i, t in enumerate(things))
    pairs = []
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(things))
        number = NUMBERS[at]
        ways = [
            (f"What is the {number} item?", f"The {number} item is {things[at]}."),
            (f"Which item is number {at + 1}?", f"Number {at + 1} is {things[at]}."),
            ("What is the last item?", f"The last item is {things[-1]}."),
            ("How many items are there?", f"There are {len(things)} items."),
            ("Repeat the list.", "\n".join(things)),
            ("Write the list in reverse.", "\n".join(things[::-1])),
        ]
        if at + 1 < len(things):
            ways += [
                (f"What comes after {things[at]}?", f"After {things[at]} comes {things[at + 1]}."),
                (f"What stands before {things[at + 1]}?", f"Before {things[at + 1]} stands {things[at]}."),
            ] * 2
        pairs.append(rng.choice(ways))
    if rng.random() < 0.5:
        messages = [
            {"role": "user", "content": f"{block}\n\n{pairs[0][0]}"},
            {"role": "assistant", "content": pairs[0][1]},
        ]
        for question, answer in pairs[1:]:
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return messages
    return block + "\n\n" + "\n".join(f"Q: {q}\nA: {a}" for q, a in pairs)


def echo(rng: Random) -> str:
    """Return lines that repeat names after a few others: bare practice in copying."""
    pairs = [(names.anything(rng), names.anything(rng)) for _ in range(rng.randint(3, 6))]
    joint = rng.choice((" = ", ": ", " -> ", " is ", ", "))
    lines = [f"{a}{joint}{b}" for a, b in pairs]
    rng.shuffle(pairs)
    return "\n".join(lines) + "\n\n" + "\n".join(f"{a}{joint}{b}" for a, b in pairs)


def drill(rng: Random) -> str:
    """Return a line of names, numbers and words that is said again once or twice: the plainest practice in copying."""
    kind = rng.choice((names.anything, names.anything, names.person, names.capital, names.code, names.place))
    joint = rng.choice((", ", " ", "; ", " and ", " | "))
    line = joint.join(kind(rng) for _ in range(rng.randint(3, 12)))
    return "\n".join([line] * rng.choice((2, 2, 3)))


def document(rng: Random) -> str:
    """Return a document of plain prose."""
    way = rng.random()
    if way < 0.45:
        return story(rng)
    if way < 0.7:
        return letter(rng)
    return " ".join(filler(rng) for _ in range(rng.randint(3, 9)))
