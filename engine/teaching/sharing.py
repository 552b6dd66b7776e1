"""Runs on the Hugging Face Hub: put one there, private unless asked otherwise, and fetch one by its revision."""

from __future__ import annotations

import json
import logging
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from engine.errors import Problem
from engine.hub import set_patience
from engine.settings import settings
from engine.teaching.merge import PLACE as MERGED
from engine.teaching.runs import FORMAT, Job, read_json, read_lines, runs_folder, slug, write_json

log = logging.getLogger(__name__)
SITE = "https://huggingface.co/"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
TOLD = ("README.md", "recipe.json", "data.json", "metrics.jsonl", "comparison.json", "environment.json", "done.json")
FETCHED = ("*.safetensors", "*.json", "*.jsonl", "*.jinja", "*.model", "merges.txt", "vocab.txt", "README.md")
LARGEST_TOLD = 50_000_000  # bytes of the files that are not weights


def push(job: Job, name: str, private: bool = True, merged: bool = False) -> dict[str, str]:
    """Put the weights of a run with its card and its figures into a model repository. Raises Problem.

    Returns its address and the revision. The examples stay here; the table of replies before and after goes along.
    """
    name = checked(name)
    place = weights_of(job, merged)
    token = settings().hub_token
    if not token:
        raise Problem("Pushing needs a token that may write: set HF_TOKEN and start again.")
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as staging:
        folder = Path(staging) / "run"
        shutil.copytree(place, folder)
        for told in TOLD:
            if (job.folder / told).is_file():
                shutil.copyfile(job.folder / told, folder / told)
        without_places(folder)
        try:
            api.create_repo(name, repo_type="model", private=private, exist_ok=True)
            made = api.upload_folder(
                folder_path=folder, repo_id=name, repo_type="model", commit_message=f"Diptych run {job.name}"
            )
        except Exception as error:
            raise explained(name, error) from error
    facts = {"repository": name, "address": SITE + name, "revision": str(getattr(made, "oid", "") or "")}
    write_json(job.folder / "pushed.json", facts)
    return facts


def weights_of(job: Job, merged: bool) -> Path:
    """The folder of weights that is pushed. Raises Problem."""
    if job.model is None:
        raise Problem(f"{job.name} is {job.state}; only a finished run can be put on the Hub.")
    if merged:
        if not (job.folder / MERGED).is_dir():
            raise Problem(f"{job.name} is not merged yet. Merge it first.")
        return job.folder / MERGED
    return job.folder / str(job.done["model"]["place"])


def without_places(folder: Path) -> None:
    """Take the paths of this machine out of what is pushed: where the examples lay, and a base in a folder."""
    recipe = read_json(folder / "recipe.json")
    if recipe:
        model = str(recipe.get("model", ""))
        named = Path(model).name if Path(model).is_absolute() else model
        write_json(folder / "recipe.json", {**recipe, "data": recipe.get("data_name", ""), "model": named})
    done = read_json(folder / "done.json")
    if isinstance(made := done.get("model"), dict) and Path(str(made.get("base", ""))).is_absolute():
        write_json(folder / "done.json", {**done, "model": {**made, "base": Path(str(made["base"])).name}})


def pull(name: str, revision: str = "", owner: str = "") -> Job:
    """Fetch a run that was pushed; from then on it is a run and a model here. Raises Problem."""
    name = checked(name)
    from huggingface_hub import HfApi

    partial = Path(tempfile.mkdtemp(dir=runs_folder(), prefix=".pulled-"))
    set_patience()
    try:
        HfApi(token=settings().hub_token or False).snapshot_download(
            name, revision=revision.strip() or None, local_dir=partial / "all", allow_patterns=list(FETCHED)
        )
        arrange(partial, name, revision.strip(), owner)
        final = runs_folder() / f"{time.strftime('%Y%m%d-%H%M%S')}-{slug(name)}"
        partial.rename(final)
    except Problem:
        raise
    except Exception as error:
        raise explained(name, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Job.read(final)


def arrange(folder: Path, name: str, revision: str, owner: str) -> None:
    """Make a run folder of what was fetched into `all`. Raises Problem when it holds no weights."""
    from engine.jobs import free_name
    from engine.weights import adapter_base, look_at

    fetched = folder / "all"
    adapter = (fetched / "adapter_config.json").is_file()
    if adapter and not (fetched / "adapter_model.safetensors").is_file():
        raise Problem(f"{name} holds no adapter in safetensors.")
    if not adapter:
        look_at(fetched)
    for told in TOLD:
        if (fetched / told).is_file() and (fetched / told).stat().st_size < LARGEST_TOLD:
            (fetched / told).rename(folder / told)
    numbers_only(folder / "metrics.jsonl")
    place = fetched.rename(folder / ("adapter" if adapter else "model"))
    done, recipe = read_json(folder / "done.json"), read_json(folder / "recipe.json")
    made: dict[str, Any] = {"kind": "adapter" if adapter else "model", "place": place.name}
    if adapter:
        made |= {"base": adapter_base(place), "revision": read_json(place / "adapter_config.json").get("revision")}
    write_json(folder / "recipe.json", {"model": made.get("base", name), **recipe})
    write_json(folder / "done.json", {"format": 1, **done, "model": made})
    write_json(folder / "state.json", {"state": "done"})
    record = {
        "format": FORMAT, "kind": "train", "method": recipe.get("method", ""), "place": "the Hub", "owner": owner,
        "makes": made["kind"], "name": free_name(name.split("/")[1]), "notes": f"From {SITE}{name}", "request": "",
        "created": time.time(), "fitted": "", "revision": revision,
    }  # fmt: skip
    write_json(folder / "run.json", record)


def numbers_only(path: Path) -> None:
    """Keep what is a number in every line of metrics: somebody else wrote them."""
    lines = [{k: v for k, v in line.items() if type(v) in (int, float)} for line in read_lines(path)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines if "step" in line), encoding="utf-8")


def checked(name: str) -> str:
    """The name of a repository on the Hub. Raises Problem."""
    name = name.strip().removeprefix(SITE).strip("/")
    if not HUB_ID.fullmatch(name):
        raise Problem(f"'{name}' is no repository on the Hub. Write OWNER/NAME.")
    return name


def explained(name: str, error: Exception) -> Problem:
    """The sentence for what the Hub's library raised, which goes to the log in full."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    log.warning("the repository %s failed", name, exc_info=error)
    text = (str(error).strip().splitlines() or ["no reason was given"])[0][:200]
    if isinstance(error, GatedRepoError):
        return Problem(f"{name} is gated: accept its terms on {SITE}{name}, set HF_TOKEN, and start again.")
    if isinstance(error, RevisionNotFoundError):
        return Problem(f"{name} has no such revision.")
    if isinstance(error, RepositoryNotFoundError):
        return Problem(f"There is no model {name} on huggingface.co that can be read without a fitting token.")
    if isinstance(error, HfHubHTTPError):
        return Problem(f"huggingface.co refused {name}: {text}")
    if isinstance(error, OSError) or "offline" in text.lower() or "connect" in text.lower():
        return Problem("huggingface.co cannot be reached from here. Connect and try again.")
    return Problem(f"{name} failed: {text}")
