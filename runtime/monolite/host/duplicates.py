"""Duplicates: who waits in a queue under a dedupe key, so that a spawn can join or replace it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monolite.core import entry as e
from monolite.core.entry import Run, RunNo
from monolite.host.events import Spawn
from monolite.store.protocol import Requeue

if TYPE_CHECKING:
    from monolite.host.engine import Engine


class Duplicates:
    """The dedupe keys that one turn of an engine has to do with.

    What it believes of them is checked inside its commit: another process may have put somebody
    else there, or have put off who waits. Then the turn is repeated.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._standing: dict[tuple[str, str], Run | None] = {}
        self.put_off: dict[RunNo, None] = {}
        """Runs that wait anew: in the file they may be due."""

    def waiting(self, queue: str, dedupe: str) -> Run | None:
        """Return the run that waits in a queue under this key."""
        key, batch = (queue, dedupe), self._engine.batch
        if key not in self._standing:
            found = self._engine.store.deduped(queue, dedupe)
            run = None if found is None else self._engine.store.run(found[0])
            self._standing[key] = run
            batch.writes.deduped[key] = None if run is None else (run.no, run.queued_us or 0)
        run = self._standing[key]
        gone = run is None or run.status != e.QUEUED or run.no in batch.ended_unstarted
        return None if gone else run

    def stands(self, run: Run) -> None:
        """Let a run that this turn spawned stand for its key."""
        assert run.queue is not None
        assert run.dedupe is not None
        self._standing[run.queue, run.dedupe] = run

    def begins(self, run: Run, *, fresh: bool) -> None:
        """Note that a run waits no longer, provided that it is as we know it."""
        assert run.queue is not None
        assert run.dedupe is not None
        key = (run.queue, run.dedupe)
        if not fresh and key not in self._standing:
            self._engine.batch.writes.deduped[key] = (run.no, run.queued_us or 0)
        self._standing[key] = None

    def debounce(self, run: Run, event: Spawn, version: int, debounce_us: int) -> None:
        """Let a run that waits wait anew, and take other arguments."""
        engine = self._engine
        engine.queues.withdraw(run.no)
        due_us = engine.now_us + debounce_us
        run.args, run.version = event.args, version
        run.wake_at_us = run.queued_us = due_us
        self.put_off[run.no] = None
        if run.no not in engine.queues.fresh:  # else its row is yet to be written
            engine.batch.writes.requeues.append(
                Requeue(run.args, version, due_us, due_us, engine.now_us, run.no)
            )
        engine.residency.expect(due_us)

    def clear(self) -> None:
        """Forget the turn."""
        self._standing.clear()
        self.put_off.clear()
