"""The table of who may do what."""

import pytest

from engine.access import TABLE, Visitor, may, require
from engine.errors import Problem


def test_local_people_and_owners_may_do_everything() -> None:
    assert all(may(Visitor(mode), action) for mode in ("local", "owner") for action in TABLE)


def test_visitors_compare_and_stop_but_bring_no_models_or_addresses() -> None:
    visitor = Visitor("visitor")
    allowed = [action for action in TABLE if may(visitor, action)]
    assert allowed == [
        "look", "compare", "stop own", "export own", "see models", "see jobs", "chat", "call tools", "ask documents",
    ]  # fmt: skip
    with pytest.raises(Problem, match="open demo may not use a model that is not in the list"):
        require(visitor, "add model")


def test_an_action_that_is_not_in_the_table_is_a_bug() -> None:
    with pytest.raises(KeyError):
        may(Visitor("owner"), "fly")
