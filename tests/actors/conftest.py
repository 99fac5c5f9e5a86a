"""Fixtures of the actors' tests: a file, or memory, in a world of virtual time."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.host.hosts")

from tests.host.clocks import ManualClock  # noqa: E402
from tests.host.hosts import World  # noqa: E402 - asserts there are to be rewritten


@pytest.fixture(params=["file", "memory"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """A world on a file, and one in memory."""
    return World(":memory:" if request.param == "memory" else tmp_path / "app.db")


@pytest.fixture
def lives(tmp_path: Path) -> World:
    """A world on a file, for those who live more than once."""
    return World(tmp_path / "app.db")


@pytest.fixture
def clock() -> ManualClock:
    """A clock that the test moves."""
    return ManualClock()
