"""Sizes of memory: what they may be, and how they are said."""

from __future__ import annotations

import pytest

from monolite.core.size import Size, shown, size_bytes


@pytest.mark.parametrize(
    ("given", "found"),
    [(1, 1), ("512MB", 512_000_000), ("1.5 GiB", 1_610_612_736), ("64kB", 64_000), ("7b", 7)],
)
def test_a_size_is_a_number_of_bytes_or_text_with_a_unit(given: Size, found: int) -> None:
    assert size_bytes(given) == found


@pytest.mark.parametrize("given", [0, -1, True, "", "MB", "12", "12 apples", "0MB", "-1MB"])
def test_anything_else_is_refused(given: Size) -> None:
    with pytest.raises(ValueError, match="memory must be a number of bytes or text"):
        size_bytes(given, name="memory")


def test_it_is_said_in_the_largest_unit_that_fits() -> None:
    sizes = (2_000_000_000, 2**30, 5_000_000, 2**20, 3_000, 1_001)
    assert [shown(size) for size in sizes] == [
        "2 GB",
        "1 GiB",
        "5 MB",
        "1 MiB",
        "3 kB",
        "1,001 bytes",
    ]
