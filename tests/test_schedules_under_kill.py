"""kill -9 around ticks: each tick has one run, or is counted as one that has none."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from monolite.core.schedule import tick_id
from monolite.store.protocol import RunFilter
from monolite.store.sqlite.reader import SqliteReader
from tests.processes.place import Place


def live_and_die(place: Place, seed: random.Random) -> None:
    """Let the engine start so many runs, and kill it at once."""
    with place.process("tests.processes.ticker") as engine:
        told = engine.lines()
        for _ in range(seed.randint(1, 60)):
            next(told)
        engine.kill()


def check(place: Place) -> None:
    reader = SqliteReader.open(place.path)
    try:
        runs = reader.runs(RunFilter(limit=100_000))
        rows = reader.schedules()
    finally:
        reader.close()
    assert {run.status for run in runs} == {"completed"}
    assert {run.generation for run in runs} == {1}
    assert set(Counter(run.id for run in runs).values()) == {1}
    assert [row.name for row in rows] == ["all", "buffering", "fresh", "skipping"]
    for row in rows:
        assert row.next_us is not None
        ticks: list[str] = []
        tick_us = row.spec.next_tick(row.declared_us)
        while tick_us is not None and tick_us < row.next_us:
            ticks.append(tick_id(row.name, tick_us))
            tick_us = row.spec.next_tick(tick_us)
        ran = {run.id for run in runs if run.id.startswith(f"{row.name}@")}
        waiting: set[str] = (
            set() if row.buffered_us is None else {tick_id(row.name, row.buffered_us)}
        )
        assert ran <= set(ticks)
        assert not ran & waiting
        assert len(ran) + len(waiting) + row.skipped + row.missed == len(ticks)
        if row.name == "all":
            assert ran == set(ticks)


def kill_and_check(directory: Path, rounds: int, number: int) -> None:
    place, seed = Place(directory), random.Random(number)
    for _ in range(rounds):
        live_and_die(place, seed)
    with place.process("tests.processes.ticker", "--last") as engine:
        assert engine.wait() == 0
    check(place)


def test_each_tick_has_one_run_or_is_counted(tmp_path: Path) -> None:
    kill_and_check(tmp_path, 3, 1)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(2, 7))
def test_so_it_is_after_ten_kills(tmp_path: Path, number: int) -> None:
    kill_and_check(tmp_path, 10, number)
