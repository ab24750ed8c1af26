"""Frozen dataclasses as plain JSON values and back, by their own type hints. Pure.

A field that is added to a noun crosses the socket without a change here; a type that has no form here is a `TypeError`
the first time that it is met, which the round-trip tests are.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar

T = TypeVar("T")


def encoded(value: object) -> Any:
    """A JSON value of `value`. Bytes are base64, a moment ISO 8601, a length of time seconds."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (bytes, bytearray)):
        return b64encode(value).decode("ascii")
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: encoded(getattr(value, name)) for name in _hints(type(value))}
    if isinstance(value, Mapping):
        return {str(key): encoded(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [encoded(item) for item in value]
    raise TypeError(f"has no form on the keeper's socket: {type(value).__name__}")


def decoded(kind: type[T], raw: object) -> T:
    """The value of type `kind` that `encoded` gave. Raises `ValueError` or `TypeError` for anything else."""
    value: T = _decoded(kind, raw)
    return value


@lru_cache(None)
def _hints(kind: type) -> Mapping[str, Any]:
    found = typing.get_type_hints(kind)
    return {field.name: found[field.name] for field in dataclasses.fields(kind) if field.init}


def _decoded(kind: Any, raw: Any) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return None if raw is None else _decoded(_only(kind), raw)
    if origin is tuple:
        return _tuple(typing.get_args(kind), _of(list, raw))
    if origin is not None and issubclass(origin, Mapping):
        return {str(key): _decoded(typing.get_args(kind)[1], item) for key, item in _of(dict, raw).items()}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints, given = _hints(kind), _of(dict, raw)
        if given.keys() != hints.keys():
            raise ValueError(f"not a {kind.__name__}: {sorted(given)}")
        return kind(**{name: _decoded(hint, given[name]) for name, hint in hints.items()})
    return _plain(kind, raw)


def _plain(kind: Any, raw: Any) -> Any:
    if kind is bytes:
        return b64decode(_of(str, raw), validate=True)
    if kind is datetime:
        return datetime.fromisoformat(_of(str, raw))
    if kind is timedelta:
        return timedelta(seconds=raw)
    if kind is float:
        return float(raw)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(raw)
    if kind in (str, int, bool):
        return _of(kind, raw)
    raise TypeError(f"has no form on the keeper's socket: {kind}")


def _only(kind: Any) -> Any:
    """The one type beside None."""
    (one,) = (part for part in typing.get_args(kind) if part is not type(None))
    return one


def _tuple(parts: tuple[Any, ...], raw: list[Any]) -> tuple[Any, ...]:
    if len(parts) == 2 and parts[1] is Ellipsis:
        return tuple(_decoded(parts[0], item) for item in raw)
    return tuple(_decoded(part, item) for part, item in zip(parts, raw, strict=True))


def _of(kind: type[T], raw: object) -> T:
    if not isinstance(raw, kind) or (kind is int and isinstance(raw, bool)):
        raise ValueError(f"expected {kind.__name__}, found {type(raw).__name__}")
    return raw
