"""Downloads by a process of their own: progress, stop, resume, faults of the line, and files that lie."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from engine import jobs
from engine.errors import Problem
from engine.models import download, fetch
from engine.models.download import Progress, progress
from engine.models.kept import Entry, keep
from engine.models.look import look
from engine.teaching.runs import read_json
from tests.scripted_hub import Hub, Repo

LONGEST = 60.0  # seconds; a busy machine takes long to start a process


def wait_for(store: str, *states: str) -> Progress:
    """The download once it is in one of these states; fails with what it is in instead."""
    deadline = time.monotonic() + LONGEST
    while (now := progress(store)).state not in states:
        over = now.state in ("done", "failed", "stopped")
        assert time.monotonic() < deadline and not over, (
            f"{now}\n{(download.store_folder(store) / 'log.txt').read_text()}"
        )
        time.sleep(0.05)
    return now


def wait_until_moving(store: str) -> Progress:
    """The download once some bytes of its weights have come."""
    deadline = time.monotonic() + LONGEST
    while not ((now := progress(store)).state == "downloading" and now.done > 150_000):
        assert time.monotonic() < deadline and now.state in ("waiting", "downloading"), now
        time.sleep(0.02)
    return now


def added(hub: Hub, llama: Path, **script: object) -> Entry:
    """A kept model whose download has begun."""
    hub.repos["owner/small"] = Repo.of(llama, **script)
    return keep(look("owner/small"))


def test_download_brings_exactly_what_is_needed_and_checks_it(hub: Hub, llama: Path) -> None:
    hub.repos["owner/small"] = Repo.of(llama)
    hub.repos["owner/small"].files |= {"evil.py": b"raise SystemExit", "pytorch_model.bin": b"x", "notes.pdf": b"x"}
    entry = keep(look("owner/small"))
    assert not entry.ready and entry.model is None
    end = wait_for(entry.store, "done")
    assert end.share == 1 and entry.ready
    names = {path.name for path in entry.folder.iterdir() if path.is_file()}
    assert names == {file.name for file in llama.iterdir()}
    assert (entry.folder / "model.safetensors").read_bytes() == (llama / "model.safetensors").read_bytes()
    assert entry.model and entry.model.base == str(entry.folder)


def test_stop_keeps_what_has_come_and_resume_asks_only_for_the_rest(hub: Hub, llama: Path) -> None:
    entry = added(hub, llama, stall_at=200_000)
    moving = wait_until_moving(entry.store)
    assert 0 < moving.share < 1
    download.cancel(entry.store)
    stopped = progress(entry.store)
    assert stopped.state == "stopped" and stopped.reason == "Stopped on request." and stopped.done >= 100_000
    hub.repos["owner/small"].stall_at = 0
    before = len(hub.sent("model.safetensors"))
    download.resume(entry.store)
    wait_for(entry.store, "done")
    later = hub.sent("model.safetensors")[before:]
    assert len(later) == 1 and int(later[0].range.removeprefix("bytes=").partition("-")[0]) >= 100_000
    with pytest.raises(Problem, match="This download is done already"):
        download.resume(entry.store)


def test_killed_process_is_seen_and_its_download_goes_on(hub: Hub, llama: Path) -> None:
    entry = added(hub, llama, stall_at=200_000)
    wait_until_moving(entry.store)
    os.kill(read_json(download.store_folder(entry.store) / "process.json")["pid"], signal.SIGKILL)
    deadline = time.monotonic() + LONGEST
    while progress(entry.store).state != "stopped":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert progress(entry.store).reason == download.CUT
    hub.repos["owner/small"].stall_at = 0
    download.resume(entry.store)
    wait_for(entry.store, "done")


def test_line_that_breaks_is_taken_up_again_at_the_same_byte(hub: Hub, llama: Path) -> None:
    entry = added(hub, llama, cuts=2, cut_after=200_000)
    wait_for(entry.store, "done")
    weights = [each for each in hub.sent("model.safetensors") if not each.range.startswith(("bytes=0-7", "bytes=8-"))]
    starts = [int(each.range.removeprefix("bytes=").removesuffix("-") or 0) for each in weights]
    assert len(starts) == 3 and starts == sorted(starts) and 0 == starts[0] < 100_000 < starts[1] < starts[2]


def test_forged_weights_are_thrown_away(hub: Hub, llama: Path) -> None:
    hub.repos["owner/small"] = Repo.of(llama)
    report = look("owner/small")
    good = hub.repos["owner/small"].files["model.safetensors"]
    hub.repos["owner/small"].forged["model.safetensors"] = good[:-1] + bytes([good[-1] ^ 1])
    entry = keep(report)
    end = wait_for(entry.store, "failed")
    assert end.reason == "model.safetensors arrived damaged and was thrown away. Press Resume to get it again."
    assert not entry.ready and not (entry.folder / "model.safetensors").exists()
    hub.repos["owner/small"].forged.clear()
    download.resume(entry.store)
    wait_for(entry.store, "done")


def test_what_the_hub_refuses_meanwhile_is_told(hub: Hub, llama: Path) -> None:
    hub.repos["owner/small"] = Repo.of(llama)
    report = look("owner/small")
    hub.repos["owner/small"].gated = "manual"
    entry = keep(report)
    assert "owner/small is gated: accept its terms" in wait_for(entry.store, "failed").reason


def test_two_clicks_begin_one_download(hub: Hub, llama: Path) -> None:
    hub.repos["owner/small"] = Repo.of(llama, pace=0.05)
    report = look("owner/small")
    one, two = keep(report), keep(report, precision="nf4")
    assert one.store == two.store and (one.name, two.name) == ("small", "small nf4")
    wait_for(one.store, "done")
    assert len([each for each in hub.sent("model.safetensors") if not each.range.startswith("bytes=")]) == 1


def test_secrets_other_than_the_hubs_do_not_reach_the_process(
    hub: Hub, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict = {}

    class Popen:
        pid = os.getpid()

        def __init__(self, arguments: list[str], env: dict, **more: object) -> None:
            seen.update(env=env, arguments=arguments, shell=more.get("shell"))

    for name in ("HF_TOKEN", "OPENAI_API_KEY", "DIPTYCH_AUTH"):
        monkeypatch.setenv(name, f"secret-{name}")
    monkeypatch.setattr(jobs.subprocess, "Popen", Popen)
    entry = added(hub, llama)
    assert [name for name, value in seen["env"].items() if value.startswith("secret-")] == ["HF_TOKEN"]
    assert seen["arguments"][1:3] == ["-m", "engine.models.fetch"] and not seen["shell"]
    (download.store_folder(entry.store) / "process.json").unlink()


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """A store with a plan of one small file."""
    (tmp_path / "files").mkdir()
    files = [{"name": "config.json", "size": 3, "sha256": ""}]
    (tmp_path / "plan.json").write_text(json.dumps({"format": 1, "name": "o/m", "commit": "0", "files": files}))
    return tmp_path


def test_full_disk_is_told_before_and_meanwhile(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "DISK_TO_SPARE", 10**18)
    assert fetch.main([str(plan)]) == 1
    assert "3 bytes are missing" in read_json(plan / "state.json")["reason"]
    monkeypatch.setattr(fetch, "DISK_TO_SPARE", 0)

    def full(*args: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engine.hub.opened", full)
    assert fetch.main([str(plan)]) == 1
    assert read_json(plan / "state.json")["reason"].startswith("The disk is full. Make room, then press Resume")


def test_line_that_stays_dead_is_given_up_and_can_be_resumed(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def dead(*args: object, **more: object) -> None:
        tries.append(1)
        raise ConnectionResetError("reset by peer")

    monkeypatch.setattr("engine.hub.opened", dead)
    monkeypatch.setattr(fetch, "PAUSE", 0.0)
    monkeypatch.setattr(fetch, "DISK_TO_SPARE", 0)
    assert fetch.main([str(plan)]) == 1
    assert "press Resume later" in read_json(plan / "state.json")["reason"] and len(tries) == fetch.TRIES


def test_plan_that_leads_out_of_its_folder_is_refused(plan: Path) -> None:
    files = [{"name": "../../evil", "size": 3, "sha256": ""}]
    (plan / "plan.json").write_text(json.dumps({"format": 1, "name": "o/m", "commit": "0", "files": files}))
    assert fetch.main([str(plan)]) == 1
    assert "a file that cannot be one" in read_json(plan / "state.json")["reason"]
