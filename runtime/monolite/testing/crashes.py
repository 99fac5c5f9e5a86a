"""Crashes everywhere: a user's workflow, killed at every moment that makes a difference."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import anyio
import msgspec

from monolite.core.call import Call
from monolite.core.definition import Activity
from monolite.core.entry import DIVERGED
from monolite.core.handle import Handle
from monolite.core.spawn import workflow_of
from monolite.errors import Misused
from monolite.testing.environments import Environment, NeverEnded
from monolite.testing.points import (
    AFTER_COMMIT,
    BEFORE_BODY,
    CrashingStore,
    Effect,
    Ending,
    Point,
    Witness,
)
from monolite.testing.report import CrashReport, Finding, Tried
from monolite.testing.standin import Fakes

RUN_ID = "crash-everywhere"
"""The id of the run that is tried."""

POINTS_MAX = 500
"""Crashes tried at most, unless `points_max` says otherwise: a few seconds' worth."""

Setup = Callable[[Environment], Awaitable[None]]
Script = Callable[[Environment, Handle[Any]], Awaitable[None]]


class Play(msgspec.Struct):
    """What came of one run, disturbed or not."""

    endings: dict[str, Ending]
    witness: Witness
    trouble: str | None = None
    """Why the run did not end, or what the script raised."""

    @property
    def effects(self) -> set[tuple[str, str]]:
        """The activities that took effect, however often."""
        return {(effect.run, effect.key) for effect in self.witness.completed}


def crash_everywhere(
    call: Call[Any],
    *,
    actors: Iterable[Any] = (),
    setup: Setup | None = None,
    script: Script | None = None,
    replace: Fakes | None = None,
    idempotent: Iterable[Activity[..., Any] | str] = (),
    points_max: int = POINTS_MAX,
) -> CrashReport:
    """Run a workflow once undisturbed, then once for each moment at which it can be killed.

    It is killed just before and just after every commit, and inside every activity: before its
    body, and after it, with the outcome not recorded yet. Each time it is recovered and runs to
    its end. What then differs is a finding: the runs' results, failures and views, the state of
    actors, which activities ran; an activity that took effect twice without asking for
    `attempt().idempotency_key`, unless it is listed as `idempotent`; a replay that diverges.

    Everything happens in memory and in virtual time. `actors` are as for `Runtime`, the called
    workflow comes by itself. `setup(env)` is awaited before each run: reset there what your
    activities change. `script(env, handle)` plays the outside world, such as signals. `replace`
    is as for `environment`. Of more than `points_max` moments, so many are tried, evenly spread.

    In an event loop, await the result; elsewhere it is there when this returns.
    """
    given: Any = call
    if not isinstance(given, Call):
        msg = f"crash_everywhere takes a call of a @workflow, such as order(o), not {given!r:.200}"
        raise Misused(msg)
    fresh = call.options().claim("try it again")
    if points_max < 1:
        msg = f"points_max must be at least 1, not {points_max!r}"
        raise Misused(msg)
    trial = Trial(
        fresh,
        [*actors, workflow_of(fresh)],
        setup=setup,
        script=script,
        fakes=replace or {},
        idempotent={x if isinstance(x, str) else x.name for x in idempotent},
        points_max=points_max,
    )
    report = CrashReport(trial.everywhere)
    if not _in_event_loop():
        anyio.run(report.perform)
    return report


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        trio = sys.modules.get("trio")
        return trio is not None and bool(trio.lowlevel.in_trio_run())
    return True


class Trial:
    """One workflow under trial."""

    def __init__(
        self,
        call: Call[Any],
        actors: list[Any],
        *,
        setup: Setup | None,
        script: Script | None,
        fakes: Fakes,
        idempotent: set[str],
        points_max: int,
    ) -> None:
        self._call = call
        self._actors = actors
        self._setup = setup
        self._script = script
        self._fakes = fakes
        self._idempotent = idempotent
        self._points_max = points_max

    async def everywhere(self) -> Tried:
        """Try everything; raises NeverEnded if it does not end even undisturbed."""
        calm = await self._play(None)
        findings = Findings(calm, self._idempotent)
        if not findings.find_divergence(calm, None):
            if calm.trouble is not None:
                raise NeverEnded(calm.trouble)
            findings.compare_calm(await self._play(None))
        points = [] if findings.found else calm.witness.points
        chosen = points
        if len(points) > self._points_max:
            step = len(points) / self._points_max
            chosen = [points[int(i * step)] for i in range(self._points_max)]
        missed = 0
        for point in chosen:
            play = await self._play(point)
            missed += not play.witness.crashed
            findings.compare(play, point)
        return Tried(
            workflow=self._call.name,
            commits=sum(point.kind == AFTER_COMMIT for point in calm.witness.points),
            attempts=sum(point.kind == BEFORE_BODY for point in calm.witness.points),
            points=len(chosen),
            left_out=len(points) - len(chosen),
            missed=missed,
            findings=findings.all(),
        )

    async def _play(self, point: Point | None) -> Play:
        """Run it in a world of its own, killing it at a point if there is one."""
        witness, store = Witness(point), CrashingStore()
        store.commits = witness.commits
        trouble: str | None = None
        async with Environment(
            self._actors,
            replace=self._fakes,
            store=store,
            watcher=witness,
            one_by_one=True,  # the finest commits there can be, and always the same ones
        ) as env:
            if self._setup is not None:
                await self._setup(env)
            await env.quiet()
            env.engage(witness)
            try:
                handle = await env.spawn(self._call.options(), id=RUN_ID)
                if self._script is not None:
                    await self._script(env, handle)
                await env.until_ended(RUN_ID)
                await env.quiet()
            except NeverEnded as error:
                trouble = str(error)
            except Exception as error:
                if point is None:
                    raise
                trouble = f"the script raised {type(error).__name__}: {error}"
            finally:
                witness.look_away()
        return Play(store.endings(), witness, trouble)


class Findings:
    """What is found by comparing runs with the one that was not disturbed."""

    def __init__(self, calm: Play, idempotent: set[str]) -> None:
        self._calm = calm
        self._idempotent = idempotent
        self.found: dict[tuple[str, str], Finding] = {}

    def all(self) -> tuple[Finding, ...]:
        """Return every finding, in the order in which they were made."""
        return tuple(self.found.values())

    def _add(self, finding: Finding) -> None:
        name = (finding.kind, finding.subject)
        known = self.found.get(name)
        if known is None:
            self.found[name] = finding
        else:
            self.found[name] = msgspec.structs.replace(known, times=known.times + 1)

    def compare_calm(self, again: Play) -> None:
        """Compare two runs that nothing has disturbed: they must not differ."""
        if self.find_divergence(again, None):
            return
        differences = _differences(self._calm, again)
        if again.trouble is not None:
            differences.append((RUN_ID, again.trouble))
        for subject, words in differences:
            message = (
                f"{words}, and nothing has crashed yet: what it does depends on more than its "
                "arguments; reset in setup= what your activities change"
            )
            self._add(Finding("unrepeatable", subject, message))

    def compare(self, play: Play, point: Point) -> None:
        """Compare a run that was killed and recovered with the one that was not."""
        where = str(point)
        if not self.find_divergence(play, where):
            differences = _differences(self._calm, play)
            if play.trouble is not None:
                self._add(Finding("stuck", RUN_ID, play.trouble, point=where))
                differences = []
            for subject, words in differences:
                self._add(Finding("outcome", subject, words, point=where))
        self._compare_effects(play, where)

    def find_divergence(self, play: Play, where: str | None) -> bool:
        """Find the runs that could not be replayed; return whether there are any."""
        diverged = {id: x for id, x in play.endings.items() if x.status == DIVERGED}
        for id, ending in diverged.items():
            message = f"{id} cannot be replayed: {ending.error}"
            self._add(Finding("divergence", id, message, point=where))
        return bool(diverged)

    def _compare_effects(self, play: Play, where: str) -> None:
        """Find the activities that took effect twice, and could not know it."""
        for effect, count in play.witness.completed.items():
            careless = play.witness.careless[effect] > 0
            if count < 2 or not careless or effect.name in self._idempotent:  # noqa: PLR2004
                continue
            message = (
                f"{effect} took effect {count} times; hand attempt().idempotency_key to the "
                f"outside system, or list {effect.name} as idempotent if repeating it is harmless"
            )
            place = self._place(effect, play)
            self._add(Finding("effect", f"{effect.run}/{effect.key}", message, place, where))

    def _place(self, effect: Effect, play: Play) -> str | None:
        return play.witness.places.get(effect) or self._calm.witness.places.get(effect)


def _differences(calm: Play, play: Play) -> list[tuple[str, str]]:
    """Return (subject, in words) of what differs between two runs."""
    found: list[tuple[str, str]] = []
    for id in dict.fromkeys([*calm.endings, *play.endings]):
        before, after = calm.endings.get(id), play.endings.get(id)
        if before is None or after is None:
            words = "appears now" if before is None else "is missing now"
            found.append((id, f"the run {id} {words}"))
        elif before != after:
            found.append((id, f"{id} {_difference(before, after)}"))
    if found:
        return found  # that other activities ran is part of it
    extra = sorted(play.effects - calm.effects)
    missing = sorted(calm.effects - play.effects)
    found += [(f"{run}/{key}", f"{key} of {run} ran, and did not before") for run, key in extra]
    found += [(f"{run}/{key}", f"{key} of {run} ran before, and does not") for run, key in missing]
    return found


def _difference(before: Ending, after: Ending) -> str:
    if (before.status, before.value, before.error) != (after.status, after.value, after.error):
        return f"{_words(before)} undisturbed, but {_words(after)}"
    if before.views != after.views:
        return f"shows {before.views} undisturbed, but {after.views}"
    return f"is left with the state {before.state} undisturbed, but {after.state}"


def _words(ending: Ending) -> str:
    if ending.error is not None:
        return f"{ending.status} with {ending.error}"
    return ending.status if ending.value is None else f"{ending.status} with {ending.value}"
