"""The orders actor: what happens in the outside world for each way that an order can go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from actors import orders
from actors.orders import CardDeclined, Decision, NoSuchAddress, Order, Receipt, Refused, order
from monolite import Client, Handle, Runtime
from monolite.errors import ActivityFailed, Cancelled, RemoteError, WorkflowFailed
from tests.served import Served


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


@pytest.fixture
def shop(tmp_path: Path) -> Runtime:
    return Runtime(tmp_path / "shop.db", actors=[orders])


def small(ledger: Path, **changes: Any) -> Order:
    given: dict[str, Any] = {
        "number": "42",
        "card": "4242",
        "cents": 25_00,
        "address": "1 Main Street",
        "ledger": str(ledger),
    }
    return Order(**{**given, **changes})


def large(ledger: Path, **changes: Any) -> Order:
    return small(ledger, cents=250_00, **changes)


def happened(ledger: Path) -> list[str]:
    """What the outside world has seen, in order."""
    if not ledger.exists():
        return []
    return [json.loads(line)["what"] for line in ledger.read_text().splitlines()]


async def stage(run: Handle[Receipt], wanted: str) -> None:
    """Wait until the order is at a stage."""
    async for found in run.watch(orders.stage):
        if found == wanted:
            return
    raise AssertionError(f"the order ended before it was {wanted!r}")


async def refusal(run: Handle[Receipt]) -> BaseException:
    """Wait for the order's failure, and return what caused it."""
    with pytest.raises(WorkflowFailed) as failed:
        await run.result()
    return failed.value.cause


async def test_a_small_order_is_charged_and_shipped(shop: Runtime, ledger: Path) -> None:
    async with shop:
        run = await shop.spawn(order(small(ledger)), id="order-42")
        receipt = await run.result()
        assert (receipt.payment, receipt.approved_by) == ("charge-1", None)
        assert happened(ledger) == ["charge", "label", "parcel"]
        assert await run.view(orders.stage) == "shipped"
        (child,) = await shop.list(parent="order-42")
        assert (child.id, child.name) == ("order-42/shipment#1", "shipment")


async def test_a_large_order_waits_for_approval(shop: Runtime, ledger: Path) -> None:
    async with shop:
        run = await shop.spawn(order(large(ledger)), id="order-42")
        await stage(run, "waiting for approval")
        assert happened(ledger) == ["charge"]
        await run.signal(orders.approval, Decision(ok=True, by="Ada"))
        assert (await run.result()).approved_by == "Ada"
        assert happened(ledger) == ["charge", "label", "parcel"]


async def test_a_refused_order_is_refunded(shop: Runtime, ledger: Path) -> None:
    async with shop:
        run = await shop.spawn(order(large(ledger)))
        await run.signal(orders.approval, Decision(ok=False, by="Bob"))
        assert "Bob refused order 42" in str(await refusal(run))
        assert happened(ledger) == ["charge", "refund"]
        assert await run.view(orders.stage) == "refunded"


async def test_an_order_that_nobody_approves_in_time_is_refunded(
    shop: Runtime, ledger: Path
) -> None:
    async with shop:
        run = await shop.spawn(order(large(ledger, patience_s=0.01)))
        cause = await refusal(run)
        assert isinstance(cause, RemoteError)
        assert cause.type_name == "actors.orders.Refused"
        assert cause.message == "nobody approved order 42 in 0.01 s"
        assert happened(ledger) == ["charge", "refund"]


async def test_a_declined_card_is_not_tried_again(shop: Runtime, ledger: Path) -> None:
    async with shop:
        run = await shop.spawn(order(small(ledger, card="0000")))
        failed = await refusal(run)
        assert isinstance(failed, ActivityFailed)
        assert (failed.name, failed.attempts) == ("charge", 1)
        assert isinstance(failed.cause, CardDeclined)
        assert happened(ledger) == []


async def test_an_order_that_cannot_be_shipped_is_refunded(shop: Runtime, ledger: Path) -> None:
    async with shop:
        run = await shop.spawn(order(small(ledger, address=" ")))
        shipment = await refusal(run)
        assert isinstance(shipment, WorkflowFailed)
        assert isinstance(shipment.cause, ActivityFailed)
        assert isinstance(shipment.cause.cause, NoSuchAddress)
        assert happened(ledger) == ["charge", "refund"]


async def test_a_cancelled_order_is_refunded(shop: Runtime, ledger: Path) -> None:
    async with shop:
        run = await shop.spawn(order(large(ledger)))
        await stage(run, "waiting for approval")
        await run.cancel("changed their mind")
        with pytest.raises(Cancelled, match="changed their mind"):
            await run.result()
        assert happened(ledger) == ["charge", "refund"]


async def test_an_order_survives_the_death_of_its_engine(tmp_path: Path, ledger: Path) -> None:
    file = tmp_path / "shop.db"
    async with Client(file, create=True) as client:
        run = await client.spawn(order(large(ledger)), id="order-42")
        with Served(file, Path(orders.__file__)) as engine:
            await stage(run, "waiting for approval")
            engine.kill()
        await run.signal(orders.approval, Decision(ok=True, by="Ada"))
        with Served(file, Path(orders.__file__)) as engine:
            assert (await run.result()).approved_by == "Ada"
            assert engine.stop() == 0
    assert happened(ledger) == ["charge", "label", "parcel"]


class Again(NamedTuple):
    """What `attempt()` says to each attempt at the same step."""

    idempotency_key: str


async def test_the_outside_world_answers_a_repeated_request_as_it_did_before(
    ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that was cut off after it took effect runs again, under the same key."""
    monkeypatch.setattr(orders, "attempt", lambda: Again("order-42/charge#1"))
    assert await orders.charge(str(ledger), "4242", 25_00) == "charge-1"
    assert await orders.charge(str(ledger), "4242", 25_00) == "charge-1"
    monkeypatch.setattr(orders, "attempt", lambda: Again("order-42/refund#1"))
    assert await orders.refund(str(ledger), "charge-1") == "refund-2"
    assert happened(ledger) == ["charge", "refund"]


async def test_the_parts_work_outside_of_a_runtime(ledger: Path) -> None:
    assert await orders.charge(str(ledger), "4242", 1) == "charge-1"
    assert await orders.charge(str(ledger), "4242", 1) == "charge-2"
    with pytest.raises(CardDeclined):
        await orders.charge(str(ledger), "0000", 1)
    assert issubclass(Refused, Exception)
