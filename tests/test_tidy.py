"""The package stays readable: what is small may not grow, and nothing is left lying about."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600

LONG_FUNCTIONS: dict[str, tuple[int, str]] = {}
"""`path::Class.name` to its length and the reason for it; exact, so that it cannot creep."""

LONG_FILES: dict[str, tuple[int, str]] = {}
"""`path` to its length and the reason for it."""

PACKAGE = Path(__file__).parent.parent / "runtime" / "monolite"
MODULES = sorted(PACKAGE.rglob("*.py"))
STATEMENTS = sorted(PACKAGE.rglob("*.sql"))
SOURCES = [*MODULES, *STATEMENTS]

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


per_module = pytest.mark.parametrize("module", MODULES, ids=name_of)
per_source = pytest.mark.parametrize("source", SOURCES, ids=name_of)
per_statement_file = pytest.mark.parametrize("statements", STATEMENTS, ids=name_of)


@cache
def tree(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"), filename=str(module))


def length(function: Function) -> int:
    """Lines of a function, without its decorators and its docstring."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        assert first.end_lineno is not None
        lines -= first.end_lineno - first.lineno + 1
    return lines


def functions(parent: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    """Every function below `parent`, nested ones too, with its qualified name."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, Function):
            yield prefix + node.name, node
        inner = f"{prefix}{node.name}." if isinstance(node, Function | ast.ClassDef) else prefix
        yield from functions(node, inner)


def lines_in(source: Path) -> list[str]:
    return source.read_text(encoding="utf-8").splitlines()


def test_the_package_is_where_these_tests_look() -> None:
    assert PACKAGE / "__init__.py" in MODULES


def test_no_function_is_longer_than_a_screen_without_a_reason() -> None:
    long = {
        name: length(function)
        for module in MODULES
        for name, function in functions(tree(module), f"{name_of(module)}::")
        if length(function) > FUNCTION_LINES_MAX
    }
    assert long == {name: n for name, (n, _reason) in LONG_FUNCTIONS.items()}


def test_no_file_outgrows_its_noun_without_a_reason() -> None:
    lengths = {name_of(source): len(lines_in(source)) for source in SOURCES}
    long = {name: n for name, n in lengths.items() if n > FILE_LINES_MAX}
    assert long == {name: n for name, (n, _reason) in LONG_FILES.items()}


def test_every_exception_has_a_reason() -> None:
    listed = {**LONG_FUNCTIONS, **LONG_FILES}
    assert [name for name, (_n, reason) in listed.items() if len(reason.split()) < 3] == []


@per_module
def test_first_line_of_a_module_states_its_purpose(module: Path) -> None:
    purpose, *_more = (ast.get_docstring(tree(module)) or "").splitlines() or [""]
    assert purpose.endswith((".", "?", ":"))
    assert len(purpose.split()) >= 3


@per_source
def test_no_leftover_markers(source: Path) -> None:
    assert [line for line in lines_in(source) if re.search(r"\b(TODO|FIXME|XXX)\b", line)] == []


@per_module
def test_no_type_checker_is_told_to_look_away(module: Path) -> None:
    pattern = r"#\s*(type|pyright|mypy):\s*ignore"
    assert [line for line in lines_in(module) if re.search(pattern, line)] == []


@per_statement_file
def test_a_statement_file_opens_with_its_purpose(statements: Path) -> None:
    assert lines_in(statements)[0].startswith("-- ")
