"""The timeline: what happened in a run, one line for each event."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from monolite.cli.words import call, clip, one_line, payload
from monolite.core import entry as e
from monolite.core.handle import HistoryEntry

PART_CHARS = 44
"""How much of an operation's arguments, and of its result, is shown."""

MESSAGES = (e.SIGNAL, e.CANCEL, e.TERMINATE)


def timeline(history: Iterable[HistoryEntry], since: datetime, *, full: bool) -> list[list[str]]:
    """Return the rows of a table: how long after `since`, what kind of event, what it was."""
    width = None if full else PART_CHARS
    return [
        [f"{(line.at - since).total_seconds():+.3f}s", line.kind, _event(line, width)]
        for line in history
    ]


def _event(line: HistoryEntry, width: int | None) -> str:
    kind = line.kind.removesuffix(" waiting")
    if kind in MESSAGES:
        return f"{line.key} {payload(line.input, width)}".lstrip()
    if kind == e.TIMER:
        return f"{line.key} of {line.input}"
    return f"{line.key}{_given(line, width)}{_outcome(line, width)}"


def _given(line: HistoryEntry, width: int | None) -> str:
    if line.kind.startswith("attempt "):
        return f", attempt {line.input}"
    if line.n is None or line.input is None:
        return ""
    return call(line.input, width)


def _outcome(line: HistoryEntry, width: int | None) -> str:
    if line.error is not None:
        return f": {clip(one_line(line.error), width and 2 * width)}"
    return "" if line.output is None else f" -> {payload(line.output, width)}"
