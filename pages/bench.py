"""One visitor's bench on the Data tab: the table that was loaded, the dataset made of it, and how it is looked at."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.catalog import Model
from engine.data.columns import dataset_from, recognise
from engine.data.prepare import meaning
from engine.data.survey import Survey, survey
from engine.data.table import Table
from engine.data.tokens import Loss, Side, Tokens, tokenized
from engine.data.vocabulary import tokenizer_of
from engine.datasets import Dataset
from engine.embed import embed
from engine.errors import Problem
from engine.prompts import PromptStyle

PAGE = 10  # rows on one page of the table
AT_ONCE = 64  # rows embedded between two signs of life


@dataclass(frozen=True)
class Look:
    """How rows become tokens: whose tokenizer, which prompt style, what carries loss, and where it is cut."""

    model: Model
    style: PromptStyle
    loss: Loss
    limit: int
    side: Side


class Bench:
    """Lives in gr.State, by reference. `at` is the place of the row that is shown, from 0.

    `trouble` says why a table has no dataset, `unseen` why a dataset cannot become tokens as it is looked at.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.table: Table | None = None
        self.mapping: dict[str, str] = {}
        self.loaded: Dataset | None = None
        self.dataset: Dataset | None = None
        self.trouble = self.unseen = ""
        self.steps: tuple[str, ...] = ()
        self.look: Look | None = None
        self.survey: Survey | None = None
        self.vectors: dict[str, Any] = {}
        self.at = 0

    def __deepcopy__(self, memo: dict) -> Bench:
        """A fresh bench: Gradio copies the first one for every visitor."""
        return Bench()

    def put(self, table: Table) -> None:
        """Lay a table on the bench. Where its columns are not recognised there is no dataset and `trouble` says why."""
        with self._lock:
            self.table, self.vectors = table, {}
            try:
                self.mapping = recognise(table.columns)
            except Problem as problem:
                self.mapping, self.trouble = {}, str(problem)
                self._use(None)
                return
            self._use(dataset_from(table))

    def remap(self, mapping: Mapping[str, str]) -> None:
        """Give the columns other parts. Raises Problem and changes nothing when it cannot be done."""
        with self._lock:
            if self.table is None:
                raise Problem("Load some rows first.")
            dataset = dataset_from(self.table, mapping)
            self.mapping = {part: column for part, column in mapping.items() if column}
            self._use(dataset)

    def _use(self, dataset: Dataset | None) -> None:
        self.loaded = self.dataset = dataset
        if dataset is not None:
            self.trouble = ""
        self.steps, self.survey, self.at, self.unseen = (), None, 0, ""

    def change(self, dataset: Dataset, steps: list[str]) -> None:
        """Take a prepared dataset in place of the one before."""
        with self._lock:
            self.dataset, self.survey, self.at = dataset, None, 0
            self.steps = (*self.steps, *steps)

    def undo(self) -> None:
        """Back to the rows as they were loaded."""
        with self._lock:
            self.dataset, self.survey, self.at, self.steps = self.loaded, None, 0, ()

    @property
    def rows(self) -> Dataset:
        """The dataset. Raises Problem when there is none."""
        if self.dataset is None:
            raise Problem(self.trouble or "Load some rows first: a sample, a file, or pasted text.")
        return self.dataset

    def measure(self, look: Look) -> Survey:
        """Tokenize every row as `look` says, unless that has been done. Raises Problem."""
        with self._lock:
            if self.survey is None or look != self.look:
                self.look, self.survey = look, None
                try:
                    tokenizer = tokenizer_of(look.model)
                    self.survey = survey(self.rows, look.style, tokenizer, look.limit, look.side, look.loss)
                except Problem as problem:
                    self.unseen = str(problem)
                    raise
                self.unseen = ""
            return self.survey

    def tokens(self) -> Tokens | None:
        """The tokens of the row that is shown; None before anything was measured or without rows."""
        with self._lock:
            if self.survey is None or self.look is None or not self.dataset or not self.dataset.examples:
                return None
            example, look = self.dataset.examples[self.at], self.look
            return tokenized(example, look.style, tokenizer_of(look.model), look.limit, look.side, look.loss)

    def embed_rows(self) -> Iterator[tuple[int, int]]:
        """Embed what rows say, yielding (done, of) as it goes on; what was embedded before is not done again."""
        texts = list(dict.fromkeys(meaning(example) for example in self.rows.examples))
        missing = [text for text in texts if text not in self.vectors]
        for start in range(0, len(missing), AT_ONCE):
            yield len(texts) - len(missing) + start, len(texts)
            some = missing[start : start + AT_ONCE]
            self.vectors.update(zip(some, embed(some), strict=True))

    def embedded(self, texts: Sequence[str]) -> list[Any]:
        """The vectors of texts after embed_rows."""
        return [self.vectors[text] for text in texts]

    def go(self, place: int) -> None:
        """Show the row at a place, or the nearest there is."""
        with self._lock:
            count = len(self.dataset) if self.dataset else 0
            self.at = max(0, min(place, count - 1))
