"""Samples: rows to put into a store, and everything that can be read of it."""

from __future__ import annotations

from typing import Any

from monolite.core import entry as e
from monolite.core.entry import Attempt, Run, RunNo
from monolite.core.schedule import ScheduleRow, Spec
from monolite.store.protocol import (
    End,
    JournalRow,
    Link,
    Message,
    Note,
    RunFilter,
    Store,
    Writes,
)

NOON_US = 1_767_268_800_000_000
"""2026-01-01 12:00:00 UTC."""


def a_run(no: int, id: str | None = None, **fields: Any) -> Run:
    """Return an open run; everything but its number has a default."""
    defaults: dict[str, Any] = {
        "generation": 1,
        "name": "order",
        "version": 1,
        "status": e.RUNNING,
        "args": "[]",
        "created_us": NOON_US + no,
        "started_us": NOON_US + no,
        "wake_at_us": 0,
        "updated_us": NOON_US + no,
    }
    return Run(RunNo(no), id or f"run-{no}", **{**defaults, **fields})


def a_message(no: int, channel: str = "notes", **fields: Any) -> Message:
    defaults: dict[str, Any] = {"kind": e.SIGNAL, "value": '"hello"', "at_us": NOON_US}
    return Message(RunNo(no), channel=channel, **{**defaults, **fields})


def an_entry(no: int, n: int, key: str = "charge#1", **fields: Any) -> JournalRow:
    known = {"at_us": NOON_US + n, "kind": e.ACTIVITY, "args": "[]", "value": "1", "error": None}
    x: dict[str, Any] = {**known, **fields}
    return (RunNo(no), n, x["at_us"], x["kind"], key, x["args"], x["value"], x["error"])


def an_attempt(no: int, number: int = 1, key: str = "charge#1", **fields: Any) -> Attempt:
    defaults: dict[str, Any] = {"state": e.STARTED, "at_us": NOON_US}
    return Attempt(RunNo(no), key, number, **{**defaults, **fields})


def a_note(no: int, **fields: Any) -> Note:
    defaults: dict[str, Any] = {
        "status": e.WAITING,
        "wake_at_us": None,
        "waiting_on": "signal notes",
        "updated_us": NOON_US + 1_000,
    }
    return Note(RunNo(no), **{**defaults, **fields})


def an_end(no: int, **fields: Any) -> End:
    defaults: dict[str, Any] = {
        "status": e.COMPLETED,
        "value": '"done"',
        "error": None,
        "ended_us": NOON_US + 2_000,
    }
    return End(RunNo(no), **{**defaults, **fields})


def a_schedule(name: str = "daily", **fields: Any) -> ScheduleRow:
    defaults: dict[str, Any] = {
        "workflow": "report",
        "version": 1,
        "args": '["a"]',
        "spec": Spec(cron="0 9 * * *", tz="Europe/Paris", overlap="buffer", catchup_us=5),
        "declared_us": NOON_US,
        "revision": NOON_US,
    }
    return ScheduleRow(name=name, **{**defaults, **fields})


def a_link(target: int, waiter: int, key: str = "result:x#1") -> Link:
    return Link(RunNo(target), RunNo(waiter), key)


def batch(*rows: Any) -> Writes:
    """Return one batch of these rows, sorted into its lists by what they are."""
    writes = Writes()
    lists: dict[type, list[Any]] = {
        Run: writes.runs,
        Message: writes.messages,
        tuple: writes.journal,
        Attempt: writes.attempts,
        Link: writes.links,
        Note: writes.notes,
        End: writes.ends,
    }
    for row in rows:
        lists[type(row)].append(row)
    return writes


def everything(store: Store, nos: range = range(1, 12)) -> dict[str, Any]:
    """Return all that can be read of a store; two stores are equal if this is."""
    by_no = [RunNo(no) for no in nos]
    found: dict[str, Any] = {
        "runs": {no: store.run(no) for no in by_no},
        "entries": {no: store.entries(no) for no in by_no},
        "attempts": {no: store.attempts(no) for no in by_no},
        "undelivered": {no: store.undelivered(no) for no in by_no},
        "views": {(no, name): store.view(no, name) for no in by_no for name in "ab"},
        "answers": {
            (run.no, id): store.answer(run, id)
            for run in map(store.run, by_no)
            if run is not None
            for id in "mn"
        },
        "states": {no: store.state(no) for no in by_no},
        "streams": {no: store.stream(no, "a", 0, 100) for no in by_no},
        "patches": {no: store.patches(no) for no in by_no},
        "delayed": (store.messages_due(2**62, 100), store.next_message_due_us()),
        "newest": {id: store.run_by_id(id) for id in ("run-2", "run-4", "same", "other")},
        "schedules": (store.schedules(), store.schedule_revisions()),
        "links": sorted(map(repr, store.links())),
        "counts": store.counts(),
        "max": (store.max_run_no(), store.max_seq()),
        "all": store.runs(RunFilter()),
        "messages": store.messages_after(0, 100),
        "due": store.due((-1, -1), 2**62, 100),
        "queued": store.queued(2**62, 100),
        "parked": store.parked(100, 0),
    }
    return found
