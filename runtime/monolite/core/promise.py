"""Promises: one answer from outside, addressed by a token that can be handed to anybody."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Generator
from hashlib import blake2b
from typing import Any, Generic, TypeVar, overload

import msgspec

from monolite.core import failure
from monolite.core.channel import machine_of
from monolite.core.payload import codec, encode
from monolite.errors import Misused, MonoliteError

T = TypeVar("T")

TOKEN_PREFIX = "mp_"  # noqa: S105 - marks a token, opens nothing

DEFERRED_PREFIX = "ma_"
"""Begins the token of an activity that is answered from elsewhere: `attempt().defer()`."""


class Answer(msgspec.Struct, omit_defaults=True):
    """What resolves a promise: a value, or a failure."""

    value: msgspec.Raw = msgspec.Raw(b"null")
    error: failure.Failure | None = None


class Promise(Generic[T]):
    """A value that someone outside will give: a person, a webhook, another process.

    Make it in a workflow, hand out `token`, then `await` it. `Runtime.resolve(token, value)`,
    `Client.resolve` or `monolite resolve` answer it, from any process, before or after the
    workflow waits; the first answer counts. Awaiting it again gives the same answer.
    """

    __slots__ = ("_answer", "_channel", "_machine", "_type", "token")

    @overload
    def __init__(self, type: type[T]) -> None: ...
    @overload
    def __init__(self: Promise[Any], type: Any = Any) -> None: ...
    def __init__(self, type: Any = Any) -> None:  # noqa: A002
        self._machine = machine_of("monolite.Promise()")
        self._type = type
        run = self._machine.run
        self._channel = f"{self._machine.claim_key('promise')}@{run.generation}"
        self.token = make_token(run.id, self._channel)
        self._answer: Answer | None = None

    def __await__(self) -> Generator[Any, Any, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        if self._answer is None:
            message = await self._machine.receive(self._channel)
            self._answer = msgspec.json.decode(message.value, type=Answer)
        answer = self._answer
        if answer.error is not None:
            raise failure.rebuild(answer.error)
        text = bytes(answer.value).decode()
        found: T = codec(self._type).decode(text, "the promise's value")
        return found


def make_token(id: str, channel: str, prefix: str = TOKEN_PREFIX) -> str:
    """Return the token of a run's promise: opaque text, safe in a URL."""
    raw = msgspec.json.encode([id, channel])
    return prefix + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def read_token(token: str) -> tuple[str, str]:
    """Return the run's id and the channel that a token means; raise Misused if it is none."""
    body = token.removeprefix(TOKEN_PREFIX).removeprefix(DEFERRED_PREFIX)
    try:
        raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        id, channel = msgspec.json.decode(raw, type=tuple[str, str])
    except (binascii.Error, ValueError, msgspec.DecodeError):
        body = token
        id = channel = ""
    if not channel or not token.startswith((TOKEN_PREFIX, DEFERRED_PREFIX)):
        msg = f"{token!r:.80} is not a promise's token; use the text of Promise.token as it is"
        raise Misused(msg)
    return id, channel


def is_deferred(token: str) -> bool:
    """Return whether a token is that of an activity, not of a promise."""
    return token.startswith(DEFERRED_PREFIX)


def answer_id(token: str) -> str:
    """Return the id of the message that answers a promise: one for each token, of any length."""
    return TOKEN_PREFIX + blake2b(token.encode(), digest_size=16).hexdigest()


def value_message(value: Any) -> str:
    """Return the message that resolves a promise with a value."""
    return f'{{"value":{encode(value, "the value of a promise")}}}'


def error_message(error: BaseException | str) -> str:
    """Return the message that rejects a promise with an error."""
    raised = error if isinstance(error, BaseException) else MonoliteError(error)
    return f'{{"error":{failure.encode(failure.describe(raised))}}}'
