"""Endings: a run's end as a caller gets it: the result, or the exception to raise."""

from __future__ import annotations

from monolite.core import entry as e
from monolite.core import failure
from monolite.errors import WorkflowFailed


def result_text(id: str, status: str, value: str | None, error: str | None) -> str:
    """Return the result as JSON text, or raise WorkflowFailed, Cancelled or Terminated."""
    if status == e.COMPLETED:
        return value or "null"
    cause = failure.rebuild(failure.decode(error or "{}"))
    if status == e.FAILED:
        raise WorkflowFailed(id, cause) from cause
    raise cause
