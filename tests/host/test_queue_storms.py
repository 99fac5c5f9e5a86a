"""Whatever happens: limits hold, everything gets its turn, and every slot comes back."""

from __future__ import annotations

import pytest

from monolite.host import engine
from tests.host.queue_storm import QueueStorm

SEEDS = 60


def tell(seed: int, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(engine, "CASCADE_MAX", [1, 2, 5, 10_000][seed % 4])
    return len(QueueStorm(seed).run())


@pytest.mark.parametrize("seed", range(SEEDS))
def test_limits_hold_and_everything_ends(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tell(seed, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("hundred", range(SEEDS, SEEDS + 1_000, 100))
def test_limits_hold_in_many_more_storms(hundred: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(hundred, hundred + 100):
        tell(seed, monkeypatch)
