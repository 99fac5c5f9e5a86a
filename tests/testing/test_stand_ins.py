"""Stand-ins: a test says what runs in place of an activity."""

from __future__ import annotations

from typing import Any

import pytest

from monolite import activity, attempt, errors, step, testing, workflow
from tests.host.loops import on_both_loops


class Declined(Exception):
    """The card is declined."""


@activity(raises=(Declined,), retry=False)
async def charge(card: str, cents: int, *, currency: str = "EUR") -> str:
    raise AssertionError("the real one must not run")


@activity(timeout="5s")
def render(path: str) -> bytes:
    raise AssertionError("the real one must not run")


def vat(cents: int) -> int:
    raise AssertionError("the real one must not run")


@workflow
async def order(card: str) -> list[Any]:
    try:
        paid = await charge(card, 5, currency="SEK")
    except errors.ActivityFailed as error:
        return ["declined" if isinstance(error.cause, Declined) else error]
    return [paid, (await render("x")).decode(), await step("vat", vat, 100)]


async def charged(card: str, cents: int, *, currency: str = "EUR") -> str:
    return f"{cents} {currency} from {card}, as {attempt().idempotency_key[-8:]}"


def rendered(path: str) -> bytes:
    return path.encode()


def flat(cents: int) -> int:
    return 7


def miscounted(card: str, cents: int, *, currency: str) -> int:
    return cents


def forgetful(card: str) -> str:
    return card


@on_both_loops
async def test_they_run_instead_whether_async_or_not() -> None:
    replace: dict[Any, Any] = {charge: charged, render: rendered, "vat": flat}
    async with testing.environment(actors=[order], replace=replace) as env:
        assert await env.run(order("visa")) == ["5 SEK from visa, as charge#1", "x", 7]


async def test_a_plain_function_stands_in_for_an_async_one() -> None:
    def declined(card: str, cents: int, *, currency: str = "EUR") -> str:
        raise Declined

    async with testing.environment(actors=[order], replace={charge: declined}) as env:
        assert await env.run(order("visa")) == ["declined"]


async def test_pairs_are_checked_to_fit_and_joined() -> None:
    async def drawn(path: str) -> bytes:
        return b"async"

    replace = testing.fake(charge, charged) | testing.fake(render, drawn) | {"vat": flat}
    async with testing.environment(actors=[order], replace=replace) as env:
        assert (await env.run(order("visa")))[1:] == ["async", 7]


async def test_an_activity_may_stand_in_for_another() -> None:
    @activity
    async def cheap(card: str, cents: int, *, currency: str = "EUR") -> str:
        raise Declined

    async with testing.environment(actors=[order], replace={charge: cheap}) as env:
        assert await env.run(order("visa")) == ["declined"]


async def test_what_it_returns_must_be_of_the_declared_type() -> None:
    async with testing.environment(actors=[order], replace={charge: miscounted}) as env:
        with pytest.raises(errors.WorkflowFailed, match="result of charge#1"):
            await env.run(order("visa"))


@pytest.mark.parametrize(
    ("replace", "words"),
    [
        ({charge: forgetful}, r"what replaces charge\(card"),
        ({charge: 5}, "not a function"),
        ({order: charged}, "takes activities"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(replace: Any, words: str) -> None:
    with pytest.raises(errors.Misused, match=words):
        testing.environment(actors=[order], replace=replace)
