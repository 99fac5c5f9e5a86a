"""Reports: rows of the file as `Info` and `HistoryEntry`, for people and programs."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

import msgspec

from monolite.core import entry as e
from monolite.core import failure
from monolite.core.entry import Attempt, Entry, Run
from monolite.core.handle import HistoryEntry, Info, StreamPage
from monolite.errors import PayloadInvalid
from monolite.host.resident import Words
from monolite.store.protocol import Message, Reader


def when(at_us: int) -> datetime:
    """Return a time of the file as an aware UTC datetime."""
    return datetime.fromtimestamp(at_us / 1_000_000, UTC)


def info(run: Run, words: Words | None = None) -> Info:
    """Return a run's row as Info; `words` is what its engine knows better than the row."""
    status = run.status if words is None else words.status
    waiting_on = run.waiting_on if words is None else words.waiting_on
    if status == e.STRANDED:
        status = e.WAITING
    return Info(
        id=run.id,
        name=run.name,
        status=status,
        waiting_on=None if run.ended else waiting_on or _plain_words(run),
        created_at=when(run.created_us),
        updated_at=when(max(run.updated_us, run.ended_us or 0)),
        attributes=_attributes(run),
        error=summary(run.error if words is None else words.error),
        parent=run.parent_id,
        generation=run.generation,
        version=run.version,
    )


def _attributes(run: Run) -> dict[str, Any]:
    try:
        return msgspec.json.decode(run.attributes or "{}", type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def _plain_words(run: Run) -> str | None:
    if run.status == e.QUEUED:
        due_us = run.wake_at_us or 0
        later = due_us > run.created_us
        if run.queue is not None:
            return f"queue {run.queue}" + (f", from {when(due_us).isoformat()}" if later else "")
        return f"an engine, from {when(due_us).isoformat()}" if later else "an engine to start it"
    return None


def summary(error: str | None) -> str | None:
    """Return a recorded failure as "Type: message", its first cause appended."""
    if error is None:
        return None
    try:
        found = failure.decode(error)
    except PayloadInvalid:
        return error
    return found.summary()


def stream_page(run: Run, rows: list[tuple[int, str]], after: int) -> StreamPage:
    """Return a stream's rows as items with their positions."""
    items = [
        (first + i, bytes(raw).decode())
        for first, text in rows
        for i, raw in enumerate(msgspec.json.decode(text, type=list[msgspec.Raw]))
        if first + i > after
    ]
    return StreamPage(items, run.ended)


def history(run: Run, reader: Reader) -> list[HistoryEntry]:
    """Return everything that the file knows of a run, in order."""
    entries = reader.entries(run.no)
    # The journal's order is its own: a clock may have been set back meanwhile.
    times = accumulate((x.at_us for x in entries), max)
    placed = [((at, 1), _of_entry(x)) for at, x in zip(times, entries, strict=True)]
    # Attempts have no place in the journal; their time puts them before what they led to.
    placed += [((a.at_us, 0), _of_attempt(a)) for a in reader.attempts(run.no)]
    placed += [((m.at_us, 2), _of_waiting(m)) for m in reader.undelivered(run.no)]
    lines = [_started(run), *(line for _, line in sorted(placed, key=lambda p: p[0]))]
    if run.ended and run.ended_us is not None:
        lines.append(
            HistoryEntry(
                n=None,
                at=when(run.ended_us),
                kind=run.status,
                key=run.name,
                output=_json(run.value),
                error=summary(run.error),
            )
        )
    return lines


def _started(run: Run) -> HistoryEntry:
    at_us = run.started_us if run.started_us is not None else run.created_us
    kind = "started" if run.started_us is not None else e.QUEUED
    return HistoryEntry(n=None, at=when(at_us), kind=kind, key=run.name, input=_json(run.args))


def _of_entry(x: Entry) -> HistoryEntry:
    is_message = x.kind in e.INBOX_KINDS
    given = x.value if is_message else x.args
    if x.kind == e.TIMER:
        return HistoryEntry(
            n=x.n,
            at=when(x.at_us),
            kind=x.kind,
            key=x.key,
            input=f"{int(x.args or 0) / 1_000_000:g} s",
        )
    return HistoryEntry(
        n=x.n,
        at=when(x.at_us),
        kind=x.kind,
        key=x.key,
        input=_json(given),
        output=None if is_message else _json(x.value),
        error=summary(x.error),
    )


def _of_attempt(a: Attempt) -> HistoryEntry:
    return HistoryEntry(
        n=None,
        at=when(a.at_us),
        kind=f"attempt {a.state}",
        key=a.key,
        input=a.number,
        error=summary(a.error),
    )


def _of_waiting(m: Message) -> HistoryEntry:
    return HistoryEntry(
        n=None, at=when(m.at_us), kind=f"{m.kind} waiting", key=m.channel, input=_json(m.value)
    )


def _json(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
