"""What the network that is being trained answers right now, rendered as it will be asked later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import StoppingCriteria

from engine.datasets import Example
from engine.messages import encodable
from engine.prompts import PromptStyle

LONGEST_ANSWER = 64  # tokens
AT_ONCE = 8
LONGEST_PROMPT = 1024  # tokens


@dataclass(frozen=True)
class Prompt:
    """A prompt as people read it and as the model reads it, and the response of the data."""

    shown: str
    ids: tuple[int, ...]
    wanted: str


@dataclass(frozen=True)
class Asked:
    """Prompts that are asked again and again, and how replies end."""

    prompts: tuple[Prompt, ...]
    tokenizer: Any
    stops: tuple[int, ...]


def asked(examples: Sequence[Example], style: PromptStyle, tokenizer: Any, network: Any, length: int) -> Asked:
    """The examples' prompts in that style; plain texts are begun with their first words."""
    prompts = []
    for example in examples:
        if example.plain:
            words = encodable(example.response).split(" ")
            text, wanted, special = " ".join(words[:8]), " ".join(words[8:]), True
        else:
            text = encodable(style.render(example.messages[:-1], tokenizer))
            wanted, special = example.response, style.adds_special_tokens()
        ids = tokenizer(text, add_special_tokens=special)["input_ids"][-min(length, LONGEST_PROMPT) :]
        prompts.append(Prompt(example.prompt or text, tuple(ids), wanted))
    named = getattr(network.generation_config, "eos_token_id", None)
    stops = {tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])} - {None}
    return Asked(tuple(prompts), tokenizer, tuple(sorted(stops)))


class StopWhenAsked(StoppingCriteria):
    """Ends generation when somebody stops the job."""

    def __init__(self, stop_asked: Callable[[], bool]):
        self.stop_asked = stop_asked

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return torch.full((input_ids.shape[0],), self.stop_asked(), dtype=torch.bool, device=input_ids.device)


def answers(network: Any, asked: Asked, stop_asked: Callable[[], bool] = lambda: False) -> list[str]:
    """The likeliest reply to each prompt; the network's mode and the random generators stay as they were."""
    was_training = network.training
    network.eval()
    try:
        found: list[str] = []
        for at in range(0, len(asked.prompts), AT_ONCE):
            if stop_asked():
                break
            found += batch_of_answers(network, asked, asked.prompts[at : at + AT_ONCE], stop_asked)
        return found
    finally:
        network.train(was_training)


@torch.no_grad()
def batch_of_answers(
    network: Any, asked: Asked, prompts: Sequence[Prompt], stop_asked: Callable[[], bool]
) -> list[str]:
    """Replies to prompts in one batch, padded on the left."""
    pad = asked.stops[0] if asked.stops else 0
    width = max(1, *(len(prompt.ids) for prompt in prompts))
    rows = [[pad] * (width - len(prompt.ids)) + list(prompt.ids) for prompt in prompts]
    masks = [[0] * (width - len(prompt.ids)) + [1] * len(prompt.ids) for prompt in prompts]
    device = next(network.parameters()).device
    made = network.generate(
        input_ids=torch.tensor(rows, device=device),
        attention_mask=torch.tensor(masks, device=device),
        max_new_tokens=LONGEST_ANSWER,
        do_sample=False,
        num_beams=1,
        temperature=None,
        top_p=None,
        top_k=None,
        eos_token_id=list(asked.stops) or None,
        pad_token_id=pad,
        stopping_criteria=[StopWhenAsked(stop_asked)],
    )
    return [asked.tokenizer.decode(row[width:], skip_special_tokens=True).strip() for row in made.tolist()]
