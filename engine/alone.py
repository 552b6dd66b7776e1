"""Adapters that are more than LoRA on linear layers: a batch of their own over the base's shared weights."""

from __future__ import annotations

import copy
import itertools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.decode import DecodeLoop
from engine.errors import Problem
from engine.loading import ONE_AT_A_TIME

if TYPE_CHECKING:
    from engine.pool import Base

log = logging.getLogger(__name__)


def alone_loop(base: Base, folder: Path) -> DecodeLoop:
    """A decode loop for DoRA, new tokens, whole trained modules and the like.

    PEFT wraps a second tree of modules that shares every weight with the base, so the base itself stays as it is
    and only what the adapter adds takes memory. Raises Problem when it does not fit; the base is then as fast as
    before.
    """
    from transformers import AutoTokenizer

    packed = False
    try:
        tokenizer = base.tokenizer
        if (folder / "tokenizer.json").is_file():
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        rows = vocabulary(folder)
        packed = base.loop.give_back_weights()
        wrapped = wrap(base.network, folder, rows)
    except Exception as error:  # PEFT and safetensors raise errors of many types, some of their own
        if packed:  # so no other adapter shares them
            base.loop.take_weights()
        log.warning("adapter %s did not load", folder, exc_info=error)
        reason = (str(error).strip().splitlines() or ["no reason was given"])[0][:200]
        raise Problem(f"The adapter {folder.name} does not fit this base: {reason}") from error
    return DecodeLoop(wrapped, tokenizer, base.context, alone=True)


def wrap(network: Any, folder: Path, rows: int) -> Any:
    """PEFT's model of the adapter over the network's weights; `rows` are those of an embedding table that it brings."""
    from peft import PeftModel

    grows = rows > network.get_input_embeddings().weight.shape[0]
    shared = twin(network, own_embeddings=grows)
    if grows:
        with ONE_AT_A_TIME:  # it ties weights
            shared.resize_token_embeddings(rows, mean_resizing=False)
    return PeftModel.from_pretrained(shared, folder).eval()


def twin(network: Any, own_embeddings: bool) -> Any:
    """A second tree of modules over the very same weights, without the hooks of the first.

    Embeddings that are to grow must be its own: transformers enlarges them in place.
    """
    memo: dict[int, Any] = {id(t): t for t in itertools.chain(network.parameters(), network.buffers())}
    if own_embeddings:
        for table in (network.get_input_embeddings(), network.get_output_embeddings()):
            memo.pop(id(table.weight), None)
    memo |= {id(module._forward_hooks): type(module._forward_hooks)() for module in network.modules()}
    return copy.deepcopy(network, memo)


def vocabulary(folder: Path) -> int:
    """Rows of the largest embedding table that the adapter itself brings; 0 for none."""
    from safetensors import safe_open

    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        names = [name for name in file.keys() if name.endswith(("embed_tokens.weight", "lm_head.weight", "wte.weight"))]  # noqa: SIM118
        return max((file.get_slice(name).get_shape()[0] for name in names), default=0)
