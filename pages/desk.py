"""One visitor's desk: the board in front of them, the comparisons that run for it, and endpoints of their own."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.catalog import Model
from engine.compare import CompareEvent, Comparison, Lane, LaneEnded, Note
from engine.errors import Problem
from engine.messages import Message
from pages import board as boards
from pages.board import Board

BEAT = 1 / 10  # seconds between two updates of the page: smooth to the eye, cheap for the browser
OF_A_LANE = re.compile(r"^Lane (\d+)(?=:)")  # how a note begins that a comparison has on one lane


def start(lanes: Sequence[Lane], prompt: str, histories: Sequence[Sequence[Message]]) -> Comparison:
    """Begin a comparison. The one place where the page meets the engine's; tests put a scripted one here."""
    return Comparison(lanes, prompt, histories)


@dataclass(frozen=True, eq=False)
class Run:
    """A comparison and the places on the board that its lanes have."""

    comparison: Comparison
    places: tuple[int, ...]


class Desk:
    """Lives in gr.State, by reference: the page's stream works on it while Stop or Retry reach in from outside."""

    def __init__(self, models: Sequence[Model]) -> None:
        self.first = tuple(models)
        self._lock = threading.RLock()
        self.board = Board(shown=len(self.first))
        added = self.first[:1] * (len(self.board.lanes) - len(self.first))  # they begin as the first one, as pickers do
        for place, model in enumerate(self.first + added):
            self.pick(place, model)
        self.endpoints: dict[str, tuple[Model, str | None]] = {}
        self._owners: dict[int, Run] = {}

    def __deepcopy__(self, memo: dict) -> Desk:
        """A fresh desk: Gradio copies the first one for every visitor."""
        return Desk(self.first)

    def ask(self, lanes: Sequence[Lane], prompt: str) -> Run:
        """Send a prompt through the first lanes. Raises Problem when lanes are still running or it cannot be sent."""
        with self._lock:
            if self.board.busy:
                raise Problem("The lanes are still answering. Wait for them, or press Stop all first.")
            earlier = [boards.history(view) for view in self.board.lanes[: len(lanes)]]
            comparison = start(lanes, prompt, earlier)
            number, self.board = self.board.sent + 1, replace(self.board, notes=())
            for place, lane in enumerate(lanes):
                self.board = boards.begin(self.board, place, lane, prompt, number=number)
            self._note()
            return self._own(Run(comparison, tuple(range(len(lanes)))))

    def retry(self, place: int, lane: Lane) -> Run:
        """Ask a lane its last prompt again; another seed for another answer, the same one after a failure."""
        with self._lock:
            view = self.board.lanes[place]
            if view.ask:
                raise Problem(f"Lane {place + 1} is still answering. Stop it first.")
            if view.last is None:
                raise Problem(f"Lane {place + 1} has not been asked anything yet. Send a prompt first.")
            retries = view.last.retries + 1
            if view.last.result.error is None:
                lane = replace(lane, sampling=replace(lane.sampling, seed=lane.sampling.seed + retries))
            earlier = boards.history(view, without_last=True)
            comparison = start([lane], view.last.prompt, [earlier])
            self.board = boards.begin(self.board, place, lane, view.last.prompt, retries)
            self._note(without=place)
            return self._own(Run(comparison, (place,)))

    def drain(self, run: Run) -> bool:
        """Bring what came since the last beat onto the board; false once the run has no lane left on it."""
        began = time.monotonic()
        events = run.comparison.take(BEAT)
        if not run.comparison.done:
            time.sleep(max(0.0, BEAT - (time.monotonic() - began)))
            events += run.comparison.take(0)
        return self._digest(run, events)

    def leave(self, run: Run) -> None:
        """Stop whatever of a run is not over. Does not wait: Gradio closes a stream in its only event loop."""
        run.comparison.stop()
        self._digest(run, run.comparison.take(0))

    def _digest(self, run: Run, events: Sequence[CompareEvent]) -> bool:
        """Apply events of a run to the places that still belong to it; whether there are any left."""
        with self._lock:
            for event in events:
                if isinstance(event, Note):
                    self._hear(run, event)
                    continue
                place = run.places[event.lane]
                if self._owners.get(place) is run:
                    self.board = boards.apply(self.board, replace(event, lane=place))
                    if isinstance(event, LaneEnded):
                        del self._owners[place]
            return run in self._owners.values()

    def stop(self, place: int | None = None) -> None:
        """Stop one lane or all; each keeps what it has said."""
        with self._lock:
            owners = dict(self._owners) if place is None else {place: self._owners.get(place)}
        for at, run in owners.items():
            if run is not None:
                run.comparison.stop(run.places.index(at))

    def clear(self) -> None:
        """Stop everything and begin with empty lanes; the number of lanes stays."""
        with self._lock:
            self.stop()
            self._owners.clear()
            empty = tuple(boards.LaneView(view.model) for view in self.board.lanes)
            self.board = replace(self.board, lanes=empty, notes=())

    def pick(self, place: int, model: Model | None) -> None:
        """Name the model of a lane; its conversation goes on with it."""
        with self._lock:
            self.board = self.board.change(place, replace(self.board.lanes[place], model=model))

    def show(self, lanes: int) -> None:
        """Put this many lanes on the page; a lane that goes is stopped and emptied."""
        with self._lock:
            for place in range(lanes, len(self.board.lanes)):
                self.stop(place)
                self._owners.pop(place, None)
                self.board = self.board.change(place, boards.LaneView(self.board.lanes[place].model))
            self.board = replace(self.board, shown=lanes)
            self._note()

    def mark_differences(self, diff: bool) -> None:
        """Whether differences from the first lane are shown."""
        with self._lock:
            self.board = replace(self.board, diff=diff)

    def _note(self, without: int | None = None) -> None:
        """Say anew which lanes on the page are the same weights; of notes on single lanes those of one are dropped."""
        kept = [text for text in self.board.notes if (lane := OF_A_LANE.match(text)) and self._stands(lane, without)]
        self.board = replace(self.board, notes=(*boards.same_weights(self.board), *kept))

    def _stands(self, lane: re.Match[str], without: int | None) -> bool:
        """Whether the lane that a note begins with is on the page and not the one left out."""
        place = int(lane[1]) - 1
        return place < self.board.shown and place != without

    def _hear(self, run: Run, note: Note) -> None:
        """Put a run's note on the board under the lane's number there. Which weights are the same the board knows."""
        if note.text in run.comparison.notes:
            return
        if found := OF_A_LANE.match(note.text):
            place = run.places[int(found[1]) - 1]
            if self._owners.get(place) is not run:
                return
            note = Note(f"Lane {place + 1}{note.text[found.end() :]}")
        self.board = boards.apply(self.board, note)

    def _own(self, run: Run) -> Run:
        self._owners |= dict.fromkeys(run.places, run)
        return run
