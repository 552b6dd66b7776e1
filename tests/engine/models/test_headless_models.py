"""The models from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.headless_models import main
from engine.models import kept
from engine.pool import Pool
from engine.settings import ROOT
from engine.weights import fast_bf16
from tests.scripted_hub import Hub, Repo


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_look_add_list_load_and_delete(
    no_models: Path, llama: Path, empty_pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["look", str(llama)]) == 0
    assert "   ok  The folder small-llama holds" in printed(capsys)
    assert main(["look", str(llama), "--json"]) == 0
    assert json.loads(printed(capsys))["usable"] is True
    assert main(["add", str(llama), "--name", "one", "--precision", "nf4"]) == 0
    assert main(["list", "--json"]) == 0
    out = printed(capsys)
    rows = json.loads(out[out.index("[") :])
    assert [(row["name"], row["precision"], row["state"]) for row in rows] == [("one", "nf4", "done")]
    assert main(["load", "one"]) == 0
    reckoned = "147.8 kB" if fast_bf16() else "225.5 kB"  # what 4 bits leave alone is in float32 without bf16
    assert f"{reckoned} reckoned before" in printed(capsys)
    assert main(["delete", "one"]) == 0 and not kept.entries()
    assert main(["load", "one"]) == 2
    assert "There is no model 'one'" in capsys.readouterr().err


def test_a_download_is_waited_for_and_a_refusal_is_told(
    hub: Hub, llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.repos["o/m"] = Repo.of(llama)
    assert main(["add", "o/m", "--wait", "--json"]) == 0
    out = printed(capsys)
    assert json.loads(out)[0]["state"] == "done"
    assert main(["look", "o/none"]) == 2
    assert "There is no model o/none" in capsys.readouterr().err
    assert main(["look", str(llama.parent)]) == 1
    assert "NO  " in printed(capsys)


def test_the_module_runs_by_its_name() -> None:
    command = [sys.executable, "-m", "engine.models", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "look at a model, change nothing" in done.stdout
