"""What an answer costs: only where the price and both counts are known."""

from __future__ import annotations

import pytest

from engine.catalog import Model, shipped
from engine.models.prices import cost, dollars

PRICED = Model("m", "m", endpoint="http://x/v1", input_price=0.15, output_price=0.60)


def test_cost_is_tokens_times_price_over_a_million() -> None:
    assert cost(PRICED, 1_000_000, 0) == 0.15 and cost(PRICED, 0, 1_000_000) == 0.60
    assert cost(shipped()["gpt-4o-mini"], 1000, 500) == pytest.approx(0.00045)


@pytest.mark.parametrize(
    ("model", "read", "written"),
    [
        (None, 1, 1),
        (PRICED, None, 1),
        (PRICED, 1, None),
        (Model("local", "folder", input_price=1.0, output_price=1.0), 1, 1),
        (Model("m", "m", endpoint="http://x/v1", input_price=0.15), 1, 1),
    ],
)
def test_nothing_is_made_up_where_something_is_unknown(
    model: Model | None, read: int | None, written: int | None
) -> None:
    assert cost(model, read, written) is None


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0, "$0"),
        (0.5, "$0.50"),
        (1234.5, "$1,234.50"),
        (0.0034, "$0.0034"),
        (0.00012, "$0.00012"),
        (1e-6, "$0.0000010"),
    ],
)
def test_small_amounts_keep_two_digits_that_say_something(amount: float, shown: str) -> None:
    assert dollars(amount) == shown
