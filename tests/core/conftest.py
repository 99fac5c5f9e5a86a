"""Fixtures of the core's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from monolite.core import guard
from monolite.host import audit, order

pytest.register_assert_rewrite("tests.core.play")

from tests.core.play import Stage  # noqa: E402 - its asserts are rewritten first


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    """What a runtime installs once per process."""
    audit.complete()
    guard.install()
    order.pin()


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A stage; after the test nothing else must have happened, and a replay must agree."""
    stage = Stage()
    yield stage
    stage.close()
