"""Keys, the gate and the command line."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from engine.errors import Problem
from engine.headless_serve import main
from engine.serving import keys
from engine.serving.gate import Gate
from engine.serving.refusals import Refusal
from engine.serving.schemas import complaint, mistakes
from engine.settings import ROOT, settings


@pytest.fixture(autouse=True)
def no_keys() -> Iterator[Path]:
    place = settings().home / "keys.json"
    place.unlink(missing_ok=True)
    yield place
    place.unlink(missing_ok=True)


def test_a_key_is_shown_once_and_stored_as_a_hash(no_keys: Path):
    key, secret = keys.create("  a   class ", at_once=3, per_minute=9, owner=True, by="me")
    assert key.name == "a class" and secret.startswith("sk-diptych-") and len(secret) > 50
    stored = no_keys.read_text()
    assert secret not in stored and secret[11:] not in stored and key.hash in stored
    assert no_keys.stat().st_mode & 0o077 == 0, "others on this machine can read the keys"
    assert keys.key_of(secret) == key and keys.key_of(secret + "x") is None
    assert json.loads(stored)["format"] == 1


def test_a_revoked_key_stays_in_the_list_and_cannot_be_revoked_twice():
    key, secret = keys.create("x")
    assert keys.revoke(key.id).revoked and keys.key_of(secret).revoked
    for id in (key.id, "nothing"):
        with pytest.raises(Problem, match="no such key"):
            keys.revoke(id)


def test_wrong_limits_and_names_are_all_told_at_once():
    with pytest.raises(Problem, match=r"Give the key a name.*at once must lie.*a minute must lie"):
        keys.create(" ", at_once=0, per_minute=0)


def test_a_damaged_file_of_keys_lets_nobody_in(no_keys: Path):
    keys.create("x")
    no_keys.write_text("{")
    with pytest.raises(Problem, match="cannot be read"):
        keys.key_of("sk-diptych-x")


def test_keys_made_at_the_same_time_are_all_kept():
    threads = [threading.Thread(target=keys.create, args=(f"key {n}",)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys.all_keys()) == 12


def test_the_gate_counts_rows_and_tells_an_honest_wait():
    clock = [100.0]

    async def scene() -> None:
        gate = Gate(at_once=2, in_line=1, clock=lambda: clock[0])
        first = await gate.enter(2, None)
        second = asyncio.create_task(gate.enter(1, None))
        await asyncio.sleep(0)
        assert (gate.running, gate.waiting) == (2, 1)
        with pytest.raises(Refusal) as caught:
            await gate.enter(1, None)
        assert caught.value.status == 429 and caught.value.wait == 2
        with pytest.raises(Refusal, match="answers 2 replies at once"):
            await gate.enter(3, None)
        clock[0] += 60
        gate.leave(first)
        gate.leave(first)
        place = await second
        assert (gate.running, gate.waiting) == (1, 0) and gate.usual_seconds > 10
        gate.leave(place)
        assert gate.running == 0

    asyncio.run(scene())


def test_a_key_has_its_own_number_at_once_and_a_minute():
    clock = [0.0]

    async def scene() -> None:
        gate, key = Gate(clock=lambda: clock[0]), keys.Key("k", "n", "h", 0.0, at_once=1, per_minute=2)
        place = await gate.enter(1, key)
        with pytest.raises(Refusal, match="1 requests at once"):
            await gate.enter(1, key)
        gate.leave(place)
        gate.leave(await gate.enter(1, key))
        with pytest.raises(Refusal, match="2 requests a minute") as caught:
            await gate.enter(1, key)
        assert caught.value.wait == 60
        clock[0] = 60.0
        gate.leave(await gate.enter(1, key))

    asyncio.run(scene())


def test_schemas_of_callers_neither_fetch_nor_hang():
    assert "leads out" in complaint({"$ref": "http://localhost:1/x"})
    assert "leads nowhere" in complaint({"$ref": "#/$defs/none"})
    assert "too deeply" in complaint(nested(3000)) and "longer than" in complaint({"title": "x" * 70_000})
    assert "not supported" in complaint({"patternProperties": {"a": {}}})
    doubling = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(60)} | {"a60": {}}
    bomb = {"$ref": "#/$defs/a0", "$defs": doubling}
    assert complaint(bomb) is None and "cannot be followed" in mistakes("{}", bomb)[0]
    assert "cannot be followed" in mistakes("{}", {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}})[0]
    assert mistakes('"' + "a" * 40 + '!"', {"pattern": "^(a|a)*$"})
    assert mistakes('{"a": 1, "a": 2}', {}) and mistakes("NaN", {}) and not mistakes("3", {"type": "integer"})


def nested(depth: int) -> dict:
    found: dict = {}
    for _ in range(depth):
        found = {"not": found}
    return found


def test_keys_are_made_listed_and_revoked_on_the_command_line(capsys: pytest.CaptureFixture[str]):
    assert main(["--new-key", "me", "--owner"]) == 0
    secret = capsys.readouterr().out.split()[0]
    key = keys.key_of(secret)
    assert key and key.owner
    assert main(["--keys"]) == 0 and key.id in (shown := capsys.readouterr().out) and secret not in shown
    assert main(["--revoke-key", key.id]) == 0 and main(["--revoke-key", key.id]) == 2


def test_a_server_that_others_reach_does_not_start_without_keys(capsys: pytest.CaptureFixture[str]):
    assert main(["--host", "0.0.0.0", "--port", "0"]) == 2
    assert "--new-key NAME" in capsys.readouterr().err
    assert main(["--at-once", "0"]) == 2 and "at least 1" in capsys.readouterr().err
    assert main(["--model", "/nowhere/at all"]) == 2


def test_the_command_serves_and_ends_at_a_signal(tmp_path: Path):
    home = tmp_path / "home"
    process = subprocess.Popen(
        [sys.executable, "-m", "engine.serve", "--port", "0"],
        cwd=ROOT,
        env={**os.environ, "DIPTYCH_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        found = re.search(r"http://localhost:\d+/v1", process.stdout.readline())
        assert found
        names = [each["id"] for each in httpx.get(f"{found[0]}/models", timeout=60).json()["data"]]
        assert "starter-shawgpt" in names
        process.send_signal(signal.SIGINT)
        assert process.wait(30) in (0, 130, -signal.SIGINT)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
