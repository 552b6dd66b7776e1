"""Draw the next token of every row in one vectorised step, each row from its own seed alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from engine.messages import Likely, Sampling
from engine.noise import GOLDEN, MASK64, MIX, key_bits, mix64, waits
from engine.scripting import scripted

BLOCK = 64  # tokens of a block of the vocabulary


@dataclass
class Draw:
    """What sampling must know of one row: its settings, how many tokens it drew, and which tokens it has seen.

    `mask` gives 0 for the tokens that may come next and -inf for the others; tokens beyond its end may not come.
    """

    sampling: Sampling
    position: int = 0
    seen: set[int] = field(default_factory=set)
    mask: Callable[[], torch.Tensor] | None = None


def choose(logits: torch.Tensor, draws: Sequence[Draw], told: bool = True) -> tuple[list[int], list[float]]:
    """Next token and its natural-log probability for each row of `logits` [rows, vocabulary], float32.

    Log probabilities are the model's own, before temperature and filters; where they are not to be `told`, which
    takes a pass over the vocabulary, bare logits stand in their place. The noise of a row is a hash of its
    seed, its position and the token (an exponential race, which is Gumbel-max sampling), so neighbours cannot
    change what it draws, and two models given the same seed differ only where their distributions do.
    Rows with a mask are masked in place: a copy of all logits would cost their neighbours something.
    """
    totals = log_totals(logits) if told else 0
    scores = penalized(logits, draws)
    for row, mask in [(row, draw.mask) for row, draw in enumerate(draws) if draw.mask]:
        hold(scores[row], mask())
    tokens = torch.empty(len(draws), dtype=torch.long, device=logits.device)
    for way, drawn in ((most_probable, False), (sample, True)):
        rows = [i for i, draw in enumerate(draws) if (draw.sampling.temperature > 0) == drawn]
        if len(rows) == len(draws):
            tokens = way(scores, draws)
        elif rows:
            tokens[rows] = way(scores[rows], [draws[i] for i in rows])
    chosen = logits.gather(-1, tokens[:, None])[:, 0] - totals
    return tokens.tolist(), chosen.tolist()


def log_totals(logits: torch.Tensor) -> torch.Tensor:
    """The log of the sum of exponentials of each row of `logits` [rows, vocabulary]: what makes them probabilities."""
    highest = logits.amax(-1, keepdim=True)
    return (logits - highest).exp_().sum(-1).log_().add_(highest[:, 0])


def likeliest(logits: torch.Tensor, most: int) -> list[Likely]:
    """The `most` likeliest tokens for each row of `logits` [rows, vocabulary], float32."""
    values, ids = logits.topk(min(most, logits.shape[-1]), dim=-1)
    values -= log_totals(logits)[:, None]
    return [tuple(zip(*row, strict=True)) for row in zip(ids.tolist(), values.tolist(), strict=True)]


def most_probable(scores: torch.Tensor, draws: Sequence[Draw]) -> torch.Tensor:
    """One token id per row of `scores` [rows, vocabulary]: the highest."""
    return scores.argmax(-1)


def penalized(logits: torch.Tensor, draws: Sequence[Draw]) -> torch.Tensor:
    """Logits after each row's repetition penalty; the same tensor when no row has one."""
    if all(draw.sampling.repetition_penalty == 1 for draw in draws):
        return logits
    scores = logits.clone()
    for row, draw in enumerate(draws):
        penalty = draw.sampling.repetition_penalty
        if penalty != 1 and draw.seen:
            ids = torch.tensor(sorted(draw.seen), device=logits.device)
            values = scores[row, ids]
            scores[row, ids] = torch.where(values > 0, values / penalty, values * penalty)
    return scores


def hold(scores: torch.Tensor, mask: torch.Tensor) -> None:
    """Rule out, in place, what a mask does not allow of a row's `scores` [vocabulary]."""
    mask = mask[: len(scores)]
    scores[: len(mask)] += mask.to(scores.device)
    scores[len(mask) :] = -math.inf


def sample(scores: torch.Tensor, draws: Sequence[Draw]) -> torch.Tensor:
    """One token id per row of `scores` [rows, vocabulary]: temperature, then top-k, then top-p, then the race."""
    tokens = torch.empty(len(draws), dtype=torch.long, device=scores.device)
    for way, limited in ((from_nucleus, False), (from_top_k, True)):
        rows = [i for i, draw in enumerate(draws) if bool(draw.sampling.top_k) == limited]
        if len(rows) == len(draws):
            return way(scores, draws)
        if rows:
            tokens[rows] = way(scores[rows], [draws[i] for i in rows])
    return tokens


@scripted
def race(shares: torch.Tensor, sums: torch.Tensor, block_keys: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """One token id per row: a block by the exponential race of the blocks' sums, then a token of it by another.

    Two short races give the distribution of one over the whole vocabulary, at a hundredth of the noise.
    """
    size = shares.size(2)
    blocks = torch.arange(sums.size(1), dtype=torch.int32, device=shares.device)
    block = (sums / waits(block_keys, blocks)).argmax(-1)
    inner = shares[torch.arange(shares.size(0), device=shares.device), block]
    ids = block.unsqueeze(1).to(torch.int32) * size + torch.arange(size, dtype=torch.int32, device=shares.device)
    within = (inner / waits(keys, ids)).argmax(-1)
    return block * size + within


@scripted
def weighed(scores: torch.Tensor, paces: torch.Tensor, block: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Shares of the tokens [rows, blocks, block] at each row's temperature, whose inverse is `paces` [rows, 1].

    They are not yet divided by their sum. Also the sum of each block.
    """
    size = scores.size(-1)
    shares = scores.new_zeros((scores.size(0), (size + block - 1) // block, block))
    filled = shares.flatten(1)[:, :size]
    torch.sub(scores, scores.amax(-1, True), out=filled)
    filled.mul_(paces).exp_()
    return shares, shares.sum(-1)


@scripted
def tried(
    shares: torch.Tensor, sums: torch.Tensor, limits: torch.Tensor, block_keys: torch.Tensor, keys: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One token id per row, its share, and whether the shares above it reach the row's limit."""
    tokens = race(shares, sums, block_keys, keys)
    mine = shares.flatten(1).gather(-1, tokens.unsqueeze(1))
    more = (shares - mine.unsqueeze(2)).relu_()  # over the drawn token's share, of those more probable
    above = more.sum([1, 2]) + mine[:, 0] * more.sign_().sum([1, 2])  # comparing is slower
    return tokens, mine[:, 0], above >= limits


@scripted
def above_only(shares: torch.Tensor, least: list[float]) -> torch.Tensor:
    """Shares that are over their row's `least`; 0 in place of the others."""
    for i in range(len(least)):
        torch.threshold_(shares[i], least[i], 0.0)
    return shares


def from_nucleus(scores: torch.Tensor, draws: Sequence[Draw]) -> torch.Tensor:
    """Top-p sampling without sorting the vocabulary.

    A token drawn from the whole distribution is in the nucleus if and only if the tokens more probable than it
    hold less than top_p together. If it is not, neither is anything less probable: those leave, and another is
    drawn with fresh noise. What stays in the end is a draw from the nucleus alone.
    """
    shares, sums = weighed(scores, column([1 / draw.sampling.temperature for draw in draws], scores), BLOCK)
    limits = column([draw.sampling.top_p if draw.sampling.top_p < 1 else math.inf for draw in draws], scores)
    limits = (limits * sums.sum(-1, keepdim=True))[:, 0]
    tokens = torch.zeros(len(draws), dtype=torch.long, device=scores.device)
    left = list(range(len(draws)))  # rows that still draw; `shares`, `sums` and `limits` are theirs
    for attempt in itertools.count():
        keys = [row_key(draws[i], attempt) for i in left]
        found, mine, outside = tried(shares, sums, limits, key_bits(keys, scores), key_bits(map(mix64, keys), scores))
        again = outside.nonzero()[:, 0]
        tokens[left] = found
        if not len(again):
            return tokens
        left = [left[i] for i in again.tolist()]
        shares, limits = above_only(shares[again], mine[again].tolist()), limits[again]
        sums = shares.sum(-1)
    raise AssertionError("unreachable")


def from_top_k(scores: torch.Tensor, draws: Sequence[Draw]) -> torch.Tensor:
    """Top-k, then top-p within those k, whose shares are taken as a whole."""
    scores = scores / column([draw.sampling.temperature for draw in draws], scores)
    size = scores.shape[-1]
    top_p = column([draw.sampling.top_p for draw in draws], scores)
    top_k = column([min(draw.sampling.top_k, size) for draw in draws], scores)
    values, ids = scores.topk(int(top_k.max()), dim=-1)
    values = values.masked_fill(torch.arange(values.shape[-1], device=scores.device) >= top_k, float("-inf"))
    shares = values.softmax(-1)
    before = shares.cumsum(-1) - shares
    pace = shares / waits(key_bits([row_key(draw) for draw in draws], scores), ids.to(torch.int32))
    pace = pace.masked_fill((before >= top_p) & (top_p < 1), -1)
    return ids.gather(-1, pace.argmax(-1, keepdim=True))[:, 0]


def column(values: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    """Per-row values as a [rows, 1] tensor beside `like`."""
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None]


def row_key(draw: Draw, attempt: int = 0) -> int:
    """A 64-bit key of the row's seed and position, another for each attempt."""
    key = mix64((mix64(draw.sampling.seed) + draw.position * GOLDEN) & MASK64)
    return mix64((key + attempt * MIX[0]) & MASK64)
