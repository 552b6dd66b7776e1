"""The one outbound door for addresses that a person or a model names: public hosts, text, and firm limits."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import httpx2

from engine.acting.html_text import text_of
from engine.acting.within import Stopped, within
from engine.errors import Problem
from engine.hosting.wire import certificates

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
SECONDS = 10.0  # for everything: look-up, connections, redirects, reading
BYTES = 2 * 2**20  # of a body; what is beyond is not read
HOPS = 3  # redirects
LONGEST_ADDRESS = 2000  # characters
PORTS = {"http": 80, "https": 443}
TEXT_KINDS = ("text/", "application/json", "application/xml", "application/xhtml+xml")
MOVED = frozenset({301, 302, 303, 307, 308})
HEADERS = {"User-Agent": "Diptych", "Accept": "text/html, text/*;q=0.9", "Accept-Encoding": "identity"}

# Networks that Python's ipaddress calls global although they lead, or may lead, back inside: protocol assignments,
# the relays of 6to4, Azure's host and, within GLOBAL_V6, Teredo, 6to4 and documentation
INWARD: tuple[Network, ...] = (
    *map(ipaddress.IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")),
    *map(ipaddress.IPv6Network, ("2001::/23", "2002::/16", "3fff::/20")),
)
GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")  # the only part of IPv6 that is handed out; NAT64 and mapped lie outside


@dataclass(frozen=True)
class Allowance:
    """The one loopback address that a caller may read besides public ones: that of a server it has just started.

    It is handed to `fetch` by that caller and kept nowhere. Raises ValueError for anything but a loopback address.
    """

    host: str
    port: int

    def __post_init__(self) -> None:
        if not ipaddress.ip_address(self.host).is_loopback or not 0 < self.port < 2**16:
            raise ValueError("an allowance is for a loopback address and a port")

    def covers(self, url: httpx2.URL) -> bool:
        """Whether the address is this very one, spelled like this."""
        return url.scheme == "http" and url.host == self.host and url.port == self.port


@dataclass(frozen=True)
class Fetched:
    """What an address led to. `whole` is false when the body was longer than BYTES."""

    url: str
    kind: str
    body: bytes
    whole: bool

    @property
    def source(self) -> str:
        """The body as it was written, markup and all."""
        return self.body.decode(charset(self.kind) or "utf-8", "replace")

    @property
    def text(self) -> str:
        """The body as readable text."""
        return text_of(self.source) if "html" in self.kind else self.source


def page_text(url: str, stop: threading.Event | None = None) -> str:
    """The readable text at an address. Raises Problem; see fetch."""
    fetched = fetch(url, stop)
    text = fetched.text.strip() or "(The page holds no text.)"
    return text if fetched.whole else f"{text}\n[The page goes on; only its first {BYTES // 2**20} MiB were read.]"


def fetch(url: str, stop: threading.Event | None = None, allow: Allowance | None = None) -> Fetched:
    """What is at a public http or https address, through at most HOPS redirects. Raises Problem and Stopped."""
    deadline = time.monotonic() + SECONDS
    flag = stop or threading.Event()
    for _ in range(HOPS + 1):
        found = one_hop(address(url, allow), deadline, flag, allow)
        if isinstance(found, Fetched):
            return found
        url = found
    raise Problem(f"The address leads on more than {HOPS} times; it was given up.")


def address(text: str, allow: Allowance | None = None) -> httpx2.URL:
    """The address, checked as far as its text goes. Raises Problem."""
    try:
        if len(text) > LONGEST_ADDRESS:
            raise httpx2.InvalidURL("too long")
        url = httpx2.URL(text.strip())
        url.raw_host.decode("ascii").encode("idna")
    except (httpx2.InvalidURL, UnicodeError, ValueError, TypeError):
        raise Problem("This address cannot be read. It should look like https://example.org/page") from None
    if url.scheme not in PORTS or not url.host:
        raise Problem("Only addresses that begin with http:// or https:// are read.")
    if url.port not in (None, PORTS[url.scheme]) and not (allow and allow.covers(url)):
        raise Problem("Only the usual ports are read: 80 for http, 443 for https.")
    if url.userinfo:
        raise Problem("An address with a user name or password in it is not read.")
    return url


def one_hop(url: httpx2.URL, deadline: float, stop: threading.Event, allow: Allowance | None = None) -> Fetched | str:
    """The answer of one address, or the address that it sends on to. Raises Problem."""
    host = url.raw_host.decode("ascii")
    own = allow if allow and allow.covers(url) else None
    port = own.port if own else PORTS[url.scheme]
    try:
        with connected(host, port, url.scheme == "https", deadline, stop, own) as line:
            found = answered(line, url)
            left(deadline)  # a reading that was broken off looks like one that came to its end
            if stop.is_set():
                raise Stopped
            return found
    except TimeoutError:
        raise Problem(f"{host} did not answer within {SECONDS:g} seconds.") from None
    except ssl.SSLCertVerificationError as error:
        raise Problem(f"The certificate of {host} is not trusted ({error.verify_message}).") from None
    except (OSError, http.client.HTTPException):
        if stop.is_set():
            raise Stopped from None
        if time.monotonic() >= deadline:
            raise Problem(f"{host} did not answer within {SECONDS:g} seconds.") from None
        raise Problem(f"{host} could not be read: the connection failed.") from None


@contextlib.contextmanager
def connected(
    host: str, port: int, secure: bool, deadline: float, stop: threading.Event, own: Allowance | None = None
) -> Iterator[http.client.HTTPConnection]:
    """A connection to the very address that was resolved and found public; broken at the deadline or on stop.

    With `own`, to the allowed loopback address, which is not looked up.
    """
    family, target = (
        (address_family(own.host), (own.host, own.port)) if own else resolved(host, port, left(deadline), stop)
    )
    line = http.client.HTTPConnection(host, port)
    line.auto_open = 0  # it must never look the host up by itself
    raw = socket.socket(family, socket.SOCK_STREAM)
    over = threading.Event()
    # a copy of its own, because TLS takes the socket away while it shakes hands
    threading.Thread(target=watch, args=(raw.dup(), deadline, stop, over), daemon=True, name="watch").start()
    try:
        raw.settimeout(left(deadline))
        raw.connect(target)
        line.sock = certificates().wrap_socket(raw, server_hostname=host) if secure else raw
        yield line
    finally:
        over.set()
        line.close()
        raw.close()


def address_family(numeric: str) -> socket.AddressFamily:
    """IPv4 or IPv6."""
    return socket.AF_INET if ipaddress.ip_address(numeric).version == 4 else socket.AF_INET6


def watch(raw: socket.socket, deadline: float, stop: threading.Event, over: threading.Event) -> None:
    """Break a connection that drips past the deadline, or whose reader has left."""
    with raw:
        while not over.wait(0.05):
            if stop.is_set() or time.monotonic() >= deadline:
                with contextlib.suppress(OSError):
                    raw.shutdown(socket.SHUT_RDWR)


def left(deadline: float) -> float:
    """Seconds until the deadline. Raises TimeoutError when it has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def resolved(host: str, port: int, seconds: float, stop: threading.Event) -> tuple[socket.AddressFamily, Any]:
    """The first address of a host, looked up once. Raises Problem when any of its addresses is not public."""
    name = host.strip("[]")
    try:
        found = within(lambda: socket.getaddrinfo(name, port, type=socket.SOCK_STREAM), seconds, stop)
    except (socket.gaierror, UnicodeError):
        raise Problem(f"There is no host named {host}, or the network cannot be reached.") from None
    if not found or not all(public(entry[4][0]) for entry in found):
        raise Problem(f"The address of {host} is not a public one, so it is not read.")
    family, _, _, _, target = found[0]
    return family, target


def public(numeric: Any) -> bool:
    """Whether a numeric address is one of the public internet, and not one of this machine's own."""
    try:
        found = ipaddress.ip_address(str(numeric))
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        embedded = int(found) >> 32 & 0xFFFFFFFF in (0x00005EFE, 0x02005EFE)  # ISATAP (RFC 5214)
        if found not in GLOBAL_V6 or found.scope_id or embedded:
            return False
    if not found.is_global or found.is_multicast or found.is_reserved:
        return False
    return not any(found in network for network in INWARD) and not ours(found)


def ours(found: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether the address is this machine's own: then the system would send from it, too. Nothing is sent."""
    try:
        with socket.socket(address_family(str(found)), socket.SOCK_DGRAM) as probe:
            probe.connect((str(found), 9))
            return ipaddress.ip_address(probe.getsockname()[0]) == found
    except OSError:
        return False  # no way there at all


def answered(line: http.client.HTTPConnection, url: httpx2.URL) -> Fetched | str:
    """Ask for the page: its text, or where it moved. Raises Problem for errors and for what is no text."""
    line.request("GET", url.raw_path.decode("ascii"), headers={"Host": url.netloc.decode("ascii"), **HEADERS})
    response = line.getresponse()
    host = url.host
    if response.status in MOVED and (to := response.getheader("location")):
        return urljoin(str(url), to)
    if response.status != http.client.OK:
        raise Problem(f"{host} answered with status {response.status}.")
    kind = (response.getheader("content-type") or "").lower()
    if not kind.startswith(TEXT_KINDS):
        raise Problem(f"{host} sent {kind.split(';')[0][:60] or 'something without a type'}; only text is read.")
    if (response.getheader("content-encoding") or "identity").lower() not in ("", "identity"):
        raise Problem(f"{host} sent a compressed page although it was asked not to; it is not read.")
    body = response.read(BYTES + 1)
    return Fetched(str(url), kind, body[:BYTES], len(body) <= BYTES)


def charset(kind: str) -> str | None:
    """The encoding that a content type names, where Python knows it."""
    name = kind.partition("charset=")[2].split(";")[0].strip(" \"'")
    try:
        return name if name and isinstance("".encode(name), bytes) else None
    except (LookupError, ValueError):
        return None
