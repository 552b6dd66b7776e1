"""Invents names, numbers, dates and codes so varied that copying them cannot be learned by heart."""

import tomllib
from functools import cache
from pathlib import Path
from random import Random

HERE = Path(__file__).parent
WORDS = {
    key: value.split(";") if ";" in value else value.split()
    for key, value in tomllib.loads((HERE / "words.toml").read_text(encoding="utf-8")).items()
}
PHRASES = tomllib.loads((HERE / "phrases.toml").read_text(encoding="utf-8"))
HELD_OUT = tomllib.loads((HERE / "held_out.toml").read_text(encoding="utf-8"))
FORBIDDEN = {part.lower() for key in ("people", "places", "things") for name in HELD_OUT[key] for part in name.split()}
WORDS = {key: [word.strip() for word in value if word.lower() not in FORBIDDEN] for key, value in WORDS.items()}
CONSONANTS = [
    "b",
    "c",
    "d",
    "f",
    "g",
    "h",
    "j",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "v",
    "w",
    "x",
    "z",
    "br",
    "ch",
    "cl",
    "cr",
    "dr",
    "fl",
    "fr",
    "gl",
    "gr",
    "ph",
    "pl",
    "pr",
    "qu",
    "sh",
    "sk",
    "sl",
    "st",
    "th",
    "tr",
]
VOWELS = ["a", "e", "i", "o", "u", "y", "a", "e", "i", "o", "ai", "au", "ea", "ee", "ei", "ie", "oa", "oo", "ou"]
ENDS = ["n", "r", "s", "t", "l", "m", "d", "k", "x", "th", "ck", "ng", "nd", "rt", "st", "ss", "ll"]


@cache
def chain() -> dict[str, list[str]]:
    """Return the letters seen after each pair of letters in the hand-written names and words."""
    after: dict[str, list[str]] = {}
    for kind in ("first_names", "last_names", "places", "things", "animals", "adjectives", "jobs"):
        for word in WORDS[kind]:
            text = "^^" + word.lower() + "$"
            for start in range(len(text) - 2):
                after.setdefault(text[start : start + 2], []).append(text[start + 2])
    return after


def invented(rng: Random) -> str:
    """Return a new lower-case word of 3 to 10 letters, by a letter chain, syllables or bare letters."""
    while True:
        way = rng.random()
        if way < 0.55:
            pair, word = "^^", ""
            while len(word) < 12:
                letter = rng.choice(chain()[pair])
                if letter == "$":
                    break
                word += letter
                pair = pair[1] + letter
        elif way < 0.92:
            word = "".join(rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(rng.choice((1, 2, 2, 3))))
            word += rng.choice(ENDS) if rng.random() < 0.6 else ""
        else:
            word = "".join(rng.choice("abcdefghijklmnoprstuvwyz") for _ in range(rng.randint(3, 8)))
        if (
            3 <= len(word) <= 10
            and not any(part in word for part in FORBIDDEN if len(part) > 3)
            and word not in FORBIDDEN
        ):
            return word


def capital(rng: Random) -> str:
    """Return an invented word with a capital, now and then in mixed case or with a hyphen."""
    word = invented(rng)
    way = rng.random()
    if way < 0.88:
        return word.capitalize()
    if way < 0.92:
        return word.upper()[:6]
    if way < 0.96:
        return word.capitalize() + "-" + invented(rng).capitalize()
    return word[:2].capitalize() + word[2:].capitalize()


def person(rng: Random) -> str:
    """Return a person's name: given and family name, sometimes one word, a title or an initial."""
    first = rng.choice(WORDS["first_names"]) if rng.random() < 0.4 else capital(rng)
    last = rng.choice(WORDS["last_names"]) if rng.random() < 0.3 else capital(rng)
    way = rng.random()
    if way < 0.68:
        return f"{first} {last}"
    if way < 0.86:
        return first
    if way < 0.93:
        return f"{rng.choice(('Dr.', 'Mr', 'Mrs', 'Ms', 'Professor'))} {last}"
    return f"{first} {rng.choice('ABCDEFGHJKLMNPRSTW')}. {last}"


def place(rng: Random) -> str:
    """Return a town or country name, half of them invented."""
    way = rng.random()
    if way < 0.35:
        return rng.choice(WORDS["places"])
    if way < 0.8:
        return capital(rng)
    if way < 0.9:
        return f"{rng.choice(('New', 'Port', 'San', 'North', 'Saint', 'Lake', 'Mount', 'Upper'))} {capital(rng)}"
    return capital(rng) + rng.choice(("ville", "ton", "burg", "stad", "ia", "ham", "ford", "grad", " City"))


def company(rng: Random) -> str:
    """Return a company's name."""
    base = capital(rng) if rng.random() < 0.7 else rng.choice(WORDS["adjectives"]).capitalize()
    return f"{base} {rng.choice(WORDS['brands'])}" if rng.random() < 0.75 else base + rng.choice(("", "tech", "soft"))


def product(rng: Random) -> str:
    """Return a product: an adjective and a thing, a model name, or an invented brand."""
    way = rng.random()
    if way < 0.3:
        return f"{rng.choice(WORDS['adjectives'])} {rng.choice(WORDS['things'])}"
    if way < 0.55:
        return rng.choice(WORDS["things"])
    if way < 0.8:
        return f"{capital(rng)} {rng.randint(1, 999)}"
    return f"{capital(rng)} {rng.choice(WORDS['things'])}"


def code(rng: Random) -> str:
    """Return an identifier such as QX-4821, 77b3 or ORD20931."""
    letters = "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(rng.randint(1, 3)))
    digits = "".join(rng.choice("0123456789") for _ in range(rng.randint(2, 6)))
    return rng.choice(
        (
            f"{letters}-{digits}",
            f"{letters}{digits}",
            f"{digits}-{letters}",
            digits,
            f"#{digits}",
            f"{letters.lower()}{digits}",
        )
    )


def amount(rng: Random) -> str:
    """Return a number as written in running text, from 2 to some millions."""
    way = rng.random()
    if way < 0.4:
        return str(rng.randint(2, 99))
    if way < 0.7:
        return str(rng.randint(100, 9999))
    if way < 0.85:
        return f"{rng.randint(1, 999)},{rng.randint(0, 999):03d}"
    return f"{rng.randint(0, 99)}.{rng.randint(1, 99)}"


def price(rng: Random) -> str:
    """Return a price with its currency."""
    number = rng.choice((str(rng.randint(1, 2000)), f"{rng.randint(1, 300)}.{rng.randint(0, 99):02d}"))
    return rng.choice((f"${number}", f"{number} euros", f"€{number}", f"£{number}", f"{number} dollars"))


def year(rng: Random) -> str:
    """Return a year between 1400 and 2030."""
    return str(rng.randint(1400, 2030) if rng.random() < 0.4 else rng.randint(1850, 2026))


def date(rng: Random) -> str:
    """Return a calendar date in one of four spellings."""
    day, month, then = rng.randint(1, 28), rng.randrange(12), rng.randint(1950, 2030)
    name = WORDS["months"][month]
    return rng.choice(
        (f"{day} {name} {then}", f"{name} {day}, {then}", f"{then}-{month + 1:02d}-{day:02d}", f"{day} {name}")
    )


def hour(rng: Random) -> str:
    """Return a time of day."""
    return rng.choice(
        (
            f"{rng.randint(6, 22)}:{rng.choice(('00', '15', '30', '45'))}",
            f"{rng.randint(1, 12)} {rng.choice(('am', 'pm'))}",
        )
    )


def email(rng: Random) -> str:
    """Return an e-mail address."""
    name = rng.choice((invented(rng), f"{invented(rng)}.{invented(rng)}", f"{invented(rng)}{rng.randint(1, 99)}"))
    return f"{name}@{invented(rng)}.{rng.choice(('com', 'org', 'net', 'io', 'eu'))}"


def link(rng: Random) -> str:
    """Return a web address."""
    tail = f"/{invented(rng)}" if rng.random() < 0.6 else ""
    return f"https://{rng.choice(('', 'www.'))}{invented(rng)}.{rng.choice(('com', 'org', 'net', 'io'))}{tail}"


def phone(rng: Random) -> str:
    """Return a telephone number."""
    return f"{rng.choice(('', '+', '0'))}{rng.randint(10, 999)} {rng.randint(100, 999)} {rng.randint(1000, 9999)}"


def common(rng: Random, kind: str) -> str:
    """Return one hand-written word of a kind in words.toml."""
    return rng.choice(WORDS[kind])


def anything(rng: Random) -> str:
    """Return any one name, word, number or code: what a list may hold."""
    return rng.choice(
        (
            person,
            place,
            company,
            product,
            code,
            amount,
            price,
            date,
            capital,
            invented,
            email,
            lambda r: common(r, "things"),
            lambda r: common(r, "animals"),
            hour,
        )
    )(rng)
