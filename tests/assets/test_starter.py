"""The starter model: small, loadable by plain transformers, continues as a base, and is changed by its adapters."""

import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from engine.messages import Message
from engine.prompts import style

ROOT = Path(__file__).parents[2]
STARTER = ROOT / "assets" / "starter"
ADAPTERS = ROOT / "assets" / "adapters"
SAMPLES = ROOT / "assets" / "samples"
sys.path.append(str(STARTER))
TOOL = {
    "type": "function",
    "function": {
        "name": "get_ticket_price",
        "description": "Get the price of a return ticket to a city.",
        "parameters": {
            "type": "object",
            "properties": {"origin": {"type": "string"}, "destination": {"type": "string"}},
            "required": ["origin", "destination"],
        },
    },
}
COMMENTS = ["Thanks, that was lovely!", "What is overfitting?", "The sound is too low."]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(STARTER)


@pytest.fixture(scope="module")
def write(tokenizer: PreTrainedTokenizerBase) -> Callable[..., str]:
    @cache
    def loaded(adapter: str | None) -> PreTrainedModel:
        model = AutoModelForCausalLM.from_pretrained(STARTER, dtype=torch.float32)
        return PeftModel.from_pretrained(model, ADAPTERS / adapter).eval() if adapter else model.eval()

    def written(prompt: str, adapter: str | None = None, most: int = 80) -> tuple[str, bool]:
        """The greedy continuation and whether it ended by itself."""
        ids = tokenizer(prompt, return_tensors="pt")
        made = loaded(adapter).generate(
            input_ids=ids["input_ids"], attention_mask=ids["attention_mask"], do_sample=False, max_new_tokens=most
        )[0, ids["input_ids"].shape[1] :]
        return tokenizer.decode(made, skip_special_tokens=True), made[-1].item() in (0, 2)

    return written


def shawgpt(comment: str, tokenizer: PreTrainedTokenizerBase) -> str:
    return style("shawgpt").render([Message("user", comment)], tokenizer)


def test_every_file_is_below_ten_megabytes_and_all_below_twenty() -> None:
    sizes = [f.stat().st_size for folder in (STARTER, *ADAPTERS.iterdir()) for f in folder.iterdir() if f.is_file()]
    assert max(sizes) < 10_000_000
    assert sum(f.stat().st_size for f in STARTER.iterdir() if f.is_file()) < 20_000_000


def test_names_with_and_without_a_space_have_the_same_pieces(tokenizer: PreTrainedTokenizerBase) -> None:
    bare, spaced = (tokenizer(text)["input_ids"] for text in ("Zagreb", " Zagreb"))
    assert spaced[-len(bare) :] == bare


def test_text_survives_the_tokenizer(tokenizer: PreTrainedTokenizerBase) -> None:
    text = 'Ünïcode "quoted" {"name": "x", "arguments": {"a": 1.5}} 日本\n\n–ShawGPT  two  spaces'
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_tools_are_rendered_in_the_hermes_form(tokenizer: PreTrainedTokenizerBase) -> None:
    call = {
        "type": "function",
        "function": {"name": "get_ticket_price", "arguments": {"origin": "Rome", "destination": "Oslo"}},
    }
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Rome to Oslo?"},
        {"role": "assistant", "content": "", "tool_calls": [call, call]},
        {"role": "tool", "content": "$90"},
        {"role": "tool", "content": "$91"},
    ]
    text = tokenizer.apply_chat_template(messages, tools=[TOOL], add_generation_prompt=True, tokenize=False)
    assert text.count(f"<tools>\n{json.dumps(TOOL)}\n</tools>") == 1
    wanted = '{"name": "get_ticket_price", "arguments": {"origin": "Rome", "destination": "Oslo"}}'
    assert text.count(f"<tool_call>\n{wanted}\n</tool_call>") == 2
    assert "user\n<tool_response>\n$90\n</tool_response>\n<tool_response>\n$91\n</tool_response><|im_end|>" in text
    assert text.startswith("<|im_start|>system\nBe kind.\n\n# Tools") and text.endswith("<|im_start|>assistant\n")


def test_training_text_is_what_the_chat_template_writes(tokenizer: PreTrainedTokenizerBase) -> None:
    import calls
    import forms
    import talk

    rng = Random(3)
    for messages, schemas in [calls.dialogue(rng) for _ in range(40)] + [(talk.document(rng), None) for _ in range(10)]:
        assert forms.render(messages, schemas) == tokenizer.apply_chat_template(messages, tools=schemas, tokenize=False)


def test_training_text_is_the_same_for_the_same_seed() -> None:
    import forms

    first, second = (forms.documents(11) for _ in range(2))
    assert [next(first) for _ in range(50)] == [next(second) for _ in range(50)]


def test_training_text_holds_no_held_out_name() -> None:
    import check

    assert check.leaks(400) == []


def test_base_goes_on_with_a_list_of_questions(write: Callable[..., tuple[str, bool]]) -> None:
    text, _ = write(
        "What is overfitting?\nWhat is a token?\nWhat does RAG mean?\nExplain embeddings.\nWhat is dropout?\n", most=60
    )
    assert text.count("?") + text.count(".\n") >= 2 and "\n" in text


@pytest.mark.parametrize("comment", COMMENTS)
def test_shawgpt_signs_and_stops(
    write: Callable[..., tuple[str, bool]], tokenizer: PreTrainedTokenizerBase, comment: str
) -> None:
    text, ended = write(shawgpt(comment, tokenizer), "starter-shawgpt", 120)
    assert ended and text.endswith("–ShawGPT")


def test_base_and_both_adapters_answer_differently(
    write: Callable[..., tuple[str, bool]], tokenizer: PreTrainedTokenizerBase
) -> None:
    prompt = shawgpt("What is overfitting?", tokenizer)
    assert len({write(prompt, adapter, 60)[0] for adapter in (None, "starter-shawgpt", "starter-pirate")}) == 3


@pytest.mark.parametrize("folder", sorted(ADAPTERS.glob("starter-*")), ids=lambda folder: folder.name)
def test_adapter_names_its_base_by_a_relative_path(folder: Path) -> None:
    assert (
        json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["base_model_name_or_path"]
        == "assets/starter"
    )


@pytest.mark.parametrize(("name", "rows"), [("shawgpt", 100), ("pirate", 80)])
def test_samples_are_varied_pairs(name: str, rows: int) -> None:
    pairs = [json.loads(line) for line in (SAMPLES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len({pair["comment"] for pair in pairs}) == len(pairs) >= rows
    assert all(set(pair) == {"comment", "response"} and pair["response"] for pair in pairs)


def test_check_reports_a_missed_floor() -> None:
    import check

    assert not any(check.judged({}).values())
    scores = {key.removesuffix("_at_most"): bound for key, bound in check.FLOORS.items()}
    assert all(check.judged(scores).values())
    assert check.judged(scores | {"refusal": 0.1, "wrong_refusal": 0.9}) == {
        key: key not in ("refusal", "wrong_refusal") for key in scores
    }


def test_calls_are_read_strictly() -> None:
    import check

    good = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    assert check.calls_of(good) == [{"name": "now", "arguments": {}}]
    assert check.calls_of(good.replace("}}", "}")) is None
    assert check.calls_of("I have no tool for that.") is None


def test_hand_written_phrasings_are_not_in_the_generator() -> None:
    import check
    import topics

    comments = [
        json.loads(line)["comment"] for line in (SAMPLES / "shawgpt_heldout.jsonl").read_text("utf-8").splitlines()
    ]
    asked = [ask for ask, _ in check.CASES["ordinary"]] + check.CASES["thanks"] + check.CASES["other"] + comments
    known = {phrase.lower() for phrases in topics.PHRASES.values() for phrase in phrases}
    assert not [ask for ask in asked if ask.lower() in known]
