"""A play: one machine, fed by hand; everything it asks is looked at; at the end it is replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from monolite.core import entry as e
from monolite.core import failure
from monolite.core.call import Call
from monolite.core.command import Abandon, Detach, Operation, Publish
from monolite.core.definition import Workflow
from monolite.core.duration import seconds
from monolite.core.entry import Entry, Run, RunNo
from monolite.core.machine import Machine
from monolite.core.payload import encode
from monolite.core.spawn import workflow_of

NOON_US = 1_767_268_800_000_000
"""2026-01-01 12:00:00 UTC, when every play begins."""

EVENTS_MAX = 10_000
"""More events than any test needs: a play that takes longer hangs."""


class Play:
    """One run: say what happens to it, then what it must have asked for."""

    def __init__(
        self,
        definition: Workflow[Any, Any],
        run: Run,
        journal: Sequence[Entry] = (),
        *,
        replaying: bool = False,
    ) -> None:
        self.definition = definition
        self.run = run
        self.now_us = NOON_US
        self.journal: list[Entry] = []
        self.asked: list[str] = []
        self._seen = 0
        self.machine = Machine(run, definition)
        self.machine.replaying = replaying
        self.machine.start(NOON_US)
        self._listen()
        try:
            for entry in journal:
                self.now_us = max(self.now_us, entry.at_us)
                self._deliver(entry)
        except BaseException:
            self.machine.unload()
            raise
        self.machine.replaying = False

    # What happens to it.

    def answer(self, key: str, value: Any = None) -> Play:
        """Let the operation `key` end with `value`."""
        return self._answer(key, encode(value, key), None)

    def fail(self, key: str, error: BaseException) -> Play:
        """Let the operation `key` end with `error`."""
        return self._answer(key, None, failure.encode(failure.describe(error)))

    def signal(self, name: str, value: Any) -> Play:
        return self._happens(e.SIGNAL, name, None, encode(value, name))

    def cancel(self, reason: str = "") -> Play:
        return self._happens(e.CANCEL, "", None, encode(reason, "reason"))

    def ring(self) -> Play:
        """Let the next timer fire, at its time."""
        timer = self.machine.next_timer
        assert timer is not None, f"no timer is set: {self.machine.waiting_on()}"
        self.now_us = max(self.now_us, timer.due_us)
        return self._happens(e.TIMER, f"timer#{timer.number}", str(timer.delay_us))

    def skip(self, duration: float | str) -> Play:
        """Let time pass, and every timer in it fire."""
        end_us = self.now_us + round(seconds(duration) * 1_000_000)
        while (timer := self.machine.next_timer) is not None and timer.due_us <= end_us:
            self.ring()
        self.now_us = end_us
        return self

    def to_the_end(self, answer: Callable[[Operation], Any] | None = None) -> Play:
        """Answer what is asked and let timers fire, until the run ends."""
        for _ in range(EVENTS_MAX):
            if self.machine.outcome is not None:
                return self
            pending = next(iter(self.machine.operations.values()), None)
            if pending is not None:
                self.answer(pending.key, (answer or _result_of)(pending))
            else:
                self.ring()
        msg = f"the run does not end: it waits for {self.machine.waiting_on()}"
        raise AssertionError(msg)

    # What it must have asked for.

    def asks(self, *words: str) -> Play:
        """Expect exactly these requests since the last look."""
        fresh = self.asked[self._seen :]
        self._seen = len(self.asked)
        assert fresh == list(words)
        return self

    def completes(self, value: Any = None) -> Play:
        """Expect the run to have ended with `value`, and to have asked nothing more."""
        outcome = self.machine.outcome
        assert outcome is not None, f"it still waits for {self.machine.waiting_on()}"
        assert (outcome.status, outcome.error) == (e.COMPLETED, None)
        assert outcome.value is not None
        assert msgspec.json.decode(outcome.value) == value
        return self.asks()

    def fails(self, summary: str) -> Play:
        """Expect the run to have failed with this "Type: message"."""
        assert self._error(e.FAILED).summary() == summary
        return self.asks()

    def is_cancelled(self, reason: str = "") -> Play:
        found = self._error(e.CANCELLED)
        assert found.type == "Cancelled"
        assert found.fields == {"id": self.run.id, "reason": reason}
        return self.asks()

    def goes_on(self, waiting_on: str | None = None) -> Play:
        """Expect the run to be open, and to say what it waits for."""
        assert self.machine.outcome is None
        if waiting_on is not None:
            assert self.machine.waiting_on() == waiting_on
        return self

    def all_seen(self) -> Play:
        """Look at everything asked so far, whatever it was."""
        self._seen = len(self.asked)
        return self

    @property
    def result(self) -> Any:
        outcome = self.machine.outcome
        assert outcome is not None, f"it still waits for {self.machine.waiting_on()}"
        assert outcome.value is not None, outcome.error
        return msgspec.json.decode(outcome.value)

    @property
    def elapsed_s(self) -> float:
        return (self.now_us - NOON_US) / 1_000_000

    def replayed(self, definition: Workflow[Any, Any] | None = None) -> Play:
        """Return a new machine of the same run, fed the same entries, perhaps of other code."""
        return Play(definition or self.definition, self.run, self.journal, replaying=True)

    def state(self) -> dict[str, Any]:
        """Return everything that a replay must bring back."""
        machine = self.machine
        return {
            "outcome": machine.outcome,
            "operations": [
                (o.key, o.kind, o.args, o.payload, o.order) for o in machine.operations.values()
            ],
            "timers": [(t.number, t.delay_us, t.due_us) for t in machine.timers.values()],
            "tasks": [t.order for t in machine.loop.live_tasks()],
            "waiting_on": machine.waiting_on(),
            "next_n": machine.next_n,
            "now_us": machine.now_us,
            "order": machine.loop.next_order(),
            "random": machine.random.random(),
            "uuid": machine.uuid4(),
        }

    def close(self) -> None:
        """Expect that nothing else was asked, and that a replay gives the same machine."""
        self.asks()
        again = self.replayed()
        try:
            assert again.asked == [words for words in self.asked if _survives_replay(words)]
            assert again.state() == self.state()
        finally:
            self.machine.unload()
            again.machine.unload()

    # Inside.

    def _error(self, status: str) -> failure.Failure:
        outcome = self.machine.outcome
        assert outcome is not None, f"it still waits for {self.machine.waiting_on()}"
        assert (outcome.status, outcome.value) == (status, None)
        assert outcome.error is not None
        return failure.decode(outcome.error)

    def _answer(self, key: str, value: str | None, error: str | None) -> Play:
        operation = self.machine.operations.get(key)
        assert operation is not None, f"{key} is not asked for: {self.machine.waiting_on()}"
        return self._happens(operation.kind, key, operation.args, value, error)

    def _happens(
        self,
        kind: str,
        key: str,
        args: str | None,
        value: str | None = None,
        error: str | None = None,
    ) -> Play:
        self._deliver(Entry(self.machine.next_n, self.now_us, kind, key, args, value, error))
        return self

    def _deliver(self, entry: Entry) -> None:
        self.journal.append(entry)
        self.machine.deliver(entry)
        self._listen()

    def _listen(self) -> None:
        self.asked += [words_of(command) for command in self.machine.take_commands()]


def _result_of(operation: Operation) -> Any:
    """Run the function that an operation calls."""
    call = operation.call
    assert call is not None
    return call.definition.fn(*call.args, **call.kwargs)


def words_of(command: Operation | Publish | Abandon | Detach) -> str:
    """Return a command as a test writes it."""
    match command:
        case Operation():
            return command.request()
        case Publish():
            return f"view {command.name} = {command.value}"
        case Abandon():
            return f"abandon {command.operation.key}"
        case Detach():
            return f"detach {command.id}"


def _survives_replay(words: str) -> bool:
    """Views and detached runs were committed with their turn: a replay drops them."""
    return not words.startswith(("view ", "detach "))


class Stage:
    """Where plays are given; at the end each is closed."""

    def __init__(self) -> None:
        self._plays: list[Play] = []

    def start(self, call: Call[Any], *, id: str = "run") -> Play:
        """Begin a run of this call at noon."""
        definition = workflow_of(call)
        call.claim("play it again")
        run = Run(
            no=RunNo(2),
            id=id,
            generation=1,
            name=definition.name,
            version=definition.version,
            status=e.RUNNING,
            args=definition.signature.encode(call.args, call.kwargs),
            created_us=NOON_US,
            started_us=NOON_US,
        )
        return self.enter(Play(definition, run))

    def enter(self, play: Play) -> Play:
        """Take a play in, to be closed with the others."""
        self._plays.append(play)
        return play

    def run(self, call: Call[Any]) -> Any:
        """Play a call to its end in virtual time and return its result."""
        return self.start(call).to_the_end().all_seen().result

    def close(self) -> None:
        for play in self._plays:
            play.close()
