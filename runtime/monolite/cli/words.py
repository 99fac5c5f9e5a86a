"""Words: numbers, times and values the way people read them."""

from __future__ import annotations

from typing import Any

PAYLOAD_CHARS = 88
"""How much of a payload is shown where it stands among other things."""

_AGES = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
_SIZES = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024


def age(seconds: float) -> str:
    """Return a long time in its largest unit: "5s", "3m", "2h", "40d"."""
    for unit, letter in _AGES:
        if seconds >= unit:
            return f"{int(seconds // unit)}{letter}"
    return "0s"


def size(count: int) -> str:
    """Return a number of bytes: "512 B", "1.5 MiB"."""
    if count < _STEP:
        return f"{count} {_SIZES[0]}"
    power = min((count.bit_length() - 1) // 10, len(_SIZES) - 1)
    return f"{count / _STEP**power:.1f} {_SIZES[power]}"


def count(number: int, noun: str) -> str:
    """Return "1 run", "2 runs"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def clip(text: str, width: int | None) -> str:
    """Return a text that fits into `width` characters; None: all of it."""
    if width is None or len(text) <= width:
        return text
    return text[: max(width - 3, 0)] + "..."


def payload(value: Any, width: int | None = PAYLOAD_CHARS) -> str:
    """Return a decoded payload as one line of JSON, clipped."""
    import msgspec

    return clip(plain(msgspec.json.encode(value).decode()), width)


def call(given: Any, width: int | None = PAYLOAD_CHARS) -> str:
    """Return recorded arguments as in a call: `("a.py", 3)`."""
    text = payload(given, None)
    if isinstance(given, list):
        text = text[1:-1]
    return f"({clip(text, width)})"


def plain(text: str) -> str:
    """Return text of unknown origin with nothing in it that a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def plain_lines(text: str) -> list[str]:
    """Return text of unknown origin line by line, each with nothing that a terminal would obey."""
    return [plain(line.expandtabs(4)) for line in text.splitlines()]


def one_line(text: str) -> str:
    """Return text of unknown origin as one printable line."""
    return plain(" ".join(text.split()))
