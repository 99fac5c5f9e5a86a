"""Calls: a definition with its arguments and options, as a value that can be awaited."""

from __future__ import annotations

import warnings
from collections.abc import Coroutine, Generator, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import msgspec

from monolite.core.admission import check_id
from monolite.core.duration import Duration, seconds
from monolite.core.loop import running_loop
from monolite.core.place import Place
from monolite.core.queue import check_key, check_priority
from monolite.core.retry import Retry, as_retry
from monolite.core.size import Size, size_bytes
from monolite.errors import Misused

if TYPE_CHECKING:
    from types import TracebackType

    from monolite.core.definition import Definition
    from monolite.core.handler import Address

R_co = TypeVar("R_co", covariant=True)

SHOWN_MAX = 200
"""Characters of the arguments that a call's repr shows."""


RUN_IN = ("thread", "process")
"""Where an activity can run: here, or in a child process."""


def check_run_in(run_in: str) -> str:
    """Return where an activity is to run; raise Misused if there is no such place."""
    if run_in not in RUN_IN:
        msg = f"run_in={run_in!r} is not available; it is 'thread' or 'process'"
        raise Misused(msg)
    return run_in


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said of one call beside its arguments; None: the definition's own."""

    timeout_s: float | None = None
    retry: Retry | None = None
    name: str | None = None
    at_most_once: bool = False
    run_in: str = "thread"
    memory_bytes: int | None = None
    queue: str | None = None
    key: str | None = None
    priority: int | None = None
    schedule_to_start_s: float | None = None
    schedule_to_close_s: float | None = None
    heartbeat_s: float | None = None
    on_exhausted: str = "fail"

    def place(self) -> Place | None:
        """Return where the call waits for its turn, or None if it waits nowhere."""
        return None if self.queue is None else Place(self.queue, self.key, self.priority or 0)


ON_EXHAUSTED = ("fail", "block")
"""What to do when the attempts have run out."""


def check_exhausted(word: str | None) -> str | None:
    """Return what `on_exhausted=` says; raise ValueError if that is nothing it can say."""
    if word is not None and word not in ON_EXHAUSTED:
        msg = f"on_exhausted must be 'fail' or 'block', not {word!r}"
        raise ValueError(msg)
    return word


def limit(duration: Duration | None, name: str) -> float | None:
    """Return a time-out in seconds, or None if there is none."""
    return None if duration is None else seconds(duration, name=name)


def checked(opts: Options) -> Options:
    """Return options that go together; raise Misused if they do not."""
    if opts.run_in == "process" and opts.heartbeat_s is not None:
        msg = 'heartbeat= is not heard from a process yet; leave out it or run_in="process"'
        raise Misused(msg)
    return opts


class Call(Coroutine[Any, Any, R_co], Generic[R_co]):
    """One call of a definition. Nothing runs until it is awaited or spawned.

    It is a coroutine: `gather`, `TaskGroup.create_task`, `wait_for` and anyio's `start_soon`
    take it as it is, and one that is dropped un-awaited warns.

    Awaited in a workflow it is a durable step; outside any runtime it just runs the function.
    """

    __slots__ = ("_iterator", "_used", "address", "args", "definition", "kwargs", "opts")

    def __init__(
        self,
        definition: Definition[R_co],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        opts: Options,
    ) -> None:
        # None: it was only copied from. That may still be awaited, and does not warn.
        self._used: bool | None = False
        self._iterator: Iterator[Any] | None = None
        self.definition = definition
        self.args = args
        self.kwargs = kwargs
        self.opts = opts
        self.address: Address | None = None

    @property
    def name(self) -> str:
        """The name under which the call is journaled."""
        return self.opts.name or self.definition.name

    def options(
        self,
        *,
        timeout: Duration | None = None,
        retry: Retry | int | bool | None = None,
        name: str | None = None,
        at_most_once: bool | None = None,
        run_in: str | None = None,
        memory: Size | None = None,
        queue: str | None = None,
        key: str | None = None,
        priority: int | None = None,
        schedule_to_start: Duration | None = None,
        schedule_to_close: Duration | None = None,
        heartbeat: Duration | None = None,
        on_exhausted: str | None = None,
    ) -> Call[R_co]:
        """Return a copy of this call with other options; what is not given stays.

        This call stays as it is, and may be awaited too.
        `timeout`, `schedule_to_start`, `schedule_to_close` and `heartbeat` are time-outs, as in
        `@activity`, and so is `on_exhausted`; `retry` is a Retry, a number of attempts or False;
        `name` is the name it is journaled under; `run_in` is "thread" or "process"; `memory`
        limits an attempt in a process (bytes, or text such as "512MB"). With `queue` an activity,
        or a child
        workflow, waits for its turn there: higher `priority` first, `key` (such as a tenant)
        being what the queue's `per_key` counts by and what it is fair between.
        """
        self._used = self._used or None
        changes: dict[str, Any] = {
            "timeout_s": limit(timeout, "timeout"),
            "retry": None if retry is None else as_retry(retry),
            "name": None if name is None else check_id(name, "name"),
            "at_most_once": at_most_once,
            "run_in": None if run_in is None else check_run_in(run_in),
            "memory_bytes": None if memory is None else size_bytes(memory, name="memory"),
            "queue": None if queue is None else check_id(queue, "name of a queue"),
            "key": check_key(key),
            "priority": None if priority is None else check_priority(priority),
            "schedule_to_start_s": limit(schedule_to_start, "schedule_to_start"),
            "schedule_to_close_s": limit(schedule_to_close, "schedule_to_close"),
            "heartbeat_s": limit(heartbeat, "heartbeat"),
            "on_exhausted": check_exhausted(on_exhausted),
        }
        given = {field: value for field, value in changes.items() if value is not None}
        opts = checked(msgspec.structs.replace(self.opts, **given))
        if opts.queue is None and (opts.key is not None or opts.priority is not None):
            msg = f"{self!r} goes through no queue, where key and priority count; give queue= too"
            raise Misused(msg)
        changed = Call(self.definition, self.args, self.kwargs, opts)
        changed.address = self.address
        return changed

    def claim(self, use: str) -> Call[R_co]:
        """Mark the call as used, so that it neither warns nor is used twice."""
        if self._used:
            msg = f"{self!r} was already awaited or spawned; make a new call to {use}"
            raise Misused(msg)
        self._used = True
        return self

    def __await__(self) -> Generator[Any, Any, R_co]:
        self.claim("await it again")
        loop = running_loop()
        if loop is not None:
            durable: Generator[Any, Any, R_co] = cast("Any", loop.owner).perform(self)
            return durable
        return self.definition.bare(self).__await__()

    def send(self, value: Any) -> Any:
        if self._iterator is None:
            self._iterator = self.__await__()
        return cast("Any", self._iterator).send(value)

    def throw(
        self,
        typ: type[BaseException] | BaseException,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
        /,
    ) -> Any:
        if self._iterator is None:
            # As for a coroutine that never started: the exception ends it.
            self._used = True
            error = typ if isinstance(typ, BaseException) else val
            raise error if isinstance(error, BaseException) else typ
        return cast("Any", self._iterator).throw(typ if val is None else val)

    def close(self) -> None:
        self._used = True
        if self._iterator is not None:
            cast("Any", self._iterator).close()

    def __del__(self) -> None:
        if self._used is False:
            warnings.warn(f"{self!r} was never awaited or spawned", RuntimeWarning, stacklevel=2)

    def __repr__(self) -> str:
        shown = [repr(a) for a in self.args] + [f"{k}={v!r}" for k, v in self.kwargs.items()]
        text = ", ".join(shown)
        return f"{self.name}({text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + '...'})"
