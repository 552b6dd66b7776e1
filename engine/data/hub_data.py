"""Datasets of the Hugging Face Hub: the first rows of one, and a way to put one there, private unless asked."""

from __future__ import annotations

import itertools
import logging
import re
from pathlib import Path
from typing import Any

from engine.data.exports import as_jsonl
from engine.data.table import Gathering, Table
from engine.datasets import Dataset
from engine.errors import Problem
from engine.settings import settings

log = logging.getLogger(__name__)
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
SITE = "https://huggingface.co/datasets/"


def hub_table(name: str, config: str = "", part: str = "train", rows: int = 1000) -> Table:
    """The first rows of a dataset, streamed: no more is fetched than they need. Raises Problem."""
    name = checked(name)
    if rows < 1:
        raise Problem("Say how many rows to load: 1 or more.")
    from datasets import load_dataset

    gathering = Gathering()
    try:
        stream = load_dataset(
            name, config.strip() or None, split=part.strip() or "train", streaming=True, token=token()
        )
        for number, cells in enumerate(itertools.islice(stream, rows), 1):
            if gathering.full:
                break
            gathering.add(number, dict(cells))
    except Exception as error:
        raise explained(name, error) from error
    gathering.notes.append(f"The first {len(gathering.rows):,} rows of {name}, {part.strip() or 'train'}.")
    return gathering.table(name)


def push(dataset: Dataset, name: str, private: bool = True) -> str:
    """Put the rows as train.jsonl into a dataset repository, made if need be; its address. Raises Problem."""
    name = checked(name)
    if token() is False:
        raise Problem("Pushing needs a token that may write: set HF_TOKEN and start again.")
    from huggingface_hub import HfApi

    api = HfApi(token=token())
    try:
        api.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
        api.upload_file(
            path_or_fileobj=as_jsonl(dataset).encode(), path_in_repo="train.jsonl", repo_id=name, repo_type="dataset"
        )
    except Exception as error:
        raise explained(name, error) from error
    return SITE + name


def checked(name: str) -> str:
    """The name of a dataset on the Hub. Raises Problem for paths and for the library's own file readers."""
    name = name.strip().removeprefix(SITE).strip("/")
    if not HUB_ID.fullmatch(name) or Path(name).exists():
        raise Problem(f"'{name}' is not a dataset on the Hub. Write OWNER/NAME, such as HuggingFaceH4/no_robots.")
    return name


def token() -> Any:
    """The server's token; False where there is none, so that no other is looked for."""
    return settings().hub_token or False


def explained(name: str, error: Exception) -> Problem:
    """The sentence for what the Hub's libraries raised, which goes to the log in full."""
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

    log.warning("the dataset %s failed", name, exc_info=error)
    text = (str(error).strip().splitlines() or ["no reason was given"])[0][:200]
    if isinstance(error, ConnectionError) or "offline" in text.lower() or "connect" in text.lower():
        return Problem("huggingface.co cannot be reached from here. Connect and try again, or upload the file.")
    if isinstance(error, GatedRepoError) or "gated" in text:
        return Problem(f"{name} is gated: accept its terms on {SITE}{name}, set HF_TOKEN, and start again.")
    if isinstance(error, DatasetNotFoundError):
        return Problem(f"There is no dataset {name} on huggingface.co that can be read without a fitting token.")
    if isinstance(error, HfHubHTTPError):
        return Problem(f"huggingface.co refused {name}: {text}")
    if isinstance(error, ValueError) and ("config" in text.lower() or "split" in text.lower()):
        return Problem(f"{name} cannot be loaded like this: {text}")
    return Problem(f"{name} cannot be loaded: {text}")
