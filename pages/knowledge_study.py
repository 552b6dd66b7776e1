"""One visitor's work with documents: the collection in front of them, a plan to apply, the talk, the board."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from rag.collection import How
from rag.retrieve import Retrieved
from rag.types import Hit

EMPTY_TALK = """<div class="knowledge-empty"><p>Ask a question: the passages that are nearest to it stand beside
the answer, numbered as the answer cites them. A click on a number opens the page.</p>
<p class="quiet">The sample collection is read on its first use, which takes some seconds.</p></div>"""
EMPTY_SOURCES = '<p class="quiet">The passages that an answer rests on stand here.</p>'


@dataclass(frozen=True)
class Search:
    """What was searched for and found, and how: the two belong together."""

    retrieved: Retrieved
    how: How

    @property
    def question(self) -> str:
        """The question that was searched for, which for a follow-up is not the one that was written."""
        return self.retrieved.question_used


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
    search: Search | None = None
    read: tuple[str, ...] = ()
    running: bool = False
    seconds: float = 0.0


@dataclass
class Waiting:
    """What stands ready to be applied: the plan, what it reads, and whether its collection was made for it alone.

    `passwords` are those that open a locked file, by its name in the plan.
    """

    plan: Any = None
    sources: Any = None
    batch: str = ""
    collection: str = ""
    made: bool = False
    passwords: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Board:
    """A question through several lanes: their cells, and the search whose hits the grounded ones cite."""

    question: str
    cells: tuple[Any, ...] = ()
    search: Search | None = None
    running: bool = True


class Study:
    """Lives in gr.State by reference: the page's stream works on it while Stop reaches in from outside.

    `file` is the one that is looked at; `seen` is what the last look at the job showed; `search` is the one whose hits
    stand in the list of sources, `opened` is the number of the passage that is open and its page as HTML. `stopping`
    ends the answer, `measured` the measuring.
    """

    def __init__(self, collection: str = "") -> None:
        self.collection = collection
        self.file = ""
        self.turns: list[Turn] = []
        self.waiting = Waiting()
        self.job = ""
        self.seen = ""
        self.board: Board | None = None
        self.search: Search | None = None
        self.opened: tuple[int, str] = (0, "")
        self.stopping = threading.Event()
        self.measured = threading.Event()

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
        self.turns, self.board, self.search, self.opened = [], None, None, (0, "")

    def begin(self, turn: Turn) -> int:
        """Add a turn; its place in the talk."""
        self.stopping, self.opened = threading.Event(), (0, "")
        self.turns.append(turn)
        return len(self.turns) - 1

    @property
    def asked(self) -> Search | None:
        """The search of the question that was asked last with the documents, whatever is looked at since."""
        if self.board:
            return self.board.search
        return next((turn.search for turn in reversed(self.turns) if turn.search), None)

    @property
    def busy(self) -> bool:
        """Whether a question is being answered."""
        return any(turn.running for turn in self.turns) or bool(self.board and self.board.running)
