"""A hot actor: as many updates as `actor_turns` sends, all to the same actor."""

from __future__ import annotations

from bench.workload import Size, Spec, Workload
from bench.workloads.actor_turns import floor, measure

WORKLOAD = Workload(
    name="hot_actor",
    specs=(
        Spec("turns", "turns of one actor, all at once", "/s", "bare loop's rows"),
        Spec("batched", "the same", "/s", "batched loop's rows"),
    ),
    full=Size(1, 5000),
    quick=Size(1, 1000),
    measure=measure,
    floor=floor,
)
