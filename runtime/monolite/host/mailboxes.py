"""Mailboxes: which messages an actor's handlers take, and which take the place of others."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from monolite.core import entry as e
from monolite.core import failure
from monolite.core.entry import Accepted, Run
from monolite.core.handler import Mailbox
from monolite.errors import Rejected
from monolite.host.resident import Resident
from monolite.store.protocol import Message

if TYPE_CHECKING:
    from monolite.host.engine import Engine

SUPERSEDED_N = -1
"""The place of a message that will not be delivered."""

_OPEN = Mailbox()


class Mailboxes:
    """Holds the messages to the actors of one engine to the policies of their handlers.

    A message of this process is judged as it is posted. One that another process put into the
    file is judged when the engine comes upon it, once: from then on its row says so.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def admit(self, run: Run, kind: str, channel: str, delay_us: int) -> tuple[Accepted, int]:
        """Judge a message of this process; return the verdict and its delay."""
        engine = self._engine
        mailbox = self._of(run, kind, channel)
        if mailbox is None:
            return Accepted(accepted=True), delay_us
        if not delay_us and run.status != e.QUEUED and engine.resident(run.no) is None:
            reason = f"{run.id} cannot run: {engine.residency.why_parked(run.no)}"
            return Accepted(accepted=False, reason=reason), 0
        delay_us = max(delay_us, mailbox.debounce_us)
        if mailbox == _OPEN:
            return Accepted(accepted=True), delay_us
        reason = self._judge(run, channel, mailbox, engine.resident(run.no))
        return Accepted(accepted=not reason, reason=reason), 0 if reason else delay_us

    def let_in(self, resident: Resident, message: Message) -> bool:
        """Judge a message of another process; return whether it may be delivered now."""
        engine, batch, run = self._engine, self._engine.batch, resident.run
        assert message.seq is not None
        mailbox = self._of(run, message.kind, message.channel)
        if mailbox is None or mailbox == _OPEN or message.seq in batch.admitted:
            return True
        reason = self._judge(run, message.channel, mailbox, resident)
        if reason:
            self._turn_away(run, message, reason)
            return False
        batch.admitted.add(message.seq)
        # Quiet since it came: one that was delayed came when it was sent.
        came_us = engine.now_us if message.due_us is None else message.at_us
        due_us = came_us + mailbox.debounce_us
        if due_us <= engine.now_us:
            return True
        message.due_us, message.outside = due_us, None
        batch.taken.add(message.seq)
        batch.writes.held.append((due_us, None, message.seq))
        batch.posted.setdefault((run.no, True), deque()).append(message)
        engine.must_retime = True
        return False

    def _of(self, run: Run, kind: str, channel: str) -> Mailbox | None:
        type_ = self._engine.registry.get_actor(run.name)
        handler = None if type_ is None else type_.handlers.get(channel)
        return None if handler is None or kind not in (e.SIGNAL, e.UPDATE) else handler.mailbox

    def _judge(self, run: Run, channel: str, mailbox: Mailbox, resident: Resident | None) -> str:
        """Return why a message is refused, or "", having made room for it."""
        waiting = self._waiting(run, channel)
        busy = resident is not None and resident.busy
        if mailbox.policy == "drop" and (busy or waiting):
            return f"{channel} drops messages while busy"
        if mailbox.bound is not None and len(waiting) >= mailbox.bound:
            return f"the mailbox of {channel} is full ({mailbox.bound} wait); try again later"
        if mailbox.policy == "latest" or mailbox.debounce_us:
            for message in waiting:
                self._turn_away(run, message, "a newer message took its place")
        return ""

    def _waiting(self, run: Run, channel: str) -> list[Message]:
        """Return the messages of one handler that wait, in the file and in this turn."""
        batch = self._engine.batch
        stored = [
            message
            for message in self._engine.store.waiting_on_channel(run.no, channel)
            if message.seq not in batch.taken
            and (not message.outside or message.seq in batch.admitted)
        ]
        for delayed in (False, True):
            posted = batch.posted.get((run.no, delayed))
            while posted and posted[0].n is not None:
                posted.popleft()
            stored += [m for m in posted or () if m.n is None and m.channel == channel]
        return stored

    def _turn_away(self, run: Run, message: Message, reason: str) -> None:
        """Write why a message will not be delivered, and tell whoever asks."""
        engine = self._engine
        refusal = failure.encode(failure.describe(Rejected(reason)))
        message.n = SUPERSEDED_N
        if message.seq is None:
            message.refusal = refusal
        else:
            engine.batch.taken.add(message.seq)
            engine.batch.writes.turned_away.append((engine.now_us, refusal, message.seq))
        if message.message_id is not None and message.kind == e.UPDATE:
            engine.inbox.tell_asker(run, message.message_id, None, refusal)
