"""Fixtures of the stores' tests: one contract, every store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from monolite.store.memory import MemoryStore
from monolite.store.protocol import Store
from monolite.store.sqlite.store import SqliteStore
from tests.store.samples import NOON_US


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore.own(tmp_path / "app.db", durability="normal", now_us=NOON_US)
    yield store
    store.close()


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest) -> Store:
    if request.param == "memory":
        return MemoryStore()
    found: SqliteStore = request.getfixturevalue("sqlite_store")
    return found
