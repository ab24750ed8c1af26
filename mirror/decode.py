"""The one door for outside data: YAML text to plain values, plain values to nouns, with every fault named at once.

YAML is read as its 1.2 core schema reads it: only `true` and `false` are booleans, so an unquoted `NO` is Norway
(https://yaml.org/spec/1.2.2/#103-core-schema), and a number with a leading zero stays text. Dates are dates.
Values are built from the parser's events without recursion, so that depth and aliases cost nothing before they are
judged.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final, TypeVar, cast

import yaml
from pydantic import TypeAdapter, ValidationError

from mirror.core.errors import InputError, Problem

T = TypeVar("T")

#: What a file may ask of us before it is refused: bytes of text, depth, and values after aliases are written out.
MAX_BYTES: Final = 64 * 1024 * 1024
MAX_DEPTH: Final = 64
MAX_VALUES: Final = 4_000_000

_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,18})")
_FLOAT: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)?\.[0-9]+(?:[eE][-+]?[0-9]{1,3})?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[-+][0-9]{2}:[0-9]{2})?")
_SCALAR_TAGS: Final = {"tag:yaml.org,2002:str": str, "!": str}


#: One half of a surrogate pair: writers that cut a text in the middle of a character leave such escapes.
_ESCAPED: Final = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def parse_json(body: bytes | str) -> Any:
    """One JSON value from outside, such as every later step can hold and send on (RFC 8259; I-JSON, RFC 7493 section 2.1).

    Half of a surrogate pair becomes U+FFFD, because neither UTF-8 nor a record can have it. Raises `ValueError` for what is
    not JSON: not UTF-8, `NaN`, `Infinity` and numbers beyond a double, more than `MAX_DEPTH` levels.
    """
    text = body if isinstance(body, str) else body.decode("utf-8-sig")
    try:
        value = json.loads(text, parse_constant=_number, parse_float=_number)
        level = [value] if isinstance(value, (dict, list)) else []
        for _ in range(MAX_DEPTH):
            children = (child for one in level for child in (one.values() if isinstance(one, dict) else one))
            level = [child for child in children if isinstance(child, (dict, list))]
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels") from None
    if level:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if _ESCAPED.search(text) and _SURROGATE.search(written := json.dumps(value, ensure_ascii=False)):
        value = json.loads(_SURROGATE.sub("\ufffd", written))
    return value


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is not a number that JSON can carry on")
    return value


class _Fault(Exception):
    """A document that cannot be read on; `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line, self.message = line, message


class DuplicateKeys(InputError):
    """A document in which keys stand twice. `value` is what the last of each says: enough to look for other faults."""

    def __init__(self, problems: Sequence[Problem], value: Any) -> None:
        super().__init__(problems)
        self.value = value


def load_yaml(text: str, source: str) -> Any:
    """The plain value of one YAML document (None for an empty one): dict, list, str, int, float, bool, date, datetime.

    Raises `InputError` naming `source` and the line: syntax, duplicate keys (all of them; `DuplicateKeys` where nothing else
    is wrong), several documents, unknown tags, merge keys, keys that are not text, aliases to themselves, and anything
    beyond the bounds above.
    """
    if len(text) > MAX_BYTES:
        raise InputError([Problem(source, "", f"larger than {MAX_BYTES // 1024 // 1024} MiB")])
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            builder.take(event)
    except _Fault as fault:
        raise InputError([*builder.problems(source), Problem(source, f"line {fault.line}", fault.message)]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}" if mark else ""
        raise InputError([Problem(source, place, f"not YAML: {error.problem or error.context}")]) from None
    except yaml.YAMLError as error:
        raise InputError([Problem(source, "", f"not YAML: {' '.join(str(error).split())}")]) from None
    if builder.duplicates:
        raise DuplicateKeys(builder.problems(source), builder.value)
    return builder.value


@dataclasses.dataclass(slots=True)
class _Open:
    """A collection whose end has not been seen. `key` is the pending key of a mapping."""

    value: dict[Any, Any] | list[Any]
    anchor: str | None
    started: int
    key: Any = None
    has_key: bool = False


class _Builder:
    """Values from events, with an explicit stack."""

    def __init__(self) -> None:
        self.value: Any = None
        self.duplicates: list[tuple[int, str]] = []
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._open_anchors: set[str] = set()
        self._count = 0
        self._documents = 0

    def problems(self, source: str) -> list[Problem]:
        return [Problem(source, f"line {line}", f"duplicate key {key!r}") for line, key in self.duplicates]

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._spend(1, event)
            value = _scalar(event)
            self._remember(event.anchor, value, 1)
            self._add(value, event)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._begin(event)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            done = self._stack.pop()
            if done.anchor:
                self._open_anchors.discard(done.anchor)
                self._remember(done.anchor, done.value, self._count - done.started + 1)
            self._add(done.value, event)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _Fault(_line(event), "more than one document in the file")

    def _begin(self, event: yaml.CollectionStartEvent) -> None:
        if event.tag not in (None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            raise _Fault(_line(event), f"unknown tag {event.tag!r}")
        if len(self._stack) >= MAX_DEPTH:
            raise _Fault(_line(event), f"nested deeper than {MAX_DEPTH} levels")
        self._spend(1, event)
        if event.anchor:
            self._open_anchors.add(event.anchor)
        empty: dict[Any, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._stack.append(_Open(empty, event.anchor, self._count))

    def _alias(self, event: yaml.AliasEvent) -> None:
        if event.anchor in self._open_anchors:
            raise _Fault(_line(event), f"alias {event.anchor!r} contains itself")
        if event.anchor not in self._anchors:
            raise _Fault(_line(event), f"alias {event.anchor!r} names no anchor")
        value, weight = self._anchors[event.anchor]
        self._spend(weight, event)  # as if it were written out: what reads the value will walk all of it
        self._add(value, event)

    def _spend(self, weight: int, event: yaml.Event) -> None:
        self._count += weight
        if self._count > MAX_VALUES:
            raise _Fault(_line(event), f"more than {MAX_VALUES} values (aliases written out)")

    def _remember(self, anchor: str | None, value: Any, weight: int) -> None:
        if anchor:
            self._anchors[anchor] = (value, weight)

    def _add(self, value: Any, event: yaml.Event) -> None:
        if not self._stack:
            self.value = value
            return
        top = self._stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        elif not top.has_key:
            if isinstance(value, (dict, list)):
                raise _Fault(_line(event), "a key must be text")
            if value == "<<":
                raise _Fault(_line(event), "merge keys (<<) are not supported")
            top.key, top.has_key = value if isinstance(value, str) else _key_text(event, value), True
            if top.key in top.value:
                self.duplicates.append((_line(event), top.key))
        else:
            top.value[top.key] = value
            top.has_key = False


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _key_text(event: yaml.Event, value: Any) -> str:
    """A key as it was written: `1`, `2027-01-01`, `true` are names where a key stands."""
    return event.value if isinstance(event, yaml.ScalarEvent) else str(value)


def _scalar(event: yaml.ScalarEvent) -> Any:
    text = event.value
    if event.tag is not None and event.tag not in _SCALAR_TAGS:
        raise _Fault(_line(event), f"unknown tag {event.tag!r}")
    if event.tag is not None or not event.implicit[0]:
        return text
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return _moment(text)


def _moment(text: str) -> Any:
    """A date or time where the text is one, else the text (a field that wanted a date will say so)."""
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
        if _TIME.fullmatch(text):
            moment = datetime.fromisoformat(text.upper())
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except ValueError:
        pass
    return text


# --- plain values to nouns ----------------------------------------------------------------------------------------


def decode(kind: type[T], raw: Any, source: str, place: str = "") -> T:
    """`raw` as a `kind` (frozen dataclasses, containers and scalars), or `InputError` with every problem.

    Unknown keys are problems at every depth. `place` is put before each problem's own place: `rules[3]`.
    """
    try:
        return cast("T", _adapter(cast("Any", kind)).validate_python(raw))
    except ValidationError as error:
        raise InputError(_problems(error, kind, source, place)) from None


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    _forbid_extras(kind, set())
    return TypeAdapter(kind)


def _forbid_extras(kind: Any, seen: set[Any]) -> None:
    """Tell pydantic, once per dataclass, that keys beyond its fields are errors: it ignores them otherwise."""
    for inner in (*typing.get_args(kind), *([kind] if isinstance(kind, type) else [])):
        if isinstance(inner, type) and not isinstance(inner, types.GenericAlias) and dataclasses.is_dataclass(inner):
            if inner in seen:
                continue
            seen.add(inner)
            if "__pydantic_config__" not in inner.__dict__:
                inner.__pydantic_config__ = {"extra": "forbid"}  # type: ignore[attr-defined]
            for hint in typing.get_type_hints(inner, include_extras=True).values():
                _forbid_extras(hint, seen)
        elif inner is not kind:
            _forbid_extras(inner, seen)


@functools.cache
def written(kind: type[Any]) -> Mapping[str, str]:
    """The key under which each field of a dataclass is written: its own name, unless that is a word of Python's (`from`)."""
    return {name: _alias(name, hint) for name, hint in typing.get_type_hints(kind, include_extras=True).items()}


def place_of(steps: Sequence[int | str], prefix: str = "") -> str:
    """`("rules", 3, "when", "origin")` as people write it: `rules[3].when.origin`."""
    place = prefix
    for step in steps:
        place = f"{place}[{step}]" if isinstance(step, int) else f"{place}.{step}" if place else str(step)
    return place


def unknown_key(key: str, known: Sequence[str]) -> str:
    """The message for a key that means nothing, with the one that was probably meant."""
    near = difflib.get_close_matches(key, known, n=1)
    return f"unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def _problems(error: ValidationError, kind: Any, source: str, prefix: str) -> list[Problem]:
    problems: dict[tuple[str, str], Problem] = {}
    for item in error.errors(include_url=False):
        steps = [step for step in item["loc"] if not _is_branch(step)]
        last = str(steps[-1]) if steps else ""
        if item["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            message = unknown_key(last, _keys_at(kind, steps[:-1]))
        elif item["type"] in ("missing", "missing_argument"):
            message = "is required"
        else:
            message = _plain(item["type"], item["msg"], item["input"])
        place = place_of(steps, prefix)
        problems.setdefault((place, message), Problem(source, place, message))
    return list(problems.values())


def _is_branch(step: int | str) -> bool:
    """Whether a step names a branch of a union (pydantic adds `str`, `list[int]`, `function-…`) and not a key."""
    return isinstance(step, str) and (
        step in {"str", "int", "float", "bool", "date", "datetime", "none", "[key]", "constrained-str", "constrained-int"}
        or "[" in step or step.startswith("function-")
    )


_PLAINER: Final = (
    ("Input should be a valid ", "expected a "),
    ("Input should be ", "expected "),
    ("String should match pattern ", "expected a text that matches "),
    ("Value error, ", ""),
)


def _plain(code: str, message: str, value: Any) -> str:
    if code == "dataclass_type":
        return f"expected a mapping, found {_found(value)}"
    if code in ("tuple_type", "list_type", "frozen_set_type"):
        return f"expected a list, found {_found(value)}"
    for start, word in _PLAINER:
        if message.startswith(start):
            message = word + message.removeprefix(start)
    message = message.replace("expected a integer", "expected an integer")
    return f"{message}, found {_found(value)}" if message.startswith("expected") and ", found " not in message else message


def _found(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _keys_at(kind: Any, steps: Sequence[int | str]) -> list[str]:
    """The keys that a dataclass at the end of `steps` takes, for suggestions; empty where the path is not so plain."""
    for step in steps:
        kind = _strip(kind)
        if isinstance(step, int) or not dataclasses.is_dataclass(kind):
            arguments = [part for part in typing.get_args(kind) if part is not Ellipsis]
            kind = arguments[-1] if arguments else None
        else:
            hints = {_alias(name, hint): hint for name, hint in typing.get_type_hints(kind, include_extras=True).items()}
            kind = hints.get(step)
    kind = _strip(kind)
    if not dataclasses.is_dataclass(kind):
        return []
    return [_alias(name, hint) for name, hint in typing.get_type_hints(kind, include_extras=True).items()]


def _strip(kind: Any) -> Any:
    while typing.get_origin(kind) in (typing.Annotated, typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(kind) if part is not type(None)]
        kind = parts[0]
    return kind


def _alias(name: str, hint: Any) -> str:
    for extra in getattr(hint, "__metadata__", ()):
        if getattr(extra, "alias", None):
            return str(extra.alias)
    return name
