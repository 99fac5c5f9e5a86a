"""Entries say in words what was asked."""

from __future__ import annotations

import pytest

from monolite.core.entry import Entry, Run, RunNo, describe_request


@pytest.mark.parametrize(
    ("kind", "key", "args", "words"),
    [
        ("activity", "charge#1", '["visa",5]', 'activity charge#1("visa",5)'),
        ("activity", "charge#1", "[]", "activity charge#1()"),
        ("activity", "a#1", '{"args":[],"kwargs":{}}', 'activity a#1{"args":[],"kwargs":{}}'),
        ("child", "order#2", '[{"a":[1]}]', 'child order#2({"a":[1]})'),
        ("signal", "approval", None, "signal approval"),
        ("timer", "timer#3", "1500000", "timer#3 (a timer of 1.5 s)"),
        ("timer", "timer#3", None, "timer#3 (a timer of 0 s)"),
        ("activity", "a#1", '"blake2b:abc"', 'activity a#1"blake2b:abc"'),
    ],
)  # fmt: skip
def test_a_request_reads_as_a_call(kind: str, key: str, args: str | None, words: str) -> None:
    assert describe_request(kind, key, args) == words
    assert Entry(0, 1, kind, key, args).request() == words


def test_long_arguments_are_cut() -> None:
    words = describe_request("activity", "charge#1", '["' + "x" * 1_000 + '"]')
    assert len(words) < 230
    assert words.endswith("...")


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "terminated"])
def test_a_run_has_ended_in_four_ways(status: str) -> None:
    assert Run(RunNo(2), "a", 1, "a", 1, status, "[]", 1).ended
    for still_open in ("queued", "running", "waiting", "paused", "blocked", "diverged"):
        assert not Run(RunNo(2), "a", 1, "a", 1, still_open, "[]", 1).ended
