"""The memory store is the model: whatever an engine writes, the file answers the same."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from monolite.core import entry as e
from monolite.core.entry import RunNo
from monolite.store.memory import MemoryStore
from monolite.store.protocol import Conflict, RunFilter, Store, Writes
from monolite.store.sqlite.store import SqliteStore
from tests.store.samples import (
    NOON_US,
    a_link,
    a_message,
    a_note,
    a_run,
    a_schedule,
    an_attempt,
    an_end,
    an_entry,
    everything,
)

numbers = st.integers(1, 11)
times = st.integers(0, 20)
ids = st.sampled_from(["run-2", "run-4", "same", "other"])
open_statuses = st.sampled_from([e.RUNNING, e.WAITING, e.DIVERGED, e.STRANDED, e.BLOCKED])
statuses = st.sampled_from([e.QUEUED, e.RUNNING, e.WAITING, e.COMPLETED, e.FAILED, e.STRANDED])
attributes = st.none() | st.dictionaries(
    st.sampled_from(["a", "b", 'q"']),
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.5, 1.0, "1", [1], "[1]"]),
    max_size=2,
)


class Stores(RuleBasedStateMachine):
    """Gathers batches, commits each to both stores, and compares all that can be read."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "app.db"
        self._file = SqliteStore.own(path, durability="normal", now_us=NOON_US)
        self._stores: list[Store] = [MemoryStore(), self._file]
        self._batch = Writes()
        self._known: set[int] = set()
        self._positions: set[tuple[int, int]] = set()
        self._seqs = 0
        self._compared = True

    def teardown(self) -> None:
        self._file.close()
        self._folder.cleanup()

    @rule(no=numbers, id=ids, generation=st.integers(1, 3), wake=times, given=attributes)
    def spawn(
        self, no: int, id: str, generation: int, wake: int, given: dict[str, Any] | None
    ) -> None:
        if no not in self._known and all(run.no != no for run in self._batch.runs):
            queued = no % 2 == 1
            self._batch.runs.append(
                a_run(
                    no,
                    id,
                    generation=generation,
                    status=e.QUEUED if queued else e.RUNNING,
                    started_us=None if queued else NOON_US,
                    wake_at_us=wake,
                    attributes=None if given is None else _sorted_json(given),
                )
            )

    @rule(no=numbers, n=st.integers(0, 9), key=st.sampled_from(["a#1", "b#1"]))
    def journal(self, no: int, n: int, key: str) -> None:
        if (no, n) not in self._positions:
            self._positions.add((no, n))
            self._batch.journal.append(an_entry(no, n, key))

    @rule(
        no=numbers,
        kind=st.sampled_from([e.SIGNAL, e.CANCEL, e.TERMINATE]),
        message_id=st.sampled_from([None, None, "m", "n"]),
    )
    def post(self, no: int, kind: str, message_id: str | None) -> None:
        self._batch.messages.append(a_message(no, kind=kind, message_id=message_id))

    @rule(seq=st.integers(1, 20), n=st.integers(10, 99), at_us=times)
    def take(self, seq: int, n: int, at_us: int) -> None:
        if seq <= self._seqs:
            self._batch.taken.append((n, at_us, seq))

    @rule(no=numbers, name=st.sampled_from("ab"), value=st.integers(0, 9))
    def publish(self, no: int, name: str, value: int) -> None:
        self._batch.views.append((RunNo(no), name, str(value)))

    @rule(no=numbers, number=st.integers(1, 3), failed=st.booleans(), at_us=times)
    def attempt(self, no: int, number: int, failed: bool, at_us: int) -> None:
        state = e.ATTEMPT_FAILED if failed else e.STARTED
        due_us = at_us + 1 if failed else None
        row = an_attempt(no, number, at_us=at_us, state=state, due_us=due_us)
        self._batch.attempts.append(row)

    @rule(awaited=numbers, waiter=numbers)
    def link(self, awaited: int, waiter: int) -> None:
        self._batch.links.append(a_link(awaited, waiter))

    @rule(awaited=numbers)
    def unlink(self, awaited: int) -> None:
        self._batch.unlinked.append(RunNo(awaited))

    @rule(no=numbers, status=open_statuses, wake=st.none() | times, started=st.none() | times)
    def note(self, no: int, status: str, wake: int | None, started: int | None) -> None:
        if no in self._known:
            note = a_note(no, status=status, wake_at_us=wake, started_us=started)
            self._batch.notes.append(note)

    @rule(no=numbers, status=st.sampled_from([e.COMPLETED, e.FAILED, e.CANCELLED]))
    def end(self, no: int, status: str) -> None:
        if no in self._known:
            self._batch.ends.append(an_end(no, status=status))

    @rule(
        name=st.sampled_from("xy"),
        was=st.none() | st.integers(1, 3),
        revision=st.none() | st.integers(1, 3),
        next_us=st.none() | times,
    )
    def schedule(
        self, name: str, was: int | None, revision: int | None, next_us: int | None
    ) -> None:
        if was is not None or revision is not None:
            row = None if revision is None else a_schedule(name, revision=revision, next_us=next_us)
            self._batch.schedules[name] = (was, row)

    @rule()
    def commit(self) -> None:
        batch, self._batch = self._batch, Writes()
        conflicts = [_conflicts(store, batch) for store in self._stores]
        assert conflicts[0] == conflicts[1]
        if not conflicts[0]:
            self._known |= {run.no for run in batch.runs}
            self._seqs += len(batch.messages)
        else:
            self._positions -= {(row[0], row[1]) for row in batch.journal}
        self._compared = False

    @rule(after=st.tuples(times, numbers), until=times, limit=st.integers(0, 4))
    def look_at_the_clock(self, after: tuple[int, int], until: int, limit: int) -> None:
        model, file = self._stores
        assert file.due(after, until, limit) == model.due(after, until, limit)
        assert file.queued(until, limit) == model.queued(until, limit)
        assert file.next_due_us(until) == model.next_due_us(until)
        assert file.parked(limit, after[1]) == model.parked(limit, after[1])
        assert file.messages_after(until, limit) == model.messages_after(until, limit)

    @rule(
        status=st.none() | statuses,
        prefix=st.sampled_from([None, "", "run-", "o", "%"]),
        wanted=attributes,
        open_only=st.booleans(),
        before=st.none() | numbers,
        limit=st.integers(0, 5),
    )
    def list_runs(
        self,
        *,
        status: str | None,
        prefix: str | None,
        wanted: dict[str, Any] | None,
        open_only: bool,
        before: int | None,
        limit: int,
    ) -> None:
        where = RunFilter(
            status=status,
            id_prefix=prefix,
            attributes=wanted,
            open=open_only,
            before_no=before,
            limit=limit,
        )
        model, file = self._stores
        assert file.runs(where) == model.runs(where)

    @invariant()
    def both_answer_the_same(self) -> None:
        if not self._compared:
            model, file = self._stores
            assert everything(file) == everything(model)
            self._compared = True


def _conflicts(store: Store, batch: Writes) -> bool:
    try:
        store.commit(batch)
    except Conflict:
        return True
    return False


def _sorted_json(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value, order="sorted").decode()


TestStores = Stores.TestCase
TestStores.settings = settings(
    max_examples=40, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow]
)
