"""The door: how a process that does not own the file puts runs and messages into it.

Each call is one WAL transaction on the same file; the engine need not be running.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from pathlib import Path

import apsw
import msgspec

from monolite.core.admission import (
    Admission,
    admit,
    admit_to_queue,
    can_begin_again,
    receive,
    unblock,
)
from monolite.core.attempts import BLAMES_MAX, blocked_keys
from monolite.core.entry import QUEUED, TERMINATE, Accepted, Run, RunNo
from monolite.core.place import Place
from monolite.core.queue import unknown_queue
from monolite.core.schedule import Amended, ScheduleRow, changed
from monolite.errors import CommitUnknown, FileForeign, StorageFull, UnknownWorkflow
from monolite.store.protocol import Message, QueueRow, Requeue
from monolite.store.sqlite import connection
from monolite.store.sqlite.blobs import light
from monolite.store.sqlite.reader import SqliteReader
from monolite.store.sqlite.statements import statements
from monolite.store.sqlite.store import (
    SYNCHRONOUS,
    make_schema,
    message_row,
    queue_row,
    run_row,
)
from monolite.store.sqlite.timetable import write_schedules

WAIT_S = 30.0
"""How long to wait for the write lock. A busy engine leaves gaps of microseconds, so the wait
asks often, at random moments, instead of in SQLite's growing steps."""


class SqliteDoor(SqliteReader):
    """A second writer beside the engine. It inserts, and changes schedules, queues, and who waits.

    What it changes there the engine checks in the commit that begins a run.
    """

    def __init__(self, con: apsw.Connection, path: Path) -> None:
        super().__init__(con)
        self._path = path
        self._deadline_s = 0.0
        con.set_busy_handler(self._wait)

    @classmethod
    def open_door(cls, path: Path, *, create: bool, now_us: int) -> SqliteDoor:
        """Open the file for sending; raise FileForeign if there is none and `create` is false."""
        if not connection.examine(path) and not create:
            msg = f"{path} does not exist; start a Runtime on it first, or pass create=True"
            raise FileForeign(msg)
        con = connection.open_writer(path, synchronous=SYNCHRONOUS["full"])
        try:
            door = cls(con, path)
            with connection.translated(path):
                door._begin()
                make_schema(con, now_us)
                con.execute("COMMIT")
                connection.check_format(con, path, statements())
            connection.keep_log(con, keep=False)
        except BaseException:
            con.close()
            raise
        return door

    def spawn(self, run: Run, id_conflict: str, place: Place | None = None) -> Run:
        with self._transaction():
            existing = self.run_by_id(run.id)
            if place is None:
                waiting = None
                verdict = admit(existing, run.id, run.name, id_conflict)
            else:
                self._must_queue(place.queue)
                waiting = self._waiting(place)
                verdict = admit_to_queue(
                    existing, waiting, place, id=run.id, name=run.name, id_conflict=id_conflict
                )
            if verdict is Admission.ATTACH:
                assert existing is not None
                return existing
            if verdict is Admission.JOIN:
                assert waiting is not None
                return waiting
            if verdict is Admission.DEBOUNCE:
                assert waiting is not None
                return self._debounce(waiting, run)
            if verdict is Admission.REPLACE:
                assert waiting is not None
                run.queued_us = waiting.queued_us
                # It is no longer what the engine took it for: a claim of it does not commit.
                self._con.execute(self._sql["release_dedupe"], (waiting.no,))
                self._end(waiting, '"a newer one took its place"', run.created_us)
            if existing is not None:
                run.generation = existing.generation + 1
                if not existing.ended:
                    self._end(existing, '"restarted"', run.created_us)
            return self._insert_run(run)

    def _waiting(self, place: Place) -> Run | None:
        found = None if place.dedupe is None else self.deduped(place.queue, place.dedupe)
        return None if found is None else self.run(found[0])

    def _debounce(self, waiting: Run, newer: Run) -> Run:
        """Let a run that waits wait anew, and take the arguments of a newer one."""
        # Never the same as before, so that an engine which has it in hand notices.
        due_us = max(newer.wake_at_us or 0, (waiting.queued_us or 0) + 1)
        args = light(self._con, newer.args) or "[]"
        again = Requeue(args, newer.version, due_us, due_us, newer.created_us, waiting.no)
        self._con.execute(self._sql["requeue_run"], msgspec.structs.astuple(again))
        return waiting

    def _end(self, run: Run, reason: str, now_us: int) -> None:
        self._insert(Message(run.no, TERMINATE, "", reason, at_us=now_us))

    def _must_queue(self, name: str) -> None:
        names = [row.name for row in self.queues()]
        if name not in names:
            raise unknown_queue(name, names)

    def change_queue(
        self, name: str, change: Callable[[QueueRow | None, list[str]], QueueRow]
    ) -> QueueRow:
        with self._transaction():
            rows = {row.name: row for row in self.queues()}
            row = change(rows.get(name), list(rows))
            self._con.execute(self._sql["put_queue"], queue_row(row))
            return row

    def retry_dead(self, queue: str, limit: int, now_us: int) -> list[str]:
        with self._transaction():
            self._must_queue(queue)
            dead = self.dead(queue, limit)
            for run in dead:
                self._insert_run(again(run, now_us))
            return [run.id for run in dead]

    def post(self, id: str, message: Message) -> tuple[Run, bool]:
        with self._transaction():
            run = self._must(id)
            return run, self._post(run, message)

    def post_to_actor(self, actor: Run, message: Message) -> tuple[Run, bool]:
        with self._transaction():
            run = self.run_by_id(actor.id)
            if run is None or run.ended:
                actor.generation = 1 if run is None else run.generation + 1
                run = self._insert_run(actor)
            return run, self._post(run, message)

    def amend_schedule(
        self, name: str, decide: Callable[[ScheduleRow | None], Amended], now_us: int
    ) -> Amended:
        with self._transaction():
            old = self.schedule(name)
            amended = decide(old)
            row, was = amended.row, None if old is None else old.revision
            if row != old:
                if row is not None and old is not None:
                    row = changed(row, revision=old.revision + 1)
                write_schedules(self._con, [(name, (was, row))])
            for id in amended.starts:
                assert row is not None
                self._insert_run(
                    Run(
                        no=RunNo(0),
                        id=id,
                        generation=1,
                        name=row.workflow,
                        version=row.version,
                        status=QUEUED,
                        args=row.args,
                        created_us=now_us,
                        wake_at_us=now_us,
                        updated_us=now_us,
                    )
                )
            return amended

    def unblock(self, id: str, message: Message) -> Accepted:
        with self._transaction():
            run = self._must(id)
            duplicate = self.answer(run, message.message_id or "") is not None
            if duplicate or (run.ended and not can_begin_again(run, message.kind)):
                return receive(run, duplicate=duplicate)
            if run.ended:
                return self._begin_again(run, message)
            blocked = blocked_keys(self.attempts(run.no))
            quarantined = self.blames().get(run.no, 0) >= BLAMES_MAX
            verdict = unblock(run, message.kind, message.channel, blocked, quarantined=quarantined)
            if isinstance(verdict, Accepted):
                return verdict
            self._insert(msgspec.structs.replace(message, run_no=run.no))
            return Accepted(accepted=True)

    def _begin_again(self, old: Run, message: Message) -> Accepted:
        """Queue the next generation of a run that has failed."""
        run = msgspec.structs.replace(
            old,
            generation=old.generation + 1,
            status=QUEUED,
            created_us=message.at_us,
            updated_us=message.at_us,
            wake_at_us=message.at_us,
            started_us=None,
            ended_us=None,
            value=None,
            error=None,
            parent_no=None,
            parent_id=None,
            parent_key=None,
            seed=None,
        )
        self._insert_run(run)
        # Only so that the same message again is known as that.
        self._insert(msgspec.structs.replace(message, run_no=run.no, n=-1))
        return Accepted(accepted=True, reason=f"spawned again, as generation {run.generation}")

    def _must(self, id: str) -> Run:
        run = self.run_by_id(id)
        if run is None:
            msg = f"no run has the id {id!r} in {self._path}; spawn it first"
            raise UnknownWorkflow(msg)
        return run

    def _insert_run(self, run: Run) -> Run:
        row = self._con.execute(self._sql["max_run_no"]).fetchone()
        assert row is not None
        run.no = RunNo((int(str(row[0])) | 1) + 2)
        stored = msgspec.structs.replace(run, args=light(self._con, run.args))
        self._con.execute(self._sql["insert_run"], run_row(stored))
        return run

    def _post(self, run: Run, message: Message) -> bool:
        """Insert a message if it is new and the run takes it; return whether it was new."""
        name = message.message_id
        known = name is not None and self.answer(run, name) is not None
        if not known and not run.ended:
            self._insert(msgspec.structs.replace(message, run_no=run.no))
        return not known

    def _insert(self, message: Message) -> None:
        value = light(self._con, message.value)
        message = msgspec.structs.replace(message, value=value, outside=1)
        self._con.execute(self._sql["insert_message"], message_row(message))

    def _transaction(self) -> _Transaction:
        self._begin()
        return _Transaction(self._con, self._path)

    def _begin(self) -> None:
        self._deadline_s = time.monotonic() + WAIT_S
        try:
            self._con.execute("BEGIN IMMEDIATE")
        except apsw.BusyError as error:
            msg = (
                f"{self._path}: another process has held the write lock for {WAIT_S:g} s; nothing "
                "was stored: send the request again, with the same id"
            )
            raise CommitUnknown(msg) from error
        except apsw.Error as error:
            raise connection.translate(error, self._path) from error

    def _wait(self, _tries: int) -> bool:
        time.sleep(random.uniform(0.0002, 0.002))
        return time.monotonic() < self._deadline_s


def again(dead: Run, now_us: int) -> Run:
    """Return the next generation of a failed run, waiting in its queue."""
    return Run(
        no=RunNo(0),
        id=dead.id,
        generation=dead.generation + 1,
        name=dead.name,
        version=dead.version,
        status=QUEUED,
        args=dead.args,
        created_us=now_us,
        attributes=dead.attributes,
        updated_us=now_us,
        queue=dead.queue,
        queue_key=dead.queue_key,
        priority=dead.priority,
        queued_us=now_us,
    )


class _Transaction:
    """Commits at the end of a `with`, rolls back if it is left by an exception."""

    def __init__(self, con: apsw.Connection, path: Path) -> None:
        self._con = con
        self._path = path

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: object, tb: object) -> None:
        if error is None:
            try:
                self._con.execute("COMMIT")
            except apsw.Error as refused:
                error = refused
        if error is None:
            return
        if self._con.in_transaction:
            with contextlib.suppress(apsw.Error):
                self._con.execute("ROLLBACK")
        if isinstance(error, apsw.FullError):
            msg = f"the disk of {self._path} is full; free space, then send the request again"
            raise StorageFull(msg) from error
        if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
            raise connection.translate(error, self._path) from error
        if isinstance(error, apsw.Error) and not isinstance(error, apsw.ConstraintError):
            msg = (
                f"committing to {self._path} failed ({error}); whether it took effect is not "
                "known: repeat the request with the same id"
            )
            raise CommitUnknown(msg) from error
