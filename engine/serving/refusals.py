"""What a client is told when a request is not answered: OpenAI's statuses and its error shape."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import pydantic

from engine.errors import UNEXPECTED, Problem

log = logging.getLogger(__name__)
INVALID, BUSY, BROKEN = "invalid_request_error", "rate_limit_error", "server_error"
STOPPED = "The server is stopping or the model was just unloaded, so this reply broke off. Please send it again."
KIND = re.compile(r"[A-Z\[]|^(str|int|function-.*)$")  # a part of pydantic's paths that is no field's name
LIMITED = frozenset({"less_than_equal", "greater_than_equal", "literal_error", "too_long", "none_required"})
PENALTY = "Penalties of this kind are not computed here: leave {} out, or use repetition_penalty."
CANNOT = {
    "top_logprobs": "At most 20 of the likeliest tokens are told at each place: lower top_logprobs.",
    "logprobs": "At most 20 of the likeliest tokens are told at each place: lower logprobs.",
    "frequency_penalty": PENALTY.format("frequency_penalty"),
    "presence_penalty": PENALTY.format("presence_penalty"),
    "logit_bias": "Token biases are not computed here: leave logit_bias out.",
    "best_of": "One reply is drawn for each choice: leave best_of out, or use n.",
    "suffix": "Models here write on; they do not fill in. Leave suffix out.",
}
UNKNOWN_FIELD = "There is no field '{}' in this request. Check its spelling, or leave it out."


class Refusal(Exception):
    """A request that is not answered. `wait` is in seconds and becomes Retry-After."""

    def __init__(
        self,
        status: int,
        message: str,
        kind: str = INVALID,
        code: str | None = None,
        param: str | None = None,
        wait: int | None = None,
    ):
        super().__init__(message)
        self.status, self.message, self.wait = status, message, wait
        self.error: dict[str, Any] = {"message": message, "type": kind, "param": param, "code": code}

    @property
    def body(self) -> bytes:
        """The answer's body, or what stands behind `data:` where a stream breaks off."""
        return json.dumps({"error": self.error}, ensure_ascii=False).encode("utf-8", "replace")

    @property
    def headers(self) -> dict[str, str]:
        """Headers besides the content type."""
        found = {} if self.wait is None else {"retry-after": str(self.wait)}
        return found | ({"www-authenticate": "Bearer"} if self.status == 401 else {})


def bad(message: str, param: str | None = None, code: str | None = None) -> Refusal:
    """A request that is wrong in itself."""
    return Refusal(400, message, param=param, code=code)


def no_key(message: str) -> Refusal:
    """A key that is missing, unknown or revoked."""
    return Refusal(401, message, code="invalid_api_key")


def no_model(name: str, known: list[str]) -> Refusal:
    """A name that is none of the models here."""
    shown = (", ".join(known[:12]) or "none") + (", ..." if len(known) > 12 else "")
    message = f"The model '{name[:200]}' is not served here. The models are: {shown}."
    return Refusal(404, message, code="model_not_found", param="model")


def busy(message: str, wait: int) -> Refusal:
    """Too many at once, or too many in a minute."""
    return Refusal(429, message, BUSY, "rate_limit_exceeded", wait=wait)


def stopped() -> Refusal:
    """The row ended without the client's doing."""
    return Refusal(503, STOPPED, BROKEN, "service_unavailable", wait=1)


def refusal_of(error: Exception, status: int = 503) -> Refusal:
    """Any error as a client may read it; a Problem keeps its words, anything else is logged and told as a bug."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, Problem):
        return Refusal(status, str(error), INVALID if status < 500 else BROKEN)
    log.error("a request failed", exc_info=error)
    return Refusal(500, UNEXPECTED, BROKEN, "internal_error")


def first_complaint(error: pydantic.ValidationError) -> Refusal:
    """The finding that lies deepest in a body, as a refusal that names the field.

    Where a field may be of several kinds, pydantic tells what is wrong for each; the deepest fits what was meant.
    """
    found = max(error.errors(include_url=False, include_input=False), key=lambda one: len(one["loc"]))
    path = ".".join(str(part) for part in found["loc"] if not KIND.search(str(part)))[:200]
    if found["type"] == "json_invalid":
        return bad(f"The body is not valid JSON: {found['ctx']['error']}.")
    if path in CANNOT and found["type"] in LIMITED:
        return bad(CANNOT[path], path, "unsupported_value")
    if found["type"] == "extra_forbidden":
        return bad(UNKNOWN_FIELD.format(path), path, "unknown_parameter")
    if found["type"] == "missing":
        return bad(f"The field '{path}' is missing.", path, "missing_required_parameter")
    message = found["msg"].removeprefix("Value error, ")
    return bad(f"The field '{path}' is wrong: {message[:1].lower()}{message[1:]}." if path else message, path or None)
