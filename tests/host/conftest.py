"""Fixtures of the host's tests: a home for the rows, a clock that stands still."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.clocks import ManualClock
from tests.host.homes import Home
from tests.host.hosts import World


@pytest.fixture(params=["file", "memory"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """Where the runtimes of one test keep their rows: a file, and memory."""
    return Home(tmp_path / "app.db" if request.param == "file" else None)


@pytest.fixture
def clock() -> ManualClock:
    """A clock that the test moves."""
    return ManualClock()


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nobody complains; a test that expects a complaint reads it, then `caplog.clear()`s it."""
    yield
    complaints = [r for r in caplog.get_records("call") if r.levelno >= logging.WARNING]
    said = [record.getMessage() for record in complaints]
    # Long journals are named in the log, as they should be.
    assert [words for words in said if not words.startswith("the journal of")] == []


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
