"""The report of `crash_everywhere`: what a crash at some moment breaks, and where."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Literal, Self

import msgspec

from monolite.errors import Misused

Kind = Literal["outcome", "effect", "divergence", "stuck", "unrepeatable"]
"""A run ends otherwise; an activity took effect twice; a replay asks for something else; a run
does not end; or two runs differ without any crash, so that nothing can be said of crashes."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong.

    `subject` is a run or an activity of one, `place` the line of user code that asked for it,
    `point` the first crash that shows it, of `times`.
    """

    kind: Kind
    subject: str
    message: str
    place: str | None = None
    point: str | None = None
    times: int = 1

    def __str__(self) -> str:
        lines = [f"{self.kind}: {self.message}"]
        if self.place is not None:
            lines.append(f"    asked for at {self.place}")
        if self.point is not None:
            also = f" (and {self.times - 1} more)" if self.times > 1 else ""
            lines.append(f"    crash {self.point}{also}")
        return "\n".join(lines)


class Tried(msgspec.Struct, frozen=True):
    """What was found, and how it was looked for."""

    workflow: str
    commits: int
    attempts: int
    points: int
    """Crashes that were tried."""
    left_out: int
    """Crashes that were not, because of `points_max`."""
    missed: int
    """Crashes that were planned and did not come: that run went another way by itself."""
    findings: tuple[Finding, ...]


class CrashReport:
    """What `crash_everywhere` found. In an event loop await it first, which does the work."""

    def __init__(self, perform: Callable[[], Awaitable[Tried]]) -> None:
        self._perform = perform
        self._tried: Tried | None = None
        self._begun = False

    async def perform(self) -> Self:
        """Do the work, once; `await report` is the same."""
        if not self._begun:
            self._begun = True
            self._tried = await self._perform()
        return self

    def __await__(self) -> Generator[Any, Any, Self]:
        return self.perform().__await__()

    def __del__(self) -> None:
        if not self._begun:
            msg = "crash_everywhere(...) was never awaited, so nothing was tried"
            warnings.warn(msg, RuntimeWarning, stacklevel=2)

    @property
    def tried(self) -> Tried:
        """The findings with their figures: crashes tried, left out, missed."""
        if self._tried is None:
            msg = "this report is not there yet: `report = await testing.crash_everywhere(...)`"
            raise Misused(msg)
        return self._tried

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong, each thing once."""
        return self.tried.findings

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def check(self) -> Self:
        """Raise AssertionError, with all that was found, if something is wrong."""
        if not self.ok:
            raise AssertionError(str(self))
        return self

    def __str__(self) -> str:
        tried = self.tried
        what = f"{tried.workflow}: {tried.points} crashes in {tried.commits} commits and "
        lines = [f"{what}{tried.attempts} attempts at activities"]
        if tried.left_out:
            lines[0] += f" ({tried.left_out} more were left out: raise points_max)"
        if tried.missed:
            lines[0] += f" ({tried.missed} of them did not come about)"
        if self.ok:
            lines.append("nothing found: whatever moment it dies at, it ends the same")
        lines += [str(finding) for finding in tried.findings]
        return "\n".join(lines)

    def __repr__(self) -> str:
        if self._tried is None:
            return "<report of crash_everywhere, not awaited yet>"
        return f"<report of crash_everywhere: {len(self.findings)} findings>"
