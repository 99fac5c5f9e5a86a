"""Fixtures of the host's tests: two event loops, two stores."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.host.hosts")

from tests.host.hosts import World


@pytest.fixture(params=["asyncio", "trio"])
def host(request: pytest.FixtureRequest) -> str:
    """Which event loop runs the test: see `hosts.hosted`."""
    name: str = request.param
    return name


@pytest.fixture(params=["file", "memory"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """A world on a file, and one in memory."""
    return World(":memory:" if request.param == "memory" else tmp_path / "app.db")


@pytest.fixture
def lives(tmp_path: Path) -> World:
    """A world on a file, for those who live more than once."""
    return World(tmp_path / "app.db")
