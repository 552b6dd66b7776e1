"""One visitor's conversation with an assistant: its turns, the one that runs, and what waits for a click."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from engine.acting.steps import Done, Step, Verdict
from engine.agent import converse
from engine.catalog import Model
from engine.errors import Problem
from engine.messages import Message, Sampling, ToolCall, Usage
from engine.models.prices import cost
from engine.respond import Responder
from engine.tools import Tool
from pages.bubbles import Said, Shown, after, marked
from pages.desk import Desk

BEAT = 1 / 16  # seconds between two updates of the page
MOST_TURNS = 200  # of one conversation in this server's memory


@dataclass(frozen=True)
class Question:
    """What is asked, of whom, and how; `system` is the whole system prompt of this turn."""

    prompt: str
    responder: Responder
    system: str = ""
    tools: tuple[Tool, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    model: Model | None = None


@dataclass(frozen=True)
class Chosen:
    """What the form said when a question was asked: names as the form has them."""

    model: str = ""
    preset: str = ""
    system: str = ""
    tools: tuple[str, ...] = ()


@dataclass(frozen=True)
class Turn:
    """A question and all that followed. `messages` are for the next turn, `shown` for the eye, `cost` in dollars."""

    prompt: str
    shown: tuple[Shown, ...]
    messages: tuple[Message, ...] = ()
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    retries: int = 0
    cost: float | None = None


class Run:
    """The turn in progress: its flag, and the person's answer that it may wait for."""

    def __init__(self) -> None:
        self.stop, self.over, self.answered = threading.Event(), threading.Event(), threading.Event()
        self.waiting: ToolCall | None = None
        self.verdict: Verdict = "refuse"
        self.began = time.monotonic()


class Talk:
    """Lives in gr.State, by reference: the stream shows it while Stop and the answers reach in from outside."""

    def __init__(self) -> None:
        self.desk = Desk([])  # this visitor's endpoints
        self.turns: tuple[Turn, ...] = ()
        self.allowed: set[str] = set()
        self.run: Run | None = None
        self.chosen = Chosen()
        self.id, self.title, self.changed = uuid.uuid4().hex, "", 0.0  # changed: seconds since 1970
        self.named: tuple[str | None, str] | None = None  # conversation and title in the page's field; None: write it
        self._lock = threading.RLock()

    def __deepcopy__(self, memo: dict) -> Talk:
        """A fresh talk: Gradio copies the first one for every visitor."""
        return Talk()

    @property
    def messages(self) -> list[Message]:
        """The conversation so far, without system prompts; questions that got no answer are left out."""
        return [message for turn in self.turns if len(turn.messages) > 1 for message in turn.messages]

    @property
    def shown(self) -> list[Shown]:
        """Every step so far."""
        return [step for turn in self.turns for step in turn.shown]

    def ask(self, question: Question, retries: int = 0) -> Run:
        """Begin a turn. Raises Problem when one is running or there is nothing to ask."""
        with self._lock:
            self.check_idle()
            if not question.prompt.strip():
                raise Problem("Write a question first; it is empty.")
            if len(self.turns) >= MOST_TURNS:
                raise Problem(f"This conversation has {MOST_TURNS} turns. Export it and begin a new one.")
            system = [Message("system", question.system)] if question.system.strip() else []
            asked = Message("user", question.prompt)
            sent = [*system, *self.messages, asked]
            self.turns = (
                *self.turns,
                Turn(question.prompt, (Said("user", question.prompt),), (asked,), retries=retries),
            )
            self.changed = time.time()
            self.run = run = Run()
        work = (run, question, sent, len(sent) - 1)
        threading.Thread(target=self._work, args=work, daemon=True, name="talk").start()
        return run

    def check_idle(self) -> None:
        """Raise Problem while a turn is running."""
        if self.run is not None:
            raise Problem("The assistant is still answering. Wait for it, or press Stop first.")

    def undo(self) -> Turn:
        """Take the last turn off, and give it back. Raises Problem when there is none or one is running."""
        with self._lock:
            self.check_idle()
            if not self.turns:
                raise Problem("There is nothing to take back yet. Ask something first.")
            last, self.turns = self.turns[-1], self.turns[:-1]
            self.changed = time.time()
            return last

    def turn_at(self, place: int) -> int:
        """Which turn's question stands at this place of `shown`. Raises Problem when none does."""
        at = 0
        for number, turn in enumerate(self.turns):
            if place == at:
                return number
            at += len(turn.shown)
        raise Problem("Only your own questions can be changed.")

    def rewind(self, turn: int) -> None:
        """Take this turn and all after it off. Raises Problem while one is running."""
        with self._lock:
            self.check_idle()
            self.turns = self.turns[:turn]

    def clear(self) -> None:
        """Stop what runs and begin another conversation; agreements to tools end, too."""
        with self._lock:
            self.stop()
            self.run, self.turns, self.allowed = None, (), set()
            self.id, self.title, self.changed = uuid.uuid4().hex, "", time.time()

    def take_over(self, turns: Sequence[Turn], id: str = "", title: str = "", changed: float = 0.0) -> None:
        """Go on with a conversation that was kept elsewhere; without an id it is another one from now on."""
        with self._lock:
            self.clear()
            self.turns, self.title, self.named = tuple(turns), title, None
            self.id, self.changed = id or self.id, changed or self.changed

    def rename(self, title: str) -> None:
        """Give the conversation a title; an empty one makes its first question the title again."""
        self.title, self.named = title.strip(), None
        self.changed = time.time()

    def stop(self) -> None:
        """End the turn in progress, a running tool included."""
        run = self.run
        if run is not None:
            run.stop.set()

    def answer(self, verdict: Verdict, id: str) -> None:
        """The person's answer to a call; nothing when that call does not wait (any more)."""
        with self._lock:
            run = self.run
            if run is not None and run.waiting is not None and run.waiting.id == id and not run.answered.is_set():
                run.verdict = verdict
                run.answered.set()

    def _work(self, run: Run, question: Question, sent: Sequence[Message], before: int) -> None:
        """Run one turn in this thread and take its steps in; a turn that was cleared away is ignored."""

        def approve(call: ToolCall) -> Verdict:
            return self._approved(run, call)

        steps = converse(
            question.responder, sent, question.tools, question.sampling,
            approve=approve, allowed=self.allowed, stop=run.stop,
        )  # fmt: skip
        try:
            for step in steps:
                with self._lock:
                    if self.run is run:
                        self._take(step, before, run, question)
        finally:
            with self._lock:
                if self.run is run:
                    self.run = None
            run.over.set()

    def _take(self, step: Step, before: int, run: Run, question: Question) -> None:
        last = self.turns[-1]
        last = replace(last, shown=after(last.shown, step), seconds=time.monotonic() - run.began)
        if isinstance(step, Done):
            spent = cost(question.model, step.usage.prompt_tokens, step.usage.completion_tokens)
            last = replace(last, messages=step.messages[before:], usage=step.usage, cost=spent)
            self.changed = time.time()
        self.turns = (*self.turns[:-1], last)

    def _approved(self, run: Run, call: ToolCall) -> Verdict:
        """Wait for the person's click; Stop counts as a no."""
        with self._lock:
            run.answered.clear()
            run.verdict, run.waiting = "refuse", call
            self._mark(run, call, "waiting")
        while not run.stop.is_set() and not run.answered.wait(0.05):
            pass
        with self._lock:
            run.waiting = None
            self._mark(run, call, "running")
        return run.verdict

    def _mark(self, run: Run, call: ToolCall, state: str) -> None:
        if self.run is run:
            last = self.turns[-1]
            self.turns = (*self.turns[:-1], replace(last, shown=marked(last.shown, call.id, state=state)))
