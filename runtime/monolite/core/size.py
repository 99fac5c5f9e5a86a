"""Sizes of memory: a number of bytes, or text such as "512MB"."""

from __future__ import annotations

import re

Size = int | str
"""Bytes as a number, or text with a unit: B, kB, MB, GB (thousands), KiB, MiB, GiB (1,024s)."""

_UNITS = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}
_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)")


def size_bytes(value: Size, *, name: str = "size") -> int:
    """Return a size in bytes; raise ValueError if it is none."""
    found: float = 0
    if isinstance(value, str):
        match = _TEXT.fullmatch(value.strip())
        unit = None if match is None else _UNITS.get(match[2].lower())
        if match is not None and unit is not None:
            found = float(match[1]) * unit
    elif not isinstance(value, bool):
        found = value
    if found < 1:
        msg = f"{name} must be a number of bytes or text such as '512MB', not {value!r}"
        raise ValueError(msg)
    return int(found)


def shown(size: int) -> str:
    """Return a size in words: the largest unit that gives a whole number."""
    units = (("GB", 10**9), ("GiB", 2**30), ("MB", 10**6), ("MiB", 2**20), ("kB", 10**3))
    for unit, size_of_unit in units:
        if size % size_of_unit == 0:
            return f"{size // size_of_unit} {unit}"
    return f"{size:,} bytes"
