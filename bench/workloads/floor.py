"""The machine itself: a commit, a sync and the bare loop, with no engine anywhere."""

from __future__ import annotations

from bench.floor import bare_commit_ms, bare_loop, bare_sequential_ms, fdatasyncs_per_s
from bench.workload import Readings, Scratch, Size, Spec, Workload

SEQUENTIAL_STEPS = 200
SYNCS = 500


def _measure(scratch: Scratch, size: Size) -> Readings:
    rate = bare_loop(scratch.file(), size.count, size.each)
    batched = bare_loop(scratch.file(), size.count, size.each, batched=True)
    return {
        "fdatasync": fdatasyncs_per_s(scratch.file(), SYNCS),
        "commit": bare_commit_ms(scratch.file(), SYNCS),
        "sequential": bare_sequential_ms(scratch.file(), SEQUENTIAL_STEPS),
        "workflows": rate.workflows_per_s,
        "rows": rate.rows_per_s,
        "batched_workflows": batched.workflows_per_s,
        "batched_rows": batched.rows_per_s,
    }


WORKLOAD = Workload(
    name="floor",
    specs=(
        Spec("fdatasync", "overwrite and sync of one page", "/s", None),
        Spec("commit", "bare one-row commit", "ms", None),
        Spec("sequential", "bare loop, one sequential step", "ms", None),
        Spec("workflows", "bare loop, 5-step workflows at once", "/s", None),
        Spec("rows", "bare loop, rows", "/s", None),
        Spec("batched_workflows", "batched loop, 5-step workflows at once", "/s", None),
        Spec("batched_rows", "batched loop, rows", "/s", None),
    ),
    full=Size(2000, 5),
    quick=Size(500, 5),
    measure=_measure,
)
