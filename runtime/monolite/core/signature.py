"""Signatures: how a definition's arguments and result become JSON text and come back typed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import msgspec

from monolite.core.payload import Codec, codec, encode
from monolite.errors import PayloadInvalid

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class _WithKeywords(msgspec.Struct):
    """Arguments that include keywords; without any, arguments are one JSON array."""

    args: list[msgspec.Raw]
    kwargs: dict[str, msgspec.Raw]


_split = msgspec.json.Decoder(list[msgspec.Raw])
_split_keywords = msgspec.json.Decoder(_WithKeywords)


class Signature:
    """The types of one function, read from its annotations when they are first needed.

    Lazily, because an annotation may name a type that its module defines further down.
    """

    __slots__ = (
        "_arity",
        "_by_name",
        "_fn",
        "_keywords",
        "_positional",
        "_required",
        "_rest",
        "_result",
        "_signature",
        "_skip_first",
        "_where",
        "name",
    )

    def __init__(self, fn: Callable[..., Any], name: str, *, skip_first: bool = False) -> None:
        self._fn = fn
        self._skip_first = skip_first
        self.name = name
        self._where = f"arguments of {name}"
        self._required = 0
        self._signature: inspect.Signature | None = None
        self._result: Codec[Any] | None = None
        self._positional: list[Any] = []
        self._by_name: dict[str, Any] = {}
        self._rest: Any = Any
        self._keywords: Any = Any
        self._arity: dict[int, Codec[Any]] = {}

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Return arguments as JSON: an array, or an object if some are given by keyword."""
        if not kwargs:
            return encode(args, self._where)
        return encode({"args": args, "kwargs": kwargs}, self._where)

    def check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise TypeError, as Python would, if the function does not take these arguments."""
        signature = self._resolved()
        if not kwargs and self._required <= len(args) <= len(self._positional):
            return  # the common case; `bind` is slow
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            msg = f"{self.name}(): {error}"
            raise TypeError(msg) from None

    def decode_positional(self, text: str, count: int) -> tuple[Any, ...]:
        """Return the typed arguments of a text that is known to hold `count` positional ones."""
        found = self._arity.get(count)
        if found is None:
            self._resolved()
            found = self._tuple_codec(count)
        try:
            decoded: tuple[Any, ...] = found.decode(text, self._where)
        except PayloadInvalid:
            self._blame(text)
            raise
        return decoded

    def decode(self, text: str) -> Arguments:
        """Return the typed arguments written as `text`; raise PayloadInvalid if they don't fit."""
        where = self._where
        self._resolved()
        if not text.startswith("{"):
            try:
                # Most calls give all arguments: those need not be counted first.
                return self._tuple_codec(len(self._positional)).decode(text, where), {}
            except PayloadInvalid:
                count = _count(text, where)
            return self.decode_positional(text, count), {}
        try:
            split = _split_keywords.decode(text)
        except msgspec.DecodeError as error:
            raise PayloadInvalid(where, f"are not {{args, kwargs}}: {error}") from error
        args = tuple(self._decode_one(i, raw) for i, raw in enumerate(split.args))
        kwargs = {
            name: codec(self._by_name.get(name, self._keywords)).decode(
                bytes(raw).decode(), f"argument {name} of {self.name}"
            )
            for name, raw in split.kwargs.items()
        }
        return args, kwargs

    @property
    def result(self) -> Codec[Any]:
        """The codec of the declared return type."""
        if self._result is None:
            self._resolved()
        assert self._result is not None
        return self._result

    def _blame(self, text: str) -> None:
        """Raise PayloadInvalid for the first positional argument that is not of its type."""
        try:
            found = _split.decode(text)
        except msgspec.DecodeError:
            return
        for i, raw in enumerate(found):
            self._decode_one(i, raw)

    def _decode_one(self, index: int, raw: msgspec.Raw) -> Any:
        return codec(self._type_at(index)).decode(bytes(raw).decode(), self._name_at(index))

    def _name_at(self, index: int) -> str:
        assert self._signature is not None
        names = list(self._signature.parameters)
        name = names[index] if index < len(self._positional) else f"{index + 1}"
        return f"argument {name} of {self.name}"

    def _type_at(self, index: int) -> Any:
        return self._positional[index] if index < len(self._positional) else self._rest

    def _tuple_codec(self, count: int) -> Codec[Any]:
        found = self._arity.get(count)
        if found is None:
            types = tuple(self._type_at(i) for i in range(count))
            # tuple[()] is the type of the empty tuple.
            found = self._arity[count] = codec(tuple.__class_getitem__(types))
        return found

    def _resolved(self) -> inspect.Signature:
        if self._signature is not None:
            return self._signature
        try:
            signature = inspect.signature(self._fn)
        except ValueError:
            # A builtin that does not say what it takes, such as `time.time`.
            signature = inspect.signature(_takes_anything)
        if self._skip_first:  # a method's `self`
            parameters = list(signature.parameters.values())[1:]
            signature = signature.replace(parameters=parameters)
        hints = self._hints()
        positional: list[Any] = []
        by_name: dict[str, Any] = {}
        required = keyword_only = 0
        for parameter in signature.parameters.values():
            type_ = hints.get(parameter.name, Any)
            if parameter.kind in _POSITIONAL:
                required += parameter.default is inspect.Parameter.empty
                positional.append(type_)
                by_name[parameter.name] = type_
            elif parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                by_name[parameter.name] = type_
                keyword_only += parameter.default is inspect.Parameter.empty
            elif parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                self._rest = type_
            else:
                self._keywords = type_
        self._positional, self._by_name = positional, by_name
        # More than anyone passes when a keyword is a must: then `check` takes the slow way.
        self._required = required if keyword_only == 0 else len(positional) + 1
        self._result = codec(hints.get("return", Any))
        self._signature = signature
        return signature

    def _hints(self) -> dict[str, Any]:
        """Return the annotations as types; raise TypeError naming one that cannot be found."""
        if not getattr(self._fn, "__annotations__", None):
            return {}
        try:
            return get_type_hints(self._fn, include_extras=True)
        except NameError as error:
            msg = (
                f"{self.name}: an annotation names {error.name!r}, which its module does not "
                "define at the top level; define the type there"
            )
            raise TypeError(msg) from error


def _count(text: str, where: str) -> int:
    """Return the length of a JSON array of arguments."""
    try:
        return len(_split.decode(text))
    except msgspec.DecodeError as error:
        raise PayloadInvalid(where, f"are not a JSON array: {error}") from error


def _takes_anything(*_args: Any, **_kwargs: Any) -> Any:
    return None
