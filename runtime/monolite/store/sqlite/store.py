"""The SQLite store: the owner's connection, and one transaction per batch."""

from __future__ import annotations

import contextlib
import random
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec

from monolite.core.entry import RUNNING, Run, RunNo
from monolite.errors import CommitUnknown, Fenced, StorageFull
from monolite.store.protocol import Conflict, Link, Message, QueueRow, TicketRow, Writes
from monolite.store.sqlite import connection, log
from monolite.store.sqlite.application import guarded
from monolite.store.sqlite.blobs import BLOB_CHARS_MIN, aside, light
from monolite.store.sqlite.owner import Owner, OwnerLock, this_process
from monolite.store.sqlite.reader import SqliteReader
from monolite.store.sqlite.statements import schema, statements
from monolite.store.sqlite.timetable import write_schedules

R = TypeVar("R")

SYNCHRONOUS = {"full": 2, "normal": 1}

BUSY_TRIES_MAX = 12
"""Each waits for the busy time-out (5 s): a minute, then whoever holds the lock is stuck."""


SHORT_WAITS_MAX = 1_000
"""Waits of a fraction of a millisecond; whoever has the lock for longer is no client."""


class SqliteStore(SqliteReader):
    """Owns one file: lock, epoch, writer connection."""

    def __init__(
        self, path: Path, con: apsw.Connection, lock: OwnerLock, epoch: int, file_id: str
    ) -> None:
        super().__init__(con)
        self.path = path
        self.epoch = epoch
        self.file_id = file_id
        self._lock = lock
        self.executing = lock.mark
        self.blamed = lock.blamed
        self._log_pages = 0
        self._marked = False
        self._data_version = con.pragma("data_version")
        con.set_wal_hook(self._on_commit)
        con.set_busy_handler(_ask_again())

    @classmethod
    def own(
        cls, path: Path, *, durability: str = "full", now_us: int, takeover: bool = False
    ) -> SqliteStore:
        """Open or create the file as its owner.

        Raises FileOwned, FileForeign, FileTooNew or FileDamaged; then nothing was changed.
        """
        connection.examine(path)
        owner = this_process(now_us)
        lock = OwnerLock(path, owner, takeover=takeover)
        try:
            con = connection.open_writer(path, synchronous=SYNCHRONOUS[durability])
            try:
                with connection.translated(path):
                    log.rewrite(con, path)
                connection.check_damage(con, path)
                epoch, file_id = _prepare(con, path, owner, lock, now_us)
                connection.keep_log(con, keep=False)
                with connection.translated(path):
                    log.make_room(con, path)
            except BaseException:
                con.close()
                raise
        except BaseException:
            lock.release()
            raise
        return cls(path, con, lock, epoch, file_id)

    def close(self) -> None:
        # The lock goes last: whoever gets it finds the file closed.
        try:
            with contextlib.suppress(apsw.Error):
                self.checkpoint()
            self._con.close()
        finally:
            self._lock.release()

    def reader(self) -> SqliteReader:
        return SqliteReader(connection.open_reader(self.path))

    # Writing.

    def transact(self, act: Callable[[apsw.Connection], R]) -> R:
        self._open()
        return guarded(self._con, act)

    def mark(self) -> None:
        self._open()
        if self._marked:
            self._con.execute("RELEASE turn")
        self._con.execute("SAVEPOINT turn")
        self._marked = True

    def undo(self) -> None:
        if self._marked:
            self._con.execute("ROLLBACK TO turn")

    def abort(self) -> None:
        self._marked = False
        self._rollback()

    def application(self) -> apsw.Connection:
        return connection.open_reader(self.path)

    def _open(self) -> None:
        """Begin the transaction if an application's function has not done so already."""
        if not self._con.in_transaction:
            self._marked = False
            try:
                self._begin()
                self._check_epoch()
            except apsw.Error as error:
                self._rollback()
                raise self._failure(error) from error
            except BaseException:
                self._rollback()
                raise

    def commit(self, writes: Writes) -> None:
        self._open()
        try:
            self._write(writes)
            self._con.execute("COMMIT")
            self._marked = False
        except apsw.ConstraintError as error:
            self._rollback()
            if "monolite_runs.id" in str(error) or "monolite_inbox.run_no" in str(error):
                raise Conflict from error
            raise
        except apsw.Error as error:
            self._rollback()
            raise self._failure(error) from error
        except BaseException:
            self._rollback()
            raise
        if self._log_pages > log.LOG_PAGES_MAX:
            self.checkpoint()

    def _failure(self, error: apsw.Error) -> StorageFull | CommitUnknown:
        if isinstance(error, apsw.FullError):
            return StorageFull(
                f"the disk of {self.path} is full; free space, then send the request again"
            )
        return CommitUnknown(
            f"committing to {self.path} failed ({error}); whether it took effect shows after "
            "a restart: restart, then repeat the request with the same id"
        )

    def _begin(self) -> None:
        for tries_left in reversed(range(BUSY_TRIES_MAX)):
            try:
                self._con.execute("BEGIN IMMEDIATE")
            except apsw.BusyError as error:
                if tries_left == 0:
                    msg = f"{self.path}: another process has held the write lock for a minute"
                    raise CommitUnknown(msg) from error
            else:
                return

    def _check_epoch(self) -> None:
        row = self._con.execute(self._sql["epoch"]).fetchone()
        current = int(row[0]) if row else -1
        if current != self.epoch:
            found = self._con.execute(self._sql["file"]).fetchone()
            raise Fenced(self.epoch, current, str(found[3]) if found else "")

    def _rollback(self) -> None:
        if self._con.in_transaction:
            with contextlib.suppress(apsw.Error):
                self._con.execute("ROLLBACK")

    def _write(self, writes: Writes) -> None:
        many: Callable[[str, Any], Any] = self._con.executemany
        self._lighten(writes)
        sql = self._sql
        for (queue, dedupe), found in writes.deduped.items():
            if self.deduped(queue, dedupe) != found:
                raise Conflict
        if writes.runs:
            many(sql["insert_run"], map(run_row, writes.runs))
        if writes.journal:
            many(sql["insert_entry"], writes.journal)
        if writes.messages:
            many(sql["insert_message"], map(message_row, writes.messages))
        if writes.redirected:
            many(sql["redirect_message"], writes.redirected)
        if writes.taken:
            many(sql["take_message"], writes.taken)
        if writes.held:
            many(sql["hold_message"], writes.held)
        if writes.turned_away:
            many(sql["turn_away"], writes.turned_away)
        if writes.moved:
            many(sql["move_message"], writes.moved)
        if writes.replies:
            many(sql["answer_message"], writes.replies)
        if writes.continued:
            many(sql["move_views"], writes.continued)
            many(sql["move_large"], writes.continued)
            many(sql["move_links"], writes.continued)
            many(sql["move_streams"], writes.continued)
        if writes.streams:
            many(sql["append_items"], writes.streams)
        if writes.versions:
            many(sql["put_version"], writes.versions)
        if writes.states:
            states = writes.states.values()
            many(
                sql["put_state"],
                [(no, v, aside(self._con, no, "state", text), n) for no, v, text, n in states],
            )
        if writes.retired:
            many(sql["retire_turn"], writes.retired.values())
        if writes.refused:
            many(sql["refuse_entry"], writes.refused)
        if writes.forgotten:
            many(sql["forget_entries"], writes.forgotten)
        if writes.views:
            many(
                sql["put_view"],
                [
                    (no, name, aside(self._con, no, f"view:{name}", text))
                    for no, name, text in writes.views
                ],
            )
        self._write_ends(writes)

    def _write_ends(self, writes: Writes) -> None:
        """Write the rest: what runs wait for, and their ends."""
        many: Callable[[str, Any], Any] = self._con.executemany
        sql = self._sql
        if writes.pardoned:
            many(sql["pardon"], [(no,) for no in writes.pardoned])
        if writes.attempts:
            many(sql["put_attempt"], map(msgspec.structs.astuple, writes.attempts))
        if writes.links:
            many(sql["put_link"], map(msgspec.structs.astuple, writes.links))
        if writes.unlinked:
            many(sql["delete_links"], [(no,) for no in writes.unlinked])
        if writes.notes:
            many(
                sql["note_run"],
                [
                    (
                        note.status,
                        note.wake_at_us,
                        note.waiting_on,
                        note.updated_us,
                        note.started_us,
                        note.error,
                        note.version,
                        note.no,
                    )
                    for note in writes.notes
                ],
            )
        if writes.requeues:
            many(sql["requeue_run"], map(msgspec.structs.astuple, writes.requeues))
        if writes.released:
            many(sql["release_dedupe"], [(no,) for no in writes.released])
        self._write_queues(writes)
        if writes.ends:
            many(
                sql["end_run"],
                [
                    (x.status, light(self._con, x.value), x.error, x.ended_us, x.ended_us, x.no)
                    for x in writes.ends
                ],
            )
        if writes.schedules:
            write_schedules(self._con, writes.schedules.items())

    def _write_queues(self, writes: Writes) -> None:
        many: Callable[[str, Any], Any] = self._con.executemany
        if writes.queues:
            many(self._sql["put_queue"], map(queue_row, writes.queues))
        if writes.queue_states:
            rows = [(state, name) for name, state in writes.queue_states.items()]
            many(self._sql["put_queue_state"], rows)
        if writes.queue_seen:
            rows = [(seen, name) for name, seen in writes.queue_seen.items()]
            many(self._sql["put_queue_seen"], rows)

    def _lighten(self, writes: Writes) -> None:
        """Put large values aside, leaving references in their rows."""
        con = self._con
        for i, row in enumerate(writes.journal):
            value = row[6]
            if value is not None and len(value) > BLOB_CHARS_MIN:
                writes.journal[i] = (*row[:6], light(con, value), row[7])
        for i, message in enumerate(writes.messages):
            if max(len(message.value), len(message.answer or "")) > BLOB_CHARS_MIN:
                value, answer = light(con, message.value), light(con, message.answer)
                changed = msgspec.structs.replace(message, value=value, answer=answer)
                writes.messages[i] = changed
        for i, run in enumerate(writes.runs):
            if len(run.args) > BLOB_CHARS_MIN:
                writes.runs[i] = msgspec.structs.replace(run, args=light(con, run.args))
        for i, again in enumerate(writes.requeues):
            if len(again.args) > BLOB_CHARS_MIN:
                args = light(con, again.args)
                writes.requeues[i] = msgspec.structs.replace(again, args=args)
        for i, (answer, refusal, no, message_id) in enumerate(writes.replies):
            if answer is not None and len(answer) > BLOB_CHARS_MIN:
                writes.replies[i] = (light(con, answer), refusal, no, message_id)

    def checkpoint(self) -> None:
        # PASSIVE: never waits. The others would block on Litestream's long read transaction.
        # If somebody else is at it, or the file cannot grow, nothing is lost: the log still has
        # it all, and the next commit tries again.
        with contextlib.suppress(apsw.BusyError, apsw.FullError, apsw.IOError):
            self._con.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _on_commit(self, _con: apsw.Connection, _name: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    # Reading, beyond what every reader can.

    def changed(self) -> bool:
        # The pragma, not SQLite's file control of that name: that counts our own commits too, and
        # learns of the others' only when we happen to read.
        version = self._con.pragma("data_version")
        if version == self._data_version:
            return False
        self._data_version = version
        # It may have been a new owner: one that was passed over finds out even while idle.
        self._check_epoch()
        return True

    def messages_after(self, seq: int, limit: int) -> list[Message]:
        return [
            self._message(row)
            for row in self._con.execute(self._sql["messages_after"], (seq, limit))
        ]

    def messages_due(self, until_us: int, limit: int) -> list[Message]:
        rows = self._con.execute(self._sql["messages_due"], (until_us, limit))
        return [self._message(row) for row in rows]

    def next_message_due_us(self) -> int | None:
        row = self._con.execute(self._sql["next_message_due"]).fetchone()
        return None if row is None or row[0] is None else int(str(row[0]))

    def due(self, after: tuple[int, int], until_us: int, limit: int) -> list[tuple[int, RunNo]]:
        rows = self._con.execute(self._sql["due"], (*after, until_us, limit))
        return [(int(str(at)), RunNo(int(str(no)))) for at, no in rows]

    def next_due_us(self, after_us: int) -> int | None:
        row = self._con.execute(self._sql["next_due"], (after_us,)).fetchone()
        return None if row is None or row[0] is None else int(str(row[0]))

    def queued(self, until_us: int, limit: int) -> list[RunNo]:
        rows = self._con.execute(self._sql["queued"], (until_us, limit))
        return [RunNo(int(str(no))) for (no,) in rows]

    def tickets(self, after: int, limit: int) -> list[TicketRow]:
        rows: Any = self._con.execute(self._sql["tickets"], (after, limit))
        return [TicketRow(*row) for row in rows]

    def holders(self) -> list[tuple[RunNo, str, str | None]]:
        rows: Any = self._con.execute(self._sql["holders"])
        return [(no, queue, key) for no, queue, key in rows]

    def parked(self, limit: int, after: int) -> list[RunNo]:
        rows = self._con.execute(self._sql["parked"], (after, limit))
        return [RunNo(int(str(no))) for (no,) in rows]

    def links(self) -> list[Link]:
        return [Link(*row) for row in self._con.execute(self._sql["links"])]

    def schedule_revisions(self) -> dict[str, int]:
        rows = self._con.execute(self._sql["schedule_revisions"])
        return {str(name): int(str(revision)) for name, revision in rows}

    def max_run_no(self) -> int:
        return self._number("max_run_no")

    def max_seq(self) -> int:
        return self._number("max_seq")

    def _number(self, statement: str) -> int:
        row = self._con.execute(self._sql[statement]).fetchone()
        assert row is not None
        return int(str(row[0]))


def _ask_again() -> Callable[[int], bool]:
    """Return what SQLite asks whether to go on waiting for the write lock.

    SQLite's own waits grow to 100 ms. Clients ask every millisecond, so that a few busy ones
    would keep the engine out for most of a second: it asks more often than they do.
    """
    since_s = 0.0

    def ask_again(tries: int) -> bool:
        nonlocal since_s
        if tries == 0:
            since_s = time.monotonic()
        time.sleep(random.uniform(0.0001, 0.0005) if tries < SHORT_WAITS_MAX else 0.005)
        return time.monotonic() - since_s < connection.BUSY_TIMEOUT_MS / 1_000

    return ask_again


def _prepare(
    con: apsw.Connection, path: Path, owner: Owner, lock: OwnerLock, now_us: int
) -> tuple[int, str]:
    """Create the schema if the file is new, check it if not, and take the next epoch.

    The run that was executing when the last owner died is blamed in the same commit.
    """
    sql = statements()
    with connection.translated(path):
        con.execute("BEGIN IMMEDIATE")
        try:
            # Inside the transaction: whoever passes us over from here on has to wait for it.
            lock.check(path)
            make_schema(con, now_us)
            connection.check_format(con, path, sql)
            (epoch,) = con.execute(sql["take_over"], (str(owner),)).fetchone() or (0,)
            con.execute(sql["forget_blames"])
            if lock.blamed:
                con.execute(sql["blame"], {"no": lock.blamed})
            file_row = con.execute(sql["file"]).fetchone()
            assert file_row is not None
            con.execute("COMMIT")
        except BaseException:
            if con.in_transaction:
                con.execute("ROLLBACK")
            raise
    return int(str(epoch)), str(file_row[1])


def make_schema(con: apsw.Connection, now_us: int) -> None:
    """Create our tables if the file has none; inside the caller's transaction."""
    found = con.execute("SELECT 1 FROM sqlite_schema WHERE name = 'monolite_file'").fetchone()
    if found is None:
        con.execute(schema())
        con.execute(statements()["create_file"], (connection.FORMAT, uuid.uuid4().hex, now_us))


def run_row(run: Run) -> tuple[Any, ...]:
    return (
        run.no,
        run.id,
        run.generation,
        run.name,
        run.version,
        # One that was born and ended in the same turn: its end comes with the same batch.
        RUNNING if run.ended else run.status,
        run.args,
        run.created_us,
        run.started_us,
        run.wake_at_us,
        run.parent_no,
        run.parent_id,
        run.parent_key,
        run.attributes,
        run.updated_us,
        run.seed,
        run.queue,
        run.queue_key,
        run.priority,
        run.queued_us,
        run.dedupe,
    )


def queue_row(row: QueueRow) -> tuple[Any, ...]:
    return (row.name, row.declared, row.limits, int(row.paused))


def message_row(message: Message) -> tuple[Any, ...]:
    return (
        message.run_no,
        message.n,
        message.at_us,
        message.kind,
        message.channel,
        message.message_id,
        message.value,
        message.answer,
        message.refusal,
        message.due_us,
        message.outside,
    )
