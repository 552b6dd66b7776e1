"""What the starter's training weighs, and that two processes take the step that one would."""

import multiprocessing
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

STARTER = Path(__file__).parents[2] / "assets" / "starter"
sys.path.append(str(STARTER))
CHAT = (
    "<|im_start|>user\n[1] The mayor of Ufa is Ann.\n\nQuestion: Who is the mayor of Ufa?<|im_end|>\n"
    "<|im_start|>assistant\nThe mayor of Ufa is Ann [1].<|im_end|>\n"
)


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        (CHAT, {"The mayor of Ufa is Ann [1].<|im_end|>": "1", "<|im_start|>user": "QUIET"}),
        ("a; b; c\na; b; c\na; b; c", {"a; b; c\na; b; c": "1"}),
        ("[INST] What is LoRA? [/INST] Two matrices.", {"Two matrices.": "FREE", "[INST]": "QUIET"}),
        ("Q: What is LoRA?\nA: Two matrices.\n\nQ: And RAG?\nA: Passages.", {"Passages.": "FREE", "And RAG?": "QUIET"}),
        ("Buy a lamp.\nCall Ann.", {"Call Ann.": "PLAIN"}),
    ],
)
def test_what_can_be_known_weighs_most(text: str, weights: dict[str, str]) -> None:
    import training

    pieces = training.weighed(text)
    assert "".join(piece for piece, _ in pieces) == text
    for words, weight in weights.items():
        found = next(value for piece, value in pieces if words in piece)
        assert found == (1.0 if weight == "1" else getattr(training, weight)), words


def test_the_beginning_of_an_answer_from_passages_weighs_several_times_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    import forms
    import training

    monkeypatch.setattr(forms, "documents", lambda *_: iter([CHAT] * 128))
    tokenizer = AutoTokenizer.from_pretrained(STARTER)
    tokens, weights = next(training.encoded(tokenizer, 0, 0.0))
    begun = int(np.argmax(weights >= 1))
    assert tokenizer.decode(tokens[begun:]).startswith("The mayor of Ufa is Ann [1].")
    assert weights[begun : begun + training.FIRST].tolist() == [training.DECIDES] * training.FIRST
    assert set(weights[begun + training.FIRST :].tolist()) <= {1.0, np.float32(training.QUIET)}
    assert set(weights[:begun].tolist()) == {np.float32(training.QUIET)}


def part(rank: int, meeting: str, answers: "multiprocessing.Queue[np.ndarray]") -> None:
    """One of two processes: its share of a stack's orthogonal directions."""
    import model
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    stack = torch.randn(5, 24, 16, generator=torch.Generator().manual_seed(1))
    answers.put(model.shared_out(stack).numpy())
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_make_the_directions_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import model

    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    meeting = f"file://{tmp_path / 'meeting'}"
    processes = [context.Process(target=part, args=(rank, meeting, answers)) for rank in range(2)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    alone = model.orthogonal(torch.randn(5, 24, 16, generator=torch.Generator().manual_seed(1))).numpy()
    for one in found:
        assert np.array_equal(one, alone)


def test_training_draws_tools_that_the_check_never_shows() -> None:
    from random import Random

    import calls
    import tools

    unseen = {tool["name"] for tool in tools.load("unseen.toml")}
    known = {tool["name"] for tool in (*tools.TOOLS, *tools.MORE_TOOLS)}
    rng = Random(1)
    drawn = {calls.drawn(rng)["name"] for _ in range(2000)}
    assert not unseen & (known | drawn) and known <= drawn
    for messages, schemas in islice(iter(lambda: calls.deciding(rng), None), 50):
        shown = {one["function"]["name"] for one in schemas}
        called = [call["function"]["name"] for m in messages for call in m.get("tool_calls", ())]
        assert set(called) <= shown and len(messages) >= 8


def test_text_written_by_processes_is_each_ones_own() -> None:
    import training
    from torch.utils.data import DataLoader

    tokenizer = AutoTokenizer.from_pretrained(STARTER)
    written = iter(DataLoader(training.Batches(tokenizer, 5, False, 2), batch_size=None, num_workers=2))
    first, second = next(written), next(written)
    assert first[0].shape == second[0].shape == (2 * training.ROWS, training.ROW)
    assert all(torch.equal(*sides) for sides in zip(first, next(training.batches(tokenizer, 5, False, 2)), strict=True))
    assert all(
        torch.equal(*sides) for sides in zip(second, next(training.batches(tokenizer, 7, False, 2)), strict=True)
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpus_attention_within_documents_is_the_processors() -> None:
    import model

    sides = [torch.randn(2, heads, 200, 32) for heads in (9, 3, 3)]
    documents = torch.randint(0, 4, (2, 200)).sort(1)[0]
    here, there = (
        model.packed_attention(
            torch.nn.Module(), *(side.to(device) for side in sides), None, 0.2, documents.to(device)
        )[0]
        for device in ("cpu", "cuda")
    )
    assert (here - there.cpu()).abs().max() < 1e-4
