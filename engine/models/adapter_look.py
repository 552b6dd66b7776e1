"""Look at an adapter: which base it was made for, whether that is here, and whether it fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.amounts import amount
from engine.errors import Problem
from engine.models import checks
from engine.models.fit import misfit
from engine.models.footprint import parameters
from engine.models.headers import Header
from engine.models.report import Facts, Finding, Report
from engine.models.sources import ADAPTER, COMPANIONS, Folder, Source, read_object, weight_files
from engine.settings import ROOT


@dataclass(frozen=True)
class Base:
    """A base on this machine: its name in the catalogue, its folder, the Hub id it came from, its kept entry."""

    name: str
    folder: str
    source: str = ""
    entry: str = ""


def adapter_report(source: Source, common: Mapping[str, Any], found: list[Finding], chosen: str | None) -> Report:
    """The report on an adapter; `chosen` is the name of the model to attach it to."""
    config = read_object(source, "adapter_config.json")
    named = str(config.get("base_model_name_or_path") or "")
    if ADAPTER not in source.files:
        raise Problem(without_weights(source))
    header = source.header([ADAPTER])
    kind = f"{config.get('peft_type', 'LORA')} of rank {config.get('r', '?')}"
    size = amount(source.files[ADAPTER].size)
    found.append(Finding("good", f"It is an adapter ({kind}, {parameters(header):,} weights, {size} as safetensors)."))
    wanted = [file for name, file in source.files.items() if COMPANIONS.fullmatch(name)] + [source.files[ADAPTER]]
    common = {
        **common,
        "kind": "adapter",
        "files": tuple(wanted),
        "facts": Facts(licence=source.about.get("licence", "")),
    }
    base, notes, instead = find_base(source, named, chosen)
    found += notes
    if base is None:
        return Report(**common, findings=tuple(found), instead=instead)
    where = Folder(Path(base.folder))
    trouble = misfit(header, config, where.header(weight_files(where))) or token_trouble(source, header, where)
    if trouble:
        made = f"was made for {named} and" if named else "names no base and"
        found.append(Finding("bad", f"{source.name} {made} does not fit {base.name}: {trouble}."))
    else:
        found.append(Finding("good", f"Its layers and shapes fit {base.name}, to which it will be attached."))
    return Report(
        **common, findings=tuple(found), base=base.folder, base_name=base.name, base_entry=base.entry, instead=instead
    )


def without_weights(source: Source) -> str:
    """The sentence for an adapter whose weights are missing or pickled."""
    pickled = any(name.endswith(checks.PICKLES) for name in source.files)
    found = "only pickle files (.bin), which can run code when opened" if pickled else f"no {ADAPTER}"
    return (
        f"The adapter {source.name} holds {found}. Diptych loads weights from safetensors only; export the adapter "
        "again in that format."
    )


def find_base(source: Source, named: str, chosen: str | None) -> tuple[Base | None, list[Finding], str]:
    """(the base to attach to, what to know about it, a Hub id to look at first) for the base an adapter names."""
    from engine.catalog import stand_ins

    here = bases()
    full = stand_ins().get(named.lower(), "") or guess_full(named)
    wanted = {each.lower() for each in (named, full) if each}
    match = next((each for each in here if same(each, wanted, source, named)), None)
    notes = []
    if full:
        method = next((method for key, method in checks.METHODS.items() if key in named.lower()), "quantized")
        notes.append(Finding("note", checks.adapter_on_quantized(source.name, named, method, full)))
    if chosen:
        picked = next((each for each in here if each.name == chosen), None)
        if picked is None:
            raise Problem(f"There is no base named {chosen} on this machine. Choose one from the list.")
        if match and picked.folder != match.folder:
            raise Problem(
                f"{source.name} was trained on {named}, and you chose {picked.name}. An adapter changes the answers "
                f"of its own base only: choose {match.name}."
            )
        if is_hub_id(named) and picked.source and picked.source.lower() not in wanted:
            raise Problem(
                f"{source.name} was trained on {named}, and {picked.name} is {picked.source}. An adapter changes the "
                f"answers of its own base only: add {full or named} and attach it to that."
            )
        if not match:
            notes.append(Finding("note", unknown_base(source, named, picked)))
        return picked, notes, ""
    if match:
        return match, notes, ""
    if not is_hub_id(named):
        notes.append(Finding("bad", nowhere(source, named)))
        return None, notes, ""
    notes.append(
        Finding("bad", f"Its base {full or named} is not on this machine yet. Add that first, then look again.")
    )
    return None, notes, full or named


def unknown_base(source: Source, named: str, picked: Base) -> str:
    """What to know when nobody can tell whether the chosen base is the right one."""
    of = f"names its base '{named}', which tells nothing on this machine" if named else "does not name its base"
    return f"{source.name} {of}; whether {picked.name} is the one it was trained on, only you know."


def nowhere(source: Source, named: str) -> str:
    """The sentence for an adapter whose base cannot be found by its name."""
    if not named:
        return (
            f"The adapter {source.name} does not say which base it belongs to: adapter_config.json lacks "
            "base_model_name_or_path. Choose its base below and look again."
        )
    return f"Its base '{named}' is not on this machine. Choose the base it was trained on below and look again."


def same(base: Base, wanted: set[str], source: Source, named: str) -> bool:
    """Whether a base here is the one an adapter names, by its Hub id or by its folder."""
    if base.source.lower() in wanted:
        return True
    places = [ROOT / named, Path(named).expanduser()] if named else []
    if isinstance(source, Folder) and named:
        places.append(source.path / named)
    return any(str(each.resolve()) == base.folder for each in places)


def guess_full(named: str) -> str:
    """The full-precision model of a quantized name whose owner kept the rest of it, as unsloth's -bnb-4bit; or ''."""
    owner, _, rest = named.rpartition("/")
    for ending in ("-unsloth-bnb-4bit", "-bnb-4bit"):
        if owner and rest.lower().endswith(ending):
            return f"{owner}/{rest[: -len(ending)]}"
    return ""


def is_hub_id(named: str) -> bool:
    """Whether the name of a base is one on the Hub and not a path on somebody's machine."""
    from engine.hub import HUB_ID

    return bool(HUB_ID.fullmatch(named)) and not named.startswith("assets/")


def bases() -> list[Base]:
    """Every base in a folder on this machine that an adapter can be attached to, kept ones first."""
    from engine.catalog import all_models
    from engine.models.kept import entries

    found = [Base(e.name, str(e.folder), e.source, e.id) for e in entries() if e.kind == "model" and e.ready]
    names = {each.name for each in found}
    for model in all_models():
        if not (model.adapter or model.endpoint or model.name in names) and Path(model.base).is_dir():
            found.append(Base(model.name, str(Path(model.base).resolve())))
    return found


def token_trouble(source: Source, header: Header, base: Folder) -> str:
    """What is wrong when an adapter's tokenizer knows tokens that neither its weights nor the base have."""
    if any("embed" in name or "wte" in name or "lm_head" in name for name in header):
        return ""  # it brings tables of its own
    if "tokenizer_config.json" not in source.files:
        return ""
    added = read_object(source, "tokenizer_config.json").get("added_tokens_decoder")
    numbers = [int(each) for each in added if str(each).isdigit()] if isinstance(added, dict) else []
    config = read_object(base, "config.json")
    rows = config.get("vocab_size")
    if numbers and isinstance(rows, int) and max(numbers) >= rows:
        return f"its tokenizer has tokens up to number {max(numbers):,}, and this base has {rows:,}"
    return ""
