"""Power cuts: whatever the store acknowledged is there when the power is back, again and again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from monolite.store.sqlite import log
from tests.simulation.chain import Circumstances, Tally, cut_power
from tests.simulation.vfs import SimVFS

CUTS = 2_000
CUTS_AFTER_FAILED_SYNCS = 300
RUNS = 200

slow = [pytest.mark.slow, pytest.mark.timeout(3_600)]


Run = Callable[..., Tally]


@pytest.fixture
def run(vfs: SimVFS, directory: Path) -> Run:
    def run(cuts: int, circumstances: Circumstances, seed: int = 1) -> Tally:
        return cut_power(vfs, directory, cuts=cuts, seed=seed, circumstances=circumstances)

    return run


def test_the_power_fails_thousands_of_times_and_nothing_is_lost(run: Run) -> None:
    tally = run(CUTS, Circumstances())
    assert (tally.cuts, tally.lost, tally.damaged) == (CUTS, 0, 0), tally.losses
    # It was no idle run.
    assert tally.acknowledged > 2 * CUTS
    assert tally.survived > CUTS // 50
    assert tally.during["checkpointing"] >= CUTS // 10
    assert tally.during["opening"] >= CUTS // 10
    assert tally.during["closing"] > 0


@pytest.mark.parametrize("cuts", [CUTS_AFTER_FAILED_SYNCS, pytest.param(5_000, marks=slow)])
def test_a_sync_fails_then_the_process_restarts_then_the_power_fails(run: Run, cuts: int) -> None:
    tally = run(cuts, Circumstances(failing_syncs=True))
    assert (tally.cuts, tally.lost, tally.damaged) == (cuts, 0, 0), tally.losses
    assert tally.unknown > cuts // 4


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_a_hundred_thousand_power_cuts(run: Run) -> None:
    tally = run(100_000, Circumstances(), seed=2)
    assert (tally.cuts, tally.lost, tally.damaged) == (100_000, 0, 0), tally.losses


# Controls: the same runs must lose something when the disk, or we, do less.


def test_without_a_sync_for_each_commit_a_fifth_of_the_runs_loses(run: Run) -> None:
    tally = run(RUNS, Circumstances(durability="normal", spares_opening=True))
    assert tally.failed >= RUNS // 5


def test_a_disk_that_lies_about_syncs_loses(run: Run) -> None:
    tally = run(RUNS, Circumstances(lies=True, spares_opening=True))
    assert tally.failed >= RUNS // 5


def test_without_the_repair_at_opening_a_failed_sync_is_a_loss(run: Run) -> None:
    with patch.object(log, "rewrite", return_value=0):
        tally = run(RUNS, Circumstances(failing_syncs=True))
    assert tally.failed >= RUNS // 20
