"""Definitions: what `@workflow`, `@activity` and `step` make of a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Generic, ParamSpec, TypeVar, overload

from monolite.core.admission import check_id
from monolite.core.call import Call, Options, check_exhausted, check_run_in, checked, limit
from monolite.core.duration import Duration
from monolite.core.failure import register_exception
from monolite.core.retry import Retry, as_retry
from monolite.core.signature import Signature
from monolite.core.size import Size, size_bytes
from monolite.errors import Misused

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Definition(Generic[R_co]):
    """A named function that a runtime can run: its name, its signature, its default options."""

    def __init__(self, fn: Callable[..., Any], name: str | None, opts: Options) -> None:
        given: Any = fn  # callers may be untyped
        if not callable(given):
            msg = f"@{type(self).__name__.lower()} needs a function, not {fn!r:.200}"
            raise TypeError(msg)
        self.fn = fn
        found = str(getattr(fn, "__name__", type(fn).__name__)) if name is None else name
        self.name = check_id(found, f"name of {type(self).__name__.lower()}")
        self.opts = opts
        self.signature = Signature(fn, self.name)
        self.is_async = inspect.iscoroutinefunction(fn)
        self.result_name = f"result of {self.name}"
        self.__doc__ = getattr(fn, "__doc__", None)
        self.__name__ = self.name
        self.__wrapped__ = fn

    async def bare(self, call: Call[Any]) -> R_co:
        """Run the function itself, outside any runtime, as a plain unit test would."""
        result: Any = self.fn(*call.args, **call.kwargs)
        if inspect.isawaitable(result):
            result = await result
        found: R_co = result
        return found

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} {self.name}>"


class Activity(Definition[R_co], Generic[P, R_co]):
    """A function with side effects, run outside the workflow, journaled when it is done.

    Runs at least once (an interrupted attempt runs again, with the same idempotency key);
    once its outcome is journaled it never runs again.
    """

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Call[R_co]:
        return Call(self, args, kwargs, self.opts)


class Workflow(Definition[R_co], Generic[P, R_co]):
    """An `async def` whose progress is journaled: it survives crashes by replay."""

    def __init__(self, fn: Callable[..., Any], name: str | None, version: int) -> None:
        if not inspect.iscoroutinefunction(fn):
            found = getattr(fn, "__name__", fn)
            msg = f"@workflow needs an `async def`, {found!r} is not one; did you mean @activity?"
            raise TypeError(msg)
        super().__init__(fn, name, Options())
        given: Any = version  # callers may be untyped
        if not isinstance(given, int) or given < 1:
            msg = f"version of workflow {self.name!r} must be a whole number from 1, not {given!r}"
            raise Misused(msg)
        self.version = version

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Call[R_co]:
        return Call(self, args, kwargs, self.opts)


@overload
def workflow(fn: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
@overload
def workflow(
    *, name: str | None = None, version: int = 1
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Workflow[P, R]]: ...
def workflow(fn: Any = None, /, *, name: str | None = None, version: int = 1) -> Any:
    """Make an `async def` a durable workflow.

    `name` is what the file knows it by (default: the function's name); runs in flight look
    their code up by it, so renaming the function needs `name="old"`. Workflow code must be
    deterministic: what it does may depend only on its arguments and on what it awaits.
    """

    def decorate(fn: Callable[..., Any]) -> Workflow[..., Any]:
        return Workflow(fn, name, version)

    return decorate if fn is None else decorate(fn)


def check_findable(fn: Any) -> None:
    """Raise Misused for a function that another process could not find by its name."""
    found = str(getattr(fn, "__qualname__", "<no name>"))
    if "<" in found or inspect.ismethod(fn):
        msg = (
            f'{fn!r} cannot be run_in="process": another process finds it by its module and '
            "name; define it at the top level of a module"
        )
        raise Misused(msg)


class _ActivityDecorator:
    """What `@activity(...)` returns: takes an async or a sync function."""

    def __init__(self, name: str | None, opts: Options) -> None:
        self._name = name
        self._opts = opts

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Activity[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Activity[P, R]: ...
    def __call__(self, fn: Any, /) -> Any:
        if self._opts.run_in == "process":
            check_findable(fn)
        made: Activity[..., Any] = Activity(fn, self._name, self._opts)
        return made


@overload
def activity(fn: Callable[P, Coroutine[Any, Any, R]], /) -> Activity[P, R]: ...
@overload
def activity(fn: Callable[P, R], /) -> Activity[P, R]: ...
@overload
def activity(
    *,
    name: str | None = None,
    timeout: Duration | None = None,
    retry: Retry | int | bool | None = None,
    run_in: str = "thread",
    at_most_once: bool = False,
    raises: tuple[type[BaseException], ...] = (),
    memory: Size | None = None,
    queue: str | None = None,
    schedule_to_start: Duration | None = None,
    schedule_to_close: Duration | None = None,
    heartbeat: Duration | None = None,
    on_exhausted: str = "fail",
) -> _ActivityDecorator: ...
def activity(
    fn: Any = None,
    /,
    *,
    name: str | None = None,
    timeout: Duration | None = None,
    retry: Retry | int | bool | None = None,
    run_in: str = "thread",
    at_most_once: bool = False,
    raises: tuple[type[BaseException], ...] = (),
    memory: Size | None = None,
    queue: str | None = None,
    schedule_to_start: Duration | None = None,
    schedule_to_close: Duration | None = None,
    heartbeat: Duration | None = None,
    on_exhausted: str = "fail",
) -> Any:
    """Make a function with side effects an activity: supervised, retried, journaled.

    An `async def` runs on the host's event loop, a plain `def` in a worker thread; with
    `run_in="process"` either runs in a child process, which is killed when it takes too long,
    and may map `memory` more ("512MB") than it had when the attempt began. `timeout` limits each
    attempt, and `heartbeat` the time between its calls of `attempt().heartbeat()` (not in
    processes); `schedule_to_start` limits the time from the request until the first attempt begins,
    `schedule_to_close` all attempts and waits together. `retry` is a Retry, a number of
    attempts or False (default: 5 attempts with exponential back-off). `at_most_once=True`: an
    attempt cut off by a crash is not run again, `Interrupted` is raised instead. When no attempt
    is left, `on_exhausted="fail"` raises into the workflow; "block" holds the activity until
    somebody has it retried, skipped or given a result. Exceptions of the types in `raises` come
    back to the workflow as themselves, not as RemoteError. With `queue` each attempt waits
    for its turn in the queue of that name.
    """
    if memory is not None and run_in != "process":
        msg = 'memory= limits a process of its own; add run_in="process"'
        raise Misused(msg)
    register_exception(*raises)
    opts = Options(
        timeout_s=limit(timeout, "timeout"),
        retry=None if retry is None else as_retry(retry),
        run_in=check_run_in(run_in),
        at_most_once=at_most_once,
        memory_bytes=None if memory is None else size_bytes(memory, name="memory"),
        queue=None if queue is None else check_id(queue, "name of a queue"),
        schedule_to_start_s=limit(schedule_to_start, "schedule_to_start"),
        schedule_to_close_s=limit(schedule_to_close, "schedule_to_close"),
        heartbeat_s=limit(heartbeat, "heartbeat"),
        on_exhausted=check_exhausted(on_exhausted) or "fail",
    )
    decorate = _ActivityDecorator(name, checked(opts))
    return decorate if fn is None else decorate(fn)


@overload
def step(
    name: str, fn: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
) -> Call[R]: ...
@overload
def step(name: str, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Call[R]: ...
def step(name: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Call[Any]:
    """Return a call of `fn` journaled as `name`: an activity without a decorator.

    `await step("price", fetch_price, sku)`; set options with `.options(...)` as on any call.
    """
    return Call(Activity(fn, name, Options()), args, kwargs, Options())
