"""Succession: the next run of an id takes over what the last one left (`ContinueAsNew`)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from monolite.core import entry as e
from monolite.core.entry import Entry, Run, RunNo
from monolite.store.protocol import Message

if TYPE_CHECKING:
    from monolite.host.engine import Engine
    from monolite.host.resident import Resident

LeftOver = tuple[RunNo, Entry]
"""A message that was delivered to a run and never received by its code."""


class Succession:
    """Begins the runs that continue others, for one engine.

    All of it belongs to the commit that ends the old run: it must see what this turn has
    written so far, as nothing of that is in the file yet.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(self, old: Run, left_over: list[LeftOver]) -> None:
        """Begin the next run of an id, with what the last one left over."""
        engine = self._engine
        definition = engine.registry.find(old.name)
        run = engine.births.new_run(
            old.id,
            old.name,
            definition.version,
            old.value or "[]",
            generation=old.generation + 1,
            attributes=old.attributes,
            parent_key=old.parent_key,
        )
        run.parent_no, run.parent_id = old.parent_no, old.parent_id
        if old.queue is not None:  # it goes on with the slot
            run.queue, run.queue_key, run.priority = old.queue, old.queue_key, old.priority
            run.queued_us = old.queued_us
            engine.queues.succeed(old, run)
        self._hand_on(old, run)
        waiting = self._redirect(old, run)
        resident = engine.births.begin(run, definition)
        self._feed(resident, left_over)
        for message in waiting:
            if message.seq is None:
                engine.inbox.deliver_posted(run, message)
            elif message.due_us is None or message.due_us <= engine.now_us:
                engine.inbox.deliver_waiting(resident, message)

    def _hand_on(self, old: Run, run: Run) -> None:
        """Hand on who waits for the end; what readers see goes over at the turn's end."""
        batch = self._engine.batch
        writes = batch.writes
        batch.successors.append((run.no, old.no))
        writes.continued.append((run.no, old.no))
        writes.links = [
            msgspec.structs.replace(x, target_no=run.no) if x.target_no == old.no else x
            for x in writes.links
        ]

    def _feed(self, resident: Resident, left_over: list[LeftOver]) -> None:
        """Deliver what was not received; what comes after the end is left over once more."""
        engine, run = self._engine, resident.run
        for i, (old_no, message) in enumerate(left_over):
            if run.ended:
                engine.batch.left_over[run.no] = left_over[i:]
                return
            n = resident.machine.next_n
            engine.batch.writes.moved.append((run.no, n, engine.now_us, old_no, message.n))
            engine.feed(resident, msgspec.structs.replace(message, n=n, at_us=engine.now_us))

    def _redirect(self, old: Run, run: Run) -> list[Message]:
        """Address what waits for the old run to the new one; return it in order."""
        engine = self._engine
        batch = engine.batch
        stored = engine.store.undelivered(old.no)
        known = {m.seq for m in batch.redirected}
        waiting = [m for m in batch.redirected if m.run_no == old.no]
        fresh = [m for m in stored if m.seq not in known]
        batch.redirected += fresh
        found = [m for m in waiting + fresh if m.seq not in batch.taken]
        for message in found:
            self._readdress(message, run)
        posted = [m for m in batch.writes.messages if m.run_no == old.no and m.n is None]
        for message in posted:
            message.run_no = run.no
        return found + posted

    def _readdress(self, message: Message, run: Run) -> None:
        assert message.seq is not None
        message.run_no = run.no
        self._engine.batch.writes.redirected.append((run.no, message.seq))

    def redirect_late(self, message: Message) -> None:
        """Address a message to the run that continues the one it was sent to.

        Another process may have written it between our look at the file and our commit.
        """
        engine = self._engine
        old = engine.store.run(message.run_no)
        run = None if old is None else engine.newest(old.id)
        if old is None or run is None or run.ended or old.status != e.CONTINUED:
            return
        self._readdress(message, run)
        resident = engine.resident(run.no)
        if resident is not None:
            engine.work.append(partial(engine.inbox.deliver_waiting, resident, message))
