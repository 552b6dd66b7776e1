"""The Models tab without a browser: what its handlers answer, what is escaped, and who may use it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from engine.catalog import Model, find
from engine.compare import Lane, LaneResult
from engine.models import kept
from engine.models.download import Progress
from engine.models.look import look
from engine.models.report import Report
from engine.pool import Pool
from pages import models_moves as moves
from pages import models_render as render
from pages.board import LaneView, Turn
from pages.launch import Launch
from pages.render import foot
from tests.engine.models.shelf import MakeLora
from tests.engine.models.test_download import wait_for
from tests.scripted_hub import Hub, Repo

LOCAL, DEMO = Launch(), Launch(open_demo=True)
EVIL = "<img src=x onerror=alert(1)>"


def request(launch: Launch = LOCAL) -> gr.Request:
    return gr.Request(SimpleNamespace(scope={"diptych.launch": launch}), session_hash="session")


def seen(source: str, revision: str = "", base: str | None = None) -> list[Any]:
    """The last answer of a look."""
    return list(moves.look_at(request(), source, revision, base))[-1]


def view(choice: str | None = None) -> dict[str, Any]:
    return moves.glance(request(), choice, None, {})[0]


def test_look_shows_findings_and_opens_the_form_only_for_what_can_be_added(
    no_models: Path, llama: Path, tmp_path: Path
):
    first, *rest = list(moves.look_at(request(), str(llama), "", None))
    assert "Looking…" in first[1] and len(rest) == 1
    found, html, instead, base, form, name, precision, button, _ = rest[0]
    assert found.usable and "It can be added" in html and html.count("<tr") == 4
    assert form.visible and not instead.visible and not base.visible and name == "small-llama" and button == "Add"
    assert [choice[1] for choice in precision.choices] == ["auto", "fp32", "bf16", "int8", "nf4"]
    (tmp_path / "empty").mkdir()
    found, html, _, _, form, name, *_ = seen(str(tmp_path / "empty"))
    assert not found.usable and "cannot be added like this" in html and not form.visible and name == ""


def test_failed_look_puts_the_form_away_and_tells(no_models: Path):
    answers = moves.look_at(request(), "/no/such/place", "", None)
    next(answers)
    assert next(answers)[:2] == [None, render.NOTHING_YET]
    with pytest.raises(gr.Error, match="There is no folder"):
        next(answers)


def test_gptq_offers_its_full_precision_base(hub: Hub, llama: Path):
    import json

    files = Repo.of(llama).files
    config = json.loads(files["config.json"]) | {"quantization_config": {"quant_method": "gptq"}}
    hub.repos["TheBloke/Mistral-7B-Instruct-v0.2-GPTQ"] = Repo(files | {"config.json": json.dumps(config).encode()})
    found, html, instead, *_ = seen("TheBloke/Mistral-7B-Instruct-v0.2-GPTQ")
    assert instead.visible and instead.value == "Look at mistralai/Mistral-7B-Instruct-v0.2" and "GPTQ model" in html
    assert moves.go_instead(request(), found) == ["mistralai/Mistral-7B-Instruct-v0.2", ""]
    with pytest.raises(gr.Error, match="Look at a model first"):
        moves.go_instead(request(), None)


def test_catalogue_line_that_is_clicked_fills_the_form():
    event = SimpleNamespace(_data={"source": "Qwen/Qwen2.5-0.5B"})
    assert moves.picked(request(), event) == ["Qwen/Qwen2.5-0.5B", ""]
    assert moves.picked(request(), SimpleNamespace(_data=None)) == ["", ""]


def test_folder_is_added_loaded_in_nf4_renamed_unloaded_and_deleted(no_models: Path, llama: Path, empty_pool: Pool):
    found = seen(str(llama))[0]
    told, choice, form, state = moves.add(request(), found, "my llama", "nf4")
    assert "my llama is in every list now" in told and state is None and not form.visible
    shown = view(choice)
    assert "4 bits (NF4, double quantization)" in shown["shelf"] and shown["load"] and not shown["stop"]
    *_, told = moves.load(request(), choice)
    assert "my llama is in memory, 4 bits" in told and "reckoned before" in told and "of weights held now" in told
    shown = view(choice)
    held = shown["held"][1]
    assert "my llama" in shown["memory"] and "idle" in shown["memory"]
    assert moves.rename(request(), choice, "llama two") == [render.told("It is called llama two now."), ""]
    assert "8 bits (LLM.int8) from now on" in moves.set_precision(request(), choice, "int8")
    assert "out of memory" in moves.unload(request(), held) and "No model is in memory" in view()["memory"]
    assert moves.ask_sure(request(), choice)[1] == "Yes, delete llama two"
    assert "llama two is deleted. Your own folder is untouched." in moves.delete(request(), choice)
    assert "No models added yet" in view()["shelf"] and (llama / "model.safetensors").is_file()


def test_deleting_unloads_and_is_refused_while_the_model_answers(no_models: Path, llama: Path, empty_pool: Pool):
    entry = kept.keep(look(str(llama)), "busy")
    with empty_pool.hold(find("busy")), pytest.raises(gr.Error, match="answering just now"):
        moves.delete(request(), entry.id)
    assert kept.entries() == [entry]
    moves.delete(request(), entry.id)
    assert not empty_pool.loaded()


def test_download_moves_in_the_view_stops_and_resumes(hub: Hub, llama: Path):
    hub.repos["o/m"] = Repo.of(llama, stall_at=100_000)
    found, *_, button, _ = seen("o/m")
    assert button == "Download 712.4 kB and add"
    told, choice, *_ = moves.add(request(), found, "", "auto")
    assert "m is downloading" in told
    shown = view(choice)
    assert "<progress" in shown["shelf"] and shown["stop"] and not shown["load"] and not shown["resume"]
    with pytest.raises(gr.Error, match="not all here yet"):
        list(moves.load(request(), choice))
    assert "what has arrived is kept" in moves.stop(request(), choice)
    shown = view(choice)
    assert "Stopped on request" in shown["shelf"] and shown["resume"] and not shown["stop"]
    hub.repos["o/m"].stall_at = 0
    moves.resume(request(), choice)
    wait_for(kept.entry(choice).store, "done")
    shown = view(choice)
    assert "<progress" not in shown["shelf"] and shown["load"]


def test_what_has_not_changed_is_left_alone(no_models: Path, llama: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(moves, "free_bytes", lambda: 10**9)  # others write to this disk and use this pool
    monkeypatch.setattr(moves.loaded, "in_memory", list)
    entry = kept.keep(look(str(llama)))
    last, *updates = moves.glance(request(), entry.id, None, {})
    assert len(updates) == len(moves.VIEW)
    again, *updates = moves.glance(request(), entry.id, None, last)
    assert again == last and all(each == gr.skip() for each in updates)


def test_adapter_asks_for_its_base_and_is_looked_at_again_with_it(no_models: Path, llama: Path, lora: MakeLora):
    kept.keep(look(str(llama)), "the base")
    folder = lora(llama, named="/content/somewhere")
    found, _, _, base, form, *_ = seen(str(folder))
    assert not found.usable and base.visible and base.choices[0][1] == "the base" and not form.visible
    found, html, _, base, form, *_ = seen(str(folder), base="the base")
    assert found.usable and form.visible and base.value == "the base" and "only you know" in html


def test_visitors_of_an_open_demo_look_but_change_nothing(no_models: Path, llama: Path):
    entry = kept.keep(look(str(llama)), "hidden away")
    shown = moves.glance(request(DEMO), None, None, {})[0]
    assert "hidden away" in shown["shelf"] and str(llama) not in shown["shelf"] and "a folder" in shown["shelf"]
    refused = "Visitors of an open demo may not"
    with pytest.raises(gr.Error, match=refused):
        next(moves.look_at(request(DEMO), str(llama), "", None))
    with pytest.raises(gr.Error, match=refused):
        moves.add(request(DEMO), look(str(llama)), "x", "auto")
    for handler in (moves.stop, moves.resume, moves.delete, moves.ask_sure, moves.unload):
        with pytest.raises(gr.Error, match=refused):
            handler(request(DEMO), entry.id)
    with pytest.raises(gr.Error, match=refused):
        next(moves.load(request(DEMO), entry.id))
    assert kept.entries() == [entry]


def test_words_of_models_and_people_are_escaped(no_models: Path, llama: Path):
    entry = replace(kept.keep(look(str(llama))), name=EVIL, source=EVIL, revision=EVIL, facts={"licence": EVIL})
    failed = Progress("failed", 1, 2, reason=EVIL)
    stored = replace(entry, store="x")
    html = render.shelf([stored], {"x": failed}, True) + render.told(EVIL)
    report = look(str(llama))
    evil = replace(report, name=f"o/{EVIL}", findings=(replace(report.findings[0], text=EVIL),))
    html += render.report(evil, 10**9)
    assert "<img" not in html and html.count("&lt;img") >= 6


def test_every_way_of_a_download_is_told_in_words():
    entry = kept.Entry("a", "m", "model", "o/m", "hub", store="x")
    cases = {
        Progress("waiting", 0, 100): "waiting to begin · 0 bytes of 100 bytes",
        Progress("downloading", 50_000_000, 100_000_000, 1_000_000): "50.0 MB of 100.0 MB · 1.0 MB/s · about 50 s left",
        Progress("downloading", 1, 10**12, 10**6): "about 277.8 h left",
        Progress("checking", 100, 100): "checking what has arrived",
        Progress("failed", 1, 100, reason="The disk is full."): "The disk is full.",
    }
    for progress, words in cases.items():
        assert words in render.moving(progress, entry), progress
    assert render.duration(300) == "5 min"


def test_report_that_does_not_fit_marks_the_precisions(no_models: Path, llama: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("engine.weights.fast_bf16", lambda: True)  # what 4 bits leave alone is larger without
    report: Report = look(str(llama))
    html = render.report(report, 200_000)
    assert html.count("does not fit") == 3 and html.count('data-fits="true"') == 1


def test_catalogue_shows_sizes_pairs_prices_and_whether_a_key_is_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    html = render.catalogue()
    assert "tuned from SmolLM2-135M" in html and "not published" in html and "December 2023" in html
    assert "$0.15" in html and "$1.60" in html and "OPENAI_API_KEY is not set" in html
    assert html.count("data-source=") >= 15 and "starter-pirate" in html
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    html = render.catalogue()
    assert "OPENAI_API_KEY is set" in html and "sk-secret" not in html


def test_lane_shows_what_it_cost_where_a_price_is_known():
    result = LaneResult("m", "hi", 500, 1.0, 0.5, "stop", prompt_tokens=1000)
    priced = Model("m", "m", endpoint="http://x/v1", input_price=0.15, output_price=0.60)
    assert "$0.00045" in foot(LaneView(priced, (Turn("p", Lane(priced), result),)))
    for other in (replace(priced, input_price=None), Model("local", "folder")):
        assert "$" not in foot(LaneView(other, (Turn("p", Lane(other), result),)))


def test_pickers_learn_of_a_model_that_was_added_and_keep_a_visitors_endpoints(no_models: Path, llama: Path):
    from pages.pickers import names, renewing

    desk = SimpleNamespace(endpoints={"my endpoint": None})
    before = [*names(False), "my endpoint"]
    assert renewing(2, False)(request(), before, desk) == [gr.skip()] * 3, "an unchanged list was sent again"
    kept.keep(look(str(llama)), "fresh")
    now, one, two = renewing(2, False)(request(), before, SimpleNamespace(desk=desk))
    assert "fresh" in now and now[-1] == "my endpoint" and one.choices == two.choices
    assert renewing(1, True)(request(), [], None)[0] == names(True) and "starter-shawgpt" not in names(True)


def test_lane_names_the_precision_that_was_chosen():
    from pages.render import kind

    assert "base · nf4" in kind(Model("m", "folder", precision="nf4")) and "·" not in kind(Model("m", "folder"))
