"""The workflow loop: an asyncio event loop without selector, threads or clock.

It steps real `asyncio.Task` objects until nothing is ready, then stops; the machine that owns
it feeds the next journal entry. The same entries always give the same steps in the same order:

- the ready queue is a plain FIFO;
- time is the time of the entry being delivered;
- `TaskGroup`, `asyncio.wait` and anyio keep tasks, futures and cancel scopes in sets, whose
  order follows the hash. Here a hash is a counter, not an address, so it repeats in a replay;
- whatever would touch the outside raises NotDurable.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import re
from asyncio import Future, Task
from collections import deque
from collections.abc import Callable, Coroutine
from types import MethodType
from typing import Any, NoReturn, Protocol, TypeVar

from monolite.errors import NotDurable

T = TypeVar("T")

# Part of asyncio's interface for those who write loops, though its names begin with "_".
_get_running_loop: Callable[[], Any] = vars(asyncio)["_get_running_loop"]
_set_running_loop: Callable[[Any], None] = vars(asyncio)["_set_running_loop"]

# What `super().__init__` would call, without the search: this is on the path of every step.
init_future: Callable[..., None] = vars(Future)["__init__"]

STEPS_MAX = 10_000_000
"""Steps without waiting for anything: more means that the code spins (`sleep(0)` in a loop)."""

REPEATED_MAX = 1_000
"""Repetitions of anyio's cancellations after one entry; code that swallowed that many waits on."""

FOREVER_S = 253_402_300_799
"""The end of the year 9999, the last that has a date: a timer set for later waits until then."""

_ANYIO_REDELIVERY = "_deliver_cancellation"


class Handle:
    """A scheduled callback; what `call_soon` returns."""

    __slots__ = ("args", "callback", "context", "is_cancelled")

    def __init__(
        self, callback: Callable[..., Any], args: tuple[Any, ...], context: contextvars.Context
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled


class Timer(Handle):
    """A durable timer: the `number`-th one this run asked for, due at `due_us`."""

    __slots__ = ("delay_us", "due_us", "number", "on_cancel")

    def __init__(
        self,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        context: contextvars.Context,
        *,
        number: int,
        now_us: int,
        due_us: int,
        on_cancel: Callable[[Timer], None],
    ) -> None:
        super().__init__(callback, args, context)
        self.number = number
        self.delay_us = due_us - now_us
        self.due_us = due_us
        self.on_cancel = on_cancel

    def cancel(self) -> None:
        if not self.is_cancelled:
            self.is_cancelled = True
            self.on_cancel(self)

    def when(self) -> float:
        return self.due_us / 1_000_000

    def __lt__(self, other: Timer) -> bool:
        return (self.due_us, self.number) < (other.due_us, other.number)


class OrderedFuture(Future[T]):
    """A future whose hash is its number in the run, so that sets of futures keep one order."""

    __slots__ = ("order",)

    def __init__(self, *, loop: Any) -> None:
        self.order: int = loop.next_order()
        init_future(self, loop=loop)

    def __hash__(self) -> int:
        return self.order


class OrderedTask(Task[T]):
    """A task whose hash is its number in the run, so that sets of tasks keep one order."""

    __slots__ = ("order",)

    _log_destroy_pending: bool  # asyncio's own: whether to complain of a task dropped unfinished

    def __init__(
        self,
        coro: Coroutine[Any, Any, T],
        *,
        loop: Any,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> None:
        # Before Task.__init__, which puts the task into asyncio's set of all tasks.
        self.order: int = loop.next_order()
        super().__init__(coro, loop=loop, name=name or f"task-{self.order}", context=context)

    def __hash__(self) -> int:
        return self.order

    def drop(self) -> None:
        """Close the coroutine, whatever its clean-up code raises: the run goes on elsewhere."""
        self._log_destroy_pending = False
        coro: Any = self.get_coro()
        with contextlib.suppress(BaseException):
            coro.close()


class TimerOwner(Protocol):
    """Who keeps the loop's timers: the machine."""

    now_us: int

    def arm(
        self,
        due_us: int,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        context: contextvars.Context,
    ) -> Timer:
        """Return a timer that will call back when its journal entry is delivered."""
        ...


def _refuse(name: str) -> Callable[..., NoReturn]:
    def refused(*_args: Any, **_kwargs: Any) -> NoReturn:
        call = f"asyncio's {name}()"
        raise NotDurable(call)

    refused.__name__ = name
    return refused


class WorkflowLoop:
    """One run's event loop. `owner` is the run's machine; user code never sees it.

    Tasks and futures are numbered from `first_order`: the same in every replay, and far from
    other runs' numbers, because asyncio and anyio keep the tasks of all loops in one table.
    """

    def __init__(self, owner: TimerOwner, first_order: int = 0) -> None:
        self.owner = owner
        self.crash: BaseException | None = None
        self.closing = False
        self._ready: deque[Handle] = deque()
        self._order = first_order
        self._tasks: list[OrderedTask[Any]] = []
        self._prune_at = 64
        self._factory: Callable[..., Any] | None = None

    def next_order(self) -> int:
        """Return the next number for a task or future."""
        self._order += 1
        return self._order

    # What runs.

    def run_until_quiet(self) -> None:
        """Step everything that is ready, and what that makes ready, until nothing is."""
        ready = self._ready
        if not ready:
            return
        outer = _get_running_loop()
        _set_running_loop(self)
        steps = repeated = in_a_row = 0
        held: list[Handle] = []
        try:
            while ready:
                handle = ready.popleft()
                if handle.is_cancelled:
                    continue
                callback = handle.callback
                if type(callback) is MethodType and callback.__name__ == _ANYIO_REDELIVERY:
                    # anyio repeats a cancellation on every turn of the loop for as long as a
                    # task in the scope waits. When nothing else is ready, that is "quiet"; when
                    # the repetition itself wakes tasks that only wait again, it has to pause.
                    in_a_row += 1
                    repeated += 1
                    if in_a_row > len(ready) + 1 or repeated > REPEATED_MAX:
                        held.append(handle)
                        continue
                else:
                    in_a_row = 0
                try:
                    handle.context.run(handle.callback, *handle.args)
                except (SystemExit, KeyboardInterrupt):
                    # asyncio has stored it in the task, whose outcome reports it.
                    continue
                except BaseException as error:  # noqa: BLE001 - a bare callback failed: so does the run
                    self.crash = error
                    return
                steps += 1
                if steps > STEPS_MAX:
                    self.crash = RuntimeError(
                        f"the workflow ran {STEPS_MAX:,} steps without waiting for anything; "
                        "replace the busy loop by an event, a signal or a sleep"
                    )
                    return
        finally:
            ready.extend(held)
            _set_running_loop(outer)

    def live_tasks(self) -> list[OrderedTask[Any]]:
        """Return the tasks that are not done, oldest first."""
        self._tasks = [task for task in self._tasks if not task.done()]
        return self._tasks

    def unload(self) -> None:
        """Close every coroutine, so that nothing of this run stays behind in memory.

        User `finally` blocks run now, but any durable operation in them raises `Unloaded`: the
        run is not ending, it only leaves memory.
        """
        self.closing = True
        self._ready.clear()
        outer = _get_running_loop()
        _set_running_loop(self)
        try:
            for task in self.live_tasks():
                task.drop()
        finally:
            _set_running_loop(outer)
            self._ready.clear()
            self._tasks.clear()

    def retire(self) -> None:
        """Forget the tasks of a run that has ended, leaving no reference cycle behind.

        A terminated run may still have live tasks; those are closed.
        """
        if self.live_tasks():
            self.unload()
        self.closing = True
        self._ready.clear()
        self._tasks.clear()

    # The part of asyncio's loop interface that needs no outside world.

    def time(self) -> float:
        return self.owner.now_us / 1_000_000

    def call_soon(
        self,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Handle:
        handle = Handle(callback, args, contextvars.copy_context() if context is None else context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Handle:
        if _get_running_loop() is not self:
            call = "asyncio's call_soon_threadsafe() from another thread"
            raise NotDurable(call)
        handle: Handle = self.call_soon(callback, *args, context=context)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Timer:
        due_us = self.owner.now_us + max(0, round(min(delay, FOREVER_S) * 1_000_000))
        due_us = min(due_us, FOREVER_S * 1_000_000)
        return self.owner.arm(
            due_us, callback, args, contextvars.copy_context() if context is None else context
        )

    def call_at(
        self,
        when: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Timer:
        due_us = max(self.owner.now_us, round(min(when, FOREVER_S) * 1_000_000))
        return self.owner.arm(
            due_us, callback, args, contextvars.copy_context() if context is None else context
        )

    def create_future(self) -> OrderedFuture[Any]:
        return OrderedFuture(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
        **_options: Any,
    ) -> OrderedTask[T]:
        task = OrderedTask(coro, loop=self, name=name, context=context)
        self._tasks.append(task)
        if len(self._tasks) > self._prune_at:
            self._prune_at = max(64, 2 * len(self.live_tasks()))
        return task

    def get_task_factory(self) -> Any:
        return self._factory

    def set_task_factory(self, factory: Any) -> None:
        self._factory = factory

    def is_running(self) -> bool:
        return _get_running_loop() is self

    def is_closed(self) -> bool:
        return self.closing

    def get_debug(self) -> bool:
        return False

    def set_debug(self, _enabled: object) -> None:
        return

    def get_exception_handler(self) -> Any:
        return None

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Hold on to what nobody awaited; an exception in a bare callback fails the run."""
        if "handle" in context and isinstance(context.get("exception"), BaseException):
            self.crash = context["exception"]

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)

    async def shutdown_asyncgens(self) -> None:
        return

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        del timeout


_REFUSED = """
    run_forever run_until_complete stop close run_in_executor set_default_executor getaddrinfo
    getnameinfo create_connection create_server start_tls create_unix_connection
    create_unix_server create_datagram_endpoint connect_accepted_socket connect_read_pipe
    connect_write_pipe subprocess_shell subprocess_exec add_reader remove_reader add_writer
    remove_writer sock_recv sock_recv_into sock_recvfrom sock_recvfrom_into sock_sendall
    sock_sendto sock_connect sock_accept sock_sendfile sendfile add_signal_handler
    remove_signal_handler set_exception_handler
"""
for _name in filter(None, re.split(r"\s+", _REFUSED)):
    setattr(WorkflowLoop, _name, _refuse(_name))


def running_loop() -> WorkflowLoop | None:
    """Return the workflow loop that is running on this thread, if any."""
    loop = _get_running_loop()
    return loop if type(loop) is WorkflowLoop else None
