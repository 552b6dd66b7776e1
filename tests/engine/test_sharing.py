"""Merging an adapter into its base, and runs that go to the Hub and come back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine import jobs
from engine.catalog import all_models, find
from engine.errors import Problem
from engine.headless_jobs import main
from engine.settings import settings
from engine.teaching import merge, sharing
from engine.teaching.runs import Job
from tests.engine.teaching import small, wait_until

TOKENS = {"new_tokens": "###HUMAN### ###BOT### ###STOP###", "stop_token": "###STOP###", "style": "sawyer"}


def done(toy: Path, pairs: Path, **knobs: object) -> Job:
    job = wait_until(jobs.start(small(toy, pairs, steps=4, **knobs)), lambda job: job.over, 90)
    assert job.state == "done", job.reason
    return job


class Hub:
    """The Hub's client over a folder: what is pushed lies under `place`, and every call is kept."""

    def __init__(self, place: Path):
        self.place, self.calls = place, []

    def __call__(self, token: object = None) -> Hub:
        self.token = token
        return self

    def create_repo(self, name: str, **options: object) -> None:
        self.calls.append(("create", name, options))

    def upload_folder(self, folder_path: Path, repo_id: str, **options: object) -> object:
        shutil.copytree(folder_path, self.place / repo_id)
        return SimpleNamespace(oid="abc123")

    def snapshot_download(self, name: str, revision: str | None, local_dir: Path, allow_patterns: list[str]) -> None:
        self.calls.append(("download", name, revision))
        if not (self.place / name).is_dir():
            raise ConnectionError("offline")
        shutil.copytree(self.place / name, local_dir)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub(tmp_path)
    monkeypatch.setattr("huggingface_hub.HfApi", made)
    with_token = SimpleNamespace(**{**vars(settings()), "hub_token": "hf_x"})
    monkeypatch.setattr(sharing, "settings", lambda: with_token)
    return made


@pytest.mark.parametrize("knobs", [{}, {"method": "lora", "dora": True}, TOKENS], ids=["qlora", "dora", "new tokens"])
def test_merged_model_answers_like_base_and_adapter(runs: Path, toy: Path, pairs: Path, knobs: dict):
    job = done(toy, pairs, **knobs)
    facts = merge.merge(job)
    assert facts["prompts"] > 0 and facts["same_first_token"] == facts["prompts"]
    assert facts["logit_difference"] < 1e-3 and facts["precision"] == "float32"
    made = find(f"{job.name} merged")
    assert made.adapter is None and Path(made.base) == job.folder / "merged" and made in all_models()
    config = json.loads((job.folder / "merged" / "config.json").read_text())
    assert "quantization_config" not in config, "the adapter was merged into 4 bits"
    if knobs is TOKENS:
        from transformers import AutoTokenizer

        assert AutoTokenizer.from_pretrained(made.base).eos_token == "###STOP###"


def test_run_without_an_adapter_is_not_merged(runs: Path, toy: Path, pairs: Path):
    job = jobs.start(small(toy, pairs), launch=False)
    with pytest.raises(Problem, match="no adapter that could be merged"):
        merge.merge(job)


def test_merging_in_a_process_of_its_own_tells_what_it_changed(runs: Path, toy: Path, pairs: Path):
    job = done(toy, pairs)
    assert "the first token is the same" in merge.told(merge.merge_apart(job))
    assert (job.folder / "merged" / "model.safetensors").is_file()
    jobs.delete(job)
    with pytest.raises(Problem, match="no run"):
        merge.merge_apart(job)


def test_run_goes_to_the_hub_privately_and_comes_back_as_a_model(
    runs: Path, toy: Path, pairs: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
):
    job = done(toy, pairs, notes="The good one.")
    assert main(["push", job.id, "me/bot", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"repository": "me/bot", "address": "https://huggingface.co/me/bot", "revision": "abc123"}
    assert hub.calls[0] == ("create", "me/bot", {"repo_type": "model", "private": True, "exist_ok": True})
    there = {path.name for path in (hub.place / "me/bot").iterdir()}
    assert {"adapter_model.safetensors", "README.md", "recipe.json", "metrics.jsonl"} <= there
    assert not any(name.startswith("examples") or name == "log.txt" for name in there), "the examples left the machine"
    assert str(pairs) not in (hub.place / "me/bot" / "recipe.json").read_text()
    card = (hub.place / "me/bot" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: peft")
    assert "The good one." in card and "| learning_rate | 0.005 |" in card

    assert main(["pull", "me/bot", "--revision", "abc123", "--json"]) == 0
    back = jobs.find_job(json.loads(capsys.readouterr().out)["run"])
    assert ("download", "me/bot", "abc123") in hub.calls
    assert back.state == "done" and back.name == "bot" and back.recipe["rank"] == job.recipe["rank"]
    assert back.model and job.model and back.model.adapter_hash == job.model.adapter_hash
    assert back.model.base == str(toy) and len(back.metrics) == len(job.metrics)


def test_pushing_needs_a_token_a_name_and_a_finished_run(
    runs: Path, toy: Path, pairs: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
):
    job = jobs.start(small(toy, pairs), launch=False)
    with pytest.raises(Problem, match="only a finished run"):
        sharing.push(job, "me/bot")
    job = done(toy, pairs)
    for name in ("bot", "../bot", "https://elsewhere.example/me/bot", ""):
        with pytest.raises(Problem, match="no repository on the Hub"):
            sharing.push(job, name)
    with pytest.raises(Problem, match="not merged yet"):
        sharing.push(job, "me/bot", merged=True)
    monkeypatch.setattr(sharing, "settings", settings)
    with pytest.raises(Problem, match="set HF_TOKEN"):
        sharing.push(job, "me/bot")


def test_what_comes_from_the_hub_is_looked_at_first(runs: Path, hub: Hub):
    with pytest.raises(Problem, match="cannot be reached"):
        sharing.pull("me/none")
    pickled = hub.place / "me/pickled"
    pickled.mkdir(parents=True)
    (pickled / "adapter_config.json").write_text("{}")
    (pickled / "adapter_model.bin").write_bytes(b"x")
    with pytest.raises(Problem, match="no adapter in safetensors"):
        sharing.pull("me/pickled")
    assert not jobs.all_jobs() and not list(runs.glob(".pulled-*")), "half a run was left behind"
