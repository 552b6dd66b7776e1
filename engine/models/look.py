"""Look at a model or adapter, in a folder or on the Hub, before a byte of its weights is loaded."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from engine import hub
from engine.amounts import amount
from engine.errors import Problem
from engine.models import checks
from engine.models.adapter_look import adapter_report
from engine.models.footprint import compute_bytes, halves, linear_layers, needs, parameters
from engine.models.headers import Header
from engine.models.report import Facts, Finding, Report
from engine.models.sources import Folder, Source, folder_named, read_object, wanted_files, weight_files
from engine.settings import settings

DISK_TO_SPARE = 500_000_000  # bytes that a download leaves free
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "vocab.txt")
CONTEXTS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")


def look(text: str, revision: str | None = None, base: str | None = None) -> Report:
    """What is in the folder or behind the Hub id that a person typed; nothing is changed, nobody's code is run.

    `base` names the model that an adapter is to be attached to; without it the base that the adapter names is
    looked for. Raises Problem when there is nothing to look at.
    """
    if not text.strip():
        raise Problem("Write a Hub id such as HuggingFaceTB/SmolLM2-135M, or the path of a folder.")
    if folder := folder_named(text):
        return examine(Folder(folder), str(folder), base=base)
    if text.strip().startswith(("/", ".", "~")):
        raise Problem(f"There is no folder {text.strip()} on this machine.")
    name, named = hub.asked(text)
    repository = hub.Repository(name, hub.checked_revision(revision) or named)
    return examine(repository, name, repository.revision, repository.commit, base)


def examine(
    source: Source, name: str, revision: str | None = None, commit: str = "", base: str | None = None
) -> Report:
    """The report on a source. What is wrong with it becomes a finding, not an error."""
    common: dict[str, Any] = {"name": name, "place": source.place, "revision": revision, "commit": commit}
    found = [existence(source, revision, commit)]
    try:
        found += gate(source)
        if "adapter_config.json" in source.files:
            return adapter_report(source, common, found, base)
        return model_report(source, common, found)
    except Problem as problem:
        return Report(**common, findings=(*found, Finding("bad", str(problem))))


def existence(source: Source, revision: str | None, commit: str) -> Finding:
    """That it is there, and at which commit."""
    if source.place == "folder":
        return Finding("good", f"The folder {source.name} holds {count(len(source.files), 'file')}.")
    at = f" at revision {revision}" if revision else ""
    return Finding("good", f"{source.name} is on {hub.place()}{at}, commit {commit[:8] or 'unknown'}.")


def gate(source: Source) -> list[Finding]:
    """Whether it is gated. Raises Problem, with what to do, when this server may not read it."""
    if not (isinstance(source, hub.Repository) and source.gated):
        return []
    small = next((file for file in ("config.json", "adapter_config.json") if file in source.files), None)
    if small:
        source.text(small)
    return [Finding("good", "It is gated, and this server's HF_TOKEN may read it.")]


def model_report(source: Source, common: Mapping[str, Any], found: list[Finding]) -> Report:
    """The report on a model, after its config, the list of its files and the heads of its weights."""
    if "config.json" not in source.files:
        wrong = checks.weights_trouble(source.name, source.files, source.place)
        if not wrong or "no weights" in wrong:
            wrong = f"{source.name} holds no model: there is neither a config.json nor an adapter_config.json in it."
        return Report(**common, findings=(*found, Finding("bad", wrong)), instead=source.about.get("base", ""))
    config = read_object(source, "config.json")
    if method := checks.quantization(config):
        base = full_precision(common["name"], source.about)
        wrong = checks.quantized_trouble(source.name, method, base)
        return Report(**common, findings=(*found, Finding("bad", wrong)), instead=base)
    reranker = checks.reranks(config)
    wrong = "" if reranker else checks.architecture_trouble(source.name, config)
    if wrong := wrong or checks.weights_trouble(source.name, source.files, source.place):
        return Report(**common, findings=(*found, Finding("bad", wrong)))
    files = weight_files(source)
    if not files:
        raise Problem(f"{source.name} holds safetensors, but no model.safetensors and no index of several parts.")
    header = source.header(files)
    facts = facts_of(config, header, source)
    sizes = needs(header, compute_bytes(), halves(config))
    if reranker:
        common, sizes = {**common, "kind": "reranker"}, {"fp32": sizes["fp32"]}
    wanted = wanted_files(source, files)
    found += [
        *(reranking if reranker else architecture)(facts),
        *own_code(source, config),
        *weights(source, files, header),
    ]
    found += [*memory(sizes), *disk(source, sum(file.size for file in wanted)), *tokenizer(source)]
    return Report(**common, findings=tuple(found), facts=facts, files=tuple(wanted), needs=sizes)


def full_precision(name: str, about: Mapping[str, str]) -> str:
    """The full-precision model that a quantized one was made from, as the catalogue or its card says; or empty."""
    from engine.catalog import stand_ins

    return stand_ins().get(name.lower()) or about.get("base", "")


def facts_of(config: Mapping[str, Any], header: Header, source: Source) -> Facts:
    """What config and heads say."""
    inner = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    context = next((inner[key] for key in CONTEXTS if isinstance(inner.get(key), int)), 0)  # type: ignore[union-attr, index]
    classes = config.get("architectures")
    return Facts(
        architecture=str(classes[0] if isinstance(classes, list) and classes else config.get("model_type", "")),
        parameters=parameters(header),
        linear=sum(tensor.count for tensor in linear_layers(header).values()),
        context=context,
        vocabulary=inner.get("vocab_size") if isinstance(inner.get("vocab_size"), int) else 0,  # type: ignore[union-attr, arg-type]
        licence=source.about.get("licence", ""),
        chat=has_chat_template(source),
    )


def has_chat_template(source: Source) -> bool:
    """Whether it brings a template of its own for dialogues."""
    if "chat_template.jinja" in source.files or "chat_template.json" in source.files:
        return True
    if "tokenizer_config.json" not in source.files:
        return False
    return bool(read_object(source, "tokenizer_config.json").get("chat_template"))


def architecture(facts: Facts) -> list[Finding]:
    """The architecture, its size and its context."""
    context = f", {facts.context:,} tokens of context" if facts.context else ""
    told = f"{facts.architecture}: an architecture that transformers has, {millions(facts)} weights{context}."
    return [Finding("good", told)]


def reranking(facts: Facts) -> list[Finding]:
    """What a cross-encoder is good for."""
    told = f"It is a cross-encoder ({facts.architecture}, {millions(facts)} weights), good for reranking: "
    told += "it puts the passages that Knowledge has found in a better order. It answers no prompts."
    return [Finding("good", told)]


def millions(facts: Facts) -> str:
    """The number of weights in words."""
    count = facts.parameters
    return f"{count / 1e9:.2f} billion" if count >= 1e9 else f"{count / 1e6:.1f} million"


def own_code(source: Source, config: Mapping[str, Any]) -> list[Finding]:
    """Code that comes with it and is never run."""
    scripts = [name for name in source.files if name.endswith(".py")]
    if not (checks.own_code(config) or scripts):
        return []
    named = f" ({', '.join(scripts[:3])})" if scripts else ""
    return [Finding("note", f"It brings code of its own{named}. That is never downloaded or run; transformers' is.")]


def weights(source: Source, files: list[str], header: Header) -> list[Finding]:
    """The weights' files and what lies beside them unused."""
    size = sum(source.files[file].size for file in files)
    kinds = "/".join(sorted({tensor.kind for tensor in header.values()}))
    found = [Finding("good", f"Its weights are safetensors: {count(len(files), 'file')}, {amount(size)}, {kinds}.")]
    if any(name.endswith(checks.PICKLES) for name in source.files):
        found.append(Finding("note", "There are pickle files beside them. They are neither downloaded nor opened."))
    return found


def memory(sizes: Mapping[str, int]) -> list[Finding]:
    """Whether it fits into what models may take here."""
    room = settings().memory_bytes
    smallest = min(sizes.values(), default=0)
    if smallest > room:
        return [
            Finding(
                "bad",
                f"Even in 4 bits it takes about {amount(smallest)}, and models may take {amount(room)} here. Choose "
                "a smaller model, or raise DIPTYCH_MEMORY_GB where the machine has more.",
            )
        ]
    return [Finding("good", f"It fits: models may take {amount(room)} of memory here.")]


def disk(source: Source, size: int) -> list[Finding]:
    """Whether a download fits on the disk."""
    if source.place == "folder":
        return []
    free = free_bytes()
    if size + DISK_TO_SPARE > free:
        return [
            Finding("bad", f"The download is {amount(size)}, and {amount(free)} of disk are free. Make room first.")
        ]
    return [Finding("good", f"The download is {amount(size)}; {amount(free)} of disk are free.")]


def free_bytes() -> int:
    """What is free where the home folder lies."""
    home = settings().home
    return shutil.disk_usage(next(each for each in (home, *home.parents) if each.exists())).free


def tokenizer(source: Source) -> list[Finding]:
    """Whether it can read and write text."""
    if any(name in source.files for name in TOKENIZERS):
        return []
    return [Finding("bad", f"{source.name} has no tokenizer ({', '.join(TOKENIZERS[:2])}), so it cannot read text.")]


def count(number: int, noun: str) -> str:
    """A number with its noun."""
    return f"{number} {noun}" + ("" if number == 1 else "s")
