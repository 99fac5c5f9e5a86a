"""Counting: a store that counts the rows it hands out."""

from __future__ import annotations

from collections import Counter
from typing import Any

from monolite.store.protocol import Store


class CountingStore:
    """Another store, and how many rows each of its methods has returned."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.rows: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found):
            return found

        def counted(*args: Any, **kwargs: Any) -> Any:
            rows: Any = found(*args, **kwargs)
            self.calls[name] += 1
            self.rows[name] += _length(rows)
            return rows

        return counted


def _length(rows: Any) -> int:
    return len(rows) if type(rows) is list else 0  # pyright: ignore[reportUnknownArgumentType]
