"""The Models tab in a real Chromium: a folder added, loaded in NF4 and compared; a download watched and stopped."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from engine.models import kept
from engine.pool import Pool
from tests.scripted_hub import Hub, Repo

TABS = ("Compare", "Models")
PATIENCE = 90_000  # milliseconds; the first look imports transformers on a machine that others use


def open_tab(tab: Page) -> None:
    tab.set_default_timeout(PATIENCE)
    tab.get_by_role("tab", name="Models").click()
    expect(tab.locator("#models-look")).to_be_visible(timeout=PATIENCE)
    expect(tab.locator("#models-shelf")).to_contain_text("of disk", timeout=PATIENCE)


def look_at(tab: Page, source: str) -> None:
    tab.locator("#models-source").locator("input, textarea").first.fill(source)
    tab.locator("#models-look").click()


def test_folder_is_inspected_added_loaded_in_nf4_and_compared(
    tab: Page,
    no_models: Path,
    llama: Path,
    empty_pool: Pool,
):
    open_tab(tab)
    look_at(tab, str(llama))
    expect(tab.locator("#models-report")).to_contain_text("small-llama: It can be added", timeout=PATIENCE)
    expect(tab.locator("#models-report .needs tr")).to_have_count(4, timeout=PATIENCE)
    name = tab.locator("#models-name").locator("input, textarea").first
    expect(name).to_have_value("small-llama", timeout=PATIENCE)
    name.fill("my llama")
    tab.locator("#models-precision input").click()
    tab.get_by_role("option", name="4 bits").click()
    expect(tab.locator("#models-precision input")).to_have_value(re.compile("4 bits"), timeout=PATIENCE)
    tab.locator("#models-add").click()
    expect(tab.locator("#models-added")).to_contain_text("my llama is in every list now", timeout=PATIENCE)
    expect(tab.locator("#models-choice input")).to_have_value("my llama", timeout=PATIENCE)
    expect(tab.locator("#models-load")).to_be_enabled(timeout=PATIENCE)
    tab.locator("#models-load").click()
    expect(tab.locator("#models-told")).to_contain_text("of weights held now", timeout=PATIENCE)
    expect(tab.locator("#models-memory")).to_contain_text("4 bits (NF4, double quantization)", timeout=PATIENCE)

    tab.get_by_role("tab", name="Compare").click()
    tab.locator("#model-2 input").click()
    tab.get_by_role("option", name="my llama").click()  # the list is renewed when the tab is chosen
    expect(tab.locator("#lane-2 h3")).to_contain_text("my llama", timeout=PATIENCE)
    tab.locator("#prompt textarea").fill("What is the name of the town?")
    tab.locator("#send").click()
    for lane in (1, 2):
        over = re.compile("finished by itself|reached the token limit")
        expect(tab.locator(f"#lane-{lane} .stats")).to_contain_text(over, timeout=PATIENCE)
    assert {Path(key[0]).name: key[2] for key in empty_pool.loaded()} == {"small-llama": "nf4", "starter": "auto"}

    tab.get_by_role("tab", name="Models").click()
    tab.locator("#models-delete").click()
    tab.get_by_role("button", name="Yes, delete my llama").click()
    expect(tab.locator("#models-told")).to_contain_text("my llama is deleted", timeout=PATIENCE)
    expect(tab.locator("#models-shelf")).to_contain_text("No models added yet", timeout=PATIENCE)
    assert not kept.entries() and (llama / "model.safetensors").is_file()


def test_download_is_watched_stopped_and_resumed_also_after_a_reload(tab: Page, hub: Hub, llama: Path):
    hub.repos["EleutherAI/pythia-70m"] = Repo.of(llama, stall_at=300_000)
    open_tab(tab)
    tab.get_by_role("button", name="Look at EleutherAI/pythia-70m").click()
    expect(tab.locator("#models-report")).to_contain_text("pythia-70m: It can be added", timeout=PATIENCE)
    expect(tab.locator("#models-add")).to_contain_text("Download 712.4 kB and add", timeout=PATIENCE)
    tab.locator("#models-add").click()
    expect(tab.locator("#models-shelf .going")).to_contain_text("downloading", timeout=PATIENCE)
    tab.reload()
    open_tab(tab)
    expect(tab.locator("#models-shelf progress")).to_be_visible(timeout=PATIENCE)
    expect(tab.locator("#models-stop")).to_be_enabled(timeout=PATIENCE)
    tab.locator("#models-stop").click()
    expect(tab.locator("#models-shelf")).to_contain_text("Stopped on request", timeout=PATIENCE)
    hub.repos["EleutherAI/pythia-70m"].stall_at = 0
    expect(tab.locator("#models-resume")).to_be_enabled(timeout=PATIENCE)
    tab.locator("#models-resume").click()
    expect(tab.locator("#models-load")).to_be_enabled(timeout=PATIENCE)
    expect(tab.locator("#models-shelf progress")).to_have_count(0, timeout=PATIENCE)


def test_what_cannot_be_added_says_why_and_offers_the_base(tab: Page, hub: Hub, llama: Path):
    files = Repo.of(llama).files
    config = files["config.json"].rstrip().removesuffix(b"}") + b', "quantization_config": {"quant_method": "gptq"}}'
    hub.repos["TheBloke/Mistral-7B-Instruct-v0.2-GPTQ"] = Repo(files | {"config.json": config})
    hub.repos["mistralai/Mistral-7B-Instruct-v0.2"] = Repo.of(llama, gated="auto", key="hf_x")
    open_tab(tab)
    look_at(tab, "TheBloke/Mistral-7B-Instruct-v0.2-GPTQ")
    expect(tab.locator("#models-report .bad")).to_contain_text("is a GPTQ model", timeout=PATIENCE)
    expect(tab.locator("#models-add")).to_be_hidden(timeout=PATIENCE)
    tab.get_by_role("button", name="Look at mistralai/Mistral-7B-Instruct-v0.2").first.click()
    expect(tab.locator("#models-report .bad")).to_contain_text("is gated: accept its terms", timeout=PATIENCE)
    look_at(tab, "owner/no-such-model")
    expect(tab.locator("body")).to_contain_text("There is no model owner/no-such-model", timeout=PATIENCE)
