"""Loading in a precision, what it takes before and after, unloading; comparing base and adapter in NF4."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.catalog import Model, find
from engine.compare import Comparison, Lane, LaneEnded
from engine.errors import Problem
from engine.messages import Sampling
from engine.models import kept, loaded
from engine.models.look import look
from engine.pool import Pool
from engine.settings import ROOT
from tests.engine.models.shelf import MakeLora
from tests.tiny import make_tiny_llama


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16", "int8", "nf4"])
@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
def test_what_is_reckoned_before_is_what_is_held_after(
    no_models: Path, llama: Path, tmp_path: Path, empty_pool: Pool, precision: str, stored: str
) -> None:
    folder = llama if stored == "float32" else in_bf16(llama, tmp_path / "half")
    entry = kept.keep(look(str(folder)), precision=precision)
    model = entry.model
    assert model
    found = loaded.load(model, entry.needs[precision])
    assert abs(found.reckoned - found.held) / found.held < 0.02
    assert found.process_after and found.process_before
    assert [(each.title, each.busy) for each in loaded.in_memory()] == [(entry.name, False)]


def in_bf16(folder: Path, to: Path) -> Path:
    """The same model stored in 16 bits."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(to)
    AutoTokenizer.from_pretrained(folder).save_pretrained(to)
    return to


def test_base_and_adapter_are_compared_in_nf4_over_one_base(
    no_models: Path, llama: Path, lora: MakeLora, empty_pool: Pool
) -> None:
    base = kept.keep(look(str(llama)), precision="nf4")
    bot = kept.keep(look(str(lora(llama))))
    sampling = Sampling(temperature=0, max_tokens=8)
    lanes = [Lane(find(each.name), "plain", sampling=sampling) for each in (base, bot)]
    ended = [
        event.result for event in Comparison(lanes, "What is the name of the town?") if isinstance(event, LaneEnded)
    ]
    assert len(ended) == 2 and not any(result.error for result in ended), ended
    tuned = next(result for result in ended if result.model == bot.name)
    assert (tuned.logit_difference or 0) > 0 and tuned.tokens
    assert len(loaded.in_memory()) == 1 and set(loaded.in_memory()[0].names) == {base.name, bot.name}


def test_unloading_frees_the_place_and_refuses_while_it_answers(no_models: Path, llama: Path, empty_pool: Pool) -> None:
    model = kept.keep(look(str(llama))).model
    assert model
    with empty_pool.hold(model):
        held = loaded.in_memory()[0]
        assert held.busy
        with pytest.raises(Problem, match="answering just now"):
            loaded.unload(held.id)
    assert loaded.unload(held.id) == "small-llama" and not loaded.in_memory()
    with pytest.raises(Problem, match="Choose a model that is in memory"):
        loaded.unload(held.id)


def test_forgetting_a_folder_unloads_all_its_precisions(no_models: Path, llama: Path, empty_pool: Pool) -> None:
    for precision in ("fp32", "nf4"):
        loaded.load(Model("m", str(llama), precision=precision))
    loaded.load(Model("starter", find("starter").base))
    loaded.forget(llama)
    assert [Path(each.key[0]).name for each in loaded.in_memory()] == ["starter"]


def test_an_endpoint_has_nothing_to_load() -> None:
    with pytest.raises(Problem, match="is at an endpoint"):
        loaded.load(Model("far", "m", endpoint="http://127.0.0.1:1/v1"))


def test_adapter_that_no_longer_fits_is_told_when_it_is_loaded(
    no_models: Path, tmp_path: Path, lora: MakeLora, empty_pool: Pool
) -> None:
    base = make_tiny_llama(tmp_path / "base", hidden=64)
    kept.keep(look(str(base)))
    bot = kept.keep(look(str(lora(base))))
    make_tiny_llama(base, hidden=32)
    model = bot.model
    assert model
    with pytest.raises(Problem, match="does not fit this base"):
        loaded.load(model)


def test_asking_what_is_in_memory_needs_no_torch() -> None:
    code = "import sys, engine.models.loaded as l; print(l.in_memory(), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] False"
