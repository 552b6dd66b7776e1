"""The preview of the Compare tab: exact prompts and token counts from the tokenizers that lie on this machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from engine.catalog import Model, all_models, find
from engine.compare import Lane
from engine.data.tokenizer_files import FileTokenizer, tokenizer_here
from engine.data.vocabulary import tokenizer_of
from engine.errors import Problem
from engine.messages import Message
from engine.prompts import CHAT, style, styles
from engine.settings import ROOT
from pages import preview as previews
from pages.desk import Desk
from pages.form import AS_SHARED, NO_DOCUMENTS, PER_LANE, SHARED
from pages.launch import Launch
from pages.preview import UNSEEN, Asked, preview, show_preview, told
from tests.pages.scripted import Stage
from tests.tiny import make_tiny_llama

SOMEBODY = gr.Request(SimpleNamespace(scope={"diptych.launch": Launch()}))
TALK = (
    Message("system", "Be <brief> & kind."),
    Message("user", "Hi {{ bos_token }}"),
    Message("assistant", "Hello, « you ».\n  - one"),
    Message("user", "Why?\n"),
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model("tiny", str(make_tiny_llama(tmp_path_factory.mktemp("preview"))))


def form(**changes: Any) -> list[Any]:
    """The values of the form: a name alone for a shared field, `lane_1_model` for one of the first lane."""
    common = dict.fromkeys(SHARED) | {"style": "plain", "collection": NO_DOCUMENTS}
    lanes = []
    for number in range(1, 9):
        model = "starter" if number == 1 else "starter-shawgpt"
        mine = dict.fromkeys(PER_LANE) | {"model": model, "style": AS_SHARED, "collection": AS_SHARED, "own": False}
        lanes += [changes.get(f"lane_{number}_{name}", mine[name]) for name in PER_LANE]
    return [*(changes.get(name, common[name]) for name in SHARED), *lanes]


def shown(prompt: str = "hi", desk: Desk | None = None, opened: bool = True, **changes: Any) -> Any:
    return show_preview(SOMEBODY, opened, desk or Desk(all_models()[:2]), prompt, *form(**changes))


@pytest.mark.parametrize("which", ["starter", "tiny"])
@pytest.mark.parametrize("name", list(styles()))
def test_preview_writes_and_counts_what_the_model_will_read(tiny: Model, which: str, name: str):
    model = tiny if which == "tiny" else find("starter")
    exact, quick, chosen = tokenizer_of(model), tokenizer_here(model), style(name)
    assert quick is not None
    for messages in (TALK, TALK[1:], TALK[:2]):
        text = chosen.render(messages, quick)
        assert text == chosen.render(messages, exact)
        ids = exact(text, add_special_tokens=chosen.adds_special_tokens())["input_ids"]
        assert quick.count(text, chosen.adds_special_tokens()) == len(ids)


def test_chat_template_is_shown_as_it_is_read():
    said = shown(style=CHAT, system="Be <kind>.")
    assert said.count("<pre") == 1 and "&lt;|im_start|&gt;user\nhi" in said and "Be &lt;kind&gt;." in said
    assert " tokens:" in said and UNSEEN not in said and "Lane" not in said


def test_lanes_own_style_and_system_prompt_are_previewed():
    own = {"lane_2_style": "question-answer", "lane_2_own": True, "lane_2_system": "Be a pirate."}
    said = shown(system="Be brief.", **own)
    first, second = said.split("<strong>Lane 2</strong>")
    assert "<strong>Lane 1</strong>" in first and "Be brief.\n\nhi</pre>" in first
    assert "Be a pirate.\n\nQ: hi\nA:</pre>" in second and "brief" not in second
    assert shown(system="Be brief.", lane_2_system="not ticked").count("<pre") == 1


def test_earlier_turns_and_documents_are_part_of_the_preview(stage: Stage):
    desk = Desk(all_models()[:2])
    run = desk.ask([Lane(model) for model in all_models()[:2]], "One?")
    while desk.drain(run):
        pass
    said = shown("Two?", desk, style="question-answer", lane_2_collection="sample")
    assert "Q: One?\nA: one two three four five\nQ: Two?\nA:" in said
    assert said.count("besides passages of its documents") == 1


@pytest.mark.parametrize("name", ["", "no such model!", "owner/never-fetched", "mine"])
def test_hint_stays_where_no_tokenizer_is_here(name: str, tmp_path: Path):
    desk = Desk(all_models()[:2])
    desk.endpoints["mine"] = (Model("mine", "m", endpoint="http://localhost:1/v1"), None)
    said = shown(desk=desk, style=CHAT, lane_2_model=name)
    assert UNSEEN in said.split("<strong>Lane 2</strong>")[1] and "im_start" in said
    plain = shown(desk=desk, lane_2_model=name).split("<strong>Lane 2</strong>")[1]
    assert "hi</pre>" in plain and "token" not in plain


def test_model_without_a_template_says_so(tmp_path: Path):
    bare = make_tiny_llama(tmp_path / "bare", chat=False)
    assert "This model has no chat template" in shown(style=CHAT, lane_1_model=str(bare))


def test_damaged_tokenizer_leaves_the_hint(tmp_path: Path):
    folder = make_tiny_llama(tmp_path / "damaged")
    (folder / "tokenizer.json").write_text("{", encoding="utf-8")
    assert UNSEEN in shown(style=CHAT, lane_1_model=str(folder))


def test_template_that_refuses_says_why(tmp_path: Path):
    folder = make_tiny_llama(tmp_path / "strict")
    (folder / "chat_template.jinja").write_text("{{ raise_exception('No <system>, please.') }}", encoding="utf-8")
    assert "refuses this conversation: No &lt;system&gt;, please." in shown(style=CHAT, lane_1_model=str(folder))


def test_tokenizer_is_found_in_the_hubs_cache_without_asking_the_hub(tiny: Model, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    store = tmp_path / "models--owner--small"
    shutil.copytree(tiny.base, store / "snapshots" / "abc")
    (store / "refs").mkdir()
    (store / "refs" / "main").write_text("abc")
    found = tokenizer_here(Model("small", "owner/small"))
    assert found is not None and found.chat_template == tokenizer_of(tiny).chat_template
    assert tokenizer_here(Model("small", "owner/small", revision="other")) is None


def test_adapter_with_a_tokenizer_of_its_own_is_not_guessed_at(tiny: Model, tmp_path: Path):
    assert tokenizer_here(replace(tiny, adapter=tmp_path)) is tokenizer_here(tiny)
    (tmp_path / "tokenizer.json").write_text("{}")
    assert tokenizer_here(replace(tiny, adapter=tmp_path)) is None


def test_closed_preview_does_nothing_and_equal_lanes_are_counted_once(monkeypatch: pytest.MonkeyPatch):
    counted: list[str] = []
    count = FileTokenizer.count
    monkeypatch.setattr(FileTokenizer, "count", lambda *given: counted.append(given[1]) or count(*given))
    assert shown(opened=False) == gr.skip() and not counted
    assert shown() and counted == ["hi"]


def test_long_prompt_is_shown_in_part_and_counted_whole():
    said = shown("word " * 20_000 + "end")
    assert len(said) < 21_000 and "end</pre>" in said and "(80,003 characters)" in said
    assert int(said.split(" tokens:")[0].split()[-1].replace(",", "")) >= 20_000


def test_preview_needs_no_torch():
    code = (
        "import sys; from engine.catalog import find; from pages.preview import Asked, preview, told\n"
        "from engine.data.tokenizer_files import tokenizer_here as here\n"
        "said = preview([Asked('chat', told('', (), 'hi'), here(find('starter')))])\n"
        "print('im_start' in said, 'token' in said, 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "False", "False"]


def test_sample_stands_for_a_prompt_that_is_not_written_yet():
    assert previews.SAMPLE in shown("  ") and previews.SAMPLE in preview([Asked("plain", told("", (), ""))])
    with pytest.raises(Problem, match="no prompt style"):
        preview([Asked("nope", told("", (), ""))])
