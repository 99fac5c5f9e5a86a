"""Statements: the named SQL of this package's files, each read once."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_HEAD = re.compile(r"^-- (\w+): .+$", re.MULTILINE)


@cache
def statements(file: str = "statements.sql") -> dict[str, str]:
    """Return every named statement of a file of this package."""
    text = _read(file)
    heads = list(_HEAD.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    return {head[1]: text[head.end() : end].strip() for head, end in zip(heads, ends, strict=True)}


@cache
def schema() -> str:
    """Return the statements that make a new file."""
    return _read("schema.sql")


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
