"""The inbox: how messages reach runs and actors, from this process and from others."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from monolite.core import entry as e
from monolite.core import failure
from monolite.core.actor import ActorType
from monolite.core.admission import receive
from monolite.core.command import Tell
from monolite.core.entry import Accepted, Entry, Run, RunNo
from monolite.core.turn import ActorMachine, TurnDone
from monolite.errors import Rejected
from monolite.host.backlog import Backlog
from monolite.host.ending import ended_by, rejection, unknown
from monolite.host.events import Reply
from monolite.host.mailboxes import SUPERSEDED_N
from monolite.host.residency import WAKES_MAX
from monolite.host.resident import HOT, Resident
from monolite.store.protocol import End, Message

if TYPE_CHECKING:
    from monolite.host.engine import Engine

MESSAGES_MAX = 1_000
"""Messages from other processes taken in one turn."""

KEPT_ENTRIES = 256
"""Journal entries of an actor's past turns that are kept to look at."""

ORDERS = ""
"""The channel of what is not for a run's code: cancel, terminate, pause, resume."""

ASK_PREFIX = "monolite:ask:"
"""Begins the id of a message by which one run asks another, and names who asks."""


def ask_id(no: RunNo, key: str) -> str:
    """Return the message id of a run's question: the same in every replay."""
    return f"{ASK_PREFIX}{no}:{key}"


def read_ask_id(message_id: str) -> tuple[RunNo, str] | None:
    """Return which run's operation a message asks for, if it is such a question."""
    if not message_id.startswith(ASK_PREFIX):
        return None
    no, _, key = message_id.removeprefix(ASK_PREFIX).partition(":")
    return RunNo(int(no)), key


class Inbox:
    """Takes messages for the runs of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._named = 0
        """How many questions this engine has named: no two may have one name."""

    # From the file.

    def take_outside(self) -> None:
        """Take the messages and runs that other processes put into the file."""
        engine = self._engine
        messages = engine.store.messages_after(engine.last_seq, MESSAGES_MAX)
        self._take(messages)
        if messages:
            engine.batch.last_seq = messages[-1].seq or 0
        started = engine.residency.start_queued(engine.now_us)
        engine.message_due_us = engine.store.next_message_due_us()
        engine.must_look_outside = len(messages) == MESSAGES_MAX or started == WAKES_MAX

    def take_due(self) -> None:
        """Take the delayed messages whose time has come."""
        engine = self._engine
        messages = engine.store.messages_due(engine.now_us, MESSAGES_MAX)
        self._take(messages)
        for message in messages:
            if message.seq not in engine.batch.taken:
                self._keep(message)
        engine.must_retime = True

    def _keep(self, message: Message) -> None:
        """Leave a message waiting: for its turn alone, if it has waited for its time."""
        batch = self._engine.batch
        assert message.seq is not None
        admitted = message.seq in batch.admitted
        if message.due_us is not None:
            message.due_us = None
            self._backlog(message.run_no).ripen(message)
        elif not (message.outside and admitted):
            return
        if admitted:
            message.outside = None
        batch.writes.held.append((None, message.outside, message.seq))

    def _backlog(self, no: RunNo) -> Backlog:
        engine = self._engine
        found = engine.batch.backlogs.get(no)
        if found is None:
            found = Backlog(engine.store, no, engine.batch.taken)
            engine.batch.backlogs[no] = found
        return found

    def deliver_backlog(self, resident: Resident, *, begins: bool = False) -> None:
        """Give a run that comes into memory what waits for it, as far as it can take it.

        One that `begins` looks at all of it: until now nobody has judged what others put in.
        """
        last_seq = 0
        while begins or not resident.backlog:
            message = self._backlog(resident.run.no).next(last_seq)
            if message is None:
                return
            last_seq = message.seq or 0
            self.deliver_waiting(resident, message)
        # The rest waits for the end of a turn; only what is no message to the code overtakes it.
        for message in self._engine.store.waiting_on_channel(resident.run.no, ORDERS):
            if (message.seq or 0) > last_seq:
                self.deliver_waiting(resident, message)

    def _take(self, messages: list[Message]) -> None:
        for message in messages:
            assert message.seq is not None
            if message.seq not in self._engine.batch.taken:
                self._take_message(message)
                self._engine.run_work()

    def _take_message(self, message: Message) -> None:
        engine = self._engine
        if message.run_no in engine.residency:
            self.deliver_waiting(engine.residency.live[message.run_no], message)
            return
        run = engine.store.run(message.run_no)
        if run is None or run.ended:
            engine.succession.redirect_late(message)
            return
        if run.status == e.QUEUED:
            self._end_unstarted(run, message.kind, message.value)
            return
        resident = engine.resident(message.run_no)
        if resident is not None:  # (then it may have been delivered already)
            self.deliver_waiting(resident, message)
        elif message.kind == e.TERMINATE:
            self._end_unstarted(run, message.kind, message.value)
        elif message.kind == e.RETRY and engine.blocks.is_quarantined(run.no):
            seq = message.seq or 0
            engine.batch.taken.add(seq)
            engine.batch.writes.taken.append((SUPERSEDED_N, engine.now_us, seq))
            engine.blocks.pardon(run)

    def deliver_waiting(
        self, resident: Resident, message: Message, *, next_up: bool = False
    ) -> None:
        """Deliver an inbox row that waits, giving it its place in the journal."""
        engine = self._engine
        assert message.seq is not None
        if message.seq in engine.batch.taken or resident.run.ended:
            return
        if message.outside and not engine.mailboxes.let_in(resident, message):
            return
        if self._must_wait(resident, message, next_up=next_up):
            resident.backlog = True
            self._keep(message)
            return
        engine.batch.taken.add(message.seq)
        n, at_us = self._place(resident, message), engine.now_us
        engine.batch.writes.taken.append((n, at_us, message.seq))
        message.n = n
        self._deliver(resident, message)

    # From runs and callers of this process.

    def accept(
        self,
        id: str,
        kind: str,
        channel: str,
        value: str,
        message_id: str | None,
        *,
        actor: str | None = None,
        delay_us: int = 0,
        asker: Reply | None = None,
    ) -> Accepted:
        """Take a message into a run's inbox, if the run takes it.

        A message to an `actor` that does not exist yet brings it into being. An update without
        an id is answered to `asker`, who is in this process and asks no second time. Raises
        UnknownWorkflow if there is no such run, or no code for the actor.
        """
        engine = self._engine
        run = engine.newest(id)
        if actor is not None:
            type_ = engine.registry.find_actor(actor)
            if run is None or run.ended:
                run = self._new_actor(id, actor, type_, run)
        if run is None:
            raise unknown(id)
        if kind == e.ANSWER:
            return engine.deferrals.accept(run, channel, value, message_id)
        if kind in e.UNBLOCKING:
            return engine.blocks.accept(run, kind, channel, value, message_id)
        known = None if message_id is None else engine.store.answer(run, message_id)
        duplicate = known is not None or (run.id, message_id) in engine.batch.message_ids
        verdict = rejection(known)
        if verdict is None:
            verdict = receive(run, duplicate=duplicate)
        if verdict.accepted and not duplicate:
            verdict, delay_us = engine.mailboxes.admit(run, kind, channel, delay_us)
        if verdict.accepted and not duplicate:
            message = self.post(run, kind, channel, value, message_id, delay_us=delay_us)
            if asker is not None and message_id is None:
                engine.batch.unnamed.append((message, asker))
        return verdict

    def knows(self, run: Run, message_id: str | None) -> bool:
        """Return whether a message of this id was accepted before."""
        engine = self._engine
        return message_id is not None and (
            (run.id, message_id) in engine.batch.message_ids
            or engine.store.answer(run, message_id) is not None
        )

    def _new_actor(self, id: str, actor: str, type_: ActorType | None, old: Run | None) -> Run:
        engine = self._engine
        generation = 1 if old is None else old.generation + 1
        version = 0 if type_ is None else type_.version
        run = engine.births.new_run(id, actor, version, "[]", generation=generation)
        if type_ is not None:
            engine.births.begin(run, type_)
        else:
            run.status, run.started_us = e.QUEUED, None
            engine.must_look_outside = True
        return run

    def post(
        self,
        run: Run,
        kind: str,
        channel: str,
        value: str,
        message_id: str | None,
        *,
        delay_us: int = 0,
    ) -> Message:
        """Write a message and deliver it, or leave it waiting if the run cannot take it now."""
        engine = self._engine
        if message_id is not None:
            engine.batch.message_ids.add((run.id, message_id))
        message = Message(run.no, kind, channel, value, engine.now_us, message_id)
        engine.batch.writes.messages.append(message)
        if run.name in engine.registry.actors:
            posted = engine.batch.posted.setdefault((run.no, bool(delay_us)), deque())
            posted.append(message)
        if delay_us:
            message.due_us = engine.now_us + delay_us
            engine.must_retime = True
        elif run.status == e.QUEUED:
            engine.batch.early.setdefault(run.no, []).append(message)
            self._end_unstarted(run, kind, value)
        elif kind == e.TERMINATE:
            # It runs no code, and who takes the run's place must not find it alive.
            engine.urgent.append(partial(self.deliver_posted, run, message))
        else:
            engine.work.append(partial(self.deliver_posted, run, message))
        return message

    def answer_unnamed(self) -> None:
        """Answer those whose question had no id, or name it if its answer will come later."""
        batch = self._engine.batch
        for message, asker in batch.unnamed:
            if message.answer is not None or message.refusal is not None:
                batch.answers.append((asker, (message.answer, message.refusal)))
            else:
                self._named += 1
                name = f"monolite:post:{self._engine.store.epoch}:{self._named}"
                self._name(message, name)
                batch.askers.append((message.run_no, name, asker))

    def _name(self, message: Message, name: str) -> None:
        message.message_id = name
        resident = self._engine.residency.live.get(message.run_no)
        if resident is not None and message.n is not None:
            resident.machine.name_message(message.n, name)

    def deliver_posted(self, run: Run, message: Message, *, next_up: bool = False) -> None:
        """Deliver a message that this turn wrote."""
        resident = self._engine.resident(run.no)
        if resident is None:
            if message.kind == e.TERMINATE:
                self._end_unstarted(run, message.kind, message.value)
            elif message.kind == e.RETRY and self._engine.blocks.is_quarantined(run.no):
                message.n = SUPERSEDED_N
                self._engine.blocks.pardon(run)
        elif not resident.run.ended and message.n is None:
            if self._must_wait(resident, message, next_up=next_up):
                resident.backlog = True
                return
            message.n = self._place(resident, message)
            self._deliver(resident, message)

    def tell(self, tell: Tell) -> None:
        """Send what a run or a turn wants sent; what is refused is not the sender's to know.

        A message to an actor whose code is not here waits in the file for the code.
        """
        known = self._engine.registry.get_actor(tell.actor) is not None
        if not known:
            run = self._engine.newest(tell.id)
            if run is None or run.ended:
                self._new_actor(tell.id, tell.actor, None, run)
        self.accept(
            tell.id,
            tell.kind,
            tell.channel,
            tell.value,
            tell.message_id,
            actor=tell.actor if known else None,
            delay_us=tell.delay_us,
        )

    # Delivery.

    def _place(self, resident: Resident, message: Message) -> int:
        """Return a message's place in the journal; some leave no trace in it."""
        if message.kind in e.TRACELESS:
            return SUPERSEDED_N
        return resident.machine.next_n

    def _must_wait(self, resident: Resident, message: Message, *, next_up: bool = False) -> bool:
        """Return whether an actor is in mid-turn, or others came before this message."""
        if message.kind not in (e.SIGNAL, e.UPDATE):
            return False
        behind = resident.backlog and not next_up
        return behind or resident.paused or resident.busy

    def _pause(self, resident: Resident, *, paused: bool) -> None:
        engine = self._engine
        if resident.paused == paused:
            return
        resident.paused = paused
        words = resident.words() if paused else HOT
        resident.noted, resident.run.status = words, words.status
        engine.note(resident.run, words)
        engine.residency.touch(resident)
        if not paused:
            engine.operations.unpause(resident)
            if resident.backlog:
                engine.work.append(partial(self._next_message, resident))

    def _deliver(self, resident: Resident, message: Message) -> None:
        engine = self._engine
        if message.kind == e.TERMINATE:
            engine.terminate(resident, message.value)
            return
        if message.kind in (e.PAUSE, e.RESUME):
            self._pause(resident, paused=message.kind == e.PAUSE)
            return
        if message.kind == e.ANSWER:
            engine.deferrals.deliver(resident, message)
            return
        if message.kind in e.UNBLOCKING:
            engine.blocks.deliver(resident, message)
            return
        resident.message = message
        engine.feed(
            resident,
            Entry(
                resident.machine.next_n,
                engine.now_us,
                message.kind,
                message.channel,
                message.message_id,
                message.value,
            ),
        )

    def turn_done(self, resident: Resident, done: TurnDone) -> None:
        """Write what an actor's turn came to, and let the next message in."""
        engine, run = self._engine, resident.run
        machine = resident.machine
        assert isinstance(machine, ActorMachine)
        if engine.transacting == run.no:
            engine.transacting = None
            if done.error is not None:
                engine.store.undo()
        writes = engine.batch.writes
        # One row for all turns of this batch: what an earlier one wrote must not outlast a later.
        if done.state is not None:
            writes.retired.pop(run.no, None)
            writes.states[run.no] = (run.no, machine.version, done.state, machine.retired_n)
        elif run.no in writes.states:
            writes.states[run.no] = (*writes.states[run.no][:3], machine.retired_n)
        else:
            writes.retired[run.no] = (machine.retired_n, run.no)
        if machine.retired_n - machine.forgotten_n > 2 * KEPT_ENTRIES:
            machine.forgotten_n = machine.retired_n - KEPT_ENTRIES
            writes.forgotten.append((run.no, machine.forgotten_n))
        self._answer_turn(resident, done)
        for tell in done.messages:
            engine.work.append(partial(self.tell, tell))
        if resident.backlog:
            engine.work.append(partial(self._next_message, resident))

    def _answer_turn(self, resident: Resident, done: TurnDone) -> None:
        run, turn = resident.run, done.entry
        message, resident.message = resident.message, None
        if message is not None and message.seq is None and message.n == turn.n:
            # Written by this very batch: its row is born with the answer.
            message.answer, message.refusal = done.value, done.error
            if turn.kind == e.UPDATE and turn.args is not None:
                self.tell_asker(run, turn.args, done.value, done.error)
        elif turn.kind == e.UPDATE and turn.args is not None:
            self.reply(run, turn.args, done.value, done.error)
        elif done.error is not None:
            self._engine.batch.writes.refused.append((done.error, run.no, turn.n))

    def _next_message(self, resident: Resident) -> None:
        """Give an actor that is idle again the message that has waited longest."""
        engine = self._engine
        if resident.run.ended or resident.paused or resident.busy:
            return
        no = resident.run.no
        stored = self._backlog(no).next()
        if stored is not None:
            self.deliver_waiting(resident, stored, next_up=True)
            engine.work.append(partial(self._next_message, resident))
            return
        posted = engine.batch.posted.get((no, False))
        while posted and posted[0].n is not None:
            posted.popleft()
        if posted:
            self.deliver_posted(resident.run, posted[0], next_up=True)
            engine.work.append(partial(self._next_message, resident))
            return
        resident.backlog = False

    # Answers.

    def reply(self, run: Run, message_id: str, value: str | None, error: str | None) -> None:
        """Write an update's answer, and let its asker have it."""
        self._engine.batch.writes.replies.append((value, error, run.no, message_id))
        self.tell_asker(run, message_id, value, error)

    def tell_asker(self, run: Run, message_id: str, value: str | None, error: str | None) -> None:
        """Let whoever asked have an update's answer, once it is committed."""
        engine = self._engine
        engine.batch.replied.append((run.no, message_id, value, error))
        asker = read_ask_id(message_id)
        if asker is not None:
            no, key = asker
            engine.work.append(partial(engine.answer_run, no, key, value, error))

    def refuse(self, run: Run, message_id: str) -> None:
        """Refuse an update that its run has left unanswered."""
        error = failure.encode(failure.describe(Rejected(f"the run has {run.status}")))
        self.reply(run, message_id, None, error)

    def refuse_rest(self, resident: Resident) -> None:
        """Refuse what an ended run leaves: an actor's turn, and updates that waited behind it."""
        machine = resident.machine
        if isinstance(machine, ActorMachine) and machine.asked is not None:
            self.refuse(resident.run, machine.asked)
        if resident.backlog or resident.paused:
            self._refuse_waiting(resident.run)

    def _refuse_waiting(self, run: Run) -> None:
        engine = self._engine
        stored = engine.store.undelivered(run.no)
        posted = [m for m in engine.batch.writes.messages if m.run_no == run.no and m.n is None]
        for message in stored + posted:
            waits = message.seq is None or message.seq not in engine.batch.taken
            if message.kind == e.UPDATE and message.message_id is not None and waits:
                self.refuse(run, message.message_id)

    def _end_unstarted(self, run: Run, kind: str, value: str) -> None:
        """End a run that is asked to stop and has no code to ask: it has not started, or cannot."""
        unstarted = self._engine.batch.ended_unstarted
        if kind not in (e.CANCEL, e.TERMINATE) or run.ended or run.no in unstarted:
            return
        status = e.CANCELLED if kind == e.CANCEL else e.TERMINATED
        error = failure.encode(ended_by(status.capitalize(), run.id, value))
        run.status, run.error, run.ended_us = status, error, self._engine.now_us
        self._engine.batch.ended_unstarted[run.no] = run
        self._engine.queues.withdraw(run.no)
        self._refuse_waiting(run)
        end = End(run.no, status, None, error, self._engine.now_us)
        self._engine.batch.writes.ends.append(end)
        self._engine.tell_waiting(run, end.value, error)


def question(payload: str) -> tuple[str, str, str, str, str | None]:
    """Return (id, kind, channel, value, actor) of a run's question to another."""
    parts = msgspec.json.decode(payload, type=list[msgspec.Raw])
    id, kind, channel = (msgspec.json.decode(part, type=str) for part in parts[:3])
    actor = msgspec.json.decode(parts[4], type=str) if parts[4:] else None
    return id, kind, channel, bytes(parts[3]).decode(), actor
