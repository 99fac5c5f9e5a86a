"""The machine: one run of a workflow, without I/O. Journal entries in, commands out.

Rules:
1. Everything a run sees comes in through `start` and `deliver`; everything it wants goes out
   through `take_commands`. The machine never acts.
2. One entry at a time: deliver, run the code until it is quiet, then the next. Live execution
   and replay are this same path; a replayed run only has its commands dropped.
3. An operation's key is its name and occurrence (`charge#2`), claimed when it is requested. An
   entry must answer an operation that is pending under its kind, key and arguments at that very
   moment; otherwise the code has changed: `Diverged`, and the machine must be thrown away.
"""

from __future__ import annotations

import heapq
import random
import uuid
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any, TypeVar, cast
from zlib import crc32

import msgspec

from monolite.core import entry as e
from monolite.core import failure
from monolite.core.call import Call
from monolite.core.command import (
    Abandon,
    Append,
    Channel,
    Command,
    ContinueAsNew,
    Detach,
    Mark,
    Operation,
    Publish,
    Reply,
    Tell,
)
from monolite.core.definition import Definition, Workflow
from monolite.core.entry import Entry, Outcome, Run
from monolite.core.handler import Handler
from monolite.core.loop import OrderedTask, Timer, WorkflowLoop
from monolite.core.payload import encode
from monolite.core.position import where_raised, where_waiting
from monolite.core.transaction import Transaction
from monolite.errors import Cancelled, Diverged, Misused

T = TypeVar("T")

HEAP_SLACK = 64
"""Cancelled timers stay in the heap until they outnumber the others, or this."""

ASKED_MAX = 8
"""Operations named in a divergence; a run may have thousands."""


class Unloaded(BaseException):
    """The run is leaving memory; it goes on later from its journal. Never caught, never recorded.

    A BaseException, so that `except Exception` in workflow code does not swallow it.
    """


class Machine:
    """One run of a workflow. See the module's rules."""

    __slots__ = (
        "_cancel_reason",
        "_channels",
        "_commands",
        "_counts",
        "_definition",
        "_main",
        "_random",
        "_seed",
        "_sweeping",
        "_timer_count",
        "_timer_heap",
        "_unpatched",
        "_uuids",
        "loop",
        "next_n",
        "now_us",
        "operations",
        "outcome",
        "patches",
        "replaying",
        "run",
        "seed",
        "timers",
        "unanswered",
    )

    def __init__(self, run: Run, definition: Workflow[Any, Any] | None) -> None:
        self.run = run
        self.seed = run.seed or f"{run.id}/{run.generation}/{run.created_us}"
        self._seed = self.seed
        self.loop: WorkflowLoop = WorkflowLoop(self, crc32(self.seed.encode()) << 24)
        self.now_us = run.created_us
        self.next_n = 0
        self.replaying = False
        self.outcome: Outcome | None = None
        self.operations: dict[str, Operation] = {}
        self.patches: set[str] = set()
        """The marks of `patched` in the journal; set before a replay begins."""
        self._unpatched: set[str] = set()
        self.unanswered: dict[str, None] = {}
        self.timers: dict[int, Timer] = {}
        self._timer_heap: list[Timer] = []
        self._timer_count = 0
        self._definition: Definition[Any] | None = definition
        self._counts: dict[str, int] = {}
        self._channels: dict[str, Channel] = {}
        self._commands: list[Command] = []
        self._main: OrderedTask[Any] | None = None
        self._cancel_reason: str | None = None
        self._sweeping = False
        self._random: random.Random | None = None
        self._uuids: random.Random | None = None

    # What the engine feeds it.

    def start(self, now_us: int) -> None:
        """Begin the run at `now_us` and run until quiet; bad arguments end it as failed."""
        assert self._main is None, "a machine starts once"
        assert self._definition is not None
        self.now_us = now_us
        try:
            args, kwargs = self._definition.signature.decode(self.run.args)
            coro = self._definition.fn(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - recorded as the run's own failure
            self._fail(error)
            return
        self._main = self.loop.create_task(coro, name=self.run.name, context=Context())
        self._run()

    def deliver(self, entry: Entry) -> None:
        """Feed one entry and run until quiet; raise Diverged if the code does not ask for it."""
        assert entry.n == self.next_n, f"entry {entry.n} delivered where {self.next_n} is next"
        if entry.kind == e.PATCH:
            self.next_n += 1  # `patched` looked ahead for it
            return
        if self.outcome is not None:
            raise self._diverged(entry)
        self.next_n += 1
        self.now_us = max(self.now_us, entry.at_us)
        kind = entry.kind
        if kind == e.ACTIVITY:
            self._answer(entry)
        elif kind == e.SIGNAL:
            self.channel(entry.key).push(entry)
        elif kind == e.UPDATE:
            self.unanswered[entry.args or ""] = None
            self.channel(entry.key).push(entry)
        elif kind == e.TIMER:
            self._fire(entry)
        elif kind == e.CANCEL:
            self._cancel(entry)
        else:
            self._answer(entry)
        self._run()

    def take_commands(self) -> list[Command]:
        """Return what the run asked for since the last time, in order."""
        commands = self._commands
        self._commands = []
        return commands

    def unload(self) -> None:
        """Drop the run from memory. Its journal is all that it needs to come back."""
        self.loop.unload()
        self.operations.clear()
        self.timers.clear()
        self._timer_heap.clear()
        self._channels.clear()

    def retire(self) -> None:
        """Let go of an ended run's memory without waiting for the garbage collector."""
        self.loop.retire()
        self._main = None
        self.operations.clear()
        self.timers.clear()
        self._timer_heap.clear()
        self._channels.clear()

    # What the engine asks of it.

    @property
    def next_timer(self) -> Timer | None:
        """The pending timer that is due first."""
        heap = self._timer_heap
        while heap and heap[0].is_cancelled:
            heapq.heappop(heap)
        return heap[0] if heap else None

    def waiting_on(self) -> str:
        """Return in words what the run waits for, the most telling first."""
        parts = [
            f"signal {name}"
            for name, channel in self._channels.items()
            if any(not waiter.done() for waiter in channel.waiters)
        ]
        parts += [
            f"{operation.kind} {operation.key}"
            for operation in self.operations.values()
            if operation.kind != e.ACTIVITY
        ]
        if not parts and not self.operations and self.next_timer is None:
            return "something that no entry will answer"
        return ", ".join(parts)

    # What workflow code asks, through `Call`, `Signal`, `View` and the functions of `context`.

    def perform(self, call: Call[Any]) -> Generator[Any, Any, Any]:
        """Request an activity or a child, and return what awaits its outcome."""
        if call.opts.queue is not None and isinstance(call.definition, (Handler, Transaction)):
            msg = f"{call!r} runs in the turn itself; activities and workflows go through queues"
            raise Misused(msg)
        if isinstance(call.definition, Handler):
            return self._perform_handler(call, call.definition).__await__()
        kind = e.ACTIVITY
        if isinstance(call.definition, Workflow):
            kind = e.CHILD
        elif isinstance(call.definition, Transaction):
            kind = e.TRANSACTION
        return self.request(kind, call.name, call).__await__()

    async def _perform_handler(self, call: Call[Any], handler: Handler[..., Any]) -> Any:
        """Ask an actor, or tell it something."""
        address = call.address
        if address is None:
            msg = f"{call!r} is addressed to no actor; make the call with actor(...)"
            raise Misused(msg)
        text = handler.signature.encode(call.args, call.kwargs)
        if handler.kind == e.SIGNAL:
            self.tell(Tell(address.id, address.actor, e.SIGNAL, handler.method, text))
            return None
        kind = e.ASK if handler.kind == e.UPDATE else e.QUERY
        request = encode(
            [address.id, handler.kind, handler.method, msgspec.Raw(text.encode()), address.actor],
            f"call of {call.name}",
        )
        answer = await self.ask(kind, call.name, address.id, request)
        return handler.signature.result.decode(answer, f"recorded result of {call.name}")

    def request(self, kind: str, name: str, call: Call[Any]) -> Operation:
        """Claim the next key of `name` and emit the operation.

        Raises TypeError if the function does not take these arguments: no attempt would help.
        """
        call.definition.signature.check(call.args, call.kwargs)
        payload = call.definition.signature.encode(call.args, call.kwargs)
        return self.emit(Operation(self, kind, self.claim_key(name), payload, call))

    def ask(self, kind: str, name: str, target: str, payload: str) -> Operation:
        """Request something of another run (a message, its result), answered by an entry."""
        operation = Operation(self, kind, self.claim_key(name), payload, None)
        operation.target = target
        return self.emit(operation)

    def claim_key(self, name: str) -> str:
        """Return `name#n` for the n-th time this run asks for `name`."""
        if self.loop.closing:
            raise Unloaded
        count = self._counts.get(name, 0) + 1
        self._counts[name] = count
        return f"{name}#{count}"

    def detach(self, id: str, key: str, call: Call[Any]) -> None:
        """Start a run under an id of this run's own making, which nobody else can have taken."""
        payload = call.definition.signature.encode(call.args, call.kwargs)
        if not self.replaying:
            self._commands.append(Detach(id, key, call, payload))

    def abandon(self, operation: Operation) -> None:
        """Forget an operation that the code no longer waits for."""
        if self.operations.pop(operation.key, None) is not None:
            self._commands.append(Abandon(operation))

    def publish(self, name: str, value: str) -> None:
        """Set a view. A replayed set was committed with its turn, so it is dropped."""
        self._must_be_loaded()
        if not self.replaying:
            self._commands.append(Publish(name, value))

    def tell(self, message: Tell) -> None:
        """Send a message to an actor with this turn's commit."""
        self._must_be_loaded()
        if not self.replaying:
            self._commands.append(message)

    def restart_counts(self, seed: str) -> None:
        """Begin the numbering of keys, timers and random numbers anew, for a turn."""
        self._counts.clear()
        self._unpatched.clear()
        self._timer_count = 0
        self._seed = seed
        self._random = self._uuids = None

    def drop_timers(self) -> None:
        """Cancel what a turn that has ended had set."""
        self.timers.clear()
        self._timer_heap.clear()

    def append(self, name: str, value: str) -> None:
        """Append to a stream. A replayed item was committed with its turn, so it is dropped."""
        self._must_be_loaded()
        if not self.replaying:
            self._commands.append(Append(name, value))

    def reply(self, message_id: str, value: str | None, error: str | None) -> bool:
        """Answer an update, once; return whether it was still unanswered."""
        self._must_be_loaded()
        if message_id not in self.unanswered:
            return False
        del self.unanswered[message_id]
        if not self.replaying:
            self._commands.append(Reply(message_id, value, error))
        return True

    def name_message(self, n: int, message_id: str) -> None:
        """Give the update delivered as entry `n` an id, because its answer comes later."""
        for channel in self._channels.values():
            channel.buffer = deque(
                msgspec.structs.replace(x, args=message_id) if x.n == n else x
                for x in channel.buffer
            )

    def patched(self, name: str) -> bool:
        """Return whether this run takes the new path: always, unless it went by before it was."""
        self._must_be_loaded()
        if name in self.patches:
            return True
        if self.replaying or name in self._unpatched:
            # For good: a later "yes" would hold for this place too in the next replay.
            self._unpatched.add(name)
            return False
        self.patches.add(name)
        self._commands.append(Mark(name))
        return True

    def unreceived(self) -> list[Entry]:
        """Return the messages that were delivered and never received, in order."""
        waiting = [entry for channel in self._channels.values() for entry in channel.buffer]
        return sorted(waiting, key=lambda entry: entry.n)

    def channel(self, name: str) -> Channel:
        """Return the channel of `name`, made when first needed."""
        found = self._channels.get(name)
        if found is None:
            found = self._channels[name] = Channel()
        return found

    async def receive(self, name: str) -> Entry:
        """Return the next message of a channel, waiting for it if there is none."""
        self._must_be_loaded()
        channel = self.channel(name)
        while not channel.buffer:
            waiter = self.loop.create_future()
            channel.waiters.append(waiter)
            try:
                await waiter
            except CancelledError:
                # The message that woke this waiter belongs to the next one.
                if waiter.done() and not waiter.cancelled() and channel.buffer:
                    channel.wake_one()
                raise
        return channel.buffer.popleft()

    def arm(
        self,
        due_us: int,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        context: Context,
    ) -> Timer:
        self._must_be_loaded()
        self._timer_count += 1
        timer = Timer(
            callback,
            args,
            context,
            number=self._timer_count,
            now_us=self.now_us,
            due_us=due_us,
            on_cancel=self._disarm,
        )
        self.timers[timer.number] = timer
        heapq.heappush(self._timer_heap, timer)
        return timer

    @property
    def random(self) -> random.Random:
        """The run's own random numbers: the same in every replay."""
        if self._random is None:
            self._random = random.Random(f"random/{self._seed}")
        return self._random

    def uuid4(self) -> uuid.UUID:
        """Return the run's next UUID: the same in every replay."""
        if self._uuids is None:
            self._uuids = random.Random(f"uuid/{self._seed}")
        return uuid.UUID(int=self._uuids.getrandbits(128), version=4)

    # Inside.

    def _must_be_loaded(self) -> None:
        if self.loop.closing:
            raise Unloaded

    def emit(self, operation: Operation) -> Operation:
        self.operations[operation.key] = operation
        self._commands.append(operation)
        return operation

    def _disarm(self, timer: Timer) -> None:
        self.timers.pop(timer.number, None)
        if len(self._timer_heap) > max(HEAP_SLACK, 2 * len(self.timers)):
            self._timer_heap = [t for t in self._timer_heap if not t.is_cancelled]
            heapq.heapify(self._timer_heap)

    def _fire(self, entry: Entry) -> None:
        number = int(entry.key.partition("#")[2])
        timer = self.timers.get(number)
        if timer is None or str(timer.delay_us) != entry.args:
            raise self._diverged(entry)
        del self.timers[number]
        timer.is_cancelled = True  # the heap drops it lazily
        self.loop.call_soon(timer.callback, *timer.args, context=timer.context)

    def _cancel(self, entry: Entry) -> None:
        if self._cancel_reason is not None:
            return  # asking again must not interrupt the clean-up that the first one began
        reason = msgspec.json.decode(entry.value or '""')
        self._cancel_reason = str(reason)
        assert self._main is not None
        if not self._main.done():
            self._main.cancel(self._cancel_reason or None)
        else:
            self._sweep()

    def _answer(self, entry: Entry) -> None:
        operation = self.operations.get(entry.key)
        if operation is None or operation.kind != entry.kind or operation.args != entry.args:
            raise self._diverged(entry)
        del self.operations[entry.key]
        if operation.kind == e.SPAWN and entry.value == e.LINKED:
            # From here on the child's own outcome may come, whether or not anyone asks for it.
            self._adopt(operation)
        if entry.error is not None:
            error = failure.rebuild(failure.decode(entry.error))
            operation.set_exception(error)
            return
        try:
            value = self._decode(operation, entry)
        except BaseException as error:  # noqa: BLE001 - a changed return type is the code's to handle
            operation.set_exception(error)
        else:
            operation.set_result(value)

    def _adopt(self, spawn: Operation) -> None:
        assert spawn.child_key is not None
        child = Operation(self, e.CHILD, spawn.child_key, spawn.child_payload or "[]", spawn.call)
        child.target = spawn.target
        self.operations[child.key] = child
        spawn.child = child

    def _decode(self, operation: Operation, entry: Entry) -> Any:
        text = entry.value or "null"
        if operation.call is None or operation.kind == e.SPAWN:
            return text
        if entry.value is None:
            return None  # skipped
        return operation.call.definition.signature.result.decode(
            text, f"recorded result of {operation.key}"
        )

    def _run(self) -> None:
        self.loop.run_until_quiet()
        crash = self.loop.crash
        if crash is not None:
            self._fail(crash)
            return
        main = self._main
        if main is not None and main.done() and self.outcome is None:
            self._conclude(main)

    def _conclude(self, main: OrderedTask[Any]) -> None:
        """End the run once the main task is done and its leftover tasks have cleaned up."""
        if not self._swept():
            return
        if main.cancelled():
            reason = self._cancel_reason or ""
            error = failure.describe(Cancelled(self.run.id, reason))
            self.outcome = Outcome(e.CANCELLED, error=failure.encode(error))
            return
        error_raised = main.exception()
        if isinstance(error_raised, ContinueAsNew):
            self._continue(error_raised)
            return
        if error_raised is not None:
            self._fail(error_raised)
            return
        try:
            value = encode(main.result(), f"result of workflow {self.run.name}")
        except BaseException as error:  # noqa: BLE001 - recorded as the run's own failure
            self._fail(error)
        else:
            self.outcome = Outcome(e.COMPLETED, value=value)

    def _continue(self, again: ContinueAsNew) -> None:
        call = again.call
        try:
            call.claim("continue with it again")
            call.definition.signature.check(call.args, call.kwargs)
            args = call.definition.signature.encode(call.args, call.kwargs)
        except BaseException as error:  # noqa: BLE001 - recorded as the run's own failure
            self._fail(error)
            return
        if call.definition.name != self.run.name:
            wanted = f"ContinueAsNew takes a call of {self.run.name!r}, not of {call.name!r}"
            self._fail(Misused(wanted))
            return
        self.outcome = Outcome(e.CONTINUED, value=args)

    def _swept(self) -> bool:
        """Return whether no task is left, having cancelled those that were."""
        if self.loop.live_tasks() and not self._sweeping:
            self._sweep()
            self.loop.run_until_quiet()
        if self.loop.live_tasks():
            return False
        self._sweeping = False
        return True

    def _sweep(self) -> None:
        """Cancel what the main task left running, as `asyncio.run` does at its end."""
        self._sweeping = True
        for task in list(self.loop.live_tasks()):
            task.cancel()

    def _fail(self, error: BaseException) -> None:
        if self.outcome is None:
            self.outcome = Outcome(e.FAILED, error=failure.encode(failure.describe(error)))

    # Divergence.

    def check_replayed(self, recorded: int) -> None:
        """Raise Diverged if the code ended before the journal did (`recorded` entries)."""
        if self.outcome is not None and self.next_n < recorded:
            raise Diverged(
                expected=f"{recorded - self.next_n} more entries",
                actual=f"nothing more: the workflow {self.outcome.status}",
                at=f"{self.run.id} entry {self.next_n}",
            )

    def _diverged(self, entry: Entry) -> Diverged:
        return Diverged(
            expected=entry.request(),
            actual=self.asks_for(),
            at=f"{self.run.id} entry {entry.n}",
        )

    def asks_for(self) -> str:
        """Return what the code asks for now, and where in the user's code it waits."""
        if self.outcome is not None:
            return f"nothing: the workflow {self.outcome.status}{self._why()}"
        asked = [operation.request() for operation in self.operations.values()]
        asked += [
            e.describe_request(e.TIMER, f"timer#{t.number}", str(t.delay_us))
            for t in self.timers.values()
        ]
        asked += [f"signal {n}" for n, c in self._channels.items() if c.waiters]
        places = where_waiting(cast("list[Any]", self.loop.live_tasks()))
        listed = ", ".join(asked[:ASKED_MAX]) + (", ..." if len(asked) > ASKED_MAX else "")
        return (listed or "nothing") + (f" (at {', '.join(places)})" if places else "")

    def _why(self) -> str:
        """Return the exception that ended the run and where it was raised, if one did."""
        if self.outcome is None or self.outcome.error is None:
            return ""
        why = f" with {failure.decode(self.outcome.error).summary()}"
        main = self._main
        raised = main is not None and main.done() and not main.cancelled()
        error = main.exception() if main is not None and raised else None
        place = None if error is None else where_raised(error)
        return why if place is None else f"{why} (at {place})"
