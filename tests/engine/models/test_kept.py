"""The owner's catalogue: lasting, named once, one precision each, deleted without harm to what others need."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.catalog import all_models, find
from engine.errors import Problem
from engine.models import download, kept
from engine.models.look import look
from engine.settings import settings
from tests.engine.models.shelf import MakeLora
from tests.engine.models.test_download import wait_for
from tests.scripted_hub import Hub, Repo
from tests.tiny import make_tiny_llama


def names() -> list[str]:
    return [model.name for model in all_models()]


def test_added_folder_is_in_every_list_and_outlasts_the_server(no_models: Path, llama: Path) -> None:
    entry = kept.keep(look(str(llama)), "my llama", "nf4", owner="me")
    assert "my llama" in names() and find("my llama").base == str(llama)
    assert find("my llama").precision == "nf4" and find("my llama").style == "chat"
    stored = json.loads((settings().home / "models" / f"{entry.id}.json").read_text())
    assert stored["format"] == 1 and stored["owner"] == "me" and kept.entries() == [entry]


def test_names_are_unique_tidy_and_proposed(no_models: Path, llama: Path) -> None:
    report = look(str(llama))
    first, second, third = (kept.keep(report, "", precision) for precision in ("auto", "nf4", "nf4"))
    assert [first.name, second.name, third.name] == ["small-llama", "small-llama nf4", "small-llama nf4-2"]
    assert kept.rename(first, "  two   words ").name == "two words"
    for bad in ("starter", "gpt-4o-mini", "small-llama nf4", "x" * 81):
        with pytest.raises(Problem):
            kept.keep(report, bad)
    with pytest.raises(Problem, match="belongs to another model"):
        kept.rename(kept.entries()[0], "starter")
    assert kept.rename(kept.entries()[0], "two words").name == "two words", "its own name was taken for another's"


def test_what_a_look_speaks_against_is_not_kept(no_models: Path, llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = look(str(llama))
    small = replace(settings(), memory_bytes=400_000)
    monkeypatch.setattr(kept, "settings", lambda: small)
    with pytest.raises(Problem, match=r"At 32 bits .* takes about 699.1 kB, and models may take 400.0 kB here. Choose"):
        kept.keep(report, precision="fp32")
    with pytest.raises(Problem, match="There is no precision 'fp7'"):
        kept.keep(report, precision="fp7")
    entry = kept.keep(report, precision="nf4")
    with pytest.raises(Problem, match="Choose fewer bits"):
        kept.set_precision(entry, "fp32")
    bad = look(str(settings().home))
    with pytest.raises(Problem, match=r"This cannot be added: .* holds no model"):
        kept.keep(bad)


def test_adapter_stands_on_its_base_and_follows_its_precision(no_models: Path, llama: Path, lora: MakeLora) -> None:
    base = kept.keep(look(str(llama)), precision="nf4")
    adapter = kept.keep(look(str(lora(llama))))
    model = find(adapter.name)
    assert model.adapter and model.base == str(llama) and model.precision == "nf4"
    kept.set_precision(base, "bf16")
    assert find(adapter.name).precision == "bf16"
    with pytest.raises(Problem, match="computed in the precision of its base"):
        kept.set_precision(adapter, "fp32")


def test_deleting_leaves_an_owners_folder_alone_and_removes_a_download(hub: Hub, llama: Path, lora: MakeLora) -> None:
    mine = kept.keep(look(str(llama)), "mine")
    kept.delete(mine)
    assert (llama / "model.safetensors").is_file() and "mine" not in names()
    hub.repos["o/m"] = Repo.of(llama)
    one, two = kept.keep(look("o/m"), "one"), kept.keep(look("o/m"), "two", "nf4")
    wait_for(one.store, "done")
    kept.delete(one)
    assert two.ready, "files that another model uses are gone"
    adapter = kept.keep(look(str(lora(llama, named="o/m"))), "bot")
    assert adapter.base == str(two.folder)
    with pytest.raises(Problem, match="bot would be left without a base"):
        kept.delete(two)
    kept.delete(adapter)
    kept.delete(two)
    assert not download.store_folder(two.store).exists() and not kept.entries()


def test_deleting_ends_a_download_that_still_runs(hub: Hub, llama: Path) -> None:
    hub.repos["o/m"] = Repo.of(llama, stall_at=100_000)
    entry = kept.keep(look("o/m"))
    kept.delete(entry)
    assert not download.store_folder(entry.store).exists() and not kept.entries()


def test_hub_id_that_was_added_means_the_copy_that_is_here(hub: Hub, llama: Path, lora: MakeLora) -> None:
    hub.repos["o/m"] = Repo.of(llama)
    entry = kept.keep(look("o/m"), "copy")
    assert find("o/m").base == "o/m"
    wait_for(entry.store, "done")
    assert find("o/m").base == str(entry.folder)
    assert find(str(lora(llama, named="o/m"))).base == str(entry.folder), "an adapter's base was not found here"


def test_adapter_from_the_hub_is_downloaded_and_attached(hub: Hub, llama: Path, lora: MakeLora) -> None:
    kept.keep(look(str(llama)))
    hub.repos["o/bot"] = Repo.of(lora(llama))
    report = look("o/bot")
    assert report.usable and report.kind == "adapter"
    assert next(each.range for each in hub.sent("adapter_model.safetensors")) == "bytes=0-7"
    entry = kept.keep(report)
    wait_for(entry.store, "done")
    assert find("bot").adapter == entry.folder and find("bot").adapter_hash


def test_files_that_are_gone_take_the_model_out_of_the_lists(no_models: Path, tmp_path: Path) -> None:
    folder = make_tiny_llama(tmp_path / "passing")
    entry = kept.keep(look(str(folder)))
    folder.rename(tmp_path / "elsewhere")
    assert not entry.ready and "passing" not in names() and [each.name for each in kept.entries()] == ["passing"]


def test_broken_and_foreign_entries_are_passed_over(no_models: Path, llama: Path) -> None:
    kept.keep(look(str(llama)))
    folder = settings().home / "models"
    (folder / "broken.json").write_text("{")
    (folder / "later.json").write_text(json.dumps({"format": 99, "name": "x"}))
    (folder / "part.json").write_text(json.dumps({"format": 1, "name": "x"}))
    (folder / "Strange Name.json").write_text(json.dumps({"format": 1}))
    assert [each.name for each in kept.entries()] == ["small-llama"]
    with pytest.raises(Problem, match="Choose one of your models"):
        kept.entry("../../etc/passwd")
