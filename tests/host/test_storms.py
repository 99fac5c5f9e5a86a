"""Whatever happens, at whatever moment: every run comes to its end, and its journal agrees."""

from __future__ import annotations

import pytest

from monolite.host import engine
from tests.host.storm import Storm

SEEDS = 60


def tell(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CASCADE_MAX", [1, 2, 5, 10_000][seed % 4])
    Storm(seed).run()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_run_comes_to_its_end(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(seed, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("hundred", range(SEEDS, SEEDS + 2_000, 100))
def test_every_run_comes_to_its_end_in_many_more_storms(
    hundred: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(hundred, hundred + 100):
        tell(seed, monkeypatch)


def test_the_same_seed_tells_the_same_story() -> None:
    stories = [Storm(7).run() for _ in range(2)]
    assert len(stories[0]) > 10
    assert stories[0] == stories[1]
