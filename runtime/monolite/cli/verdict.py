"""Verdicts: whether a run took a message."""

from __future__ import annotations

from monolite.cli.answer import Answer
from monolite.core.entry import Accepted


def verdict(accepted: Accepted, id: str) -> Answer:
    """Return the answer for a message to run `id`."""
    if not accepted:
        return Answer(data=accepted, problem=f"{id} did not take it: {accepted.reason}")
    text = f"accepted ({accepted.reason})" if accepted.reason else "accepted"
    return Answer(text, accepted)
