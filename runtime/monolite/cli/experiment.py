"""The experiment: a run that is killed in the middle, and the engine that takes it up again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import anyio

from monolite.cli.display import GREEN, RED, Display
from monolite.cli.effects import Effect, effects_in
from monolite.cli.engine_process import EngineProcess
from monolite.cli.loading import argument_of
from monolite.cli.proof import Proof, prove
from monolite.cli.stage import Stage
from monolite.core import entry as e
from monolite.core.handle import Handle, HistoryEntry
from monolite.errors import MonoliteError
from monolite.host.client import Client

RUN_ID = "research-1"

LOOK_S = 0.02
"""How often the experiment looks at the file."""

LIMIT_S = 60.0
"""When to give up: the machine is too slow, or something is broken."""

THINK_S = 2.0
"""How long the reading takes altogether, so that there is a middle to be killed in."""

THINK_S_EACH_MAX = 1.0

REST_S = 0.2


class Sight(NamedTuple):
    """What can be seen of the run at one moment, from outside."""

    progress: Any
    ended: bool
    journaled: set[str]
    effects: list[Effect]

    @property
    def asks(self) -> bool:
        """Whether the run waits for approval."""
        return self.progress is not None and self.progress.stage == "waiting for approval"

    @property
    def in_the_middle(self) -> bool:
        """Whether a third of the files is in the journal and an activity is in flight.

        On a machine so busy that the reading was over before we looked, the wait for approval
        is the middle: there is nothing in flight then, and still something left to do.
        """
        if self.progress is None or len(self.journaled) < 1 + self.progress.total // 3:
            return False
        in_flight = any(effect.operation not in self.journaled for effect in self.effects)
        return in_flight or self.asks


class Findings(NamedTuple):
    """What the experiment found out. `problems` is empty if every promise was kept."""

    proof: Proof
    result: Any
    problems: list[str]


class Experiment:
    """One demo: what it reads, where its files are, how it tells what it does."""

    def __init__(self, research: Any, folder: Path, stage: Stage, display: Display) -> None:
        self._research = research
        self._folder = folder
        self._stage = stage
        self._display = display

    async def run(self) -> Findings:
        """Do it all; raises MonoliteError if it cannot be done here."""
        try:
            with anyio.fail_after(LIMIT_S):
                async with Client(self._stage.database, create=True) as client:
                    handle = await client.spawn(self._research.research(self._task()), id=RUN_ID)
                    return await self._live_twice(handle)
        except TimeoutError:
            logs = " and ".join(map(str, self._stage.logs))
            msg = f"the run was not done after {LIMIT_S:g} s; {logs} may say why"
            raise MonoliteError(msg) from None

    def _task(self) -> Any:
        research, files = self._research, len(self._research.text_files(self._folder))
        share = THINK_S * research.READERS / min(files, research.FILES_MAX)
        return research.Task(
            folder=str(self._folder),
            report=str(self._stage.report),
            think_s=min(share, THINK_S_EACH_MAX),
            rest_s=REST_S,
            effects=str(self._stage.effects),
        )

    async def _live_twice(self, handle: Handle[Any]) -> Findings:
        killed = await self._first_life(handle)
        journaled = operations_in(await handle.history())
        resumed, status = await self._second_life(handle)
        history = await handle.history()
        proof = prove(
            operations_in(history),
            set(journaled),
            effects_in(self._stage.effects),
            killed=killed,
            resumed=resumed,
        )
        result = await handle.result()
        problems = [*doubts_of(proof), *doubts_of_messages(history), *self._doubts_of(result)]
        if status != 0:
            problems.append(f"the second process ended with status {status}")
        return Findings(proof, result, problems)

    async def _first_life(self, handle: Handle[Any]) -> int:
        """Run until the middle, then kill the process; return its id."""
        engine = self._engine(0)
        try:
            await self._watch(handle, engine, lambda sight: sight.in_the_middle)
        finally:
            engine.kill()
        self._display.line(f"  process {engine.pid}: kill -9, in the middle of its work", RED)
        return engine.pid

    async def _second_life(self, handle: Handle[Any]) -> tuple[int, int]:
        """Run to the end, the approval included; return the process id and its exit status."""
        engine = self._engine(1)
        try:
            await self._watch(handle, engine, lambda sight: sight.asks)
            self._display.line("  the run waits for approval: sending it")
            word = self._research.Approval(ok=True, by="the demo")
            await handle.signal(self._research.approval, word, id="approval-1")
            await self._watch(handle, engine, lambda sight: sight.ended)
            status = engine.stop()
        finally:
            engine.kill()
        self._display.line(f"  process {engine.pid}: done", GREEN)
        return engine.pid, status

    def _engine(self, number: int) -> EngineProcess:
        module, log = argument_of(self._research), self._stage.logs[number]
        engine = EngineProcess(self._stage.database, module, log)
        does = "starts" if number == 0 else "takes up where the journal ends"
        self._display.line(f"  process {engine.pid}: {does}")
        return engine

    async def _watch(
        self, handle: Handle[Any], engine: EngineProcess, enough: Callable[[Sight], bool]
    ) -> None:
        """Look at the file until there is enough to see."""
        while True:
            sight = await self._look(handle)
            if sight.progress is not None:
                done, total = sight.progress.done, sight.progress.total
                self._display.bar(f"files read (process {engine.pid})", done, total)
            if enough(sight):
                return
            if sight.ended:
                await handle.result()  # raises what the run failed with
                msg = f"{RUN_ID} ended too early"
                raise MonoliteError(msg)
            engine.check()
            await anyio.sleep(LOOK_S)

    async def _look(self, handle: Handle[Any]) -> Sight:
        info = await handle.describe()
        return Sight(
            progress=await handle.view(self._research.progress),
            ended=info.status in e.ENDED,
            journaled=set(operations_in(await handle.history())),
            effects=effects_in(self._stage.effects),
        )

    def _doubts_of(self, result: Any) -> list[str]:
        """Return what is wrong with the report, which the run says it wrote."""
        try:
            report = self._stage.report.read_bytes()
        except FileNotFoundError:
            return [f"{self._stage.report} was not written"]
        if hashlib.sha256(report).hexdigest() != result.digest:
            return [f"{self._stage.report} is not what the run says it wrote"]
        return []


def operations_in(history: list[HistoryEntry]) -> list[str]:
    """Return the keys of the activities whose outcome is in the journal."""
    return [line.key for line in history if line.kind == e.ACTIVITY]


def doubts_of(proof: Proof) -> list[str]:
    """Return which promises the steps break."""
    broken = ", ".join(step.operation for step in proof.broken())
    doubts = [f"these steps did not run as they should: {broken}"] if broken else []
    if all(step.fate == proof.steps[0].fate for step in proof.steps):
        doubts.append("the kill did not come in the middle of the run")
    return doubts


def doubts_of_messages(history: list[HistoryEntry]) -> list[str]:
    """Return what is wrong with the signal and the timer, of which there is one each."""
    counts = {kind: sum(line.kind == kind for line in history) for kind in (e.SIGNAL, e.TIMER)}
    return [f"there were {n} {kind}s, not one" for kind, n in counts.items() if n != 1]
