"""The audience: who waits for a run's end, for an answer, or for what a run shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from monolite.core import entry as e
from monolite.core import failure
from monolite.core.entry import Run, RunNo
from monolite.errors import Rejected
from monolite.host.batch import Batch
from monolite.host.ending import unknown
from monolite.host.events import AwaitEnd, Post, Reply, Sink, Unawait, Unwatch, Watch
from monolite.store.protocol import End

if TYPE_CHECKING:
    from monolite.host.engine import Engine

STREAM_PREFIX = "stream:"
"""Tells watchers of a stream from those of a view of the same name; they are told to look."""


class Audience:
    """Those in this process who wait for something of the runs of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiters: dict[RunNo, list[Reply]] = {}
        self._askers: dict[tuple[RunNo, str], list[Reply]] = {}
        self._callers: dict[Reply, tuple[str, str]] = {}
        """(asking run, asked run) of the askers that are activities."""
        self._watchers: dict[tuple[RunNo, str], list[Sink]] = {}

    def released(self, batch: Batch) -> None:
        """Seat those who came in a turn, and tell everybody what its commit brought."""
        for no, reply in batch.waiters:
            self._waiters.setdefault(no, []).append(reply)
        for no, message_id, reply in batch.askers:
            self._askers.setdefault((no, message_id), []).append(reply)
            if reply in batch.callers:
                self._callers[reply] = batch.callers[reply]
        self._tell_askers(batch)
        if batch.successors:
            for new_no, old_no in batch.successors:
                self._succeed(new_no, old_no)
            self._tell_askers(batch)  # what the new run has answered already
        for no, name, text in batch.writes.views:
            batch.pushes += [(sink, text) for sink in self._watchers.get((no, name), ())]
        for no, name in {(no, name) for no, name, _ in batch.streams}:
            sinks = self._watchers.get((no, STREAM_PREFIX + name), ())
            batch.pushes += [(sink, "") for sink in sinks]
        for run, name, sink in batch.watchers:
            self._begin_watch(run, name, sink)
        for end in batch.writes.ends:
            self._tell_ended(end)

    def on_await_end(self, event: AwaitEnd) -> None:
        run = self._engine.newest(event.id)
        if run is None:
            self._engine.batch.refusals.append((event.reply, unknown(event.id)))
        elif run.ended and run.ended_us is not None:
            end = End(run.no, run.status, run.value, run.error, run.ended_us)
            self._engine.batch.answers.append((event.reply, end))
        else:
            self._engine.batch.waiters.append((run.no, event.reply))

    def on_unawait(self, event: Unawait) -> None:
        """Let go of an answer: waiting with a time limit, over and over, must not pile them up."""
        gone, batch = event.reply, self._engine.batch
        batch.waiters = [seat for seat in batch.waiters if seat[-1] is not gone]
        batch.askers = [seat for seat in batch.askers if seat[-1] is not gone]
        _leave(self._waiters, gone)
        _leave(self._askers, gone)
        self._callers.pop(gone, None)
        self._engine.batch.callers.pop(gone, None)

    def asked_by(self, id: str) -> list[str]:
        """Return the runs whose answers the activities of a run wait for."""
        callers = [*self._callers.values(), *self._engine.batch.callers.values()]
        return [asked for caller, asked in callers if caller == id]

    def on_watch(self, event: Watch) -> None:
        run = self._engine.newest(event.id)
        if run is None:
            self._engine.batch.refusals.append((event.reply, unknown(event.id)))
            return
        self._engine.batch.answers.append((event.reply, None))
        self._engine.batch.watchers.append((run, event.name, event.sink))

    def on_unwatch(self, event: Unwatch) -> None:
        for key, sinks in list(self._watchers.items()):
            if event.sink in sinks:
                sinks.remove(event.sink)
                if not sinks:
                    del self._watchers[key]

    def await_answer(self, event: Post) -> None:
        run = self._engine.newest(event.id)
        assert run is not None
        assert event.message_id is not None
        known = self._engine.store.answer(run, event.message_id)
        if known is not None and known != (None, None):
            self._engine.batch.answers.append((event.reply, known))
        else:
            self._engine.batch.askers.append((run.no, event.message_id, event.reply))

    def _succeed(self, new_no: RunNo, old_no: RunNo) -> None:
        """Let those who wait for a run wait for the one that continues it."""
        if old_no in self._waiters:
            self._waiters.setdefault(new_no, []).extend(self._waiters.pop(old_no))
        if old_no in self._engine.links:
            moved = [
                msgspec.structs.replace(x, target_no=new_no) for x in self._engine.links.pop(old_no)
            ]
            self._engine.links.setdefault(new_no, []).extend(moved)
        for key in [key for key in self._watchers if key[0] == old_no]:
            self._watchers.setdefault((new_no, key[1]), []).extend(self._watchers.pop(key))
        for key in [key for key in self._askers if key[0] == old_no]:
            self._askers.setdefault((new_no, key[1]), []).extend(self._askers.pop(key))

    def _tell_ended(self, end: End) -> None:
        if end.status == e.CONTINUED:
            return
        if self._askers:
            for key in [key for key in self._askers if key[0] == end.no]:
                refusal = failure.encode(failure.describe(Rejected(f"the run has {end.status}")))
                for reply in self._askers.pop(key):
                    self._callers.pop(reply, None)
                    self._engine.batch.answers.append((reply, (None, refusal)))
        self._engine.batch.answers += [(reply, end) for reply in self._waiters.pop(end.no, ())]
        watched = [key for key in self._watchers if key[0] == end.no] if self._watchers else []
        for key in watched:
            self._engine.batch.pushes += [(sink, None) for sink in self._watchers.pop(key)]

    def _tell_askers(self, batch: Batch) -> None:
        for no, message_id, value, error in batch.replied:
            replies = self._askers.pop((no, message_id), ())
            for reply in replies:
                self._callers.pop(reply, None)
                batch.answers.append((reply, (value, error)))

    def _begin_watch(self, run: Run, name: str, sink: Sink) -> None:
        """Push what is committed, this turn's value included; then each later one, or the end."""
        current = self._engine.store.view(run.no, name)
        if current is not None:
            self._engine.batch.pushes.append((sink, current))
        if run.ended:
            self._engine.batch.pushes.append((sink, None))
        else:
            self._watchers.setdefault((run.no, name), []).append(sink)


def _leave(seats: dict[Any, list[Reply]], gone: Reply) -> None:
    for key, replies in seats.items():
        if gone in replies:
            replies.remove(gone)
            if not replies:
                del seats[key]
            return
