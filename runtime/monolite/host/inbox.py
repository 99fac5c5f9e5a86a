"""The inbox: how messages reach runs, from this process and from others."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from monolite.core import entry as e
from monolite.core import failure
from monolite.core.admission import receive
from monolite.core.entry import Accepted, Entry, Run
from monolite.host.ending import ended_by, unknown
from monolite.host.residency import WAKES_MAX
from monolite.host.resident import Resident
from monolite.store.protocol import End, Message

if TYPE_CHECKING:
    from monolite.host.engine import Engine

MESSAGES_MAX = 1_000
"""Messages from other processes taken in one turn."""


class Inbox:
    """Takes messages for the runs of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def take_outside(self) -> None:
        """Take the messages and runs that other processes put into the file."""
        messages = self._engine.store.messages_after(self._engine.last_seq, MESSAGES_MAX)
        for message in messages:
            assert message.seq is not None
            if message.seq not in self._engine.batch.taken:
                self._take_message(message)
                self._engine.run_work()
        if messages:
            self._engine.batch.last_seq = messages[-1].seq or 0
        started = self._engine.residency.start_queued(self._engine.now_us)
        self._engine.must_look_outside = len(messages) == MESSAGES_MAX or started == WAKES_MAX

    def _take_message(self, message: Message) -> None:
        if message.run_no in self._engine.residency:
            self.deliver_waiting(self._engine.residency.live[message.run_no], message)
            return
        run = self._engine.store.run(message.run_no)
        if run is None or run.ended:
            return
        if run.status == e.QUEUED:
            self._end_unstarted(run, message.kind, message.value)
        elif self._engine.resident(message.run_no) is None and message.kind == e.TERMINATE:
            # (Becoming resident delivers everything that waits.)
            self._end_unstarted(run, message.kind, message.value)

    def deliver_waiting(self, resident: Resident, message: Message) -> None:
        """Deliver an inbox row that waits, giving it its place in the journal."""
        assert message.seq is not None
        if message.seq in self._engine.batch.taken or resident.run.ended:
            return
        self._engine.batch.taken.add(message.seq)
        n, at_us = resident.machine.next_n, self._engine.now_us
        self._engine.batch.writes.taken.append((n, at_us, message.seq))
        self._deliver_message(resident, message)

    def _deliver_message(self, resident: Resident, message: Message) -> None:
        if message.kind == e.TERMINATE:
            self._engine.terminate(resident, message.value)
            return
        machine = resident.machine
        entry = Entry(
            machine.next_n, self._engine.now_us, message.kind, message.channel, None, message.value
        )
        self._engine.feed(resident, entry)

    def accept(
        self, id: str, kind: str, channel: str, value: str, message_id: str | None
    ) -> Accepted:
        """Take a message into a run's inbox, if the run takes it."""
        run = self._engine.newest(id)
        if run is None:
            raise unknown(id)
        duplicate = message_id is not None and (
            (run.no, message_id) in self._engine.batch.message_ids
            or self._engine.store.has_message(run.no, message_id)
        )
        verdict = receive(run, duplicate=duplicate)
        if verdict.accepted and not duplicate:
            self.post(run, kind, channel, value, message_id)
        return verdict

    def post(self, run: Run, kind: str, channel: str, value: str, message_id: str | None) -> None:
        """Write a message and deliver it, or leave it waiting if the run cannot take it now."""
        if message_id is not None:
            self._engine.batch.message_ids.add((run.no, message_id))
        message = Message(run.no, kind, channel, value, self._engine.now_us, message_id)
        self._engine.batch.writes.messages.append(message)
        if run.status == e.QUEUED:
            self._engine.batch.early.setdefault(run.no, []).append(message)
            self._end_unstarted(run, kind, value)
        else:
            self._engine.work.append(partial(self.deliver_posted, run, message))

    def deliver_posted(self, run: Run, message: Message) -> None:
        resident = self._engine.resident(run.no)
        if resident is None:
            if message.kind == e.TERMINATE:
                self._end_unstarted(run, message.kind, message.value)
        elif not resident.run.ended and message.n is None:
            message.n = resident.machine.next_n
            self._deliver_message(resident, message)

    def _end_unstarted(self, run: Run, kind: str, value: str) -> None:
        """End a run that is asked to stop and has no code to ask: it has not started, or cannot."""
        if kind == e.SIGNAL or run.ended or run.no in self._engine.batch.ended_unstarted:
            return
        status = e.CANCELLED if kind == e.CANCEL else e.TERMINATED
        error = failure.encode(ended_by(status.capitalize(), run.id, value))
        run.status, run.error, run.ended_us = status, error, self._engine.now_us
        self._engine.batch.ended_unstarted[run.no] = run
        end = End(run.no, status, None, error, self._engine.now_us)
        self._engine.batch.writes.ends.append(end)
        self._engine.tell_waiting(run, end.value, error)
