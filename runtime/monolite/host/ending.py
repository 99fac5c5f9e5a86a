"""Endings: a run's end as those who wait for it get it: a result, or an exception."""

from __future__ import annotations

import msgspec

from monolite.core import entry as e
from monolite.core import failure
from monolite.core.entry import Accepted, Run
from monolite.errors import Rejected, UnknownWorkflow, WorkflowFailed


def answer_text(answer: Accepted | tuple[str | None, str | None]) -> str:
    """Return an update's answer as JSON text, or raise what refused it."""
    if isinstance(answer, Accepted):
        raise Rejected(answer.reason)
    value, error = answer
    if error is not None:
        raise failure.rebuild(failure.decode(error))
    return value or "null"


def rejection(answer: tuple[str | None, str | None] | None) -> Accepted | None:
    """Return the verdict on a message that its receiver was found to have refused, if it has."""
    refusal = None if answer is None or answer[1] is None else failure.decode(answer[1])
    if refusal is None or refusal.type != Rejected.__name__:
        return None
    return Accepted(accepted=False, reason=str((refusal.fields or {}).get("reason", "")))


def result_text(id: str, status: str, value: str | None, error: str | None) -> str:
    """Return the result as JSON text, or raise WorkflowFailed, Cancelled or Terminated."""
    if status == e.COMPLETED:
        return value or "null"
    cause = failure.rebuild(failure.decode(error or "{}"))
    if status == e.FAILED:
        raise WorkflowFailed(id, cause) from cause
    raise cause


def unknown(id: str) -> UnknownWorkflow:
    """Return the error for an id that no run has."""
    return UnknownWorkflow(f"no run has the id {id!r}; spawn it first, or check the id")


def ended_by(type_: str, id: str, reason_json: str) -> failure.Failure:
    reason = str(msgspec.json.decode(reason_json))
    words = f"workflow {id!r} was {type_.lower()}" + (f": {reason}" if reason else "")
    return failure.Failure(
        type=type_, module="monolite.errors", message=words, fields={"id": id, "reason": reason}
    )


def to_waiter(run: Run) -> tuple[str | None, str | None]:
    """Return a run's end as another workflow gets it: a value, or the failure to raise."""
    if run.status == e.COMPLETED:
        return run.value, None
    cause = failure.decode(run.error or "{}")
    if run.status != e.FAILED:
        return None, run.error
    return None, failure.encode(
        failure.Failure(
            type="WorkflowFailed",
            module="monolite.errors",
            message=f"workflow {run.id!r} failed: {cause.summary()}",
            fields={"id": run.id},
            cause=cause,
        )
    )


def contains(raised: BaseException | None, error: BaseException) -> bool:
    """Return whether the engine's error is what already ends the program's block."""
    members: tuple[BaseException, ...] = getattr(raised, "exceptions", ())
    return raised is error or any(contains(member, error) for member in members)
