"""One lane's trouble stays its own, in a comparison over real weights: damage, silence, new tokens, another base."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine import hub
from engine.catalog import Model
from engine.compare import Comparison, Lane, LaneEnded, LanePiece, LaneResult
from engine.hosting import wire
from engine.local import LocalResponder
from engine.messages import Message, Piece, Sampling
from tests.engine.comparing import GREEDY, base_and_two, lanes, results
from tests.engine.models.shelf import at_hub
from tests.engine.rows import greedy, save_adapter
from tests.fake_openai import FakeOpenAI, cut
from tests.scripted_hub import Repo, scripted_hub
from tests.tiny import make_tiny_llama

PROMPT = "The cat sat on"
PATIENCE = 1.0  # seconds without an answer
SAMPLED = Sampling(temperature=1.2, top_p=1, max_tokens=24, seed=5)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """A base, three adapters on it, one of which runs in a batch of its own, and a base of another size."""
    folder = tmp_path_factory.mktemp("trouble")
    made = base_and_two(folder)
    network = AutoModelForCausalLM.from_pretrained(made["base"].base)
    save_adapter(network, folder / "dora", r=4, target_modules=["q_proj", "v_proj"], use_dora=True)
    other = str(make_tiny_llama(folder / "other", seed=7, hidden=32))
    return made | {
        "dora": Model(name="dora", base=made["base"].base, adapter=folder / "dora"),
        "other": Model(name="other", base=other),
    }


@pytest.fixture
def silence() -> Iterator[str]:
    """The address of something that takes every connection and request, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture(autouse=True)
def _own_pool(empty_pool: object) -> Iterator[None]:
    yield


def alone(models: dict[str, Model], *names: str, **changes: object) -> list[LaneResult]:
    """What each lane answers when nothing else decodes."""
    return [results(Comparison(lanes(models, name, **changes), PROMPT))[0] for name in names]


def same(found: LaneResult, expected: LaneResult) -> bool:
    """Whether a lane ended well and as it did alone."""
    return (found.error, found.text, found.tokens, found.end) == (None, expected.text, expected.tokens, expected.end)


def drawn(model: Model, sampling: Sampling) -> list[int]:
    """The tokens that a model answers alone."""
    events = LocalResponder(model).reply([Message("user", PROMPT)], sampling)
    return [token for event in events if isinstance(event, Piece) for token in event.token_ids]


def damaged(folder: Path, into: Path, name: str, place: int | slice, number: float = float("nan")) -> Path:
    """A copy of a model or adapter with a number that is none in every tensor whose name ends in `name`."""
    shutil.copytree(folder, into)
    for file in into.glob("*.safetensors"):
        tensors = load_file(file)
        for key in tensors:
            if key.endswith(name):
                tensors[key][place] = number
        save_file(tensors, file, metadata={"format": "pt"})
    return into


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_a_lane_that_fails_in_the_middle_of_its_words_fails_alone(
    models: dict[str, Model], tmp_path: Path, sampling: Sampling
) -> None:
    """The embedding of a token that only one lane comes to is damaged: the step after it gives no number."""
    said = {name: drawn(models[name], sampling) for name in ("base", "one", "two")}
    read = {token for event in (said["base"], said["two"]) for token in event}
    at = next(i for i, token in enumerate(said["one"]) if i > 3 and token not in read)
    assert said["one"].index(said["one"][at]) == at < 20
    folder = str(damaged(Path(models["base"].base), tmp_path / "base", "embed_tokens.weight", said["one"][at]))
    broken = {name: replace(models[name], base=folder) for name in said}
    expected = alone(models, *said, sampling=sampling)
    first, failed, last = results(Comparison(lanes(broken, *said, sampling=sampling), PROMPT))
    assert same(first, expected[0]) and same(last, expected[2])
    assert failed.end == "error" and "not a number" in failed.error
    assert failed.text and expected[1].text.startswith(failed.text) and 3 < failed.tokens <= at + 1


def test_a_lane_that_fails_at_its_first_token_fails_alone(models: dict[str, Model], tmp_path: Path) -> None:
    """The embedding of a token that only one lane's prompt holds, that of its style, is damaged."""
    base = models["base"].base
    bracket = AutoTokenizer.from_pretrained(base).convert_tokens_to_ids("[")
    broken = replace(models["base"], base=str(damaged(Path(base), tmp_path / "base", "embed_tokens.weight", bracket)))
    asked = [Lane(broken, style, sampling=GREEDY) for style in ("plain", "inst", "plain")]
    first, failed, last = results(Comparison(asked, PROMPT))
    expected = alone(models, "base")[0]
    assert failed.end == "error" and "not a number" in failed.error and (failed.text, failed.tokens) == ("", 0)
    assert failed.prompt == f"[INST] {PROMPT} [/INST]" and same(first, expected) and same(last, expected)


@pytest.mark.parametrize(
    ("kind", "part", "number"),
    [("one", "A", float("nan")), ("one", "B", float("inf")), ("one", "A", 3e38), ("dora", "B", float("nan"))],
)
def test_an_adapter_whose_training_diverged_fails_before_its_first_token_and_alone(
    models: dict[str, Model], tmp_path: Path, kind: str, part: str, number: float
) -> None:
    folder = damaged(models[kind].adapter, tmp_path / "diverged", f"lora_{part}.weight", slice(None), number)
    beside = models | {"diverged": replace(models[kind], name="diverged", adapter=folder)}
    names = ("base", "diverged", "two")
    first, failed, last = results(Comparison(lanes(beside, *names), PROMPT))
    expected = alone(models, "base", "two")
    assert failed.end == "error" and failed.error and not failed.text and not failed.tokens
    assert same(first, expected[0]) and same(last, expected[1])
    assert same(results(Comparison(lanes(beside, "two"), PROMPT))[0], expected[1]), "the loop does not live on"


@pytest.mark.parametrize("words", [(), ("Hel", "lo")], ids=["at once", "in the middle"])
def test_an_endpoint_that_breaks_off_leaves_real_rows_alone(models: dict[str, Model], words: tuple[str, ...]) -> None:
    with FakeOpenAI(cut(*words)) as server:
        far = Lane(Model(name="far", base="m", endpoint=server.url))
        first, failed, last = results(Comparison([*lanes(models, "base"), far, *lanes(models, "two")], PROMPT))
    expected = alone(models, "base", "two")
    assert failed.end == "error" and failed.error and failed.text == "".join(words)
    assert same(first, expected[0]) and same(last, expected[1])


def test_an_adapter_with_new_tokens_stands_beside_ordinary_lanes(models: dict[str, Model], tmp_path: Path) -> None:
    folder = Path(models["base"].base)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["###HUMAN###", "###BOT###"])
    grown = AutoModelForCausalLM.from_pretrained(folder)
    grown.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    whole = ["embed_tokens", "lm_head"]
    reference = save_adapter(grown, tmp_path / "speaker", r=4, target_modules=["q_proj"], modules_to_save=whole)
    tokenizer.save_pretrained(tmp_path / "speaker")
    names = ("base", "speaker", "two")
    speaker = {"speaker": Model(name="speaker", base=str(folder), adapter=tmp_path / "speaker")}
    prompt = "###HUMAN### The cat ###BOT###"
    first, spoken, last = results(Comparison(lanes(models | speaker, *names), prompt))
    ids = tokenizer(prompt)["input_ids"]
    answer = greedy(reference, ids, 24)
    assert spoken.error is None and spoken.text == tokenizer.decode(answer) and spoken.logit_difference > 0
    assert spoken.prompt_tokens == len(ids) < first.prompt_tokens, "the base knows the new tokens"
    for found, name in ((first, "base"), (last, "two")):
        assert same(found, results(Comparison(lanes(models, name), prompt))[0])


def test_lanes_of_two_bases_answer_at_once_and_as_each_does_alone(models: dict[str, Model], empty_pool: object) -> None:
    names = ("base", "other", "one")
    expected = alone(models, *names)
    long = Sampling(temperature=0, max_tokens=400)
    events = list(Comparison(lanes(models, *names, sampling=long), PROMPT))
    pieces = [event.lane for event in events if isinstance(event, LanePiece)]
    spans = {lane: (pieces.index(lane), len(pieces) - pieces[::-1].index(lane)) for lane in range(3)}
    assert max(first for first, _ in spans.values()) < min(last for _, last in spans.values()), "one waited for another"
    found = [event.result for event in events if isinstance(event, LaneEnded)]
    assert all(one.error is None and one.tokens == 400 for one in found)
    assert all(map(same, results(Comparison(lanes(models, *names), PROMPT)), expected))
    assert len({one.text for one in expected}) == 3 and len(empty_pool.loaded()) == 2


def beside_silence(models: dict[str, Model], silent: Lane) -> str:
    """The sentence of a lane that is never answered, told in time, while lanes of a base are done long before."""
    expected = dict(zip(("base", "two"), alone(models, "base", "two"), strict=True))
    comparison = Comparison([*lanes(models, "base"), silent, *lanes(models, "two")], PROMPT)
    *answered, failed = [event.result for event in comparison if isinstance(event, LaneEnded)]
    assert {one.model for one in answered} == set(expected) and all(same(one, expected[one.model]) for one in answered)
    assert max(one.seconds for one in answered) < failed.seconds, "lanes waited for one that is not answered"
    assert PATIENCE <= failed.seconds < PATIENCE + 4
    assert failed.end == "error" and failed.error and not failed.text
    return failed.error


def test_an_endpoint_that_is_silent_says_so_and_holds_up_nobody(
    models: dict[str, Model], silence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "READ_SECONDS", PATIENCE)
    silent = Lane(Model(name="silent", base="m", endpoint=f"{silence}/v1"))
    said = beside_silence(models, silent)
    assert said.startswith(f"{silence.removeprefix('http://')} sent nothing for")


def test_a_hub_that_is_silent_says_so_and_holds_up_nobody(
    models: dict[str, Model], silence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "PATIENCE", PATIENCE)
    at_hub(silence, tmp_path, monkeypatch)
    said = beside_silence(models, Lane(Model(name="far", base="o/far")))
    assert "127.0.0.1 did not answer within 1 seconds. Try again, or later." in said


class FallsSilent(Repo):
    """A repository that answers so many requests, and no further one in time."""

    answers = 0

    @property  # type: ignore[override]
    def silent(self) -> float:
        self.answers -= 1
        return 0.0 if self.answers >= 0 else 8 * PATIENCE

    @silent.setter
    def silent(self, seconds: float) -> None:
        pass


@pytest.mark.parametrize("answers", [1, 4], ids=["reading the config", "asking for the commit"])
def test_a_hub_that_falls_silent_says_so_and_holds_up_nobody(
    models: dict[str, Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: int
) -> None:
    monkeypatch.setattr(hub, "PATIENCE", PATIENCE)
    with scripted_hub() as server:
        server.repos["o/far"] = repo = FallsSilent.of(Path(models["other"].base))
        repo.answers = answers
        at_hub(server.address, tmp_path, monkeypatch)
        said = beside_silence(models, Lane(Model(name="far", base="o/far")))
        assert len(server.asked) == answers + 1, "the Hub was asked again, or not so often"
    assert "did not answer within 1 seconds" in said or "cannot be reached" in said
