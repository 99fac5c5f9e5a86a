"""Crashes everywhere: what breaks is found, with the line that asked; what does not is left be."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from monolite import Handle, activity, errors, testing, workflow
from monolite.testing import Environment, Finding
from tests.host.loops import on_both_loops
from tests.testing import shop


@pytest.fixture(autouse=True)
def no_charges() -> None:
    shop.charges.clear()


async def afresh(env: Environment) -> None:
    shop.charges.clear()


async def approve(env: Environment, handle: Handle[Any]) -> None:
    await handle.signal(shop.approval, value=True)
    await handle.result()


def only(report: testing.CrashReport) -> Finding:
    (finding,) = report.findings
    return finding


def test_a_double_charge_is_found_with_the_line_that_asked() -> None:
    report = testing.crash_everywhere(shop.naive("visa"))
    found = only(report)
    assert (found.kind, found.subject) == ("effect", "crash-everywhere/charge#1")
    assert found.place is not None
    assert found.place.startswith("shop.py:")
    line = int(found.place.partition(":")[2])
    source = Path(shop.__file__).read_text(encoding="utf-8").splitlines()
    assert source[line - 1] == "    paid = await charge(card, 500)"
    assert found.point is not None
    assert "had taken effect" in found.point
    assert not report.ok
    with pytest.raises(AssertionError, match=r"charge#1 of crash-everywhere took effect 2 times"):
        report.check()


def test_every_commit_and_every_activity_is_tried() -> None:
    tried = testing.crash_everywhere(shop.naive("visa")).tried
    # Spawned; charged; the timer is written down; it has fired, and the run has ended.
    assert (tried.workflow, tried.commits, tried.attempts) == ("naive", 4, 1)
    assert (tried.points, tried.left_out, tried.missed) == (10, 0, 0)


@on_both_loops
async def test_in_an_event_loop_it_is_awaited() -> None:
    report = await testing.crash_everywhere(shop.naive("visa"), setup=afresh)
    assert [finding.kind for finding in report.findings] == ["effect"]
    assert await report is report


async def test_unawaited_it_says_so() -> None:
    report = testing.crash_everywhere(shop.naive("visa"))
    with pytest.raises(errors.Misused, match="await testing"):
        assert report.ok
    with pytest.warns(RuntimeWarning, match="never awaited"):
        del report


@pytest.mark.parametrize("allowed", [shop.charge, "charge"])
def test_what_is_listed_as_idempotent_may_repeat_itself(allowed: Any) -> None:
    report = testing.crash_everywhere(shop.naive("visa"), idempotent=[allowed])
    assert report.ok
    assert "10 crashes in 4 commits and 1 attempts" in str(report.check())


def test_a_careful_workflow_has_nothing_to_fear() -> None:
    report = testing.crash_everywhere(shop.careful("visa"), setup=afresh).check()
    assert report.tried.missed == 0
    assert set(shop.charges.values()) == {500}
    assert len(shop.charges) == 1


def test_nor_has_a_family_of_them() -> None:
    report = testing.crash_everywhere(shop.parent("visa"), actors=[shop.careful]).check()
    assert report.tried.attempts == 4


def test_actors_and_transactions_are_tried_too() -> None:
    testing.crash_everywhere(shop.payday(), actors=[shop]).check()
    testing.crash_everywhere(shop.booking()).check()


@on_both_loops
async def test_a_script_plays_the_outside_world() -> None:
    report = await testing.crash_everywhere(shop.approved(), script=approve)
    assert report.check().tried.commits >= 4


def test_without_it_one_that_waits_does_not_even_begin() -> None:
    @workflow
    async def waits() -> bool:
        return await shop.approval.receive()

    with pytest.raises(testing.NeverEnded, match="waits for signal approval"):
        testing.crash_everywhere(waits())


def test_an_outcome_that_differs_is_found() -> None:
    found = only(testing.crash_everywhere(shop.rocket()))
    assert (found.kind, found.subject) == ("outcome", "crash-everywhere")
    assert found.times == 4  # from the commit of its intent to that of its outcome
    assert 'completed with "saturn" undisturbed, but failed with Interrupted' in found.message


def test_what_cannot_be_replayed_is_found_with_its_line() -> None:
    found = [
        finding
        for finding in testing.crash_everywhere(shop.by_the_clock()).findings
        if finding.kind == "divergence"
    ]
    assert len(found) == 1
    assert "activity charge_once#1" in found[0].message
    assert "shop.py:" in found[0].message


def test_one_that_is_different_each_time_cannot_be_judged() -> None:
    runs: list[int] = []

    @activity
    async def count() -> int:
        runs.append(1)
        return len(runs)

    @workflow
    async def counts() -> int:
        return await count()

    found = only(testing.crash_everywhere(counts(), idempotent=[count]))
    assert (found.kind, found.point) == ("unrepeatable", None)
    assert "completed with 1 undisturbed, but completed with 2" in found.message

    async def reset(env: Environment) -> None:
        runs.clear()

    report = testing.crash_everywhere(counts(), idempotent=[count], setup=reset)
    assert {finding.kind for finding in report.findings} == {"outcome"}


def test_stand_ins_are_watched_like_what_they_stand_for() -> None:
    async def pretend(card: str, cents: int) -> str:
        return "pretended"

    found = only(testing.crash_everywhere(shop.naive("visa"), replace={shop.charge: pretend}))
    assert found.kind == "effect"
    assert not shop.charges


def test_only_so_many_are_tried() -> None:
    report = testing.crash_everywhere(shop.careful("visa"), setup=afresh, points_max=5)
    assert report.tried.points == 5
    assert report.tried.left_out > 5
    assert "more were left out: raise points_max" in str(report)


def test_a_failing_workflow_must_fail_the_same() -> None:
    @workflow
    async def fails() -> None:
        await asyncio.sleep(5)
        raise LookupError("gone")

    testing.crash_everywhere(fails()).check()


def test_misuse_is_refused() -> None:
    not_a_call: Any = shop.naive
    with pytest.raises(errors.Misused, match="takes a call"):
        testing.crash_everywhere(not_a_call)
    with pytest.raises(errors.Misused, match="points_max"):
        testing.crash_everywhere(shop.naive("visa"), points_max=0)
    with pytest.raises(errors.Misused, match="is an activity"):
        testing.crash_everywhere(shop.charge("visa", 5))
