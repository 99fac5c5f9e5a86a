"""Admission: whether a new run or a message is taken, for every sender alike."""

from __future__ import annotations

from typing import Any

import pytest

from monolite import Accepted, errors
from monolite.core import entry as e
from monolite.core.admission import Admission, admit, check_conflict, check_id, receive
from monolite.core.entry import ENDED, Run, RunNo


def a_run(status: str = e.RUNNING, name: str = "order") -> Run:
    return Run(RunNo(2), "order-1", 1, name, 1, status, "[]", 1)


STATUSES = [e.QUEUED, e.RUNNING, e.WAITING, e.DIVERGED, e.STRANDED, *sorted(ENDED)]


@pytest.mark.parametrize("id_conflict", ["attach", "reject", "restart"])
def test_a_free_id_makes_a_run(id_conflict: str) -> None:
    assert admit(None, "order-1", "order", id_conflict) is Admission.CREATE


@pytest.mark.parametrize("status", STATUSES)
def test_an_id_that_is_taken_is_joined_refused_or_restarted(status: str) -> None:
    run = a_run(status)
    assert admit(run, "order-1", "order", "attach") is Admission.ATTACH
    assert admit(run, "order-1", "order", "restart") is Admission.RESTART
    with pytest.raises(errors.AlreadyExists, match=rf"'order-1' exists \({status}\)"):
        admit(run, "order-1", "order", "reject")


def test_a_refusal_advises_what_would_help() -> None:
    with pytest.raises(errors.AlreadyExists) as reject:
        admit(a_run(), "order-1", "order", "reject")
    assert str(reject.value) == (
        "a run with id 'order-1' exists (running) and id_conflict='reject' asked not to join it; "
        "choose another id, or pass id_conflict='attach' to join it, or id_conflict='restart' "
        "to end it and start anew"
    )
    with pytest.raises(errors.AlreadyExists) as attach:
        admit(a_run(), "order-1", "refund", "attach")
    assert str(attach.value) == (
        "a run with id 'order-1' exists (running) and it runs 'order', not 'refund'; "
        "choose another id, or pass id_conflict='restart' to end it and start anew"
    )


def test_a_run_of_another_workflow_is_not_joined_but_may_be_replaced() -> None:
    with pytest.raises(errors.AlreadyExists, match="it runs 'order', not 'refund'; choose"):
        admit(a_run(), "order-1", "refund", "attach")
    assert admit(a_run(), "order-1", "refund", "restart") is Admission.RESTART


def test_an_open_run_takes_messages_and_one_that_has_ended_does_not() -> None:
    for status in STATUSES:
        answer = receive(a_run(status), duplicate=False)
        assert answer.accepted == bool(answer) == (status not in ENDED)
    reasons = {status: receive(a_run(status), duplicate=False).reason for status in ENDED}
    assert reasons == {
        "completed": "the run has completed",
        "failed": "the run has failed",
        "cancelled": "the run has been cancelled",
        "terminated": "the run has been terminated",
        "continued": "the run has been continued",
    }


@pytest.mark.parametrize("status", STATUSES)
def test_a_repeated_message_is_taken_again_whatever_became_of_the_run(status: str) -> None:
    assert receive(a_run(status), duplicate=True) == Accepted(accepted=True, reason="duplicate")


@pytest.mark.parametrize("id", ["a", "x" * 512, "order/4 2", "grüße-\U0001f600", "'; --"])
def test_printable_text_can_be_an_id(id: str) -> None:
    assert check_id(id) == id


@pytest.mark.parametrize(
    ("id", "problem"),
    [
        ("", "must have 1 to 512 characters, it has 0"),
        ("x" * 513, "must have 1 to 512 characters, it has 513"),
        ("a\nb", "must be printable text without control characters"),
        ("\x00", "must be printable text without control characters"),
        ("\ud800", "must be printable text without control characters"),
        (None, "must be text, not NoneType"),
        (5, "must be text, not int"),
        (b"a", "must be text, not bytes"),
    ],
)
def test_what_cannot_be_an_id_is_refused_and_shown_short(id: Any, problem: str) -> None:
    with pytest.raises(errors.Misused) as caught:
        check_id(id, "message id")
    assert str(caught.value).startswith("message id ")
    assert str(caught.value).endswith(problem)
    assert len(str(caught.value)) < 200
    str(caught.value).encode()


def test_a_rule_for_conflicts_is_one_of_three() -> None:
    assert [check_conflict(rule) for rule in ("attach", "reject", "restart")]
    with pytest.raises(errors.Misused, match="none of 'attach', 'reject', 'restart'"):
        check_conflict("replace")
