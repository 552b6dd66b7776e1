"""Sampling: the right distribution, the right filters, and rows that do not see each other."""

import itertools
import math

import pytest
import torch

from engine import sample
from engine.messages import Sampling
from engine.sample import Draw, choose
from tests.engine.torchscript import loaded_anew

VOCABULARY = 50


def logits(seed: int = 0, size: int = VOCABULARY) -> torch.Tensor:
    return 2 * torch.randn(size, generator=torch.Generator().manual_seed(seed))


def drawn(scores: torch.Tensor, count: int, **sampling: float) -> list[int]:
    """Tokens of many seeds from the same logits."""
    draws = [Draw(Sampling(seed=seed, **sampling)) for seed in range(count)]
    return choose(scores.expand(count, -1), draws)[0]


def filtered(scores: torch.Tensor, temperature: float, top_p: float, top_k: int) -> torch.Tensor:
    """The distribution that transformers' own warpers leave: temperature, top-k, top-p, in its order."""
    from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    if top_k:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        warpers.append(TopPLogitsWarper(top_p))
    return warpers(torch.zeros(1, 1, dtype=torch.long), scores[None])[0].softmax(-1)


@pytest.mark.parametrize(
    ("temperature", "top_p", "top_k"), [(1.0, 1.0, 0), (0.7, 0.9, 0), (1.3, 0.5, 0), (1.0, 1.0, 5), (0.9, 0.8, 10)]
)
def test_draws_follow_the_distribution_that_transformers_leaves(temperature: float, top_p: float, top_k: int) -> None:
    count = 20_000
    expected = filtered(logits(), temperature, top_p, top_k)
    found = drawn(logits(), count, temperature=temperature, top_p=top_p, top_k=top_k)
    seen = torch.bincount(torch.tensor(found), minlength=VOCABULARY) / count
    assert not seen[expected == 0].any(), "a filtered token was drawn"
    spread = (expected * (1 - expected) / count).sqrt()
    assert ((seen - expected).abs() <= 5 * spread + 1e-9).all()


def test_temperature_zero_is_the_most_probable_token() -> None:
    assert set(drawn(logits(), 20, temperature=0.0)) == {int(logits().argmax())}


def test_a_row_draws_the_same_whoever_is_beside_it() -> None:
    rows = torch.stack([logits(seed) for seed in range(6)])
    settings = [
        Sampling(temperature=0.0),
        Sampling(temperature=1.0, top_p=1.0, seed=3),
        Sampling(temperature=1.0, top_p=0.9, seed=4),
        Sampling(temperature=1.0, top_k=7, seed=5),
        Sampling(temperature=1.0, top_k=3, top_p=0.6, seed=6),
        Sampling(temperature=0.8, repetition_penalty=1.3, seed=7),
    ]
    draws = [Draw(one, position=9, seen={1, 2, 3}) for one in settings]
    together = choose(rows, draws)[0]
    assert together == [choose(rows[i : i + 1], [draws[i]])[0][0] for i in range(6)]


def test_positions_and_seeds_are_independent_draws() -> None:
    flat = torch.zeros(1, VOCABULARY)
    by_position = [
        choose(flat, [Draw(Sampling(temperature=1, top_p=1, seed=1), position=i)])[0][0] for i in range(2000)
    ]
    assert len(set(by_position)) == VOCABULARY
    pairs = sum(a == b for a, b in itertools.pairwise(by_position))
    assert pairs == pytest.approx(2000 / VOCABULARY, abs=5 * math.sqrt(2000 / VOCABULARY))


def test_repetition_penalty_is_transformers_own() -> None:
    from transformers import RepetitionPenaltyLogitsProcessor

    seen = [4, 7, 7, 11]
    expected = RepetitionPenaltyLogitsProcessor(1.8)(torch.tensor([seen]), logits()[None])[0]
    draw = Draw(Sampling(temperature=0.0, repetition_penalty=1.8), seen=set(seen))
    assert choose(logits()[None], [draw])[0] == [int(expected.argmax())]
    from engine.sample import penalized

    assert torch.allclose(penalized(logits()[None], [draw])[0], expected)


def test_base_and_tuned_with_one_seed_differ_only_where_their_distributions_do() -> None:
    base = torch.stack([logits(i) for i in range(500)])
    nearly = base + 0.01 * torch.randn(base.shape, generator=torch.Generator().manual_seed(9))
    draws = [Draw(Sampling(temperature=1, top_p=1, seed=2), position=i) for i in range(500)]
    a, b = choose(base, draws)[0], choose(nearly, draws)[0]
    assert sum(x == y for x, y in zip(a, b, strict=True)) > 480


@pytest.mark.parametrize("rows", [1, 3])
def test_a_draw_is_the_same_without_torchscript(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = torch.stack([logits(i, 1000) for i in range(rows)])
    draws = [[Draw(Sampling(temperature=1.2, top_p=0.3, seed=i), position=p) for i in range(rows)] for p in range(40)]
    expected = [choose(scores, some) for some in draws]
    plainly = loaded_anew(sample, monkeypatch)
    assert isinstance(sample.tried, torch.jit.ScriptFunction) and not isinstance(
        plainly.tried, torch.jit.ScriptFunction
    )
    assert [plainly.choose(scores, some) for some in draws] == expected


def test_log_probabilities_are_before_temperature_and_filters() -> None:
    token, logprob = (one[0] for one in choose(logits()[None], [Draw(Sampling(temperature=2, top_k=4, seed=1))]))
    assert logprob == pytest.approx(logits().log_softmax(-1)[token].item(), abs=1e-5)
