"""What went wrong with an endpoint, told as a Problem that names the host and never the key."""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx2
import openai

from engine.errors import Problem
from engine.hosting.wire import CONNECT_SECONDS, READ_SECONDS, REPLY_SECONDS, Wire

LEAST_LEAK = 8  # characters: a shorter part of a key tells nothing
MOST_QUOTED = 300  # characters of what a server says
PATH_HINT = "Check the address: the base URL usually ends in /v1"
RETRY_WORDS = "Wait a little and press Retry."


@dataclass(frozen=True)
class Complaint:
    """Writes the Problems of one endpoint: `host` and `model` are named in them, `key` is taken out of them."""

    host: str
    model: str
    key: str | None = field(default=None, repr=False)

    def about(self, error: Exception, wire: Wire, begun: bool = False) -> Problem:
        """The sentence for what the SDK raised; `begun` says that part of the answer had come."""
        if wire.expired:
            return self.early(wire)
        match error:
            case openai.APIStatusError():
                return Problem(self._status(error) + self._quoted(said(error)))
            case openai.APIConnectionError() if begun:
                return self.cut() if not isinstance(error, openai.APITimeoutError) else self._silent()
            case openai.APIConnectionError():
                return self._unreached(error)
            case openai.APIError():
                return Problem(f"{self.host} broke off with an error. {RETRY_WORDS}" + self._quoted(said(error)))
            case _ if wire.torn:
                return self.cut()
        return Problem(f"{self.host} sent an answer that cannot be read (invalid JSON). {RETRY_WORDS}")

    def cut(self) -> Problem:
        """The stream ended before its end."""
        return Problem(
            f"{self.host} closed the connection in the middle of the answer; what had come is kept. {RETRY_WORDS}"
        )

    def early(self, wire: Wire) -> Problem:
        """The status was fine, but the body came to an end that is none."""
        if wire.expired:
            return Problem(f"{self.host} took more than {REPLY_SECONDS:.0f} seconds for one reply, so it was ended.")
        return self.cut() if wire.events else self._no_stream(wire.head.decode("utf-8", "replace").strip())

    def _no_stream(self, text: str) -> Problem:
        """Not one event came; `text` is how the body began."""
        if not text:
            return Problem(f"{self.host} sent an empty answer. {PATH_HINT}, and look into the server's log.")
        if text.startswith("<"):
            return Problem(f"{self.host} answered with a web page instead of a model's reply. {PATH_HINT}")
        return Problem(
            f"{self.host} did not send a stream as OpenAI-compatible servers do. {PATH_HINT}" + self._quoted(text)
        )

    def _status(self, error: openai.APIStatusError) -> str:
        code = error.status_code
        match code:
            case 401 if self.key is None:
                return f"{self.host} wants a key (401), and none was given. Type one into the key field."
            case 401:
                return (
                    f"{self.host} did not accept the key {masked(self.key or '')} (401). "
                    "Check that it is complete, still valid, and a key of this service."
                )
            case 403:
                return (
                    f"{self.host} refuses this request (403): the key may not be allowed to use '{self.model}'. "
                    "Choose another model or key."
                )
            case 404:
                return (
                    f"{self.host} does not know the model '{self.model}', or has no API at this address (404). "
                    f"Check the model's name. {PATH_HINT}"
                )
            case 429:
                return f"{self.host} takes no more requests for now (429). {self._wait(error)}"
            case _ if 300 <= code < 400:
                return (
                    f"{self.host} sends us on to {self._target(error)} ({code}). Diptych does not follow, because "
                    "your key would go along. If that address is right, enter it as the endpoint."
                )
            case _ if code >= 500:
                return f"{self.host} has trouble of its own ({code}). {self._wait(error)}"
        return f"{self.host} does not accept the request ({code}). Change what it complains about and try again."

    def _wait(self, error: openai.APIStatusError) -> str:
        seconds = retry_after(error)
        if seconds is None:
            return RETRY_WORDS
        return f"It asks to wait {seconds:.0f} second{'s' if round(seconds) != 1 else ''} before the next try."

    def _target(self, error: openai.APIStatusError) -> str:
        """Scheme and host of a redirect, without the path, which may repeat a secret."""
        try:
            url = error.response.request.url.join(error.response.headers.get("location", ""))
        except httpx2.InvalidURL:
            return "an address that cannot be read"
        return redacted(f"{url.scheme}://{url.netloc.decode('ascii')}", self.key)

    def _unreached(self, error: openai.APIConnectionError) -> Problem:
        """No answer at all: tell the cause at the bottom of the chain of exceptions."""
        causes = list(chain(error))
        if any(isinstance(cause, httpx2.ConnectTimeout) for cause in causes):
            return Problem(
                f"{self.host} could not be reached within {CONNECT_SECONDS:.0f} seconds. "
                "Check the address and the network."
            )
        if isinstance(error, openai.APITimeoutError):
            return self._silent()
        for cause in reversed(causes):
            match cause:
                case socket.gaierror():
                    return Problem(
                        f"There is no host called {self.host}, or this machine has no network. Check the spelling."
                    )
                case ssl.SSLCertVerificationError():
                    return Problem(
                        f"The certificate of {self.host} cannot be trusted ({cause.verify_message}), so nothing was "
                        "sent. Check the address, or have its certificate renewed."
                    )
                case ssl.SSLError():
                    return Problem(
                        f"No secure connection to {self.host} could be made. If it is a local server without TLS, "
                        "begin its address with http:// instead of https://"
                    )
                case ConnectionRefusedError():
                    return Problem(
                        f"Nothing listens at {self.host}. Start the server there (for Ollama: ollama serve) or "
                        "correct the address."
                    )
                case httpx2.ConnectError():
                    return Problem(f"{self.host} could not be reached. Check the address and the network.")
        return Problem(f"{self.host} closed the connection without an answer. {RETRY_WORDS}")

    def _silent(self) -> Problem:
        return Problem(
            f"{self.host} sent nothing for {READ_SECONDS:.0f} seconds. It may be busy or still loading the model. "
            f"{RETRY_WORDS}"
        )

    def _quoted(self, text: str) -> str:
        """What the server says, on one line, without markup, control characters and keys; nothing for a page."""
        if not text.strip() or text.lstrip().startswith("<"):
            return ""
        plain = " ".join("".join(c if c.isprintable() else " " for c in redacted(text, self.key)).split())
        return f' It says: "{plain[:MOST_QUOTED]}{"…" if len(plain) > MOST_QUOTED else ""}"'


def said(error: openai.APIError) -> str:
    """The server's own words in an error, in whichever of the usual shapes it put them."""
    body = error.body
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail") or body.get("error") or ""
    if isinstance(body, str | None):
        return body or ""
    return json.dumps(body, ensure_ascii=False)


def retry_after(error: openai.APIStatusError) -> float | None:
    """Seconds that the server asks to wait, where it names a plain number of them."""
    text = error.response.headers.get("retry-after", "").strip()
    return float(text) if re.fullmatch(r"\d{1,6}(\.\d{1,3})?", text) else None


def masked(key: str) -> str:
    """A key as it may be shown: its kind and its last four characters, if it is long enough to keep the rest."""
    return f"{'sk-' if key.startswith('sk-') else ''}…{key[-4:] if len(key) >= 16 else ''}"


def redacted(text: str, key: str | None) -> str:
    """The text without the key, also where only its beginning or its end is repeated."""
    if not key:
        return text
    for size in range(len(key), min(LEAST_LEAK, len(key)) - 1, -1):
        text = text.replace(key[:size], masked(key)).replace(key[-size:], masked(key))
    return text


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what caused it, and so on down."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
