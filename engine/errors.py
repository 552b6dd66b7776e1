"""The one exception whose text is written for the person using the app."""

import logging


class Problem(Exception):
    """What happened and what to do about it, in one or two plain sentences.

    Anything else that is raised is a bug: it is logged with its traceback and shown as `UNEXPECTED`.
    """


UNEXPECTED = "Something went wrong inside Diptych. The details are in the server's log; please try again."


def sentence(error: Exception, log: logging.Logger, what: str) -> str:
    """What a person may read about an error; anything but a Problem goes to `log` in full, and is told as a bug."""
    if isinstance(error, Problem):
        return str(error)
    log.error(what, exc_info=error)
    return UNEXPECTED
