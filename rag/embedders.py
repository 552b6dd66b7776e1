"""Embedding models for passages and questions: which weights, how many tokens they read, texts in, unit vectors out."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from engine import embed
from engine.errors import Problem
from engine.threads import aside
from rag import crew

if TYPE_CHECKING:
    import numpy as np

    from rag.bert import Precision

DEFAULT = embed.NAME
BATCH = 32  # texts in one forward pass at most
KNOWN = 2**16  # words whose tokens are remembered
TOKENS = 1024  # and tokens, padding included: what a thread makes of more no longer stays in its core's cache
# what models want in front of a question and of a passage, from their model cards; MiniLM and most others want nothing
PREFIXES = {
    "bge-small-en-v1.5": ("Represent this sentence for searching relevant passages: ", ""),
    "bge-base-en-v1.5": ("Represent this sentence for searching relevant passages: ", ""),
    "bge-large-en-v1.5": ("Represent this sentence for searching relevant passages: ", ""),
    "e5-small-v2": ("query: ", "passage: "),
    "e5-base-v2": ("query: ", "passage: "),
    "e5-large-v2": ("query: ", "passage: "),
    "nomic-embed-text-v1.5": ("search_query: ", "search_document: "),
}
WEIGHTS = ("*.safetensors", "*.bin")
PRECISIONS = ("bf16", "int8")  # that may stand behind a model's name and a colon; without one it is fp32
WORD = re.compile(r"[^ \t\n\r]+")
_one_at_a_time = threading.Lock()


class Embedder:
    """One embedding model. Counting tokens needs its tokenizer alone; the weights are loaded by the first vector.

    `name` is this project's default, a Hub id or a folder, with ":bf16" or ":int8" behind it to compute in that.
    """

    def __init__(self, name: str = DEFAULT, query_prefix: str = ""):
        self.name = name
        model, _, precision = name.rpartition(":")
        self.model, self.precision = (model, precision) if precision in PRECISIONS else (name, "fp32")
        ours, theirs = PREFIXES.get(self.model.rpartition("/")[2].lower(), ("", ""))
        self.query_prefix = query_prefix or ours
        self.passage_prefix = theirs

    @functools.cached_property
    def folder(self) -> Path:
        """Where the model's files lie. Raises Problem where they are not on this machine and cannot be fetched."""
        if self.model in (DEFAULT, f"sentence-transformers/{DEFAULT}"):
            place = embed.folder()
            if place is None:
                embed.model()  # raises the sentence that says what to install
                raise Problem(f"The embedding model {DEFAULT} is not on this machine.")
            return place
        if Path(self.model).is_dir():
            return Path(self.model)
        return fetched(self.model)

    def here(self) -> bool:
        """Whether the model's files lie on this machine; asked without the network."""
        if "folder" in vars(self) or Path(self.model).is_dir():
            return True
        if self.model in (DEFAULT, f"sentence-transformers/{DEFAULT}"):
            try:
                return bool(self.folder)
            except Problem:
                return False
        return kept(self.model)

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of weights, tokenizer, passage prefix and precision: equal fingerprints, equal vectors."""
        digest = hashlib.sha256(self.passage_prefix.encode())
        digest.update(b"" if self.precision == "fp32" else f"precision {self.precision}\n".encode())
        inner = [f"{module['path']}/{kind}" for module in self._modules if module.get("path") for kind in WEIGHTS]
        for pattern in (*WEIGHTS, "tokenizer.json", *inner):
            for path in sorted(self.folder.glob(pattern)):
                digest.update(f"{path.relative_to(self.folder).as_posix()} {embed.sha256(path)}\n".encode())
        return digest.hexdigest()[:32]

    @functools.cached_property
    def dimension(self) -> int:
        """Numbers in one vector: what the last Dense module gives out, or else the pooling."""
        dense = [module["path"] for module in self._modules if module["type"].rpartition(".")[2] == "Dense"]
        if dense:
            return int(self._json(f"{dense[-1]}/config.json")["out_features"])
        return int(self._json("1_Pooling/config.json").get("word_embedding_dimension") or self._config["hidden_size"])

    @functools.cached_property
    def max_tokens(self) -> int:
        """The most tokens of one text that the model reads, with the special ones it adds itself."""
        said = self._json("sentence_bert_config.json").get("max_seq_length")
        return int(said or self._config.get("max_position_embeddings") or 512)

    @functools.cached_property
    def special_tokens(self) -> int:
        """How many tokens the model adds to every text, and its passage prefix."""
        return len(self._tokenizer.encode(self.passage_prefix).ids)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text without the special ones."""
        if not self._by_words:
            return self._count(text)
        return sum(map(self._count, WORD.findall(text)))

    @functools.cached_property
    def _by_words(self) -> bool:
        """Whether blanks always part tokens, as in BERT's tokenizers: then a text has the tokens of its words."""
        before = self._json("tokenizer.json").get("pre_tokenizer") or {}
        return before.get("type") == "BertPreTokenizer"

    @functools.cached_property
    def _count(self) -> Callable[[str], int]:
        encode = self._tokenizer.encode
        return functools.lru_cache(maxsize=KNOWN)(lambda text: len(encode(text, add_special_tokens=False).ids))

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Where each token of the text begins and ends, in characters."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).offsets)

    def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of passages, float32 of shape (texts, dimension); what is beyond `max_tokens` does not count."""
        import numpy as np

        made = np.zeros((len(texts), self.dimension), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda at: self.count_tokens(texts[at]), reverse=True)
        at = 0
        for vectors in self.in_batches([texts[place] for place in order]):
            made[order[at : at + len(vectors)]] = vectors
            at += len(vectors)
        return made

    def in_batches(self, texts: Sequence[str]) -> Generator[np.ndarray]:
        """Unit vectors of passages a batch at a time, float32 of shape (texts of the batch, dimension), in their order.

        Texts that come sorted by length are padded the least. Batches are computed side by side, each by one thread.
        """
        whole = [self.passage_prefix + text for text in texts]
        batches = [whole[start:end] for start, end in self._batches(whole)]
        if self._shared():
            return crew.each(self._embed, batches)
        return (self._embed(batch) for batch in batches)

    def embed_query(self, text: str) -> np.ndarray:
        """The unit vector of a question, float32 of shape (dimension,)."""
        return aside(lambda: self._embed([self.query_prefix + text]))[0]

    def load_ahead(self) -> None:
        """Begin to load the network in a thread; what fails there fails again where the first vector is asked for."""

        def load() -> None:
            with contextlib.suppress(Exception):
                self._shared()

        threading.Thread(target=load, name="loading the embedder", daemon=True).start()

    def _batches(self, texts: Sequence[str]) -> Generator[tuple[int, int]]:
        """Where each batch begins and ends: neighbours, within BATCH texts and TOKENS tokens with their padding."""
        start = longest = 0
        for at, text in enumerate(texts):
            tokens = min(self.max_tokens, self.count_tokens(text) + 2)
            longest = max(longest, tokens)
            if at > start and (at - start >= BATCH or longest * (at + 1 - start) > TOKENS):
                yield start, at
                start, longest = at, tokens
        if texts:
            yield start, len(texts)

    def _shared(self) -> bool:
        """Whether the network is the plain one, which threads may use side by side; the first who asks builds it."""
        with _one_at_a_time:
            return self._plain is not None

    def _embed(self, texts: list[str]) -> np.ndarray:
        """Unit vectors of what stands there, prefixes included, in one forward pass."""
        import numpy as np

        if self._shared():
            ids = [one.ids for one in self._tokenizer.encode_batch(texts)]
            ids = [one if len(one) <= self.max_tokens else [*one[: self.max_tokens - 1], one[-1]] for one in ids]
            return self._plain(ids).numpy()
        with _one_at_a_time:
            made = self._network.encode(
                texts, batch_size=len(texts), normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
            )
        return np.asarray(made, dtype=np.float32)

    @functools.cached_property
    def _plain(self) -> Any:
        """The network in plain torch where the model is a BERT that it knows; None otherwise. Raises Problem."""
        from engine.weights import fast_bf16
        from rag.bert import Bert, fits

        if fits(self.folder) and (self.precision != "bf16" or fast_bf16()):
            return Bert(self.folder, cast("Precision", self.precision))
        if self.precision == "fp32":
            return None
        why = "is no plain BERT" if not fits(self.folder) else "would be slow on this processor, which has no bf16"
        raise Problem(
            f"{self.model} in {self.precision} {why}. Leave ':{self.precision}' out; a collection that has "
            "passages already is then indexed again."
        )

    @functools.cached_property
    def _network(self) -> Any:
        from transformers.utils import logging

        logging.disable_progress_bar()
        if self.model == DEFAULT:
            return embed.model()
        return embed.built(self.folder)

    @functools.cached_property
    def _tokenizer(self) -> Any:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from tokenizers import Tokenizer

        path = self.folder / "tokenizer.json"
        if not path.is_file():
            raise Problem(f"{self.model} has no tokenizer.json, so its tokens cannot be counted. Choose another model.")
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @functools.cached_property
    def _config(self) -> dict[str, Any]:
        return self._json("config.json")

    @functools.cached_property
    def _modules(self) -> list[dict[str, Any]]:
        """The steps from a text to its vector, in order; none where the model does not list them."""
        return cast("list[dict[str, Any]]", self._json("modules.json") or [])

    def _json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def fetched(name: str) -> Path:
    """The folder of a Hub model, from the cache or from the network. Raises Problem."""
    from httpx import TransportError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    from engine.hub import set_patience

    set_patience()
    unreachable = (LocalEntryNotFoundError, OfflineModeIsEnabled, OSError, TransportError)
    try:
        return Path(snapshot_download(name, ignore_patterns=["onnx/*", "openvino/*", "*.h5", "*.msgpack", "*.ot"]))
    except (HfHubHTTPError, HFValidationError, *unreachable) as error:
        raise Problem(
            f"The embedding model '{name}' is not on this machine and cannot be fetched from the Hub "
            f"({type(error).__name__}). Use {DEFAULT}, give a model's folder, or try again with a network."
        ) from None


def kept(name: str) -> bool:
    """Whether the cache holds a Hub model."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return any(Path(snapshot_download(name, local_files_only=True)).glob("*.safetensors"))
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return False


@functools.lru_cache(maxsize=2)
def embedder(name: str = DEFAULT, query_prefix: str = "") -> Embedder:
    """The embedder of that name, kept in memory with its weights for the next call."""
    return Embedder(name, query_prefix)
