"""The server's OpenAPI description, made from the very classes that read its requests."""

from __future__ import annotations

import functools
from typing import Any

from pydantic.json_schema import models_json_schema

from engine.serving.asked import ChatRequest, CompletionRequest, EmbeddingRequest

REFERENCE = "#/components/schemas/{model}"
BODIES: dict[str, Any] = {
    "/v1/chat/completions": (ChatRequest, "Answer a conversation, whole or as a stream."),
    "/v1/completions": (CompletionRequest, "Go on with raw prompts."),
    "/v1/embeddings": (EmbeddingRequest, "Texts as unit vectors."),
}
LOOKS = {
    "/v1/models": "The names that a request may give.",
    "/healthz": "Whether the process answers.",
    "/readyz": "Whether another request would be taken.",
    "/metrics": "Counts in Prometheus' text form, for the owner.",
}
REFUSALS = {
    "400": "The request is wrong; error.param names the field.",
    "401": "The key is missing, unknown or revoked.",
    "404": "The model is not served here.",
    "413": "The body is too long.",
    "429": "Too many at once; see Retry-After.",
    "500": "A fault of this server.",
    "503": "The model cannot be loaded now, or the server is stopping.",
}


@functools.cache
def description() -> dict[str, Any]:
    """OpenAPI 3.1."""
    _, schemas = models_json_schema([(kind, "validation") for kind, _ in BODIES.values()], ref_template=REFERENCE)
    refused = {status: {"description": about} for status, about in REFUSALS.items()}
    answered = {"200": {"description": "The answer."}, **refused}
    paths: dict[str, Any] = {path: {"get": {"summary": about, "responses": answered}} for path, about in LOOKS.items()}
    for path, (kind, about) in BODIES.items():
        schema = {"$ref": REFERENCE.replace("{model}", kind.__name__)}
        content = {"application/json": {"schema": schema}}
        asked = {"summary": about, "requestBody": {"required": True, "content": content}, "responses": answered}
        paths[path] = {"post": asked}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Diptych", "version": "1", "description": "OpenAI's API over the models of one Diptych."},
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}, {}],
    }
