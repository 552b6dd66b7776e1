"""How many threads compute: the faster number is found by trying, and what computes aside ends."""

import threading

import pytest
import torch

from engine.threads import AGAIN, SOON, TRIES, ThreadChoice, aside, on_threads


def steps(choice: ThreadChoice, count: int, seconds: dict[int, float], rows: int = 4) -> list[int]:
    """The threads of so many steps that take as long as `seconds` says for each number of threads."""
    taken = []
    for _ in range(count):
        taken.append(choice.threads(rows))
        choice.took(rows, seconds[taken[-1]])
    return taken


@pytest.mark.parametrize(
    ("seconds", "better"), [({2: 0.05, 1: 0.07}, 2), ({2: 0.12, 1: 0.07}, 1), ({2: 0.067, 1: 0.07}, 1)]
)
def test_the_faster_number_is_kept_and_all_threads_only_if_clearly_so(seconds: dict[int, float], better: int) -> None:
    choice, tries = ThreadChoice(2), [2, 1] * TRIES
    assert steps(choice, 2 * TRIES, seconds) == tries
    for between in (SOON, AGAIN, AGAIN):
        assert steps(choice, between, seconds) == [better] * (between - 2 * TRIES) + tries
    assert choice.threads(4) == better


def test_one_slow_step_changes_nothing() -> None:
    choice = ThreadChoice(2)
    for seconds in (0.05, 0.07, 0.5, 0.07, 0.05, 0.07):
        choice.took(4, seconds)
    assert choice.threads(4) == 2


def test_what_became_slower_is_left_at_the_next_tries() -> None:
    choice = ThreadChoice(8)
    steps(choice, 2 * TRIES, {8: 0.02, 1: 0.07})
    steps(choice, SOON, {8: 0.3, 1: 0.08})  # beside a job
    assert choice.threads(4) == 1
    steps(choice, SOON, {8: 0.02, 1: 0.07})
    assert choice.threads(4) == 8


def test_numbers_of_rows_are_tried_apart() -> None:
    choice = ThreadChoice(2)
    steps(choice, 2 * TRIES, {2: 0.12, 1: 0.07}, rows=1)
    assert choice.threads(1) == 1 and choice.threads(8) == 2


def test_one_thread_is_no_choice() -> None:
    assert set(steps(ThreadChoice(1), 200, {1: 0.1})) == {1}


def test_on_threads_sets_back_also_after_an_error() -> None:
    usual = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), on_threads(1):
        assert torch.get_num_threads() == 1
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == usual


def test_aside_is_a_thread_that_ends() -> None:
    thread = aside(threading.current_thread)
    assert thread is not threading.current_thread() and not thread.is_alive()
    with pytest.raises(ValueError, match="gone"):
        aside(lambda: (_ for _ in ()).throw(ValueError("gone")))
