"""What a dataset is like once it is tokens: lengths, cuts, masked rows, repeats and odd characters."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.data.tokens import AT_ONCE, MASKED, Loss, Side, Tokens, tokenized_all
from engine.datasets import FEWEST_ROWS, Dataset, Example, rows_named
from engine.messages import encodable
from engine.prompts import PromptStyle

MOST_COLUMNS = 8  # of which the lengths are counted
MOST_LETTERS = 2000  # of a row, from which its script is told
# UTF-8 that was read as Windows-1252: what an accent, a quotation mark and a dash turn into
MOJIBAKE = ("Ã©", "Ã¨", "Ã¼", "Ã¶", "Ã¤", "Ã±", "â€™", "â€œ", "â€“", "â€”", "Â ")


@dataclass(frozen=True)
class Survey:
    """Counts over all rows. In tokens: whole `lengths` and `meant`, the part that carries loss, both before the cut.

    The others are numbers of rows: `masked` have no token that carries loss, `joined` see Tokens, `without_stop` lost
    their stop token to the cut, `repeated` are equal to an earlier row, `odd` look like a broken encoding. `columns`
    are the tokens of every row in each column that is read, and `scripts` the rows written mostly in each script.
    """

    rows: tuple[int, ...]
    lengths: tuple[int, ...]
    meant: tuple[int, ...]
    limit: int
    side: Side
    cut: tuple[int, ...]
    masked: tuple[int, ...]
    joined: tuple[int, ...]
    without_stop: tuple[int, ...]
    repeated: tuple[int, ...]
    odd: tuple[int, ...]
    columns: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    scripts: Mapping[str, int] = field(default_factory=dict)

    @property
    def prompts(self) -> tuple[int, ...]:
        """Tokens of each row that carry no loss, before the cut."""
        return tuple(whole - meant for whole, meant in zip(self.lengths, self.meant, strict=True))

    def problems(self) -> list[str]:
        """Why these rows cannot be trained on in this way."""
        left = len(self.rows) - len(self.masked)
        if self.masked and left < FEWEST_ROWS:
            return [f"Only {left} rows have a token that carries loss. Raise the limit or cut the other side."]
        return []

    def warnings(self) -> list[str]:
        """What a person should know before training, in words with row numbers."""
        lost = "start" if self.side == "left" else "end"
        told = (
            (self.cut, f"longer than {self.limit:,} tokens: the {lost} is cut off"),
            (self.masked, "no token left that carries loss: nothing is learned from there"),
            (self.without_stop, "the stop token is cut off, so the model does not learn there when to end"),
            (self.joined, "one token holds both the end of the prompt and the start of the response; end the "
             "prompt style with a space or a new line"),
            (self.odd, "characters that look like a broken encoding"),
        )  # fmt: skip
        return [f"{rows_named(rows)}: {what}." for rows, what in told if rows]


def survey(
    dataset: Dataset, style: PromptStyle, tokenizer: Any, limit: int, side: Side, loss: Loss = "completion"
) -> Survey:
    """Tokenize every row as training will, and count."""
    examples = dataset.examples
    tokens = list(tokenized_all(examples, style, tokenizer, limit, side, loss))

    def those(chosen: Sequence[bool]) -> tuple[int, ...]:
        return tuple(example.row for example, yes in zip(examples, chosen, strict=True) if yes)

    return Survey(
        rows=tuple(example.row for example in examples),
        lengths=tuple(len(each.ids) + each.cut for each in tokens),
        meant=tuple(each.meant for each in tokens),
        limit=limit,
        side=side,
        cut=those([each.cut > 0 for each in tokens]),
        masked=those([each.trained == 0 for each in tokens]),
        joined=those([each.joined for each in tokens]),
        without_stop=those([not each.stops and bool(each.cut) for each in tokens]),
        repeated=those(repeats(examples)),
        odd=those([odd(example) for example in examples]),
        columns=columns(examples, tokenizer),
        scripts=Counter(filter(None, (script(example) for example in examples))),
    )


def columns(examples: Sequence[Example], tokenizer: Any) -> dict[str, tuple[int, ...]]:
    """Tokens of each row in the parts of its conversation and in its other columns, by their name."""
    texts: dict[str, list[str]] = {}
    for place, example in enumerate(examples):
        for name, text in parts_of(example):
            texts.setdefault(name, [""] * place).append(text)
        for each in texts.values():
            each.extend([""] * (place + 1 - len(each)))
    return {name: lengths(found, tokenizer) for name, found in list(texts.items())[:MOST_COLUMNS]}


def parts_of(example: Example) -> Iterator[tuple[str, str]]:
    """The texts of a row by name: each role's words together, the response, then the other columns."""
    said: dict[str, list[str]] = {}
    for message in example.messages[:-1]:
        said.setdefault({"user": "prompt"}.get(message.role, message.role), []).append(message.content)
    yield from ((name, "\n".join(texts)) for name, texts in said.items())
    yield ("text" if example.plain else "response"), example.response
    yield from ((name, text) for name, text in example.fields if name not in (*said, "response", "text"))


def lengths(texts: Sequence[str], tokenizer: Any) -> tuple[int, ...]:
    """Tokens of each text."""
    found: list[int] = []
    for start in range(0, len(texts), AT_ONCE):
        batch = [encodable(text) for text in texts[start : start + AT_ONCE]]
        found += [len(ids) for ids in tokenizer(batch, add_special_tokens=False)["input_ids"]]
    return tuple(found)


def script(example: Example) -> str:
    """The script that most letters of a row are written in, such as Latin, Cyrillic or CJK; "" without letters."""
    text = "".join(message.content for message in example.messages)[:MOST_LETTERS]
    if text.isascii():
        return "Latin" if any(letter.isalpha() for letter in text) else ""
    names = Counter(unicodedata.name(letter, "?").split()[0] for letter in text if letter.isalpha())
    name = names.most_common(1)[0][0] if names else ""
    return name if name in ("", "CJK") else name.capitalize()


def repeats(examples: Sequence[Example]) -> list[bool]:
    """For each example whether the same one came before."""
    seen: set[str] = set()
    found = []
    for example in examples:
        found.append(example.canonical in seen)
        seen.add(example.canonical)
    return found


def odd(example: Example) -> bool:
    """Whether the text holds what no person writes: control characters, replacement marks, twice-encoded accents."""
    text = "".join(message.content for message in example.messages)
    if text.isascii() and text.isprintable():
        return False
    if "\ufffd" in text or any(mark in text for mark in MOJIBAKE):
        return True
    return any(unicodedata.category(letter) in ("Cc", "Co", "Cn") and letter not in "\n\r\t" for letter in set(text))


def shown_tokens(tokens: Tokens, tokenizer: Any) -> list[tuple[str, bool]]:
    """(text, carries loss) of each token. Part of a letter comes as the tokenizer's own name for it."""
    found = []
    for id, label in zip(tokens.ids, tokens.labels, strict=True):
        text = tokenizer.decode([id], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        name = tokenizer.convert_ids_to_tokens(id)
        if "\ufffd" in text:
            text = name
        elif name.startswith("▁") and not text.startswith(" "):
            text = f" {text}"
        found.append((text, label != MASKED))
    return found
