"""A place: where a call waits for its turn, and as what."""

from __future__ import annotations

import msgspec

DUPLICATES = ("attach", "reject", "replace")
"""What a spawn may ask for if another run waits in the queue under its `dedupe` key."""


class Place(msgspec.Struct, frozen=True, gc=False):
    """A queue, the key there, the priority; and what to do about others like it that wait."""

    queue: str
    key: str | None = None
    priority: int = 0
    dedupe: str | None = None
    on_duplicate: str = "attach"
    debounce_us: int = 0
