"""What a comparison is made of: lanes, their results, and the typed events of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.catalog import Model
from engine.errors import Problem
from engine.messages import Message, Sampling
from engine.respond import Passage, Passages

MOST_LANES = 8


@dataclass(frozen=True)
class Lane:
    """One column: a model and how it is asked. `key` is this visitor's secret for an endpoint; never stored.

    With `passages` the question is asked with what they hold on it, written in the `form` of assets/grounding.
    """

    model: Model
    style: str = "plain"
    system: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    passages: Passages | None = None
    key: str | None = field(default=None, repr=False)
    form: str = "strict"


@dataclass(frozen=True)
class LaneResult:
    """What a lane came to. `end` is why it ended; `text` is raw model output; seconds count from Send.

    `tokens` is None when a server did not report it.
    """

    model: str
    text: str
    tokens: int | None
    seconds: float
    first_token_seconds: float | None
    end: str
    adapter: str | None = None
    logit_difference: float | None = None
    prompt: str = ""
    prompt_tokens: int | None = None
    cut_tokens: int = 0
    seed: int = 0
    error: str | None = None

    @property
    def tokens_per_second(self) -> float | None:
        """Decoding speed: tokens after the first over the seconds after the first; None below two tokens."""
        if self.first_token_seconds is None or (self.tokens or 0) < 2 or self.seconds <= self.first_token_seconds:
            return None
        return ((self.tokens or 0) - 1) / (self.seconds - self.first_token_seconds)


@dataclass(frozen=True)
class LaneWaits:
    """The lane is busy with something before its first word, told in `what` ("loading the weights")."""

    lane: int
    what: str


@dataclass(frozen=True)
class LaneBegan:
    """The exact prompt went in; `cut_tokens` of it did not fit and were left out at its start."""

    lane: int
    prompt: str
    prompt_tokens: int | None
    cut_tokens: int


@dataclass(frozen=True)
class LaneGrounded:
    """What the lane reads before it answers, as it stands in its prompt: passage i has the number i + 1.

    With nothing near enough there are no passages, and `refusal` is the answer; the model is not asked. `question`
    is what was searched for: a follow-up stands alone in it.
    """

    lane: int
    passages: tuple[Passage, ...]
    refusal: str = ""
    question: str = ""


@dataclass(frozen=True)
class LanePiece:
    """More words of a lane; `tokens` is its count so far."""

    lane: int
    text: str
    tokens: int


@dataclass(frozen=True)
class LaneEnded:
    """The lane is over, well or not (`result.error`); what it had said is in `result.text`."""

    lane: int
    result: LaneResult


@dataclass(frozen=True)
class Note:
    """Something the reader of the comparison should know, such as two lanes being the same weights."""

    text: str


CompareEvent = LaneWaits | LaneGrounded | LaneBegan | LanePiece | LaneEnded | Note


def check(lanes: Sequence[Lane], prompt: str) -> None:
    """Raise one Problem with everything that is wrong with the request as a whole."""
    wrong = []
    if not prompt.strip():
        wrong.append("Write a prompt first; it is empty.")
    if not 1 <= len(lanes) <= MOST_LANES:
        wrong.append(f"Choose between 1 and {MOST_LANES} lanes; there are {len(lanes)}.")
    for number, lane in enumerate(lanes, 1):
        wrong += [f"Lane {number}: {sentence}" for sentence in lane.sampling.problems()]
    if wrong:
        raise Problem(" ".join(wrong))


def system(lane: Lane) -> tuple[Message, ...]:
    """The lane's system prompt as messages: one or none."""
    return (Message("system", lane.system),) if lane.system.strip() else ()


def by_base(lanes: Sequence[Lane]) -> list[list[int]]:
    """Indices of lanes that are asked together: one group per local base, one per endpoint lane.

    Lanes that read documents are a group of their own: searching for them holds up none of the others, whose rows
    they join in the decode loop.
    """
    groups: dict[tuple, list[int]] = {}
    for i, lane in enumerate(lanes):
        model = lane.model
        read = lane.passages is not None
        key = (i,) if model.endpoint else (model.base, model.revision, model.precision, read)
        groups.setdefault(key, []).append(i)
    return list(groups.values())


def common_style(models: Sequence[Model]) -> str:
    """The style that lanes of these models share where nobody chose one: that of the first that has one of its own."""
    return next((model.style for model in models if model.style), "plain")


def notes(lanes: Sequence[Lane | None], messages: Sequence[Sequence[Message]] = ()) -> list[str]:
    """A sentence for every set of local lanes that are in fact the same weights.

    None stands for a lane that is not asked. messages[i] is the conversation that lane i reads; without them all
    read the same.
    """
    found = []
    for numbers in same_weights(lanes):
        *first, last = (str(i + 1) for i in numbers)
        asked = {(way(lane), tuple(messages[i]) if messages else ()) for i in numbers if (lane := lanes[i])}
        precisions = {lane.model.precision for i in numbers if (lane := lanes[i])}
        equal = "must be equal" if len(precisions) == 1 else "are equal, unless rounding tips a word"
        how = "asked in different ways" if len(asked) > 1 else f"asked in the same way: their answers {equal}"
        found.append(f"Lanes {', '.join(first)} and {last} are the same weights, {how}.")
    return found


def same_weights(lanes: Sequence[Lane | None]) -> list[list[int]]:
    """The indices of every set of two or more local lanes that answer from equal weights."""
    same: dict[tuple, list[int]] = {}
    for i, lane in enumerate(lanes):
        model = lane.model if lane else None
        if model is None or model.endpoint:
            continue
        if model.adapter is None or (model.adapter / "adapter_model.safetensors").is_file():
            others = {each.model.precision for each in lanes if each and each.model.base == model.base}
            precision = model.precision if len(others) == 1 else comes_to(model)
            same.setdefault((model.base, model.revision, precision, model.adapter_hash), []).append(i)
    return [alike for alike in same.values() if len(alike) > 1]


def comes_to(model: Model) -> str:
    """The precision that a model is computed in here; "auto" stays where that shows only once it is loaded."""
    from engine.models.footprint import TOY_PARAMETERS
    from engine.teaching.shape import count_parameters

    if model.precision != "auto":
        return model.precision
    parameters = count_parameters(model)
    if parameters and parameters < TOY_PARAMETERS:
        return "fp32"

    from engine.weights import fast_bf16  # asks torch

    if not fast_bf16():
        return "fp32"
    return "bf16" if parameters else "auto"


def way(lane: Lane) -> tuple:
    """How a lane asks its model; equal for lanes whose models read the same."""
    read = (id(lane.passages), lane.form) if lane.passages is not None else None
    return lane.style, system(lane), lane.sampling, read
