"""Every exception monolite raises, in one tree.

MonoliteError
  you misused it   PayloadInvalid, NotDurable, UnknownWorkflow, UnknownSchedule, AlreadyExists,
                   Misused
  it failed        WorkflowFailed, ActivityFailed (ActivityTimedOut, Interrupted), ProcessDied,
                   Cancelled, Terminated, Rejected, RemoteError
  try again later  RetryAfter, which activities raise
  the code changed Diverged
  the file         FileOwned, FileTooNew, FileForeign, FileDamaged, Fenced, StorageFull,
                   CommitUnknown

Each message says what, which one, and what to do next; what a program needs is an attribute.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any


class MonoliteError(Exception):
    """Root of every exception raised by monolite."""

    def fields(self) -> dict[str, Any]:
        """Return what `restore` needs to build an equal exception from JSON."""
        return {}

    @classmethod
    def restore(cls, fields: dict[str, Any], message: str, cause: BaseException | None) -> Any:
        """Build the exception again from its recorded fields."""
        del cause
        return cls(message) if not fields else cls(**fields)


class Misused(MonoliteError):
    """The call makes no sense where it was made; the message says where it does."""


class PayloadInvalid(MonoliteError):
    """A value cannot be stored as JSON, or stored JSON does not fit the declared type.

    Raised at the call that caused it; nothing of that call is recorded. `where` names the place.
    """

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}")
        self.where = where
        self.problem = problem

    def fields(self) -> dict[str, Any]:
        return {"where": self.where, "problem": self.problem}


class NotDurable(MonoliteError):
    """Workflow code tried real I/O or a thread, which a replay could not repeat.

    Put the call in an `@activity` (or `monolite.step`) and await that instead.
    """

    def __init__(self, call: str) -> None:
        super().__init__(
            f"{call} does real I/O or starts a thread inside a workflow, "
            "which replay cannot repeat; put this in an activity and await it"
        )
        self.call = call

    def fields(self) -> dict[str, Any]:
        return {"call": self.call}


class UnknownWorkflow(MonoliteError):
    """No run with this id, or no workflow of this name, is known here."""


class UnknownSchedule(MonoliteError):
    """The file has no schedule of this name."""


class AlreadyExists(MonoliteError):
    """A run with this id exists and the spawn asked not to join it."""


class Rejected(MonoliteError):
    """The receiver refused a message; `reason` is the receiver's word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def fields(self) -> dict[str, Any]:
        return {"reason": self.reason}


class RemoteError(MonoliteError):
    """An exception from another process or an earlier life whose class is not registered here.

    It keeps the original's type name, message and traceback text.
    """

    def __init__(self, type_name: str, message: str, traceback: str = "") -> None:
        super().__init__(f"{type_name}: {message}" if message else type_name)
        self.type_name = type_name
        self.message = message
        self.traceback = traceback


class WorkflowFailed(MonoliteError):
    """The run `id` ended with an exception, which is `cause`."""

    def __init__(self, id: str, cause: BaseException) -> None:
        super().__init__(f"workflow {id!r} failed: {_summary(cause)}")
        self.id = id
        self.cause = cause

    def fields(self) -> dict[str, Any]:
        return {"id": self.id}

    @classmethod
    def restore(cls, fields: dict[str, Any], message: str, cause: BaseException | None) -> Any:
        return cls(fields["id"], cause or RemoteError("Exception", message))


class ActivityFailed(MonoliteError):
    """An activity failed `attempts` times and is given up; `cause` is the last error."""

    def __init__(self, name: str, attempts: int, cause: BaseException) -> None:
        plural = "" if attempts == 1 else "s"
        super().__init__(
            f"activity {name!r} failed after {attempts} attempt{plural}: {_summary(cause)}"
        )
        self.name = name
        self.attempts = attempts
        self.cause = cause

    def fields(self) -> dict[str, Any]:
        return {"name": self.name, "attempts": self.attempts}

    @classmethod
    def restore(cls, fields: dict[str, Any], message: str, cause: BaseException | None) -> Any:
        return cls(fields["name"], fields["attempts"], cause or RemoteError("Exception", message))


_EXTEND = {
    "start-to-close": "raise the limit with .options(timeout=...) or make the activity faster",
    "schedule-to-start": "raise the limit with .options(schedule_to_start=...) or start fewer",
    "schedule-to-close": "raise the limit with .options(schedule_to_close=...) or retry less",
    "heartbeat": "call attempt().heartbeat() more often, or raise .options(heartbeat=...)",
}
"""What to do about each time-out."""


class ActivityTimedOut(ActivityFailed):
    """An activity took longer than one of its limits; `kind` says which.

    "start-to-close": one attempt, from its start. "heartbeat": one attempt, since its last
    heartbeat. "schedule-to-start": from the request until the first attempt began.
    "schedule-to-close": from the request, all attempts and waits together.

    The first two are errors of one attempt, which is retried; when the last attempt ended so,
    the workflow gets one whose `attempts` counts them and whose `cause` is that attempt's own.
    The other two end the activity: `attempts` says how many had begun.
    """

    def __init__(
        self,
        kind: str,
        name: str = "",
        attempts: int = 1,
        cause: BaseException | None = None,
        limit_s: float | None = None,
    ) -> None:
        limit = "" if limit_s is None else f" of {limit_s:g} s"
        MonoliteError.__init__(
            self,
            f"activity {name!r} exceeded its {kind} time-out{limit} "
            f"({f'attempt {attempts}' if attempts else 'no attempt had begun'}); "
            f"{_EXTEND.get(kind, _EXTEND['start-to-close'])}",
        )
        self.kind = kind
        self.name = name
        self.attempts = attempts
        self.limit_s = limit_s
        self.cause = self if cause is None else cause

    def fields(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "attempts": self.attempts,
            "limit_s": self.limit_s,
        }

    @classmethod
    def restore(cls, fields: dict[str, Any], message: str, cause: BaseException | None) -> Any:
        return cls(**fields, cause=cause)


class ProcessDied(MonoliteError):
    """The process that ran an attempt died of it; `status` or `signal` says how it ended."""

    def __init__(
        self,
        name: str = "",
        status: int | None = None,
        signal: str | None = None,
        memory: str | None = None,
    ) -> None:
        how = f"ended with exit status {status}"
        if signal is not None:
            how = f"was killed by {signal}"
        elif status is None:
            how = "closed its line to the engine"
        limit = "" if memory is None else f" (its memory limit is {memory})"
        super().__init__(
            f"the process of activity {name!r} {how} before it returned{limit}; "
            "its traceback holds the end of its standard error"
        )
        self.name = name
        self.status = status
        self.signal = signal
        self.memory = memory

    def fields(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "status": self.status,
            "signal": self.signal,
            "memory": self.memory,
        }


class Interrupted(ActivityFailed):
    """An `at_most_once` activity was cut off by a crash; whether it took effect is not known.

    It is not run again. Check with the outside system, then compensate or go on.
    """

    def __init__(self, name: str = "") -> None:
        MonoliteError.__init__(
            self,
            f"activity {name!r} is at_most_once and was interrupted; it may or may not have "
            "taken effect: check with the outside system before you go on",
        )
        self.name = name
        self.attempts = 1
        self.cause = self

    def fields(self) -> dict[str, Any]:
        return {"name": self.name}

    @classmethod
    def restore(cls, fields: dict[str, Any], message: str, cause: BaseException | None) -> Any:
        return cls(fields.get("name", ""))


class RetryAfter(MonoliteError):
    """Raised by an activity that knows when another attempt makes sense: after `delay`.

    `raise RetryAfter("30s")`, or `raise RetryAfter(seconds, error) from error` to have `cause`
    recorded as the failure. It replaces the back-off of the policy, and counts as an attempt.
    """

    def __init__(self, delay: float | timedelta | str, cause: BaseException | None = None) -> None:
        delay = delay.total_seconds() if isinstance(delay, timedelta) else delay
        why = "" if cause is None else f": {_summary(cause)}"
        unit = "" if isinstance(delay, str) else " s"
        super().__init__(f"try again after {delay}{unit}{why}")
        self.delay = delay
        self.cause = cause

    def fields(self) -> dict[str, Any]:
        return {"delay": self.delay}

    @classmethod
    def restore(cls, fields: dict[str, Any], message: str, cause: BaseException | None) -> Any:
        return cls(fields["delay"], cause)


class Cancelled(MonoliteError):
    """The run was cancelled; raised to whoever waits for its result.

    Inside the workflow itself a cancellation arrives as `asyncio.CancelledError`, so that
    `finally`, `except CancelledError` and time-outs behave as in any asyncio program.
    """

    def __init__(self, id: str = "", reason: str = "") -> None:
        super().__init__(f"workflow {id!r} was cancelled" + (f": {reason}" if reason else ""))
        self.id = id
        self.reason = reason

    def fields(self) -> dict[str, Any]:
        return {"id": self.id, "reason": self.reason}


class Terminated(MonoliteError):
    """The run was terminated from outside, without running its clean-up code."""

    def __init__(self, id: str = "", reason: str = "") -> None:
        super().__init__(f"workflow {id!r} was terminated" + (f": {reason}" if reason else ""))
        self.id = id
        self.reason = reason

    def fields(self) -> dict[str, Any]:
        return {"id": self.id, "reason": self.reason}


class Diverged(MonoliteError):
    """Replaying the code asked for something else than the journal holds.

    The run is parked as `diverged` and its journal stays as it is. Repair the code so that it
    asks for `expected` again (or bring the old code back) and start the runtime: the run goes on.
    """

    def __init__(self, expected: str, actual: str, at: str) -> None:
        super().__init__(
            f"{at}: the journal holds {expected}, but the code now asks for {actual}; "
            "bring back the old code for runs in flight, then restart: nothing was written"
        )
        self.expected = expected
        self.actual = actual
        self.at = at

    def fields(self) -> dict[str, Any]:
        return {"expected": self.expected, "actual": self.actual, "at": self.at}


class FileOwned(MonoliteError):
    """Another engine owns this file; `owner` says which process, on which machine, since when."""

    def __init__(self, path: str, owner: str) -> None:
        super().__init__(
            f"{path} is owned by {owner}; use monolite.Client to talk to the running engine, "
            "stop that process, or take over with Runtime(..., takeover=True) if it is stuck"
        )
        self.path = path
        self.owner = owner

    def fields(self) -> dict[str, Any]:
        return {"path": self.path, "owner": self.owner}


class FileTooNew(MonoliteError):
    """The file was written by a newer monolite; `format` is its format number."""

    def __init__(self, path: str, format: int, known: int) -> None:
        super().__init__(
            f"{path} has format {format}, this monolite knows formats up to {known}; "
            "upgrade monolite to open it (nothing was changed)"
        )
        self.path = path
        self.format = format
        self.known = known

    def fields(self) -> dict[str, Any]:
        return {"path": self.path, "format": self.format, "known": self.known}


class FileForeign(MonoliteError):
    """The path is not a monolite file and was left untouched; the message says what it is."""


class FileDamaged(MonoliteError):
    """SQLite found the file damaged; restore it from a backup. Nothing was written."""


class Fenced(MonoliteError):
    """This engine lost the file to a newer owner and stopped; nothing it did since was written."""

    def __init__(self, epoch: int, current: int, owner: str = "") -> None:
        by = f" by {owner}" if owner else ""
        super().__init__(
            f"this engine opened the file as epoch {epoch}, but it was taken over{by} as epoch "
            f"{current}; this engine wrote nothing since and has stopped: exit this process"
        )
        self.epoch = epoch
        self.current = current
        self.owner = owner

    def fields(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "current": self.current, "owner": self.owner}


class StorageFull(MonoliteError):
    """The disk is full: the request was not stored. Free space and send it again."""


class CommitUnknown(MonoliteError):
    """The disk failed during a commit: the request may or may not survive a restart.

    The engine has stopped. Restart it (it repairs the file as it opens), then repeat the
    request with the same id: it takes effect once.
    """


def _summary(error: BaseException) -> str:
    """Return "Type: message"; never raises, whatever the exception's own code does."""
    try:
        message = str(error)
    except BaseException as broken:  # noqa: BLE001 - a user's __str__ may raise anything
        message = f"<its __str__ raised {type(broken).__name__}>"
    return f"{type(error).__name__}: {message}"
