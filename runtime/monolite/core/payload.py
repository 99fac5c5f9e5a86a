"""Payloads: user values as JSON text, checked when they are recorded, typed when they are read.

msgspec writes NaN as `null` and integers of any size; both would come back changed, so they
are refused here, at the call that made them, with the place named.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Generic, TypeVar, cast

import msgspec

from monolite.errors import PayloadInvalid

T = TypeVar("T")

PAYLOAD_BYTES_MAX = 16 * 1024 * 1024
"""One value's limit: larger ones belong in a file or an object store, with a reference here."""

NESTING_MAX = 200
"""JSON nesting limit: far below the interpreter's recursion limit, wherever it is decoded."""

FINGERPRINT_TEXT_MAX = 1024
"""Arguments up to this size are journaled as they are; longer ones by their hash."""

# Only text with a `null` can hide a NaN, and only one with this many digits a huge integer.
LONG_DIGITS = 19
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1


def _encode_hook(value: Any) -> Any:
    """Encode what msgspec does not know: pydantic models, without importing pydantic."""
    if isinstance(value, msgspec.Raw):
        return msgspec.json.decode(value)
    dump = getattr(value, "model_dump", None)
    if dump is None or isinstance(value, type):
        msg = f"objects of type {type(value).__qualname__} are not JSON"
        raise NotImplementedError(msg)
    return dump(mode="json")


def _decode_hook(expected: type, value: Any) -> Any:
    validate = getattr(expected, "model_validate", None)
    if validate is None:
        msg = f"type {expected.__qualname__} cannot be read from JSON"
        raise NotImplementedError(msg)
    return validate(value)


_encoder = msgspec.json.Encoder(enc_hook=_encode_hook)


def encode(value: Any, where: str) -> str:
    """Return `value` as JSON text; raise PayloadInvalid naming `where` if it cannot be stored."""
    try:
        data = _encoder.encode(value)
    except RecursionError:
        raise PayloadInvalid(
            where, f"is nested too deeply (limit {NESTING_MAX}); flatten it"
        ) from None
    except UnicodeEncodeError as error:
        raise PayloadInvalid(
            where, f"contains text that is not valid Unicode ({error.reason}); clean it first"
        ) from None
    except Exception as error:  # an encoder hook is user code: whatever it raises is the caller's
        raise PayloadInvalid(
            where, f"cannot be stored as JSON: {error}; convert it to plain data first"
        ) from error
    if len(data) > PAYLOAD_BYTES_MAX:
        raise PayloadInvalid(
            where,
            f"is {len(data):,} bytes, the limit is {PAYLOAD_BYTES_MAX:,}; "
            "store it in a file and pass the path",
        )
    if b"null" in data or (len(data) >= LONG_DIGITS and _LONG_NUMBER.search(data)):
        _refuse_lossy(value, where)
    if len(data) > 2 * NESTING_MAX and _brackets(data) > NESTING_MAX < _depth(data):
        raise PayloadInvalid(where, f"is nested more than {NESTING_MAX} deep; flatten it")
    return data.decode()


def check_text(text: str, where: str) -> str:
    """Return JSON `text` from outside if it is valid JSON within the limits."""
    try:
        value = msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise PayloadInvalid(where, f"is not JSON: {error}") from None
    return encode(value, where)


def _refuse_lossy(value: Any, where: str) -> None:
    """Raise PayloadInvalid for a number that JSON would change."""
    stack: list[tuple[str, Any]] = [("$", msgspec.to_builtins(value, enc_hook=_encode_hook))]
    while stack:
        path, item = stack.pop()
        kind: Any = item.__class__  # exact, because msgspec has just made it
        if kind is float:
            if not math.isfinite(item):
                raise PayloadInvalid(where, f"{path} is {item}, which JSON cannot hold; use None")
        elif kind is int:
            if not _INT_MIN <= item <= _INT_MAX:
                raise PayloadInvalid(
                    where, f"{path} is an integer beyond 64 bits; pass it as text or Decimal"
                )
        elif kind is dict:
            stack.extend((f"{path}.{key}", member) for key, member in item.items())
            stack.extend((f"{path} (a key)", key) for key in item)
        elif kind is list or kind is tuple:
            stack.extend((f"{path}[{i}]", member) for i, member in enumerate(item))


def _brackets(data: bytes) -> int:
    return data.count(b"[") + data.count(b"{")


def _depth(data: bytes) -> int:
    """Return how deep the brackets of JSON `data` nest, outside its strings."""
    depth = deepest = 0
    for token in re.findall(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', data):
        if token in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token in b"]}":
            depth -= 1
    return deepest


def fingerprint(text: str) -> str:
    """Return what the journal keeps of arguments: the text itself, or its hash when long."""
    if len(text) <= FINGERPRINT_TEXT_MAX:
        return text
    digest = blake2b(text.encode(), digest_size=16).hexdigest()
    return f'"blake2b:{digest} ({len(text)} characters)"'


class Codec(Generic[T]):
    """Reads JSON text back as one declared type."""

    __slots__ = ("_decode", "_name")

    def __init__(self, type_: Any) -> None:
        self._name = getattr(type_, "__qualname__", None) or str(type_)
        self._decode = msgspec.json.Decoder(type_, dec_hook=_decode_hook).decode

    def decode(self, text: str, where: str) -> T:
        """Return `text` as the declared type; raise PayloadInvalid naming `where` if it is not."""
        try:
            return cast("T", self._decode(text))
        except RecursionError:
            raise PayloadInvalid(where, "is nested too deeply to be read") from None
        except Exception as error:  # a pydantic validator may raise anything
            raise PayloadInvalid(where, f"is not a {self._name}: {error}") from error


@lru_cache(maxsize=4096)
def _cached_codec(type_: Any) -> Codec[Any]:
    return Codec(type_)


def codec(type_: Any) -> Codec[Any]:
    """Return the codec of `type_`, made once; raise TypeError if msgspec cannot read the type."""
    try:
        return _cached_codec(type_)
    except TypeError as error:
        if "unhashable" not in str(error):
            msg = f"{type_!r} cannot be restored from JSON: {error}"
            raise TypeError(msg) from None
        return Codec(type_)
