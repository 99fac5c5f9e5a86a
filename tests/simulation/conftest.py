"""Fixtures of the simulations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.scratch import scratch
from tests.simulation.vfs import SimVFS, simulated


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory in memory."""
    with scratch() as directory:
        yield directory


@pytest.fixture
def vfs() -> Iterator[SimVFS]:
    """The simulated file layer, which every connection of the test goes through."""
    with simulated() as vfs:
        yield vfs
