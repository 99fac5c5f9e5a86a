"""An order: payment, a human's approval, a parcel, and the money back when something goes wrong.

In one terminal, the engine:

    monolite serve shop.db actors/orders.py

In another, an order that is large enough to need somebody's approval, and the approval:

    monolite spawn shop.db order --id order-42 '[{"number": "42", "card": "4242", "cents": 25000,
        "address": "1 Main Street", "ledger": "shop.jsonl"}]'
    monolite signal shop.db order-42 approval '{"ok": true, "by": "Ada"}'
    monolite show shop.db order-42

The outside world (the bank, the carrier) is one file, the ledger: each line is something that
happened out there. Kill the engine at any moment and start it again: no line appears twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from monolite import Retry, Signal, View, activity, attempt, workflow

APPROVAL_CENTS = 100_00
"""Orders from this amount on need somebody's approval."""


class CardDeclined(Exception):
    """The bank said no, and will say no again: not worth another attempt."""


class NoSuchAddress(Exception):
    """The carrier does not deliver there."""


class Refused(Exception):
    """Whoever had to approve the order did not."""


@dataclass(frozen=True)
class Order:
    """What the customer sent. `patience_s` is how long an approval may take."""

    number: str
    card: str
    cents: int
    address: str
    ledger: str
    patience_s: float = 86_400


@dataclass(frozen=True)
class Decision:
    """The answer to an order that needs approval."""

    ok: bool
    by: str = ""


@dataclass(frozen=True)
class Receipt:
    """What the customer gets."""

    payment: str
    tracking: str
    approved_by: str | None = None


approval = Signal("approval", Decision)
stage = View("stage", str)


@workflow
async def order(o: Order) -> Receipt:
    """Charge, have it approved, ship. If the order cannot be delivered, the money goes back.

    An order that is cancelled gets its money back in the same way: a cancellation arrives as
    an exception, and clean-up code may await activities as any code may.
    """
    stage.set("charging")
    payment = await charge(o.ledger, o.card, o.cents)
    try:
        approved_by = await approve(o)
        stage.set("shipping")
        tracking = await shipment(o.ledger, o.number, o.address)
    except BaseException:
        stage.set("refunding")
        await refund(o.ledger, payment)
        stage.set("refunded")
        raise
    stage.set("shipped")
    return Receipt(payment, tracking, approved_by)


async def approve(o: Order) -> str | None:
    """Return who approved the order, or None if nobody had to; raise Refused if nobody did."""
    if o.cents < APPROVAL_CENTS:
        return None
    stage.set("waiting for approval")
    try:
        async with asyncio.timeout(o.patience_s):  # durable, as is the wait itself
            decision = await approval.receive()
    except TimeoutError:
        msg = f"nobody approved order {o.number} in {o.patience_s:g} s"
        raise Refused(msg) from None
    if not decision.ok:
        msg = f"{decision.by or 'somebody'} refused order {o.number}"
        raise Refused(msg)
    return decision.by


@workflow
async def shipment(ledger: str, number: str, address: str) -> str:
    """Print a label and hand the parcel to the carrier: a workflow of its own, with its own id."""
    label = await print_label(ledger, number, address)
    return await hand_over(ledger, label)


@activity(
    timeout="10s",
    retry=Retry(max_attempts=5, first_delay="50ms", non_retryable=(CardDeclined,)),
)
def charge(ledger: str, card: str, cents: int) -> str:
    """Take the money and return the number of the payment."""
    if card.startswith("0"):
        msg = f"the bank declined card {card}"
        raise CardDeclined(msg)
    return happen(ledger, "charge", card=card, cents=cents)


@activity(timeout="10s")
def refund(ledger: str, payment: str) -> str:
    """Give the money of a payment back."""
    return happen(ledger, "refund", payment=payment)


@activity(timeout="10s", retry=Retry(non_retryable=(NoSuchAddress,)))
def print_label(ledger: str, number: str, address: str) -> str:
    """Have the carrier check the address and return the number of the label."""
    if not address.strip():
        msg = f"order {number} has no address"
        raise NoSuchAddress(msg)
    return happen(ledger, "label", order=number, address=address)


@activity(timeout="10s")
def hand_over(ledger: str, label: str) -> str:
    """Give the parcel to the carrier and return its tracking number."""
    return happen(ledger, "parcel", label=label)


def happen(ledger: str, what: str, **details: Any) -> str:
    """Make something happen out there, once, and return its number.

    As a good bank does, the outside world remembers the idempotency key of each request: one
    that is repeated, because its attempt was cut off, gets the answer that the first one got.
    """
    key = attempt().idempotency_key
    with locked(Path(ledger)) as file:
        lines = [json.loads(line) for line in file]
        for line in lines:
            if key and line["key"] == key:
                return str(line["number"])
        number = f"{what}-{len(lines) + 1}"
        file.write(json.dumps({"number": number, "what": what, **details, "key": key}) + "\n")
        return number


@contextlib.contextmanager
def locked(path: Path) -> Generator[IO[str]]:
    """Open a file for reading and appending, for one attempt at a time."""
    with path.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        yield file
