"""Rows that can only write JSON of a schema: random models, every way of drawing, neighbours, ends and failures."""

from __future__ import annotations

import ast
import json
import re
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
import torch

import engine.grammar as grammars
from engine.acting.shapes import shape_of
from engine.catalog import Model
from engine.decode import DecodeLoop
from engine.errors import Problem
from engine.grammar import Grammars
from engine.local import LocalResponder
from engine.messages import Message, Piece, Sampling
from engine.sample import Draw, choose
from engine.settings import ROOT
from engine.structured import CUT_OFF, Shaped, shaped
from tests.engine.rows import TOKENIZER, end, network, request, run, tokens

PROMPT = TOKENIZER("What is the name of the town? ")["input_ids"]
NAME = {"type": "string", "pattern": "^[A-Za-z ]{1,12}$"}
SCHEMAS: dict[str, dict[str, Any]] = {
    "nested object": {
        "type": "object",
        "properties": {
            "place": {
                "type": "object",
                "properties": {"name": NAME, "open": {"type": "boolean"}},
                "required": ["name", "open"],
                "additionalProperties": False,
            }
        },
        "required": ["place"],
        "additionalProperties": False,
    },
    "enum": {"enum": ["red", "green", 3, None, {"a": [1]}]},
    "array of objects": {
        "type": "array",
        "minItems": 2,
        "maxItems": 4,
        "items": {
            "type": "object",
            "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}},
            "required": ["n"],
            "additionalProperties": False,
        },
    },
    "integer range": {"type": "integer", "minimum": -17, "maximum": 1203},
    "number range": {"type": "number", "minimum": 0.5, "exclusiveMaximum": 1.25},
    "multiples": {"type": "integer", "minimum": 7, "maximum": 700, "multipleOf": 7},
    "unicode": {"type": "string", "pattern": "^[α-ω一-龥😀-😅]{3,8}$"},
    "string with limits": {"type": "string", "minLength": 2, "maxLength": 9},
    "optional fields": {
        "type": "object",
        "properties": {"a": NAME, "b": {"type": "boolean"}, "c": {"type": "null"}},
        "required": ["b"],
        "additionalProperties": False,
    },
    "reference": {
        "$defs": {"day": {"enum": ["Mon", "Tue"]}},
        "type": "array",
        "minItems": 1,
        "maxItems": 3,
        "items": {"anyOf": [{"$ref": "#/$defs/day"}, {"type": "integer", "minimum": 1, "maximum": 31}]},
    },
}
DRAWINGS = (
    {"temperature": 0.0},
    {"temperature": 1.0, "top_p": 1.0},
    {"temperature": 1.5, "top_p": 0.7, "repetition_penalty": 1.4},
    {"temperature": 0.8, "top_k": 5, "repetition_penalty": 1.1},
)


@pytest.fixture(scope="module")
def loop():
    made = DecodeLoop(network(), TOKENIZER, 512)
    yield made
    made.close()


def held(loop: DecodeLoop, schema: dict[str, Any], **sampling: Any) -> Any:
    """A row held to a schema."""
    return replace(request(PROMPT, **({"max_tokens": 400} | sampling)), grammar=loop.grammars.reply(schema))


def text(events: list) -> str:
    return "".join(event.text for event in events if isinstance(event, Piece))


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_random_model_writes_nothing_but_json_of_the_schema(loop: DecodeLoop, name: str):
    schema = SCHEMAS[name]
    rows = [held(loop, schema, seed=seed, **drawing) for seed in range(3) for drawing in DRAWINGS]
    told = set()
    for events in run(loop, rows):
        value = json.loads(text(events))
        jsonschema.validate(value, schema)
        assert end(events).reason == "stop" and end(events).usage.completion_tokens == len(tokens(events))
        told.add(json.dumps(value))
    assert len(told) > 1


def test_a_constraint_changes_no_token_of_the_other_rows(loop: DecodeLoop):
    others = [
        request(PROMPT, max_tokens=40),
        request(PROMPT[2:], max_tokens=40, temperature=1.0, seed=3),
        request(PROMPT[1:], max_tokens=40, temperature=1.0, top_k=7, repetition_penalty=1.3, seed=4),
    ]
    alone = [tokens(events) for events in run(loop, others)]
    schema = SCHEMAS["nested object"]
    constrained = held(loop, schema, temperature=1.0, seed=5)
    of_its_own = tokens(run(loop, [constrained])[0])
    among = run(loop, [others[0], constrained, *others[1:], held(loop, SCHEMAS["enum"])])
    assert [tokens(among[i]) for i in (0, 2, 3)] == alone and tokens(among[1]) == of_its_own


def test_rows_without_a_constraint_need_no_grammar(monkeypatch: pytest.MonkeyPatch):
    for path in (ROOT / "engine").rglob("*.py"):
        top = ast.parse(path.read_text(encoding="utf-8")).body
        assert not any(
            "llguidance" in ast.unparse(node) for node in top if isinstance(node, ast.Import | ast.ImportFrom)
        )
    monkeypatch.setitem(sys.modules, "llguidance", None)
    free = DecodeLoop(network(), TOKENIZER, 64)
    assert len(tokens(run(free, [request(PROMPT, max_tokens=4)])[0])) == 4
    free.close()


@pytest.mark.parametrize("sampling", [{"temperature": 0.0}, {"temperature": 1.2, "top_p": 0.8}, {"top_k": 9}])
def test_noise_comes_from_seed_and_position_whatever_the_mask_allows(sampling: dict[str, Any]):
    torch.manual_seed(0)
    logits = torch.randn(4, 500) * 3
    open_to_all, some = torch.zeros(500), torch.full((500,), -torch.inf)
    some[::7] = 0
    free = [Draw(Sampling(**sampling, seed=i), position=i) for i in range(4)]
    masked = [Draw(Sampling(**sampling, seed=i), position=i, mask=lambda: open_to_all) for i in range(4)]
    mixed = [*free[:3], Draw(Sampling(**sampling, seed=3), position=3, mask=lambda: some)]
    drawn = choose(logits.clone(), free)
    assert choose(logits.clone(), masked) == drawn
    among, alone = choose(logits.clone(), mixed), choose(logits[3:].clone(), mixed[3:])
    assert among[0][:3] == drawn[0][:3] and among[0][3] == alone[0][0] and among[0][3] % 7 == 0
    own = logits.log_softmax(-1)[3, among[0][3]].item()
    assert among[1][3] == pytest.approx(own, abs=1e-4), "log probabilities are the model's own"


def test_a_mask_may_be_shorter_or_longer_than_the_logits():
    logits = torch.arange(8.0)[None]
    for size in (5, 40):
        mask = torch.full((size,), -torch.inf)
        mask[2] = 0
        assert choose(logits.clone(), [Draw(Sampling(temperature=0), mask=lambda mask=mask: mask)])[0] == [2]


def test_where_more_may_come_an_end_token_ends_it_and_blanks_are_few(loop: DecodeLoop):
    deep = {"type": "array", "minItems": 3, "maxItems": 3, "items": {"type": "array", "maxItems": 0}}
    for events in run(loop, [held(loop, deep, seed=seed, temperature=3.0, top_p=1.0) for seed in range(10)]):
        assert json.loads(text(events)) == [[], [], []]
        assert all(re.fullmatch(r" |\n[ \t]{0,20}", blanks) for blanks in re.findall(r"\s+", text(events)))
    trie = loop.grammars.reply({"type": "integer"})
    state = trie.begin()
    assert state.take(TOKENIZER("7")["input_ids"][0]) and not state.complete
    assert state.mask()[TOKENIZER.eos_token_id] == 0 and not state.take(TOKENIZER("{")["input_ids"][0])


def test_at_its_limit_a_reply_is_cut_and_says_so(loop: DecodeLoop, tiny, empty_pool):
    events = run(loop, [held(loop, SCHEMAS["nested object"], max_tokens=5)])[0]
    assert end(events).reason == "length" and len(tokens(events)) == 5
    schema = {"type": "object", "properties": {"a": {"type": "string", "minLength": 90}}, "required": ["a"]}
    responder = LocalResponder(Model(name="tiny", base=str(tiny)))
    *_, last = shaped(responder, [Message("user", "Hi")], shape_of(schema), Sampling(max_tokens=20))
    assert isinstance(last, Shaped) and last.reason == "error" and last.tries[0].complaint == CUT_OFF
    assert last.tries[0].text.lstrip("{ \n\t").startswith('"a"')


def test_stop_strings_still_end_a_reply(loop: DecodeLoop):
    events = run(loop, [held(loop, SCHEMAS["nested object"], stop=('"name',))])[0]
    assert end(events).reason == "stop" and text(events).lstrip("{ \n\t").startswith('"place"')
    assert "name" not in text(events)


def test_a_row_that_cannot_be_followed_fails_alone(loop: DecodeLoop):
    lost = SimpleNamespace(mask=lambda: torch.zeros(300), take=lambda token: False, complete=False)
    broken = replace(request(PROMPT), grammar=SimpleNamespace(begin=lambda: lost))
    failed, fine = run(loop, [broken, held(loop, SCHEMAS["integer range"])])
    assert isinstance(failed[-1], Problem) and "too complex" in str(failed[-1])
    assert end(fine).reason == "stop"


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "array", "uniqueItems": True}, "it uses uniqueItems"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "overlap"),
        ({"$ref": "#"}, "nothing that fits"),
        ({"$ref": "#/$defs/none"}, "does not exist"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "greater than"),
        ({"type": "string", "pattern": "^(?=a)b$"}, "regex"),
        ({"allOf": [{"multipleOf": 9973}, {"multipleOf": 9967}]}, "multipleOf is too large"),
        ({"type": "number", "multipleOf": 1e300}, "multipleOf is too large"),
        ({"type": "string", "format": "colour"}, "format"),
    ],
)
def test_schemas_that_cannot_be_followed_are_told_in_a_sentence(loop: DecodeLoop, schema: dict[str, Any], why: str):
    with pytest.raises(Problem, match=why) as told:
        loop.grammars.reply(schema)
    assert "\n" not in str(told.value) and str(told.value).endswith(".")


def test_a_schema_cannot_loosen_the_house_rules(loop: DecodeLoop):
    with pytest.raises(Problem, match="uniqueItems"):
        loop.grammars.reply({"uniqueItems": True, "x-guidance": {"lenient": True}})


def test_the_trie_is_built_once_for_a_model(tiny, empty_pool, monkeypatch: pytest.MonkeyPatch):
    built = []
    original = grammars.wrapped
    monkeypatch.setattr(grammars, "wrapped", lambda *given: built.append(1) or original(*given))
    model = Model(name="tiny", base=str(tiny))
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMAS["enum"]}}
    for seed in range(3):
        list(LocalResponder(model).shaped(form).reply([Message("user", "Hi")], Sampling(seed=seed)))
    assert built == [1]
    list(LocalResponder(model).reply([Message("user", "Hi")], Sampling(max_tokens=3)))
    assert built == [1]


def test_a_tokenizer_that_cannot_be_followed_leaves_the_check_and_says_why(
    tiny, empty_pool, monkeypatch: pytest.MonkeyPatch
):
    odd = Grammars(words_alone(), [0])
    assert odd.reply(SCHEMAS["enum"]) is None and "only checked afterwards" in (odd.problem or "")

    def refuse(*given: Any) -> None:
        raise ValueError("Only fast tokenizers are supported")

    monkeypatch.setattr(grammars, "wrapped", refuse)
    responder = LocalResponder(Model(name="tiny", base=str(tiny)))
    *_, last = shaped(responder, [Message("user", "Hi")], shape_of(SCHEMAS["enum"]), Sampling(max_tokens=8))
    assert last.reason == "error" and len(last.tries) == 3 and "Only fast tokenizers" in (last.loose or "")


def words_alone() -> Any:
    """A tokenizer that knows whole words and drops what stands between them."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({"<end>": 0, "<unk>": 1, "Name": 2, "true": 3}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>", unk_token="<unk>")
