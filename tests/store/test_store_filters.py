"""Listing runs: all that match everything given, newest first."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from monolite.core import entry as e
from monolite.store.protocol import RunFilter, Store
from tests.store.samples import a_note, a_run, an_end, batch


def numbers(store: Store, **where: Any) -> list[int]:
    return [run.no for run in store.runs(RunFilter(**where))]


@pytest.fixture
def filled(store: Store) -> Store:
    """Five runs that differ in everything that can be asked for."""
    store.commit(
        batch(
            a_run(2, "order-1", name="order", attributes='{"tenant":"a","size":1}'),
            a_run(3, "order-2", name="order", parent_id="order-1", attributes='{"tenant":"b"}'),
            a_run(4, "report_1", name="report", attributes='{"tenant":"a","size":2}'),
            a_run(6, "Order-3", name="order"),
            a_run(8, "ord", name="child", parent_id="order-1"),
            a_note(4),
            an_end(6),
            a_note(8, status=e.STRANDED),
        )
    )
    return store


def test_without_a_filter_all_come_newest_first(filled: Store) -> None:
    assert numbers(filled) == [8, 6, 4, 3, 2]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"status": e.RUNNING}, [3, 2]),
        ({"status": e.COMPLETED}, [6]),
        ({"status": e.WAITING}, [8, 4]),
        ({"status": "nonsense"}, []),
        ({"name": "order"}, [6, 3, 2]),
        ({"name": "orde"}, []),
        ({"id_prefix": "order-"}, [3, 2]),
        ({"id_prefix": "ord"}, [8, 3, 2]),
        ({"id_prefix": "report_"}, [4]),
        ({"id_prefix": "report%"}, []),
        ({"id_prefix": ""}, [8, 6, 4, 3, 2]),
        ({"parent": "order-1"}, [8, 3]),
        ({"open": True}, [8, 4, 3, 2]),
        ({"attributes": {"tenant": "a"}}, [4, 2]),
        ({"attributes": {"tenant": "a", "size": 2}}, [4]),
        ({"attributes": {"tenant": "c"}}, []),
        ({"attributes": {}}, [8, 6, 4, 3, 2]),
        ({"attributes": {"missing": None}}, []),
        ({"name": "order", "parent": "order-1", "status": e.RUNNING}, [3]),
        ({"limit": 2}, [8, 6]),
        ({"limit": 0}, []),
        ({"before_no": 6}, [4, 3, 2]),
        ({"before_no": 6, "limit": 1}, [4]),
        ({"before_no": 0}, []),
    ],
    ids=str,
)
def test_a_filter_takes_what_matches(
    filled: Store, where: dict[str, Any], expected: list[int]
) -> None:
    assert numbers(filled, **where) == expected


@pytest.mark.parametrize(
    ("held", "wanted", "matches"),
    [
        ("a", "a", True),
        ("a", "A", False),
        (1, 1, True),
        (1, 1.0, True),
        (1, "1", False),
        (True, True, True),
        (True, False, False),
        (True, 1, False),
        (False, 0, False),
        (None, None, True),
        (None, 0, False),
        (0.5, 0.5, True),
        (2**62, 2**62, True),
        (2**62, 2**62 + 1, False),
        ([1, 2], [1, 2], True),
        ([1, 2], [2, 1], False),
        ([1], "[1]", False),
        ({"x": 1, "y": 2}, {"y": 2, "x": 1}, True),
        ({"x": 1}, {"x": 1, "y": 2}, False),
        ({"x": [True]}, {"x": [True]}, True),
        ("gr\u00fc\u00dfe", "gr\u00fc\u00dfe", True),
        ('qu"ote', 'qu"ote', True),
        ("", "", True),
    ],
)
def test_attributes_match_as_json_does(store: Store, held: Any, wanted: Any, matches: bool) -> None:
    text = msgspec.json.encode({"a": held}, order="sorted").decode()
    store.commit(batch(a_run(2, attributes=text)))
    assert numbers(store, attributes={"a": wanted}) == ([2] if matches else [])


@pytest.mark.parametrize("key", ["a.b", "$", "a b", 'qu"ote', "\u00fc", "", "[0]"])
def test_an_attribute_may_have_any_name(store: Store, key: str) -> None:
    store.commit(
        batch(
            a_run(2, attributes=msgspec.json.encode({key: 1}).decode()),
            a_run(4, attributes='{"other":1}'),
            a_run(6),
        )
    )
    assert numbers(store, attributes={key: 1}) == [2]


def test_many_runs_are_read_page_by_page(store: Store) -> None:
    store.commit(batch(*(a_run(no) for no in range(1, 24))))
    seen: list[int] = []
    before: int | None = None
    while page := store.runs(RunFilter(limit=5, before_no=before)):
        seen += [run.no for run in page]
        before = page[-1].no
    assert seen == list(range(23, 0, -1))
