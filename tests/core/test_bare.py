"""Outside any runtime: user code can be tested bare, as the plain Python that it is."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest

import monolite
from monolite import (
    Actor,
    Promise,
    Saga,
    Signal,
    Stream,
    Update,
    View,
    activity,
    errors,
    query,
    signal,
    transaction,
    update,
    workflow,
)

progress = View("progress", str)
approval = Signal("approval", bool)
bid = Update("bid", int, str)
words = Stream("words", str)

undone: list[str] = []


@activity
async def book(what: str) -> str:
    words.append(what)
    return f"{what}-1"


@activity
def unbook(booking: str) -> None:
    undone.append(booking)


@workflow
async def trip(fails: bool) -> list[str]:
    progress.set("booking")
    async with Saga() as undo:
        flight = await book("flight")
        undo.add(unbook(flight))
        hotel = await book("hotel").options(timeout="5s")
        undo.add(unbook(hotel))
        if fails:
            raise ValueError("no room")
    return [flight, hotel, monolite.current().id]


async def test_a_workflow_runs_as_a_coroutine_and_undoes_what_it_did() -> None:
    undone.clear()
    assert await trip(fails=False) == ["flight-1", "hotel-1", ""]
    assert undone == []
    with pytest.raises(ValueError, match="no room"):
        await trip(fails=True)
    assert undone == ["hotel-1", "flight-1"]


def test_time_chance_and_identity_are_real_ones() -> None:
    before = datetime.now(UTC)
    assert before <= monolite.now() <= datetime.now(UTC)
    assert 0 <= monolite.random().random() < 1
    assert monolite.random().random() != monolite.random().random()
    found = {monolite.uuid4(), monolite.uuid4()}
    assert [id.version for id in found] == [4, 4]
    assert all(isinstance(id, uuid.UUID) for id in found)
    assert monolite.current() == monolite.Current("", "", 1, None, 1)
    assert monolite.patched("fly") is True


def test_what_is_shown_is_checked_and_goes_nowhere() -> None:
    progress.set("half")
    words.append("a")
    wrong: list[object] = [progress, words]
    with pytest.raises(errors.PayloadInvalid, match="view progress"):
        vars(View)["set"](wrong[0], 5)
    with pytest.raises(errors.PayloadInvalid, match="item of stream words"):
        vars(Stream)["append"](wrong[1], 5)


class Account(Actor):
    balance: int = 0
    notes: list[str] = []

    @update
    async def deposit(self, cents: int) -> int:
        self.balance += cents
        await self.note(f"{cents} at {monolite.now():%Y}")
        return self.balance

    @signal
    async def note(self, text: str) -> None:
        self.notes.append(text)

    @query
    def statement(self) -> str:
        return f"{self.id}: {self.balance}, {len(self.notes)} notes"


async def test_an_actor_is_an_object() -> None:
    alice, bob = Account("alice"), Account()
    assert await alice.deposit(5) == 5
    shown: object = alice.statement()
    assert shown == "alice: 5, 1 notes"
    assert (bob.id, bob.balance, bob.notes, Account.notes) == ("", 0, [], [])


@transaction
def reserve(db: dict[str, int], sku: str, n: int) -> int:
    db[sku] -= n
    return db[sku]


async def test_what_needs_a_runtime_says_so_and_what_to_do() -> None:
    elsewhere = r'works inside a workflow only.*spawn the workflow in Runtime\(":memory:"\)'
    for ask in (approval.pending, bid.pending, lambda: Promise(bool)):
        with pytest.raises(errors.Misused, match=elsewhere):
            ask()
    for wait in (approval.receive, bid.receive):
        with pytest.raises(errors.Misused, match=elsewhere):
            await wait()
    with pytest.raises(errors.Misused, match=r"reserve\.fn\(connection, \.\.\.\)"):
        await reserve("lamp", 2)
    assert reserve.fn({"lamp": 5}, "lamp", 2) == 3
    with pytest.raises(errors.Misused, match=r"elsewhere use Runtime\.spawn"):
        await monolite.spawn(trip(fails=False))
    with pytest.raises(errors.Misused, match=r"rt\.actor"):
        await monolite.actor(Account, "alice").deposit(5)
    with pytest.raises(errors.Misused, match="was not made by the actor"):
        monolite.send(monolite.actor(Account, "alice").deposit(5))


@pytest.mark.parametrize("name", ["", "x" * 513, "two\nlines", "monolite:mine"])
@pytest.mark.parametrize(
    ("make", "noun"),
    [(Signal, "signal"), (View, "view"), (Update, "an update"), (Stream, "a stream")],
)
def test_a_channel_needs_a_name(make: type[object], noun: str, name: str) -> None:
    with pytest.raises(errors.Misused, match=rf"name of .*{noun}.* must "):
        make(name)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("name", ["", "x" * 513])
def test_a_patch_and_a_step_need_a_name(name: str) -> None:
    with pytest.raises(errors.Misused, match=r"name of a patch .* must have 1 to 512 characters"):
        monolite.patched(name)
    with pytest.raises(errors.Misused, match=r"name of activity .* must have 1 to 512 characters"):
        monolite.step(name, len, "x")
