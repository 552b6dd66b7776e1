"""What every page shares: the check that a handler asks before it acts, and how errors reach the reader."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterator
from html import escape
from typing import Any, TypeVar

import gradio as gr

from engine.access import TABLE, Visitor, require
from engine.errors import UNEXPECTED, Problem
from pages.launch import Launch

log = logging.getLogger(__name__)
Function = TypeVar("Function", bound=Callable[..., Any])


def visitor(request: gr.Request | None) -> Visitor:
    """Who is behind a request. What does not come through the guard counts as an anonymous visitor."""
    scope = getattr(getattr(request, "request", None), "scope", {})
    launch = scope.get("diptych.launch")
    if not isinstance(launch, Launch):
        return Visitor("visitor")
    return launch.visitor(getattr(request, "username", None))


def asks(action: str) -> Callable[[Function], Function]:
    """Make a handler ask access.TABLE for `action` before it runs, and tell its errors in plain sentences.

    The handler takes a gr.Request. Checking here, inside the function, is what counts: Gradio lets anybody call
    events that the page hides.
    """
    if action not in TABLE:
        raise KeyError(f"access.TABLE has no action '{action}'")

    def decorate(handler: Function) -> Function:
        place = list(inspect.signature(handler).parameters).index("request")

        def check(args: tuple, kwargs: dict) -> None:
            require(visitor(kwargs.get("request", args[place] if len(args) > place else None)), action)

        if inspect.isgeneratorfunction(handler):

            @functools.wraps(handler)
            def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
                try:
                    check(args, kwargs)
                    yield from handler(*args, **kwargs)
                except Exception as error:
                    raise shown(error) from error

            wrapped: Any = stream
        else:

            @functools.wraps(handler)
            def call(*args: Any, **kwargs: Any) -> Any:
                try:
                    check(args, kwargs)
                    return handler(*args, **kwargs)
                except Exception as error:
                    raise shown(error) from error

            wrapped = call
        wrapped.action = action
        return wrapped

    return decorate


def shown(error: Exception) -> gr.Error:
    """The error as the page shows it: a Problem in its own words, anything else logged and told as a bug."""
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, Problem):
        # Gradio renders the message as HTML
        return gr.Error(escape(str(error), quote=False), title="Please check", print_exception=False)
    log.error("a handler failed", exc_info=error)
    return gr.Error(UNEXPECTED, title="Sorry", print_exception=False)
