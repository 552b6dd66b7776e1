"""Fixtures of rag's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rag.collection import Collection
from rag.store import Store
from tests.rag.putting import a_few_papers, empty_store  # noqa: F401
from tests.rag.shelves import TOWN, filled


@pytest.fixture(scope="session")
def town() -> Iterator[Collection]:
    """The town's papers with vectors of the real model, searched exactly. Tests only read it."""
    store = filled(Store.create("the town's papers"), TOWN)
    yield Collection(store)
    store.delete()
