"""Every statement has a name, a purpose, a user and an index."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import apsw
import pytest

import monolite
from monolite.store.sqlite.statements import schema, statements

PACKAGE = Path(monolite.__file__).parent
LARGE = ("monolite_runs", "monolite_journal", "monolite_inbox", "monolite_attempts")
"""Tables that grow with use: reading one from end to end gets slower for ever."""

MAY_SCAN = {
    "counts": "it counts every run, and is asked by people only",
    "queues_waiting": "it counts what waits in queues, and is asked by people only",
}
MAY_SORT = {
    "counts": "an index by status would cost a write at every change of status",
    "queues_waiting": "the index is in the order in which an engine takes it in",
}

NAMES = sorted(statements())
DATA = ("SELECT", "UPDATE", "DELETE", "INSERT", "WITH")


@pytest.fixture(scope="module")
def con() -> Iterator[apsw.Connection]:
    """An empty file of our schema."""
    connection = apsw.Connection(":memory:")
    connection.execute(schema())
    yield connection
    connection.close()


def plan(con: apsw.Connection, sql: str) -> list[str]:
    """What SQLite would do, a line for each step."""
    return [str(row[3]) for row in con.execute(f"EXPLAIN QUERY PLAN {sql}", _bindings(sql))]


def _bindings(sql: str) -> dict[str, int] | tuple[int, ...]:
    named = re.findall(r":(\w+)", sql)
    return dict.fromkeys(named, 1) if named else (1,) * sql.count("?")


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_reads_no_large_table_from_end_to_end(con: apsw.Connection, name: str) -> None:
    steps = plan(con, statements()[name])
    scans = [step for step in steps if step.startswith("SCAN") and _table(step) in LARGE]
    assert bool(scans) == (name in MAY_SCAN), scans


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_sorts_nothing_that_an_index_could(con: apsw.Connection, name: str) -> None:
    sorts = [step for step in plan(con, statements()[name]) if "TEMP B-TREE" in step]
    assert bool(sorts) == (name in MAY_SORT), sorts


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("run", "INTEGER PRIMARY KEY"),
        ("run_by_id", "monolite_runs_id"),
        ("note_run", "INTEGER PRIMARY KEY"),
        ("end_run", "INTEGER PRIMARY KEY"),
        ("due", "monolite_runs_wake"),
        ("next_due", "monolite_runs_wake"),
        ("queued", "monolite_runs_queued"),
        ("parked", "monolite_runs_parked"),
        ("tickets", "COVERING INDEX monolite_runs_tickets"),
        ("holders", "monolite_runs_held"),
        ("queues_running", "monolite_runs_held"),
        ("dead", "monolite_runs_dead"),
        ("deduped", "monolite_runs_dedupe"),
        ("queues_waiting", "COVERING INDEX monolite_runs_tickets"),
        ("entries", "monolite_inbox_run"),
        ("undelivered", "monolite_inbox_run"),
        ("messages_after", "monolite_inbox_waiting"),
        ("answer", "monolite_inbox_once"),
        ("answer_of_line", "monolite_inbox_once"),
        ("messages_due", "monolite_inbox_due"),
        ("next_message_due", "monolite_inbox_due"),
        ("state", "INTEGER PRIMARY KEY"),
        ("take_message", "INTEGER PRIMARY KEY"),
    ],
)
def test_a_statement_uses_the_index_that_was_made_for_it(
    con: apsw.Connection, name: str, index: str
) -> None:
    assert any(index in step for step in plan(con, statements()[name]))


def _table(step: str) -> str:
    return step.split()[1]


def source_of(name: str) -> str:
    return files("monolite.store.sqlite").joinpath(name).read_text(encoding="utf-8")


def test_every_statement_has_a_name_of_its_own_and_a_purpose() -> None:
    text = source_of("statements.sql")
    heads = re.findall(r"^-- (\w+): (.+)$", text, flags=re.MULTILINE)
    assert sorted(name for name, _ in heads) == NAMES
    assert [name for name, purpose in heads if len(purpose.split()) < 2] == []
    assert [name for name in NAMES if not statements()[name].startswith(DATA)] == []


def test_the_list_of_runs_is_read_backwards_by_number(con: apsw.Connection) -> None:
    """It may look at every run, if few match; it stops when there are enough."""
    assert plan(con, statements()["runs"])[0] == (
        "SEARCH monolite_runs USING INTEGER PRIMARY KEY (rowid<?)"
    )


def test_every_statement_is_used() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    assert [name for name in NAMES if f'"{name}"' not in code] == []


def test_every_name_that_is_used_is_a_statement() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    used = set(re.findall(r'(?:_sql|\bsql|statements\(\))\["(\w+)"\]', code))
    assert used - set(NAMES) == set()
    assert len(used) > 15


def test_no_statement_asks_for_the_time_or_for_chance() -> None:
    for name, sql in statements().items():
        assert not re.search(r"'now'|unixepoch\(\)|CURRENT_|random\(", sql), name


def test_every_table_is_strict(con: apsw.Connection) -> None:
    rows = con.execute("SELECT name, strict FROM pragma_table_list WHERE name LIKE 'monolite%'")
    tables = {str(name): strict for name, strict in rows}
    views = {"monolite_timeline", "monolite_open"}
    assert {name for name, strict in tables.items() if not strict} == views
    assert set(tables) > {*LARGE, "monolite_file", "monolite_views", "monolite_links"}


def test_every_index_is_used_by_some_statement(con: apsw.Connection) -> None:
    made = {
        str(name)
        for (name,) in con.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
        )
    }
    plans = " ".join(step for name in NAMES for step in plan(con, statements()[name]))
    assert {name for name in made if name not in plans} == set()
