"""A collection as a lane's documents: opened by the lane that reads it, so that its trouble is that lane's alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.catalog import all_models
from engine.errors import Problem
from engine.grounding import inert, toy
from engine.lanes import Lane
from engine.messages import Message
from engine.respond import Passage, Responder
from rag import sample
from rag.citing import DOUBTFUL, Marks, citations, mended
from rag.collection import Collection, How, passage
from rag.followup import stand_alone
from rag.opened import opened
from rag.retrieve import Retrieved, retrieve
from rag.types import Hit


class Documents:
    """The collection of a name as engine.respond.FollowsUp. Several lanes of one comparison may share it.

    It is looked for when it is first searched. Then `search` raises Problem where it is missing, empty, or made by
    an embedding model other than the one that is here; `problem` is said in place of looking at all. `opening` gives
    a collection by its name.
    """

    def __init__(
        self,
        name: str,
        how: How | None = None,
        problem: str = "",
        opening: Callable[[str], Collection] = opened,
    ):
        self.name, self.how, self.problem, self._opening = name, how or How(), problem, opening
        self._found: dict[str, Retrieved] = {}  # of each question, the last search

    def collection(self) -> Collection:
        """The collection, ready to be searched; the sample is read now where it has not been. Raises Problem."""
        if self.problem:
            raise Problem(self.problem)
        if self.name == sample.NAME:
            sample.built()
        found = self._opening(self.name)
        if not found.store.count():
            raise Problem(
                f"The collection '{self.name}' is empty. Add documents on the Knowledge tab, or choose another."
            )
        return found

    def stand_alone(self, question: str, history: Sequence[Message], responder: Responder | None) -> str:
        """See engine.respond.FollowsUp."""
        return stand_alone(question, history, responder).question

    def search(self, question: str, k: int) -> Sequence[Passage]:
        """See engine.respond.Passages; how many is said by `how`."""
        self._found[question] = self._retrieved(question)
        return [passage(hit) for hit in self.hits(question)]

    def nearest(self, question: str) -> Passage | None:
        """See engine.respond.Passages; the search that found nothing has met it already."""
        hit = (self._found.get(question) or self._retrieved(question)).nearest
        return passage(hit) if hit else None

    def hits(self, question: str) -> tuple[Hit, ...]:
        """What the last search for a question gave, in the order of the passages' numbers."""
        found = self._found.get(question)
        return found.hits if found else ()

    def _retrieved(self, question: str) -> Retrieved:
        return retrieve(self.collection(), question, **vars(self.how))


def parted(name: str, known: Sequence[str]) -> tuple[str, str]:
    """(model, collection) of a lane that was named "model@collection"; the collection is empty where there is none.

    `known` are the names of collections. A model of the catalogue may have an @ in its own name.
    """
    listed = {model.name for model in all_models()}
    model, at, collection = name.rpartition("@")
    if name in listed or not at or not (model in listed or collection in known):
        return name, ""
    return model, collection


@dataclass(frozen=True)
class Checked:
    """A grounded answer with its marks held against the passages; see rag.answer.Answer for the counts.

    `doubtful` are cited numbers whose passage shares few words with the sentence that cites it.
    """

    text: str
    cited: tuple[int, ...] = ()
    doubtful: tuple[int, ...] = ()
    removed_marks: int = 0
    mended_marks: int = 0


def checked(lane: Lane, text: str, hits: Sequence[Hit], question: str = "") -> Checked:
    """The words of a lane that read these hits: marks that point nowhere go, a toy's stand where the words are."""
    marks = Marks(len(hits))
    text = (marks.feed(text) + marks.finish()).strip()
    passages = [inert(hit.chunk.text) for hit in hits]
    text, changed = mended(text, passages, question) if hits and toy(lane.model) else (text, 0)
    found = citations(text, passages)
    doubtful = {each.number for each in found if each.support < DOUBTFUL}
    cited = {each.number for each in found}
    return Checked(text, tuple(sorted(cited)), tuple(sorted(doubtful)), marks.removed, changed)
