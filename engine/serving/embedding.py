"""How embeddings are answered: texts in, the unit vectors of the app's own embedder out."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from engine import embed
from engine.serving.asked import EmbeddingRequest
from engine.serving.call import Call
from engine.serving.intake import in_thread, read
from engine.serving.keys import Key
from engine.serving.refusals import bad, no_model
from engine.serving.served import has_embedder
from engine.serving.wire import coded

if TYPE_CHECKING:
    from engine.serving.service import Service


async def embeddings(service: Service, call: Call, key: Key | None, body: bytes) -> None:
    """POST /v1/embeddings."""
    asked = read(EmbeddingRequest, body)
    if asked.model != embed.NAME or not await in_thread(has_embedder):
        raise no_model(asked.model, [embed.NAME] if has_embedder() else [])
    place = await service.gate.enter(1, key)
    try:
        vectors, tokens = await in_thread(embedded, asked.texts)
    finally:
        service.gate.leave(place)
    if asked.dimensions not in (None, vectors.shape[1]):
        raise bad(f"This model's vectors have {vectors.shape[1]} dimensions and cannot be shortened.", "dimensions")
    as_text = asked.encoding_format == "base64"
    values = [base64.b64encode(v.astype("<f4").tobytes()).decode() if as_text else v.tolist() for v in vectors]
    data = [{"object": "embedding", "index": i, "embedding": value} for i, value in enumerate(values)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    service.metrics.tokens["prompt"] += tokens
    await call.respond(200, coded({"object": "list", "data": data, "model": asked.model, "usage": usage}))


def embedded(texts: list[str]) -> tuple[Any, int]:
    """Unit vectors [texts, 384] and the tokens that the texts have; what is behind 256 of one does not count."""
    tokenizer = embed.model().tokenizer
    return embed.embed(texts), sum(min(256, len(ids)) for ids in tokenizer(texts)["input_ids"])
