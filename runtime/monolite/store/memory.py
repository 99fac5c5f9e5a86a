"""The memory store: the same behaviour in dictionaries. The reference model, and for tests."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, MutableSequence
from typing import Any, TypeVar

import apsw
import msgspec

from monolite.core import entry as e
from monolite.core.entry import Attempt, Entry, Run, RunNo
from monolite.core.schedule import ScheduleRow
from monolite.store.protocol import (
    Conflict,
    Link,
    Message,
    QueueCounts,
    QueueRow,
    RunFilter,
    State,
    TicketRow,
    Writes,
)
from monolite.store.sqlite.application import guarded
from monolite.store.sqlite.connection import BUSY_TIMEOUT_MS

R = TypeVar("R")


class MemoryStore:
    """A store that lives as long as its process. A lock stands in for SQLite's."""

    def __init__(self) -> None:
        self.epoch = 1
        self.file_id = uuid.uuid4().hex
        self._lock = threading.RLock()
        self._uri = f"file:/monolite-{self.file_id}?vfs=memdb"
        self._tables: apsw.Connection | None = None
        self._marked = False
        self._runs: dict[RunNo, Run] = {}
        self._ids: dict[tuple[str, int], RunNo] = {}
        self._newest: dict[str, RunNo] = {}
        self._entries: dict[RunNo, dict[int, Entry]] = {}
        self._messages: dict[int, Message] = {}
        self._inbox: dict[RunNo, list[int]] = {}
        self._once: set[tuple[RunNo, str]] = set()
        self._answers: dict[tuple[RunNo, str], tuple[str | None, str | None]] = {}
        self._streams: dict[tuple[RunNo, str], list[tuple[int, int, str, str]]] = {}
        self._states: dict[RunNo, State] = {}
        self._attempts: dict[RunNo, dict[tuple[str, int], Attempt]] = {}
        self._views: dict[tuple[RunNo, str], str] = {}
        self._links: dict[Link, None] = {}
        self._queues: dict[str, QueueRow] = {}
        self._schedules: dict[str, ScheduleRow] = {}
        self._seq = 0
        self._blames: dict[RunNo, int] = {}
        self.blamed = 0
        self.executing: MutableSequence[int] = [0]

    def close(self) -> None:
        return

    def reader(self) -> MemoryStore:
        return self

    def checkpoint(self) -> None:
        return

    def changed(self) -> bool:
        return False

    # The application's tables: SQLite's, in memory.

    def transact(self, act: Callable[[Any], R]) -> R:
        self._open()
        return guarded(self._must_have(), act)

    def mark(self) -> None:
        self._open()
        con = self._must_have()
        if self._marked:
            con.execute("RELEASE turn")
        con.execute("SAVEPOINT turn")
        self._marked = True

    def undo(self) -> None:
        if self._marked:
            self._must_have().execute("ROLLBACK TO turn")

    def abort(self) -> None:
        self._marked = False
        if self._tables is not None and self._tables.in_transaction:
            self._tables.execute("ROLLBACK")

    def application(self) -> Any:
        self._must_have()
        con = apsw.Connection(self._uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        con.set_busy_timeout(BUSY_TIMEOUT_MS)
        return con

    def _must_have(self) -> apsw.Connection:
        if self._tables is None:
            flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
            self._tables = apsw.Connection(self._uri, flags=flags)
        return self._tables

    def _open(self) -> None:
        con = self._must_have()
        if not con.in_transaction:
            self._marked = False
            con.execute("BEGIN IMMEDIATE")

    # Writing.

    def commit(self, writes: Writes) -> None:
        with self._lock:
            self._check(writes)
            if self._tables is not None and self._tables.in_transaction:
                self._tables.execute("COMMIT")
            self._marked = False
            for run in writes.runs:
                self._insert_run(run)
            for no, n, at_us, kind, key, args, value, error in writes.journal:
                entries = self._entries.setdefault(no, {})
                entries[n] = Entry(n, at_us, kind, key, args, value, error)
            for message in writes.messages:
                self._insert_message(message)
            for no, seq in writes.redirected:
                self._readdress(self._messages[seq], no)
            for n, at_us, seq in writes.taken:
                if self._messages[seq].n is None:
                    self._messages[seq].n, self._messages[seq].at_us = n, at_us
            self._hold_or_turn_away(writes)
            self._answer_and_move(writes)
            for no, name, first, count, source, items in writes.streams:
                self._streams.setdefault((no, name), []).append((first, count, source, items))
            for no, version, state, retired_n in writes.states.values():
                self._states[no] = State(version, state, retired_n)
            for retired_n, no in writes.retired.values():
                if no in self._states:
                    changed = msgspec.structs.replace(self._states[no], retired_n=retired_n)
                    self._states[no] = changed
            for refusal, no, n in writes.refused:
                for message in self._of(no):
                    if message.n == n:
                        message.refusal = refusal
            for no, below in writes.forgotten:
                kept = {n: x for n, x in self._entries.get(no, {}).items() if n >= below}
                self._entries[no] = kept
            for no, name, value in writes.views:
                self._views[no, name] = value
            for no in writes.pardoned:
                self._blames.pop(no, None)
            for attempt in writes.attempts:
                self._put_attempt(attempt)
            self._links.update(dict.fromkeys(writes.links))
            for no in writes.unlinked:
                self._links = {k: None for k in self._links if k.target_no != no}
            for name, (_, row) in writes.schedules.items():
                if row is None:
                    del self._schedules[name]
                else:
                    self._schedules[name] = row
            self._update_runs(writes)
            self._update_queues(writes)

    def _check(self, writes: Writes) -> None:
        """Refuse the whole batch before any of it is written."""
        ids = [(run.id, run.generation) for run in writes.runs]
        once = [(m.run_no, m.message_id) for m in writes.messages if m.message_id is not None]
        if len(set(ids)) < len(ids) or any(i in self._ids for i in ids):
            raise Conflict
        if len(set(once)) < len(once) or any(o in self._once for o in once):
            raise Conflict
        if any(self.deduped(*key) != found for key, found in writes.deduped.items()):
            raise Conflict
        for name, (revision, _) in writes.schedules.items():
            known = self._schedules.get(name)
            if revision != (None if known is None else known.revision):
                raise Conflict
        positions = [(row[0], row[1]) for row in writes.journal]
        fresh = not any(n in self._entries.get(no, ()) for no, n in positions)
        assert fresh, "a journal position is written once"
        assert len(set(positions)) == len(positions), "a journal position is written once"

    def _insert_run(self, run: Run) -> None:
        run = msgspec.structs.replace(run, value=None, error=None, ended_us=None, waiting_on=None)
        if run.status in e.ENDED:
            # It was born and ended in one turn; its end comes with the same batch.
            run.status = e.RUNNING
        self._runs[run.no] = run
        self._ids[run.id, run.generation] = run.no
        known = self._newest.get(run.id)
        if known is None or self._runs[known].generation < run.generation:
            self._newest[run.id] = run.no

    def _insert_message(self, message: Message) -> None:
        self._seq += 1
        self._messages[self._seq] = msgspec.structs.replace(message, seq=self._seq)
        self._inbox.setdefault(message.run_no, []).append(self._seq)
        if message.message_id is not None:
            self._once.add((message.run_no, message.message_id))
            answer = (message.answer, message.refusal)
            self._answers[message.run_no, message.message_id] = answer

    def _hold_or_turn_away(self, writes: Writes) -> None:
        for due_us, outside, seq in writes.held:
            message = self._messages[seq]
            if message.n is None:
                message.due_us, message.outside = due_us, outside
        for at_us, refusal, seq in writes.turned_away:
            message = self._messages[seq]
            if message.n is None:
                message.n, message.at_us, message.refusal = -1, at_us, refusal
                if message.message_id is not None:
                    self._answers[message.run_no, message.message_id] = (None, refusal)

    def _answer_and_move(self, writes: Writes) -> None:
        for new_no, n, at_us, old_no, old_n in writes.moved:
            for seq in list(self._inbox.get(old_no, [])):
                message = self._messages[seq]
                if message.n == old_n:
                    message.n, message.at_us = n, at_us
                    self._readdress(message, new_no)
        for value, error, no, message_id in writes.replies:
            known = self._answers.get((no, message_id))
            if known is None or known == (None, None):
                self._answers[no, message_id] = (value, error)
        for new_no, old_no in writes.continued:
            for (no, name), value in list(self._views.items()):
                if no == old_no:
                    del self._views[no, name]
                    self._views[new_no, name] = value
            for no, name in [key for key in self._streams if key[0] == old_no]:
                rows = self._streams.pop((no, name))
                self._streams[new_no, name] = [(n, count, "", x) for n, count, _, x in rows]
            self._links = {
                msgspec.structs.replace(x, target_no=new_no) if x.target_no == old_no else x: None
                for x in self._links
            }

    def _readdress(self, message: Message, new_no: RunNo) -> None:
        assert message.seq is not None
        old_no, message.run_no = message.run_no, new_no
        self._inbox[old_no].remove(message.seq)
        self._inbox.setdefault(new_no, []).append(message.seq)
        message_id = message.message_id
        if message_id is not None:
            self._once.discard((old_no, message_id))
            self._once.add((new_no, message_id))
            self._answers[new_no, message_id] = self._answers.pop((old_no, message_id))

    def _put_attempt(self, attempt: Attempt) -> None:
        of_run = self._attempts.setdefault(attempt.run_no, {})
        key = (attempt.key, attempt.number)
        known = of_run.get(key)
        if known is not None:
            details = attempt.details or known.details
            attempt = msgspec.structs.replace(attempt, at_us=known.at_us, details=details)
        of_run[key] = attempt

    def _update_runs(self, writes: Writes) -> None:
        for version, no in writes.versions:
            self._runs[no].version = version
        for note in writes.notes:
            run = self._runs[note.no]
            if run.ended_us is None:
                run.status, run.wake_at_us = note.status, note.wake_at_us
                run.waiting_on, run.updated_us = note.waiting_on, note.updated_us
                run.error = note.error
                run.version = run.version if note.version is None else note.version
                if run.started_us is None:
                    run.started_us = note.started_us
        for again in writes.requeues:
            run = self._runs[again.no]
            if run.status == e.QUEUED:
                run.args, run.version = again.args, again.version
                run.wake_at_us, run.queued_us = again.wake_at_us, again.queued_us
                run.updated_us = again.updated_us
        for no in writes.released:
            self._runs[no].dedupe = None
        for end in writes.ends:
            run = self._runs[end.no]
            if run.ended_us is None:
                run.status, run.value, run.error = end.status, end.value, end.error
                run.ended_us = run.updated_us = end.ended_us
                run.wake_at_us = run.waiting_on = None

    def _update_queues(self, writes: Writes) -> None:
        for row in writes.queues:
            known = self._queues.get(row.name, row)
            self._queues[row.name] = msgspec.structs.replace(
                row, state=known.state, seen=known.seen
            )
        for name, state in writes.queue_states.items():
            if name in self._queues:
                self._queues[name] = msgspec.structs.replace(self._queues[name], state=state)
        for name, seen in writes.queue_seen.items():
            if name in self._queues:
                self._queues[name] = msgspec.structs.replace(self._queues[name], seen=seen)

    # Reading. Copies, so that no caller shares memory with the store.

    def run(self, no: RunNo) -> Run | None:
        with self._lock:
            run = self._runs.get(no)
            return None if run is None else msgspec.structs.replace(run)

    def run_by_id(self, id: str) -> Run | None:
        with self._lock:
            no = self._newest.get(id)
            return None if no is None else self.run(no)

    def runs(self, where: RunFilter) -> list[Run]:
        with self._lock:
            found = [
                msgspec.structs.replace(run)
                for no, run in sorted(self._runs.items(), reverse=True)
                if (where.before_no is None or no < where.before_no) and _matches(run, where)
            ]
            return found[: where.limit]

    def counts(self) -> dict[str, int]:
        with self._lock:
            counts: dict[str, int] = {}
            for run in self._runs.values():
                counts[run.status] = counts.get(run.status, 0) + 1
            return counts

    def patches(self, no: RunNo) -> list[str]:
        with self._lock:
            return [x.key for x in self._entries.get(no, {}).values() if x.kind == e.PATCH]

    def _refusal(self, message: Message) -> str | None:
        answer = self._answers.get((message.run_no, message.message_id or ""))
        return message.refusal if answer is None else answer[1]

    def entries(self, no: RunNo, from_n: int = 0, limit: int = -1) -> list[Entry]:
        with self._lock:
            found = [x for x in self._entries.get(no, {}).values() if x.n >= from_n]
            found += [
                Entry(m.n, m.at_us, m.kind, m.channel, m.message_id, m.value, self._refusal(m))
                for m in self._of(no)
                if m.n is not None and m.n >= from_n
            ]
            found.sort(key=lambda x: x.n)
            return found if limit < 0 else found[:limit]

    def attempts(self, no: RunNo) -> list[Attempt]:
        with self._lock:
            return [a for _, a in sorted(self._attempts.get(no, {}).items())]

    def blames(self) -> dict[RunNo, int]:
        with self._lock:
            return dict(self._blames)

    def undelivered(self, no: RunNo) -> list[Message]:
        with self._lock:
            waiting = [m for m in self._of(no) if m.n is None]
            return [msgspec.structs.replace(m) for m in waiting]

    def waiting(self, no: RunNo, after_seq: int, limit: int) -> list[Message]:
        with self._lock:
            found = [m for m in self._of(no) if m.n is None and m.due_us is None]
            return [msgspec.structs.replace(m) for m in found if (m.seq or 0) > after_seq][:limit]

    def waiting_on_channel(self, no: RunNo, channel: str) -> list[Message]:
        with self._lock:
            found = [m for m in self._of(no) if m.n is None and m.channel == channel]
            return [msgspec.structs.replace(m) for m in found]

    def stream(self, no: RunNo, name: str, after: int, limit: int) -> list[tuple[int, str]]:
        with self._lock:
            rows = self._streams.get((no, name), [])
            return [(f, items) for f, count, _, items in rows if f + count - 1 > after][:limit]

    def stream_length(self, no: RunNo, name: str) -> int:
        with self._lock:
            rows = self._streams.get((no, name))
            return rows[-1][0] + rows[-1][1] - 1 if rows else 0

    def stream_source(self, no: RunNo, name: str, source: str) -> int:
        with self._lock:
            rows = self._streams.get((no, name), [])
            return sum(count for _, count, found, _ in rows if found == source)

    def state(self, no: RunNo) -> State | None:
        with self._lock:
            return self._states.get(no)

    def messages_due(self, until_us: int, limit: int) -> list[Message]:
        with self._lock:
            due = [m for m in self._messages.values() if m.n is None and m.due_us is not None]
            due = sorted(due, key=lambda m: (m.due_us or 0, m.seq or 0))
            return [msgspec.structs.replace(m) for m in due if (m.due_us or 0) <= until_us][:limit]

    def next_message_due_us(self) -> int | None:
        with self._lock:
            waiting = [m for m in self._messages.values() if m.n is None]
            return min((m.due_us for m in waiting if m.due_us is not None), default=None)

    def answer(self, run: Run, message_id: str) -> tuple[str | None, str | None] | None:
        with self._lock:
            no: RunNo | None = run.no
            generation = run.generation
            while no is not None:
                found = self._answers.get((no, message_id))
                if found is not None:
                    return found
                generation -= 1
                no = self._ids.get((run.id, generation))
                if no is not None and self._runs[no].status != e.CONTINUED:
                    return None
            return None

    def view(self, no: RunNo, name: str) -> str | None:
        with self._lock:
            return self._views.get((no, name))

    def schedules(self) -> list[ScheduleRow]:
        with self._lock:
            return [row for _, row in sorted(self._schedules.items())]

    def schedule(self, name: str) -> ScheduleRow | None:
        with self._lock:
            return self._schedules.get(name)

    def schedule_revisions(self) -> dict[str, int]:
        with self._lock:
            return {name: row.revision for name, row in self._schedules.items()}

    def messages_after(self, seq: int, limit: int) -> list[Message]:
        with self._lock:
            waiting = [
                m
                for s, m in sorted(self._messages.items())
                if s > seq and m.n is None and m.due_us is None
            ]
            return [msgspec.structs.replace(m) for m in waiting[:limit]]

    def due(self, after: tuple[int, int], until_us: int, limit: int) -> list[tuple[int, RunNo]]:
        with self._lock:
            wakes = [
                (run.wake_at_us, no)
                for no, run in self._runs.items()
                if run.wake_at_us is not None and run.wake_at_us <= until_us
            ]
            return sorted(w for w in wakes if w > after)[:limit]

    def next_due_us(self, after_us: int) -> int | None:
        with self._lock:
            wakes = [run.wake_at_us for run in self._runs.values() if run.wake_at_us is not None]
            return min((w for w in wakes if w > after_us), default=None)

    def queued(self, until_us: int, limit: int) -> list[RunNo]:
        with self._lock:
            due = [
                (run.wake_at_us, no)
                for no, run in self._runs.items()
                if run.status == e.QUEUED
                and run.queue is None
                and run.wake_at_us is not None
                and run.wake_at_us <= until_us
            ]
            return [no for _, no in sorted(due)[:limit]]

    def tickets(self, after: int, limit: int) -> list[TicketRow]:
        with self._lock:
            waiting = [
                run
                for no, run in sorted(self._runs.items())
                if no > after and run.status == e.QUEUED and run.queue is not None
            ]
            return [
                TicketRow(
                    run.no,
                    run.queue or "",
                    run.queue_key,
                    run.priority or 0,
                    run.queued_us or 0,
                    run.wake_at_us,
                )
                for run in waiting[:limit]
            ]

    def holders(self) -> list[tuple[RunNo, str, str | None]]:
        with self._lock:
            return [
                (run.no, run.queue, run.queue_key)
                for run in self._runs.values()
                if run.queue is not None and run.started_us is not None and run.ended_us is None
            ]

    def queues(self) -> list[QueueRow]:
        with self._lock:
            return [row for _, row in sorted(self._queues.items())]

    def dead(self, queue: str, limit: int) -> list[Run]:
        with self._lock:
            dead = [
                run
                for no, run in sorted(self._runs.items())
                if run.queue == queue and run.status == e.FAILED and self._newest[run.id] == no
            ]
            return [msgspec.structs.replace(run) for run in dead[:limit]]

    def queue_counts(self) -> dict[str, QueueCounts]:
        with self._lock:
            found: dict[str, QueueCounts] = {}
            for no, run in self._runs.items():
                if run.queue is None:
                    continue
                waiting = run.status == e.QUEUED
                running = run.started_us is not None and run.ended_us is None
                dead = run.status == e.FAILED and self._newest[run.id] == no
                if waiting or running or dead:
                    counts = found.setdefault(run.queue, QueueCounts())
                    counts.waiting += waiting
                    counts.running += running
                    counts.dead += dead
            return found

    def deduped(self, queue: str, dedupe: str) -> tuple[RunNo, int] | None:
        with self._lock:
            waiting = (
                (no, run.queued_us or 0)
                for no, run in sorted(self._runs.items())
                if (run.queue, run.dedupe, run.status) == (queue, dedupe, e.QUEUED)
            )
            return next(waiting, None)

    def parked(self, limit: int, after: int) -> list[RunNo]:
        with self._lock:
            parked = [
                no
                for no, run in sorted(self._runs.items())
                if no > after and run.status in (e.DIVERGED, e.STRANDED)
            ]
            return parked[:limit]

    def links(self) -> list[Link]:
        with self._lock:
            return list(self._links)

    def max_run_no(self) -> int:
        with self._lock:
            return max(self._runs, default=0)

    def max_seq(self) -> int:
        with self._lock:
            return self._seq

    def _of(self, no: RunNo) -> list[Message]:
        return [self._messages[seq] for seq in self._inbox.get(no, [])]


def _matches(run: Run, where: RunFilter) -> bool:
    attributes: dict[str, Any] = msgspec.json.decode(run.attributes or "{}")
    wanted: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(where.attributes or {}))
    shown = e.WAITING if run.status == e.STRANDED else run.status  # as `report.info` has it
    return (
        where.status in (None, run.status, shown)
        and (where.name is None or run.name == where.name)
        and (where.id_prefix is None or run.id.startswith(where.id_prefix))
        and (where.parent is None or run.parent_id == where.parent)
        and (not where.open or not run.ended)
        and (where.queue is None or run.queue == where.queue)
        and all(key in attributes and _same(attributes[key], wanted[key]) for key in wanted)
    )


def _same(held: Any, wanted: Any) -> bool:
    """Return whether two values are the same JSON: true is not 1, and lists compare as written."""
    if isinstance(held, bool) or isinstance(wanted, bool):
        return held is wanted
    if isinstance(held, (list, dict)):
        written = msgspec.json.encode(wanted, order="sorted")
        return msgspec.json.encode(held, order="sorted") == written
    same: bool = held == wanted
    return same
