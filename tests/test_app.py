"""Starting Diptych: what flags and environment decide, what is refused, and that the page is up before torch is."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from engine.errors import Problem
from engine.settings import ROOT
from pages.launch import UNSAFE_IN_PUBLIC, Launch, NoOwner, offer
from tests.pages.scripted import free_port, serving


def decide(*args: str, **env: str) -> Launch:
    return Launch.decide(args, env)


def test_default_is_this_machine_only():
    launch = decide()
    assert (launch.host, launch.port, launch.share, launch.mode, launch.public) == (
        "127.0.0.1", 7860, False, "local", False,
    )  # fmt: skip


def test_flags_and_their_environment_twins_decide_the_same():
    by_flag = decide("--host", "0.0.0.0", "--port", "8000", "--share", "--auth", "me:long-enough")
    by_env = decide(DIPTYCH_HOST="0.0.0.0", DIPTYCH_PORT="8000", DIPTYCH_SHARE="yes", DIPTYCH_AUTH="me:long-enough")
    assert by_flag == by_env and by_flag.auth == ("me", "long-enough") and by_flag.mode == "owner"
    assert decide("--open-demo") == decide(DIPTYCH_OPEN_DEMO="1") and decide("--open-demo").mode == "visitor"
    assert decide("--port", "1", DIPTYCH_PORT="2").port == 1, "a flag must win over the environment"


def test_password_may_hold_colons_and_is_not_in_the_repr():
    launch = decide("--auth", "me:a:b:c:d:e")
    assert launch.auth == ("me", "a:b:c:d:e") and "a:b:c" not in repr(launch)


@pytest.mark.parametrize("args", [("--share",), ("--host", "0.0.0.0"), ("--host", "192.168.1.5"), ("--host", "::")])
def test_nothing_is_opened_to_others_without_an_owner(args: tuple[str, ...]):
    with pytest.raises(NoOwner, match="needs an owner who logs in"):
        decide(*args)
    assert decide(*args, "--open-demo").mode == "visitor"
    assert decide(*args, "--auth", "me:long-enough").mode == "owner"


@pytest.mark.parametrize("host", ["localhost", "::1", "127.0.0.1"])
def test_loopback_needs_no_owner(host: str):
    assert decide("--host", host).mode == "local"


def test_login_and_open_demo_contradict_each_other():
    with pytest.raises(Problem, match="contradict each other"):
        decide("--open-demo", DIPTYCH_AUTH="me:long-enough")


@pytest.mark.parametrize("auth", ["me", "me:", ":long-enough", "me:short", " :long-enough"])
def test_bad_login_is_told_how_it_should_look(auth: str):
    with pytest.raises(Problem, match="must be USER:PASSWORD"):
        decide("--auth", auth)


def test_bad_ports_are_told():
    for port in ("-1", "70000"):
        with pytest.raises(Problem, match="port must lie between"):
            decide("--port", port)
    with pytest.raises(Problem, match="DIPTYCH_PORT is 'x'"):
        decide(DIPTYCH_PORT="x")


def test_space_without_an_owner_is_an_open_demo_and_with_one_is_owned():
    open_space = decide(SPACE_ID="me/diptych")
    assert (open_space.host, open_space.mode, open_space.on_space) == ("0.0.0.0", "visitor", True)
    assert decide(SPACE_ID="me/diptych", DIPTYCH_AUTH="me:long-enough").mode == "owner"


@pytest.mark.parametrize("name", UNSAFE_IN_PUBLIC)
def test_unsafe_gradio_settings_are_refused_in_public(name: str):
    with pytest.raises(Problem, match=name):
        decide("--open-demo", "--host", "0.0.0.0", **{name: "1"})
    assert decide(**{name: "1"}).mode == "local"


def test_offered_passwords_are_long_and_new_each_time():
    texts = [offer(["--share"]) for _ in range(2)]
    passwords = [re.search(r"--auth owner:(\S+)", text)[1] for text in texts]
    assert all(len(password) >= 16 for password in passwords) and passwords[0] != passwords[1]
    assert "python app.py --share --auth" in texts[0] and "python app.py --share --open-demo" in texts[0]


def run_app(tmp_path: Path, *args: str, **env: str) -> subprocess.Popen[str]:
    """app.py as a person starts it; its output in out.txt."""
    own = {"DIPTYCH_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", **env}
    with (tmp_path / "out.txt").open("w") as out:
        return subprocess.Popen(
            [sys.executable, "app.py", *args], cwd=ROOT, env={**os.environ, **own}, stdout=out, stderr=out, text=True
        )


def test_refusal_offers_a_password_once_and_ends_with_code_2(tmp_path: Path):
    assert run_app(tmp_path, "--share").wait(60) == 2
    said = (tmp_path / "out.txt").read_text()
    assert said.count("--auth owner:") == 1 and "--open-demo" in said and "Traceback" not in said


def test_bad_flag_value_ends_with_a_sentence(tmp_path: Path):
    assert run_app(tmp_path, "--auth", "nobody").wait(60) == 2
    said = (tmp_path / "out.txt").read_text()
    assert said.startswith("--auth (or DIPTYCH_AUTH) must be USER:PASSWORD") and "Traceback" not in said


def test_taken_port_ends_with_a_sentence(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run_app(tmp_path, "--port", str(port)).wait(60) == 2
    said = (tmp_path / "out.txt").read_text()
    assert f"Port {port} of 127.0.0.1 cannot be used (Address already in use)" in said and "Traceback" not in said


@pytest.mark.parametrize("args", [("--help",), ("--share",), ("--port", "-1")])
def test_what_needs_no_page_is_told_before_gradio_loads(args: tuple[str, ...]):
    command = [sys.executable, "-X", "importtime", "app.py", *args]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "pages.launch" in loaded and not loaded & {"gradio", "torch", "pages.site"}


def test_page_is_up_before_torch_and_torch_comes_afterwards(tmp_path: Path):
    port = free_port()
    process = run_app(tmp_path, "--port", str(port))
    try:
        answer = first_answer(f"http://127.0.0.1:{port}/", process)
        loaded = Path(f"/proc/{process.pid}/maps").read_text()
        assert answer.status_code == 200 and "Diptych" in answer.text
        assert "libtorch" not in loaded, "torch was imported before the page answered"
        wait_until(lambda: "libtorch" in Path(f"/proc/{process.pid}/maps").read_text(), 60)
        assert httpx.get(f"http://127.0.0.1:{port}/", timeout=60).status_code == 200
        assert f"Diptych is at http://127.0.0.1:{port}" in (tmp_path / "out.txt").read_text()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def first_answer(address: str, process: subprocess.Popen[str]) -> httpx.Response:
    """The first answer of a server that is starting."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the app ended instead of serving"
        try:
            return httpx.get(address, timeout=60)
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the page did not come up in a minute")


def wait_until(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_owned_page_asks_for_the_login():
    with (
        serving("--auth", "me:correct-horse", tabs=("Serve",)) as (address, _),
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        assert client.get("/config").status_code == 401
        assert client.post("/login", data={"username": "me", "password": "wrong"}).status_code == 400
        assert client.post("/login", data={"username": "me", "password": "correct-horse"}).status_code == 200
        assert client.get("/config").status_code == 200
        assert "Open demo." not in client.get("/").text


def test_open_space_says_so_on_the_page():
    with serving("--host", "127.0.0.1", env={"SPACE_ID": "me/diptych"}, tabs=("Serve",)) as (address, _):
        html = httpx.get(address, timeout=60).text
        assert "This Space has no owner set." in html and "DIPTYCH_AUTH" in html
