"""monolite: durable actors in one SQLite file.

`core` is pure (no clock, thread or I/O), `store` keeps rows, `host` runs both. What a program
needs is here; everything else is importable, and may change.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from monolite import errors
from monolite.core.actor import Actor, query, signal, update
from monolite.core.attempt import AttemptInfo, attempt
from monolite.core.call import Call
from monolite.core.channel import Signal, View
from monolite.core.command import ContinueAsNew
from monolite.core.context import Current, current, now, patched, random, uuid4
from monolite.core.definition import Activity, Workflow, activity, step, workflow
from monolite.core.duration import Duration
from monolite.core.entry import Accepted
from monolite.core.failure import register_exception
from monolite.core.handle import Handle, HistoryEntry, Info
from monolite.core.promise import Promise
from monolite.core.queue import Breaker, Queue, Rate
from monolite.core.retry import Retry
from monolite.core.stream import Stream
from monolite.core.timetable import Schedule, ScheduleInfo
from monolite.core.transaction import Transaction, transaction
from monolite.core.update import Request, Update
from monolite.errors import MonoliteError, RetryAfter

if TYPE_CHECKING:
    from monolite.host.client import Client
    from monolite.host.queue_handle import QueueHandle, QueueInfo
    from monolite.host.runtime import Runtime
    from monolite.host.saga import Saga
    from monolite.host.spawning import actor, send, spawn
else:
    _HOST = {
        "Client": "monolite.host.client",
        "QueueHandle": "monolite.host.queue_handle",
        "QueueInfo": "monolite.host.queue_handle",
        "Runtime": "monolite.host.runtime",
        "Saga": "monolite.host.saga",
        "actor": "monolite.host.spawning",
        "send": "monolite.host.spawning",
        "spawn": "monolite.host.spawning",
    }

    def __getattr__(name: str) -> Any:
        """Import the host when it is first asked for: without anyio and apsw we start quickly."""
        if name not in _HOST:
            msg = f"module 'monolite' has no attribute {name!r}"
            raise AttributeError(msg)
        found = getattr(import_module(_HOST[name]), name)
        globals()[name] = found
        return found


Entry = HistoryEntry

__version__ = "0.1.0"

__all__ = [
    "Accepted",
    "Activity",
    "Actor",
    "AttemptInfo",
    "Breaker",
    "Call",
    "Client",
    "ContinueAsNew",
    "Current",
    "Duration",
    "Entry",
    "Handle",
    "Info",
    "MonoliteError",
    "Promise",
    "Queue",
    "QueueHandle",
    "QueueInfo",
    "Rate",
    "Request",
    "Retry",
    "RetryAfter",
    "Runtime",
    "Saga",
    "Schedule",
    "ScheduleInfo",
    "Signal",
    "Stream",
    "Transaction",
    "Update",
    "View",
    "Workflow",
    "activity",
    "actor",
    "attempt",
    "current",
    "errors",
    "now",
    "patched",
    "query",
    "random",
    "register_exception",
    "send",
    "signal",
    "spawn",
    "step",
    "transaction",
    "update",
    "uuid4",
    "workflow",
]
