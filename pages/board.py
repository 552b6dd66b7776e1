"""What the Compare tab shows, as plain values: a board of lanes, and how each event of a comparison changes it."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field, replace

from engine.catalog import Model
from engine.compare import (
    MOST_LANES,
    CompareEvent,
    Lane,
    LaneBegan,
    LaneEnded,
    LaneGrounded,
    LanePiece,
    LaneResult,
    LaneWaits,
    Note,
)
from engine.lanes import notes
from engine.messages import Message
from engine.respond import Passage
from pages.literal import literal
from rag.citing import Marks
from rag.lane import Checked, Documents, checked
from rag.types import Hit

FEWEST_LANES = 2
LONGEST_SHOWN = 2000  # characters of a prompt in each lane; what is sent and exported is always the whole


@dataclass(frozen=True)
class Reading:
    """What a lane read before it answered: passages[i] has the number i + 1 in its prompt, hits[i] says where it is.

    `question` is what was searched for. `refused` says that nothing was near enough, and no model was asked.
    """

    passages: tuple[Passage, ...] = ()
    hits: tuple[Hit, ...] = ()
    question: str = ""
    refused: bool = False


@dataclass(frozen=True)
class Turn:
    """One finished exchange of a lane. `lane` is how it was asked; `retries` counts the answers thrown away.

    A lane with documents also has what it read, and its answer with the marks in it checked. Turns of one `number`
    answer the same Send, the first of which has 1; a lane that was added later lacks the first ones.
    """

    prompt: str
    lane: Lane
    result: LaneResult
    retries: int = 0
    reading: Reading | None = None
    checked: Checked | None = None
    number: int = 1

    @property
    def text(self) -> str:
        """The answer as the page shows it; `result.text` is raw model output."""
        return self.checked.text if self.checked else self.result.text


@dataclass(frozen=True)
class Ask:
    """The exchange that is running in a lane. `text` is raw model output so far; `waits` is what it waits for."""

    prompt: str
    lane: Lane
    retries: int = 0
    waits: str = ""
    began: bool = False
    text: str = ""
    tokens: int = 0
    reading: Reading | None = None
    number: int = 1


@dataclass(frozen=True)
class LaneView:
    """One column: the model in it, its finished turns, oldest first, and the one that is running, if any."""

    model: Model | None = None
    turns: tuple[Turn, ...] = ()
    ask: Ask | None = None

    @property
    def last(self) -> Turn | None:
        """The newest finished turn."""
        return self.turns[-1] if self.turns else None

    @property
    def reading(self) -> Reading | None:
        """What the lane reads now, or read last."""
        newest = self.ask or self.last
        return newest.reading if newest else None


@dataclass(frozen=True)
class Board:
    """All columns; the first `shown` of them are on the page. `diff` says whether differences are marked."""

    lanes: tuple[LaneView, ...] = field(default_factory=lambda: (LaneView(),) * MOST_LANES)
    shown: int = FEWEST_LANES
    notes: tuple[str, ...] = ()
    diff: bool = False

    @property
    def busy(self) -> bool:
        """Whether any lane is running."""
        return any(view.ask for view in self.lanes)

    @property
    def sent(self) -> int:
        """The number of the newest Send that any lane has answered, or answers now; 0 where there is none."""
        return max((turn.number for view in self.lanes for turn in (*view.turns, view.ask) if turn), default=0)

    def change(self, place: int, view: LaneView) -> Board:
        """This board with one lane replaced."""
        return replace(self, lanes=(*self.lanes[:place], view, *self.lanes[place + 1 :]))


def begin(board: Board, place: int, lane: Lane, prompt: str, retries: int = 0, number: int = 1) -> Board:
    """A lane starts to answer the Send of that number. A retry takes the place, and the number, of its last turn."""
    view = board.lanes[place]
    turns = view.turns[:-1] if retries else view.turns
    if retries and view.last:
        number = view.last.number
    return board.change(place, LaneView(lane.model, turns, Ask(prompt, lane, retries, number=number)))


def apply(board: Board, event: CompareEvent) -> Board:
    """The board after an event whose `lane` is a place on the board; a lane that is not running ignores it."""
    if isinstance(event, Note):
        return board if event.text in board.notes else replace(board, notes=(*board.notes, event.text))
    view = board.lanes[event.lane]
    if view.ask is None:
        return board
    match event:
        case LaneWaits():
            ask = replace(view.ask, waits=event.what)
        case LaneGrounded():
            ask = replace(view.ask, reading=reading_of(view.ask.lane, event), waits="")
        case LaneBegan():
            ask = replace(view.ask, began=True, waits="")
        case LanePiece():
            ask = replace(view.ask, text=view.ask.text + event.text, tokens=event.tokens, waits="")
        case LaneEnded():
            return board.change(event.lane, LaneView(view.model, (*view.turns, ended(view.ask, event.result))))
        case _:
            return board
    return board.change(event.lane, replace(view, ask=ask))


def reading_of(lane: Lane, event: LaneGrounded) -> Reading:
    """What the event says that a lane reads, with the hits behind the passages."""
    found = lane.passages.hits(event.question) if isinstance(lane.passages, Documents) else ()
    return Reading(event.passages, found[: len(event.passages)], event.question, bool(event.refusal))


def ended(ask: Ask, result: LaneResult) -> Turn:
    """The turn that an exchange came to; the marks of an answer from documents are held against the passages."""
    made = Turn(ask.prompt, ask.lane, result, ask.retries, ask.reading, number=ask.number)
    if ask.reading is None or ask.reading.refused:
        return made
    return replace(made, checked=checked(ask.lane, result.text, ask.reading.hits, ask.reading.question))


def collection(lane: Lane) -> str:
    """The name of the collection that a lane reads; empty where it reads none."""
    return lane.passages.name if isinstance(lane.passages, Documents) else ""


def history(view: LaneView, without_last: bool = False) -> list[Message]:
    """The lane's own earlier turns as messages; turns that failed or said nothing are left out."""
    messages = []
    for turn in view.turns[:-1] if without_last else view.turns:
        if turn.result.error is None and turn.result.text.strip():
            messages += [Message("user", turn.prompt), Message("assistant", turn.text)]
    return messages


def asked(view: LaneView) -> tuple[Lane, tuple[Message, ...]] | None:
    """How the lane is asked now, or was last, and what it reads besides its system prompt; None before that."""
    newest = view.ask or view.last
    if newest is None:
        return None
    return newest.lane, (*history(view, without_last=not view.ask), Message("user", newest.prompt))


def same_weights(board: Board) -> list[str]:
    """A sentence for every set of lanes on the page that answer from the same weights, as they were last asked."""
    found = [asked(view) for view in board.lanes[: board.shown]]
    read: dict[str, Documents] = {}  # a retry brings its documents anew; those of one name are the same
    lanes = [shared(each[0], read) if each else None for each in found]
    return notes(lanes, [each[1] if each else () for each in found])


def shared(lane: Lane, read: MutableMapping[str, Documents]) -> Lane:
    """The lane with the documents of that name that were met first."""
    if not isinstance(lane.passages, Documents):
        return lane
    return replace(lane, passages=read.setdefault(lane.passages.name, lane.passages))


def chat(view: LaneView) -> list[dict]:
    """The lane as a Chatbot's value. Text goes in as a block: Gradio strips the indentation of plain strings.

    Where the lane's model was changed on the way, each answer begins with the name of the model that gave it.
    """
    asked = [(turn.lane.model.name, turn.prompt, turn.text) for turn in view.turns]
    if view.ask:
        asked.append((view.ask.lane.model.name, view.ask.prompt, so_far(view.ask) if view.ask.text else ""))
    several = len({name for name, _, _ in asked} | ({view.model.name} if view.model else set())) > 1
    said = []
    for name, prompt, text in asked:
        said.append(bubble("user", literal(shortened(prompt))))
        if text:
            said.append(bubble("assistant", f"*{literal(name)}*\n\n{text}" if several else text))
    return said


def so_far(ask: Ask) -> str:
    """The words of a running lane; where it reads documents, without marks that point nowhere."""
    if ask.reading is None or ask.reading.refused:
        return ask.text
    marks = Marks(len(ask.reading.hits))
    return marks.feed(ask.text) + marks.finish()


def shortened(prompt: str) -> str:
    """The prompt as a lane repeats it: the browser would draw a very long one again at every beat."""
    if len(prompt) <= LONGEST_SHOWN:
        return prompt
    return f"{prompt[:LONGEST_SHOWN]}…\n\n({len(prompt):,} characters in all)"


def bubble(role: str, text: str) -> dict:
    """One message in the shape that the Chatbot leaves untouched."""
    return {"role": role, "content": [{"type": "text", "text": text}]}
