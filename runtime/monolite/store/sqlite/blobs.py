"""Blobs: large values, kept aside so that the rows that are hot stay small.

Those of journal, inbox and runs never change, and are kept once by their content. A state or a
view is replaced often: it has a place of its own, which holds the newest.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import apsw

from monolite.store.sqlite.statements import statements

BLOB_CHARS_MIN = 64 * 1024
"""Longer values leave a reference in their row."""

REFERENCE = "blob:"
"""Begins a reference; no JSON text does."""


LARGE = "large:"
"""Stands in the row of a state or view whose value is kept aside, by its place."""


def aside(con: apsw.Connection, run_no: int, slot: str, text: str) -> str:
    """Return what a row should hold of a value that is replaced often, keeping only the newest."""
    if len(text) <= BLOB_CHARS_MIN:
        return text
    con.execute(statements()["put_large"], (run_no, slot, text))
    return LARGE


def light(con: apsw.Connection, text: str | None) -> str | None:
    """Return what a row should hold of a value, having stored the value itself if it is large."""
    if text is None or len(text) <= BLOB_CHARS_MIN:
        return text
    digest = blake2b(text.encode(), digest_size=20).hexdigest()
    con.execute(statements()["put_blob"], (digest, text))
    return REFERENCE + digest


def whole(con: apsw.Connection, text: str | None) -> str | None:
    """Return the value that a row means."""
    if text is None or not text.startswith(REFERENCE):
        return text
    row: Any = con.execute(statements()["blob"], (text.removeprefix(REFERENCE),)).fetchone()
    assert row is not None, "a row refers to a blob that is not there"
    return str(row[0])
