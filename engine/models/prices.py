"""What an answer of a hosted model cost, where its price is known."""

from __future__ import annotations

from engine.catalog import Model

MILLION = 1_000_000


def cost(model: Model | None, prompt_tokens: int | None, tokens: int | None) -> float | None:
    """US dollars for one answer; None unless the model's prices and the server's token counts are all known."""
    if model is None or not model.endpoint or prompt_tokens is None or tokens is None:
        return None
    if model.input_price is None or model.output_price is None:
        return None
    return (prompt_tokens * model.input_price + tokens * model.output_price) / MILLION


def dollars(amount: float) -> str:
    """A price for people: cents and parts of a cent as dollars, with two digits that say something."""
    if amount == 0:
        return "$0"
    if amount >= 0.01:
        return f"${amount:,.2f}"
    digits = 1
    while round(amount, digits) < 10 ** (1 - digits) and digits < 9:
        digits += 1
    return f"${amount:.{digits}f}"
