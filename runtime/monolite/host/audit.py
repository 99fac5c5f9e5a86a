"""Audit events that older Pythons do not raise, for the guard to hear.

`time.sleep` reports itself from Python 3.13 on, the start of a thread from 3.12 on.
"""

from __future__ import annotations

import _thread
import functools
import sys
import threading
import time
from types import ModuleType
from typing import Any


def complete() -> None:
    """Make these calls report themselves on every Python; may be called again."""
    if sys.version_info < (3, 13):
        _report(time, "sleep", "time.sleep")
    if sys.version_info < (3, 12):
        # The second name is the one that `threading` itself calls.
        _report(_thread, "start_new_thread", "_thread.start_new_thread")
        _report(threading, "_start_new_thread", "_thread.start_new_thread")


def _report(module: ModuleType, name: str, event: str) -> None:
    original = getattr(module, name)
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def reporting(*args: Any, **kwargs: Any) -> Any:
        sys.audit(event, *args)
        return original(*args, **kwargs)

    setattr(module, name, reporting)
