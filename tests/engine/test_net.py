"""The outbound door: no spelling, redirect or rebinding reaches what is not public; limits on time, size and kind."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from engine import net
from engine.acting.html_text import text_of
from engine.acting.within import Stopped
from engine.errors import Problem
from engine.settings import ROOT

PUBLIC = "93.184.216.34"  # connections to it are led to the outside server of these tests
INSIDE_V4 = [
    *("127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "172.31.255.254", "192.168.1.1", "169.254.169.254"),
    *("100.64.0.1", "100.100.100.200", "0.0.0.0", "192.0.0.192", "198.18.0.1", "224.0.0.1", "240.0.0.1"),
    *("255.255.255.255", "192.0.2.1", "192.88.99.1", "168.63.129.16"),
]
INSIDE_V6 = [
    *("::1", "::", "fe80::1", "fe80::1%25lo", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1", "2001:db8::1"),
    *("100::1", "2001::1", "3fff::1", "5f00::1", "4000::1"),
]
NAMES = {
    "localhost": ["127.0.0.1", "::1"],
    "metadata.google.internal": ["169.254.169.254"],
    "127.0.0.1.nip.io": ["127.0.0.1"],
    "intranet": ["10.1.2.3"],
    "six.example": ["::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "both.example": [PUBLIC, "127.0.0.1"],  # one good address does not excuse a bad one
    "zone.example": ["fe80::1%lo"],
    "xn--lcalhost-n4a.example": ["127.0.0.1"],
    "public.example": [PUBLIC],
}


def spelled(dotted: str) -> list[str]:
    """Ways to write an IPv4 address as a host."""
    found = ipaddress.IPv4Address(dotted)
    a, b, c, d = found.packed
    number, high, low = int(found), f"{a:02x}{b:02x}", f"{c:02x}{d:02x}"
    wide = "".join(chr(ord(sign) + 0xFEE0) if sign.isdigit() else sign for sign in dotted)
    inverted = f"{~number & 0xFFFFFFFF:08x}"
    return [
        *(dotted, dotted + ".", str(number), hex(number), f"0{number:o}", f"0X{number:X}", wide),
        *(f"{a:#x}.{b:#x}.{c:#x}.{d:#x}", f"0{a:o}.0{b:o}.0{c:o}.0{d:o}", f"{a}.{b}.{c << 8 | d}", f"000{dotted}"),
        *(f"{a}.{b << 16 | c << 8 | d}", f"%{ord(dotted[0]):x}{dotted[1:]}", dotted.replace(".", "。")),
        *(
            f"[::ffff:{dotted}]",
            f"[::ffff:{high}:{low}]",
            f"[::{dotted}]",
            f"[64:ff9b::{dotted}]",
            f"[64:ff9b:1::{dotted}]",
        ),
        *(f"[2002:{high}:{low}::1]", f"[2001:0:4136:e378:8000:63bf:{inverted[:4]}:{inverted[4:]}]"),
        *(
            f"[2a00::5efe:{dotted}]",
            f"public.example@{dotted}",
            f"public.example%40{dotted}",
            f"{dotted}\\public.example",
        ),
    ]


ODD = [
    *("file:///etc/passwd", "ftp://public.example/", "gopher://127.0.0.1/_x", "data:text/html,hi", "javascript:1"),
    *(
        "//127.0.0.1/",
        "http:127.0.0.1",
        "http:/127.0.0.1/",
        "http:///127.0.0.1/",
        "http://",
        "",
        "127.0.0.1",
        "http://[::1",
    ),
    *(
        "http://public.example:22/",
        "http://public.example:8080/",
        "https://public.example:80/",
        "http://public.example:0/",
    ),
    *("http://me:pw@public.example/", "http://me@public.example/", "http://127.0.0.1#@public.example/", "dict://x:1/"),
    *("http://127.0.0.1?@public.example/", "http://a..b/", f"http://{'a' * 70}.example/", f"http://h/{'a' * 3000}"),
    *("http://public.example\r\nHost: x/", "http://127.0.0.1\t/", "http://\x00/", "unix:///var/run/docker.sock"),
]
SPELLINGS = [
    *(f"http://{host}/" for dotted in INSIDE_V4 for host in spelled(dotted)),
    *(f"http://[{host}]/" for host in INSIDE_V6),
    *(f"{scheme}://{name}/" for name in NAMES if name != "public.example" for scheme in ("http", "https", "HTTP")),
    *ODD,
]


class Server:
    """A web server on this machine that counts who came; `pages` are (status, headers, body) by path."""

    def __init__(self, family: socket.AddressFamily, host: str):
        self.hits: list[str] = []
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.drip = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.hits.append(self.path)
                server.headers = {name.lower(): value for name, value in self.headers.items()}
                status, headers, body = server.pages.get(self.path, (200, {"Content-Type": "text/plain"}, b"secret"))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(OSError):  # the reader may have left
                    while self.path == "/drip" and not server.drip.wait(0.05):
                        self.wfile.write(b"x")
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        kind = type("Kind", (ThreadingHTTPServer,), {"address_family": family, "daemon_threads": True})
        self.server = kind((host, 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self.drip.set()
        self.server.shutdown()
        self.server.server_close()


class World:
    """A network of two servers: one inside, which nothing may reach, and one that stands for the internet."""

    def __init__(self) -> None:
        self.inside, self.outside = Server(socket.AF_INET, "127.0.0.1"), Server(socket.AF_INET, "127.0.0.1")
        self.names = {name: list(found) for name, found in NAMES.items()}
        self.lookups: list[str] = []
        self.reached: list[str] = []


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World()
    real = socket.getaddrinfo

    def look_up(host, port, *rest, **more):
        made.lookups.append(host)
        numeric = made.names.get(host, [host])
        return [real(each, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0] for each in numeric]

    class Rerouted(socket.socket):
        def connect(self, target):
            if self.type == socket.SOCK_STREAM:
                made.reached.append(target[0])
                target = ("127.0.0.1", made.outside.port) if target[0] == PUBLIC else target
            return super().connect(target)

    monkeypatch.setattr(net.socket, "getaddrinfo", look_up)
    monkeypatch.setattr(net.socket, "socket", Rerouted)
    # a spelling without a port leads to the inside server, so that a hole would show as a hit
    monkeypatch.setattr(net, "PORTS", {"http": made.inside.port, "https": made.inside.port})
    yield made
    made.inside.close()
    made.outside.close()


def test_no_spelling_reaches_what_is_not_public(world: World):
    assert len(SPELLINGS) >= 250
    for url in SPELLINGS:
        with pytest.raises(Problem):
            net.fetch(url)
        assert not world.reached, f"{url} was connected to"
    assert not world.inside.hits


def test_the_same_trap_would_catch_a_hole(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(net, "public", lambda _: True)
    for url in ("http://2130706433/", "http://127.1/", "http://localhost/", "http://0x7f.0.0.1/"):
        assert net.fetch(url).text == "secret"
    assert len(world.inside.hits) == 4


def test_redirects_inside_are_refused_at_each_hop(world: World):
    targets = [f"http://{host}/" for dotted in INSIDE_V4[:4] for host in spelled(dotted) if host.isascii()]
    for target in [*targets, *(f"http://{name}/" for name in NAMES if name != "public.example"), *ODD[:5], "//127.1/x"]:
        world.outside.pages["/go"] = (302, {"Location": target}, b"")
        with pytest.raises(Problem):
            net.fetch("http://public.example/go")
    assert not world.inside.hits and set(world.reached) == {PUBLIC}


def test_rebinding_finds_a_host_that_was_looked_up_once(world: World, monkeypatch: pytest.MonkeyPatch):
    real = net.socket.getaddrinfo

    def rebinding(host, *rest, **more):
        found = real(host, *rest, **more)
        world.names["public.example"] = ["127.0.0.1"]  # from now on
        return found

    monkeypatch.setattr(net.socket, "getaddrinfo", rebinding)
    assert net.fetch("http://public.example/").text == "secret"
    assert world.lookups == ["public.example"] and world.reached == [PUBLIC] and not world.inside.hits
    world.names["public.example"] = [PUBLIC]
    world.outside.pages["/again"] = (302, {"Location": "/back"}, b"")
    with pytest.raises(Problem, match="not a public one"):
        net.fetch("http://public.example/again")
    assert not world.inside.hits


def test_a_page_is_read_through_three_redirects_and_no_more(world: World):
    for hop in range(4):
        world.outside.pages[f"/{hop}"] = (301 + hop % 2, {"Location": f"/{hop + 1}"}, b"")
    assert net.fetch("http://public.example/1").url.endswith("/4")
    with pytest.raises(Problem, match="more than 3 times"):
        net.fetch("http://public.example/0")


def test_nothing_of_this_machine_goes_along(world: World, monkeypatch: pytest.MonkeyPatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{world.inside.port}")
    net.fetch("http://public.example/")
    sent = world.outside.headers
    assert set(sent) == {"host", "user-agent", "accept", "accept-encoding"} and sent["user-agent"] == "Diptych"
    assert not world.inside.hits


def test_only_text_is_read(world: World):
    for kind in ("image/png", "application/octet-stream", "application/pdf", ""):
        world.outside.pages["/"] = (200, {"Content-Type": kind} if kind else {}, b"x")
        with pytest.raises(Problem, match="only text is read"):
            net.fetch("http://public.example/")
    world.outside.pages["/"] = (200, {"Content-Type": "text/html", "Content-Encoding": "gzip"}, b"x")
    with pytest.raises(Problem, match="compressed"):
        net.fetch("http://public.example/")
    world.outside.pages["/"] = (404, {}, b"")
    with pytest.raises(Problem, match="status 404"):
        net.fetch("http://public.example/")


def test_a_long_page_is_read_to_the_limit(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(net, "BYTES", 2**20)
    world.outside.pages["/"] = (200, {"Content-Type": "text/plain"}, b"a" * (2**20 + 1))
    text = net.page_text("http://public.example/")
    assert text.startswith("a" * 2**20 + "\n[The page goes on")


def test_a_dripping_page_ends_in_time_and_at_once_on_stop(world: World, monkeypatch: pytest.MonkeyPatch):
    world.outside.pages["/drip"] = (200, {"Content-Type": "text/plain", "Content-Length": "9999999"}, b"")
    monkeypatch.setattr(net, "SECONDS", 0.5)
    began = time.monotonic()
    with pytest.raises(Problem):
        net.fetch("http://public.example/drip")
    assert time.monotonic() - began < 15
    monkeypatch.setattr(net, "SECONDS", 40)
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        net.fetch("http://public.example/drip", stop)
    assert time.monotonic() - began < 15


def test_an_allowance_opens_one_address_and_no_other(world: World):
    allow = net.Allowance("127.0.0.1", world.inside.port)
    world.names["own.example"] = ["127.0.0.1"]
    other = world.outside.port
    assert net.fetch(f"http://127.0.0.1:{world.inside.port}/", allow=allow).text == "secret"
    assert world.inside.hits == ["/"] and not world.lookups, "the allowed address was looked up"
    hosts = [host for host in spelled("127.0.0.1") if host != "127.0.0.1" and host.isascii()]
    for url in (
        *(f"http://{host}:{world.inside.port}/" for host in [*hosts, "localhost", "own.example", "[::1]", "127.0.0.2"]),
        *(f"http://127.0.0.1:{other}/", f"https://127.0.0.1:{world.inside.port}/", "http://10.0.0.1/"),
    ):
        with pytest.raises(Problem):
            net.fetch(url, allow=allow)
    for target in (f"http://127.0.0.1:{other}/", f"http://localhost:{world.inside.port}/", "http://169.254.169.254/"):
        world.inside.pages["/go"] = (302, {"Location": target}, b"")
        with pytest.raises(Problem):
            net.fetch(f"http://127.0.0.1:{world.inside.port}/go", allow=allow)
    assert set(world.inside.hits) == {"/", "/go"} and not world.outside.hits


def test_an_allowance_is_for_loopback_alone_and_is_never_kept(world: World):
    for host, port in (("10.0.0.1", 80), ("93.184.216.34", 80), ("127.0.0.1", 0), ("localhost", 80)):
        with pytest.raises(ValueError):
            net.Allowance(host, port)
    allow = net.Allowance("127.0.0.1", world.inside.port)
    net.fetch(f"http://127.0.0.1:{world.inside.port}/", allow=allow)
    with pytest.raises(Problem, match="not a public one"):
        net.fetch(f"http://127.0.0.1:{world.inside.port}/")
    # a public page cannot lead to it either: the caller of a public address gives no allowance
    world.outside.pages["/go"] = (302, {"Location": f"http://127.0.0.1:{world.inside.port}/"}, b"")
    with pytest.raises(Problem):
        net.fetch("http://public.example/go")


def test_there_is_no_other_door():
    # net.py, and the latter for endpoints of a person
    doors = {ROOT / "engine" / name for name in ("net.py", "hosted.py", "hosting/wire.py", "hosting/errors.py")}
    clients = re.compile(r"^\s*(?:import|from) (requests|urllib\.request|httpx2?|aiohttp|http\.client|urllib3)\b", re.M)
    for path in [*(ROOT / "engine").rglob("*.py"), *(ROOT / "pages").rglob("*.py")]:
        assert path in doors or not clients.search(path.read_text(encoding="utf-8")), path.name


def test_html_becomes_text():
    html = """<!doctype html><head><title>A  title</title><script>steal()</script><style>p{}</style></head>
    <body><h1>Big</h1><p>One <b>bold</b>&amp;
    plain.</p><ul><li>first<li>second</ul><script>no()</script><noscript>no</noscript><p>last"""
    assert text_of(html) == "A title\n\n# Big\nOne bold& plain.\n- first\n- second\nlast"
    assert text_of("") == "" and text_of("<svg><p>x</svg>y") == "y"
    assert len(text_of("<div>" * 50_000 + "deep")) == 4


def test_encodings_of_pages(world: World):
    world.outside.pages["/"] = (200, {"Content-Type": "text/html; charset=latin-1"}, "<p>caf\xe9".encode("latin-1"))
    assert net.page_text("http://public.example/") == "café"
    world.outside.pages["/"] = (200, {"Content-Type": "text/html; charset=nonsense"}, "<p>café".encode())
    assert net.page_text("http://public.example/") == "café"
