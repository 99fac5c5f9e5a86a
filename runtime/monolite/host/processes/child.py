"""The child: a process that runs attempts at activities, one after the other.

It never opens the engine's file. The thread that listens also sees the engine go, and then ends
the whole group; on Linux the kernel does it before (see `_tie`), whatever the code here is busy
with.
"""

from __future__ import annotations

import contextlib
import faulthandler
import inspect
import os
import queue
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextvars import Context
from typing import Any

from monolite.core import failure
from monolite.core.attempt import current_attempt
from monolite.core.payload import encode
from monolite.core.signature import Signature
from monolite.core.size import shown
from monolite.errors import Misused, MonoliteError, PayloadInvalid
from monolite.host.processes import frames
from monolite.host.processes.frames import Begun, Done, Failed, Frame, Item, Place, Run, Setup
from monolite.host.processes.place import MAIN, MAIN_ALIAS, function_at, load_file

PR_SET_CHILD_SUBREAPER = 36


class Line:
    """The connection to the parent. A fork of this process has none."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._cut)

    def _cut(self) -> None:
        # What a fork says would be taken for what its parent says.
        with contextlib.suppress(OSError):
            os.close(self._socket.detach())

    def send(self, frame: Frame) -> None:
        data = frames.pack(frame)
        with self._lock, contextlib.suppress(OSError):
            self._socket.sendall(data)

    def receive(self) -> Frame | None:
        return frames.receive(self._socket)


class Inside:
    """What code in the child may ask of its attempt (see `core.attempt.AttemptInfo`)."""

    cancelled = False
    """Always false: an attempt in a process is not asked to stop, it is killed."""

    def __init__(self, run: Run, line: Line) -> None:
        self.name = run.name
        self.number = run.number
        self.idempotency_key = run.idempotency_key
        self.interrupted = run.interrupted
        self.workflow_id = run.workflow_id
        self.runtime = self
        self._token = run.token
        self._line = line

    def append(self, attempt: Any, name: str, text: str) -> None:
        """Take an item for a stream (see `core.stream`)."""
        self._line.send(Item(self._token, name, text))


class Child:
    """The program of a child."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._setup: Setup | None = None
        self._functions: dict[Place, tuple[Callable[..., Any], Signature]] = {}
        self._frames: queue.SimpleQueue[Frame] = queue.SimpleQueue()

    def listen(self) -> None:
        """Hand on what the parent says, until it is gone."""
        while (frame := self._line.receive()) is not None:
            self._frames.put(frame)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    def work(self) -> None:
        """Run attempts until killed."""
        while True:
            frame = self._frames.get()
            if isinstance(frame, Setup):
                self._settle_in(frame)
            elif isinstance(frame, Run):
                self._line.send(self._run(frame))

    def _settle_in(self, setup: Setup) -> None:
        self._setup = setup
        sys.path[:] = setup.sys_path
        sys.argv[:] = setup.argv

    # One attempt.

    def _run(self, run: Run) -> Done | Failed:
        me = os.getpid()
        report = Context().run(self._attempt, run)
        if os.getpid() != me:
            os._exit(0)  # a fork that came back from the function; the parent of it reports
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        report.clean = report.clean and not _has_children()
        return report

    def _attempt(self, run: Run) -> Done | Failed:
        try:
            fn, signature = self._function(run)
            args, kwargs = signature.decode(run.args)
            self._line.send(Begun(run.token))
            current_attempt.set(Inside(run, self._line))
            with _memory_limit(run.memory_bytes):
                value = self._call(fn, args, kwargs)
                return self._done(run, value)
        except MemoryError as error:
            # Nobody knows what it left half done.
            failed = self._failed(run, _explained(error, run))
            failed.clean = False
            return failed
        except BaseException as error:  # noqa: BLE001 - becomes the attempt's report
            return self._failed(run, error)

    def _done(self, run: Run, value: Any) -> Done | Failed:
        try:
            return Done(run.token, encode(value, f"result of {run.name}"))
        except PayloadInvalid as error:
            # It has taken effect. Another attempt would repeat that, to return the same again.
            failed = self._failed(run, error)
            failed.final = True
            return failed

    def _failed(self, run: Run, error: BaseException) -> Failed:
        kinds = [f"{_known(c.__module__)}:{c.__qualname__}" for c in type(error).__mro__]
        return Failed(run.token, _as_known(failure.describe(error)), kinds)

    def _function(self, run: Run) -> tuple[Callable[..., Any], Signature]:
        found = self._functions.get(run.place)
        if found is None:
            if run.place.module == MAIN:
                self._load_main()
            fn = function_at(run.place)
            found = self._functions[run.place] = fn, Signature(fn, run.name)
        return found

    def _load_main(self) -> None:
        if MAIN_ALIAS in sys.modules:
            return
        assert self._setup is not None
        if self._setup.main is None:
            msg = "the program's main module is no file; define the activity in a module"
            raise Misused(msg)
        try:
            load_file(MAIN_ALIAS, self._setup.main, self._setup.package)
        except BaseException as error:
            msg = (
                f"the program's main file {self._setup.main} failed when a child process imported "
                f"it: {type(error).__name__}: {error}; keep what starts the program under "
                "`if __name__ == '__main__':`"
            )
            raise MonoliteError(msg) from error

    def _call(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        value = fn(*args, **kwargs)
        if not inspect.isawaitable(value):
            return value
        import anyio

        assert self._setup is not None

        async def outcome() -> Any:
            return await value

        return anyio.run(outcome, backend=self._setup.backend)


def _known(module: str) -> str:
    """Return what the parent calls a module."""
    return MAIN if module == MAIN_ALIAS else module


def _as_known(described: failure.Failure) -> failure.Failure:
    cause = None if described.cause is None else _as_known(described.cause)
    return failure.Failure(
        described.type,
        _known(described.module),
        described.message,
        described.args,
        described.fields,
        described.traceback,
        cause,
    )


def _explained(error: MemoryError, run: Run) -> MemoryError:
    """Return an error that says which limit was met."""
    if run.memory_bytes is None or str(error):
        return error
    msg = f"activity {run.name!r} needs more than its memory limit of {shown(run.memory_bytes)}"
    return MemoryError(msg).with_traceback(error.__traceback__)


@contextlib.contextmanager
def _memory_limit(size: int | None) -> Any:
    """Let the process map so much more than it has now."""
    if size is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = _mapped() + size
    resource.setrlimit(
        resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard)
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _mapped() -> int:
    """Return how much memory this process has mapped, if the system says so."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - a Path is not quicker
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _has_children() -> bool:
    """Return whether the attempt left processes behind, running or dead."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _tie(leash: int) -> None:
    """Have the kernel kill this process's whole group as soon as the parent is gone.

    The parent never writes to the leash. Its end closes when it dies, in whatever way, and a
    change of the leash is a SIGKILL for the group.
    """
    if not hasattr(signal, "SIGRTMIN") or sys.platform != "linux":
        return
    import fcntl

    fcntl.fcntl(leash, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(leash, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(leash, fcntl.F_GETFL)
    fcntl.fcntl(leash, fcntl.F_SETFL, flags | os.O_ASYNC | os.O_NONBLOCK)
    try:
        os.read(leash, 1)
    except BlockingIOError:
        return
    os.killpg(os.getpgrp(), signal.SIGKILL)  # it was gone before we were tied


def _adopt() -> None:
    """Be the parent of processes that our children leave behind, so that they are noticed."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def main(line_fd: int, leash: int) -> None:
    """Run attempts for the process at the other end of the line."""
    for fd in (line_fd, leash):
        os.set_inheritable(fd, False)  # noqa: FBT003 - positional-only
    _tie(leash)
    _adopt()
    faulthandler.enable()
    child = Child(Line(socket.socket(fileno=line_fd)))
    threading.Thread(target=child.listen, name="monolite-line", daemon=True).start()
    child.work()
