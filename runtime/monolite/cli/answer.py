"""An answer: what a command found out, before anybody prints it."""

from __future__ import annotations

from typing import Any, NamedTuple


class Answer(NamedTuple):
    """`text` is for people, `data` for programs (`--json`); `hint` goes to stderr.

    `problem` says why the exit status is 1; with None it is 0.
    """

    text: str = ""
    data: Any = None
    hint: str | None = None
    problem: str | None = None
