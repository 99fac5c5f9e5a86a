"""Fixtures of the core's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from monolite.core import guard
from monolite.core.loop import pin_cancel_scopes
from tests.core.play import Stage


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    """What a runtime installs once per process."""
    guard.install()
    pin_cancel_scopes()


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A stage; after the test nothing else must have happened, and a replay must agree."""
    stage = Stage()
    yield stage
    stage.close()
