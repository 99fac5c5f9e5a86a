"""The workloads, one module each, with a `WORKLOAD` in it.

They are imported when they are chosen: `floor` runs where the library is not installed.
"""

from __future__ import annotations

from importlib import import_module

from bench.workload import Workload

NAMES = (
    "floor",
    "sequential",
    "many",
    "signals",
    "ping_pong",
    "spawn_result",
    "actor_turns",
    "hot_actor",
    "ask",
    "wake",
    "processes",
    "replay",
    "recovery",
    "file_size",
    "idle",
    "startup",
    "queue",
)


def load(name: str) -> Workload:
    """Import one workload by its name."""
    workload = import_module(f"bench.workloads.{name}").WORKLOAD
    assert isinstance(workload, Workload)
    return workload
