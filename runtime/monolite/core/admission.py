"""Admission: whether a new run or a message is taken, decided in one place for every sender."""

from __future__ import annotations

import enum
from typing import Any

from monolite.core.entry import ANSWER, FAILED, RETRY, SET_RESULT, Accepted, Run
from monolite.core.place import Place
from monolite.errors import AlreadyExists, Misused

ID_CHARS_MAX = 512
RESERVED = "monolite:"
CONFLICTS = ("attach", "reject", "restart")


class Admission(enum.Enum):
    """What to do with a spawn."""

    CREATE = "create"
    ATTACH = "attach"
    RESTART = "restart"
    # If another run waits in the queue under the same dedupe key:
    JOIN = "join"
    REPLACE = "replace"
    DEBOUNCE = "debounce"


def admit(existing: Run | None, id: str, name: str, id_conflict: str) -> Admission:
    """Decide on a spawn of workflow `name` as `id`, given the newest run of that id.

    "attach" joins the run that exists, whether open or ended, if it is of the same workflow;
    "reject" raises AlreadyExists; "restart" terminates it if it is open and starts anew.
    """
    if existing is None:
        return Admission.CREATE
    if id_conflict == "restart":
        return Admission.RESTART
    if id_conflict == "attach" and existing.name == name:
        return Admission.ATTACH
    why, advice = (
        "id_conflict='reject' asked not to join it",
        "id_conflict='attach' to join it, or ",
    )
    if existing.name != name:
        # Joining is no way out: its result is another workflow's.
        why, advice = f"it runs {existing.name!r}, not {name!r}", ""
    msg = (
        f"a run with id {id!r} exists ({existing.status}) and {why}; choose another id, "
        f"or pass {advice}id_conflict='restart' to end it and start anew"
    )
    raise AlreadyExists(msg)


def admit_to_queue(
    existing: Run | None,
    waiting: Run | None,
    place: Place,
    *,
    id: str,
    name: str,
    id_conflict: str,
) -> Admission:
    """Decide on a spawn into a queue, where `waiting` stands for the same dedupe key, if any does.

    What the id says goes first; JOIN, REPLACE and DEBOUNCE are about `waiting`.
    """
    same = existing is not None and waiting is not None and existing.no == waiting.no
    verdict = admit(existing, id, name, id_conflict)
    if same and verdict is Admission.ATTACH and place.debounce_us:
        return Admission.DEBOUNCE
    if waiting is None or same or verdict is Admission.ATTACH:
        return verdict
    if place.on_duplicate == "replace" and not place.debounce_us:
        return Admission.REPLACE
    if place.on_duplicate != "reject" and waiting.name == name:
        return Admission.DEBOUNCE if place.debounce_us else Admission.JOIN
    why = (
        "on_duplicate='reject' asked not to join it"
        if waiting.name == name
        else f"it runs {waiting.name!r}, not {name!r}"
    )
    msg = (
        f"{waiting.id!r} waits in queue {place.queue!r} with the dedupe key {place.dedupe!r} and "
        f"{why}; wait for it, or pass on_duplicate='attach' or 'replace'"
    )
    raise AlreadyExists(msg)


def receive(run: Run, *, duplicate: bool) -> Accepted:
    """Decide on a message to a run that exists."""
    if duplicate:
        return Accepted(accepted=True, reason="duplicate")
    if run.ended:
        return Accepted(accepted=False, reason=f"the run has {_ended_words(run.status)}")
    return Accepted(accepted=True)


def can_begin_again(run: Run, kind: str) -> bool:
    """Return whether a message to a run that has ended spawns it again."""
    return kind == RETRY and run.status == FAILED


def unblock(
    run: Run, kind: str, key: str, blocked: list[str], *, quarantined: bool
) -> Accepted | list[str]:
    """Decide on a message that releases what is blocked; return which of `blocked`.

    `key` is that of an activity ("charge#1"), its name, or empty for whatever is blocked.
    """
    if kind == ANSWER:
        return [key]
    if quarantined:
        if kind == RETRY and not key:
            return [""]
        reason = (
            f"the code of {run.id} itself is quarantined, which only a retry without a key ends"
        )
        return Accepted(accepted=False, reason=reason)
    found = [k for k in blocked if not key or key in (k, k.partition("#")[0])]
    listed = ", ".join(blocked)
    if not blocked:
        reason = f"nothing in {run.id} is blocked"
    elif not found:
        reason = f"{key} is not blocked in {run.id}; this is: {listed}"
    elif kind == SET_RESULT and len(found) > 1:
        reason = f"more than one activity of {run.id} is blocked; say for which: {listed}"
    else:
        return found
    return Accepted(accepted=False, reason=reason)


def _ended_words(status: str) -> str:
    return status if status in ("completed", "failed") else f"been {status}"


def check_id(id: str, noun: str = "id") -> str:
    """Return `id` if it can name a run or a message; raise Misused saying what is wrong."""
    problem = None
    given: Any = id  # callers may be untyped
    if not isinstance(given, str):
        problem = f"must be text, not {type(given).__name__}"
    elif not id or len(id) > ID_CHARS_MAX:
        problem = f"must have 1 to {ID_CHARS_MAX} characters, it has {len(id)}"
    elif not id.isprintable():
        problem = "must be printable text without control characters"
    elif id.startswith(RESERVED):
        problem = f"must not begin with {RESERVED!r}, which monolite uses itself"
    if problem is not None:
        msg = f"{noun} {id!r:.100} {problem}"
        raise Misused(msg)
    return id


def check_conflict(id_conflict: str) -> str:
    """Return `id_conflict` if it is one of the three words; raise Misused if not."""
    if id_conflict not in CONFLICTS:
        msg = f"id_conflict={id_conflict!r} is none of {', '.join(map(repr, CONFLICTS))}"
        raise Misused(msg)
    return id_conflict
