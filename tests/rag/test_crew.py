"""Several small computations at once, each by one thread."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest
import torch

from rag import crew


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    usual = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(usual)


def test_results_come_in_the_order_of_the_items_from_two_threads_at_once() -> None:
    both = threading.Barrier(2, timeout=20)  # broken where one thread does all the work

    def work(item: int) -> int:
        if item < 2:
            both.wait()
        return item * item

    assert list(crew.each(work, range(40))) == [item * item for item in range(40)]


def test_a_closed_one_leaves_out_what_was_not_begun() -> None:
    begun: list[int] = []
    with contextlib.closing(crew.each(lambda item: begun.append(item) or item, range(1000))) as results:
        assert next(results) == 0
    assert len(begun) < 20


def test_an_error_comes_through_and_torch_keeps_its_threads() -> None:
    def broken(item: int) -> int:
        raise ValueError(f"not {item}")

    with pytest.raises(ValueError, match="not 0"):
        list(crew.each(broken, range(5)))
    assert torch.get_num_threads() == 2


def test_one_thread_computes_in_place() -> None:
    torch.set_num_threads(1)
    here = threading.get_ident()
    assert set(crew.each(lambda item: threading.get_ident(), range(5))) == {here}
