"""One visitor's work with documents: the collection in front of them, a plan to apply, the talk, the board."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from rag.retrieve import Retrieved
from rag.types import Hit

EMPTY_TALK = """<div class="knowledge-empty"><p>Ask a question: the passages that are nearest to it stand beside
the answer, numbered as the answer cites them. A click on a number opens the page.</p>
<p class="quiet">The sample collection is read on its first use, which takes some seconds.</p></div>"""
EMPTY_SOURCES = '<p class="quiet">The passages that an answer rests on stand here.</p>'


@dataclass(frozen=True)
class Turn:
    """One question with its answer. `used` is the question that was searched for, where that is another.

    `cited` are the numbers of the hits that the answer cites, `removed` counts marks that pointed nowhere, `notes`
    are sentences that stand under the answer.
    """

    question: str
    used: str = ""
    text: str = ""
    hits: tuple[Hit, ...] = ()
    cited: tuple[int, ...] = ()
    removed: int = 0
    notes: tuple[str, ...] = ()
    context: bool = True
    model: str = ""
    retrieved: Retrieved | None = None
    read: tuple[str, ...] = ()
    running: bool = False
    seconds: float = 0.0


@dataclass
class Waiting:
    """What stands ready to be applied: the plan, what it reads, and whether its collection was made for it alone."""

    plan: Any = None
    sources: Any = None
    batch: str = ""
    collection: str = ""
    made: bool = False


@dataclass(frozen=True)
class Board:
    """A question through several lanes: their cells, and the hits that the grounded ones cite."""

    question: str
    cells: tuple[Any, ...] = ()
    hits: tuple[Hit, ...] = ()
    running: bool = True


class Study:
    """Lives in gr.State by reference: the page's stream works on it while Stop reaches in from outside.

    `file` is the one that is looked at; `seen` is what the last look at the job showed; `shown` are the hits that
    stand in the list of sources, `opened` is the number of the passage that is open and its page as HTML.
    """

    def __init__(self, collection: str = "") -> None:
        self.collection = collection
        self.file = ""
        self.turns: list[Turn] = []
        self.waiting = Waiting()
        self.job = ""
        self.seen = ""
        self.board: Board | None = None
        self.shown: tuple[Hit, ...] = ()
        self.opened: tuple[int, str] = (0, "")
        self.stopping = threading.Event()

    def __deepcopy__(self, memo: dict) -> Study:
        """A fresh study: Gradio copies the first one for every visitor."""
        return Study()

    def choose(self, collection: str) -> None:
        """Turn to another collection; the talk with the last one ends."""
        if collection != self.collection:
            self.collection, self.file = collection, ""
            self.clear()

    def clear(self) -> None:
        """End the talk."""
        self.stopping.set()
        self.turns, self.board, self.shown, self.opened = [], None, (), (0, "")

    def begin(self, turn: Turn) -> int:
        """Add a turn; its place in the talk."""
        self.stopping, self.opened = threading.Event(), (0, "")
        self.turns.append(turn)
        return len(self.turns) - 1

    @property
    def busy(self) -> bool:
        """Whether a question is being answered."""
        return any(turn.running for turn in self.turns) or bool(self.board and self.board.running)
