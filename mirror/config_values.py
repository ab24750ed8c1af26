"""How single values of the configuration are read: sizes, durations, secrets, `${…}`, `MIRROR_SECTION__KEY`.

Nothing here knows which keys there are; `mirror.config` does.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import BeforeValidator, WithJsonSchema

from mirror.core.errors import InputError, Problem
from mirror.decode import load_yaml, written
from mirror.policy.countries import resolve

PREFIX: Final = "MIRROR_"
#: Variables that start with the prefix and are not overrides: ours, and those that Kubernetes puts into every pod
#: for a Service called `mirror` (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
NOT_OVERRIDES: Final = re.compile(
    r"MIRROR_(CONFIG|SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)", re.IGNORECASE
)
HIDDEN: Final = "********"
#: A server that follows from other keys.
AUTO: Final = "auto"

_SIZE: Final = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([KMGTP]i?B?|B)?", re.IGNORECASE | re.ASCII)
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(ms|s|m|h|d|w)", re.ASCII)
_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_EXPANSION: Final = re.compile(r"\$\{([^}]*)\}")
_USERINFO: Final = re.compile(r"(?<=//)[^/@\s]+(?=@)")
_SECRET_KEY: Final = re.compile(r"token|secret|password|passwd|api_?key|authorization", re.IGNORECASE)
_HUNDRED_YEARS: Final = timedelta(days=36_525)


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that is never shown: `repr`, `str` and `config show` give asterisks; `reveal()` gives the text."""

    _text: str = field(repr=False)

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __str__(self) -> str:
        return HIDDEN


def _size(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = None if isinstance(value, bool) else _SIZE.fullmatch(str(value).strip())
    if found is None:
        raise ValueError("expected a size such as 500GiB")  # `decode` adds what was found
    unit = (found[2] or "").upper().removesuffix("B")
    power = " KMGTP".index(unit[0]) if unit else 0
    return int(float(found[1]) * (1024 if unit.endswith("I") else 1000) ** power)


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    found = _DURATION.fullmatch(str(value).strip())
    if found is None:
        raise ValueError("expected a duration such as 8s, 5m or 24h")
    seconds = float(found[1]) * _SECONDS[found[2]]
    if seconds > _HUNDRED_YEARS.total_seconds():
        raise ValueError("longer than a century")
    return timedelta(seconds=seconds)


def _network(value: Any) -> Any:
    try:
        return str(ipaddress.ip_network(str(value), strict=False))
    except ValueError:
        raise ValueError("expected a network such as 10.8.0.0/16") from None


def _country(value: Any) -> Any:
    if value is None:
        return None
    codes = resolve(value, {})
    if len(codes) != 1:
        raise ValueError(f"{value!r} is not one country")
    return next(iter(codes))


def _url(value: Any) -> Any:
    parts = urlsplit(str(value))
    try:
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known or parts.username is not None or parts.query or parts.fragment or re.search(r"\s", str(value)):
        raise ValueError(f"must be an http(s) URL without credentials or query, found {_shortened(value)}")
    return str(value).rstrip("/")


def _server(value: Any) -> Any:
    return value if value == AUTO else _url(value)


def _path(value: Any) -> Any:
    if value is None or isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("expected a path")
    return Path(value)


def _secret(value: Any) -> Any:
    if value is None or isinstance(value, Secret):
        return value
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text that is not empty (null for none)")  # not "expected …": `decode` would show the value
    return Secret(value)


def _whole(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("expected a whole number")  # noqa: TRY004 - pydantic collects ValueErrors
    return value


def _port(value: Any) -> Any:
    number = int(value) if isinstance(value, (int, str)) and not isinstance(value, bool) and re.fullmatch(r"\d{1,5}", str(value), re.ASCII) else -1
    if not 0 <= number <= 65535:
        raise ValueError("expected a port (0 to 65535)")
    return number


def _shortened(value: Any) -> str:
    text = _USERINFO.sub(HIDDEN, repr(value))
    return "nothing" if value is None else text if len(text) <= 60 else text[:57] + "..."


def _text(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern})


Size = Annotated[int, BeforeValidator(_size), WithJsonSchema({"type": ["string", "integer"], "examples": ["500GiB"]})]
Duration = Annotated[timedelta, BeforeValidator(_duration), WithJsonSchema({"type": "string", "examples": ["5m", "24h"]})]
Network = Annotated[str, BeforeValidator(_network), WithJsonSchema({"type": "string", "examples": ["10.8.0.0/16"]})]
Country = Annotated[str, BeforeValidator(_country), _text("^[A-Z]{2}$")]
Url = Annotated[str, BeforeValidator(_url), WithJsonSchema({"type": "string", "format": "uri"})]
Server = Annotated[str, BeforeValidator(_server), WithJsonSchema({"type": "string", "examples": ["auto", "https://viewer.corp"]})]
Located = Annotated[Path, BeforeValidator(_path), WithJsonSchema({"type": "string"})]
Hidden = Annotated[Secret, BeforeValidator(_secret), WithJsonSchema({"type": "string", "writeOnly": True})]
Port = Annotated[int, BeforeValidator(_port), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 65535})]
Whole = Annotated[int, BeforeValidator(_whole), WithJsonSchema({"type": "integer"})]


def expanded(value: Any, environ: Mapping[str, str], source: str, place: str, problems: list[Problem]) -> Any:
    """`value` with `${NAME}` and `${file:/path}` replaced, at every depth; what cannot be is put into `problems`."""
    if isinstance(value, Mapping):
        return {
            key: expanded(item, environ, source, f"{place}.{key}" if place else str(key), problems)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [expanded(item, environ, source, f"{place}[{at}]", problems) for at, item in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value

    def replaced(found: re.Match[str]) -> str:
        name = found[1]
        if name.startswith("file:"):
            try:
                return Path(name[5:]).read_text(encoding="utf-8").strip()
            except (OSError, ValueError):  # not there, not readable, not UTF-8, no path at all
                problems.append(Problem(source, place, f"the file {name[5:]!r} cannot be read"))
                return name
        if name not in environ:
            problems.append(Problem(source, place, f"the environment has no variable {name!r}"))
        return environ.get(name, name)

    return _EXPANSION.sub(replaced, value)


def overridden(
    raw: Mapping[str, Any], environ: Mapping[str, str], sections: Collection[str], problems: list[Problem]
) -> tuple[dict[str, Any], dict[str, str]]:
    """`raw` with every `MIRROR_SECTION__KEY` laid over it, and which variable each changed place came from.

    Values are YAML and may hold `${…}` themselves. Names are case-folded; a dash in a key is written `_`.
    """
    result = dict(raw)
    origins: dict[str, str] = {}
    for name in sorted(environ):
        if not name.upper().startswith(PREFIX) or NOT_OVERRIDES.fullmatch(name):
            continue
        steps = name[len(PREFIX) :].casefold().split("__")
        if steps[0] not in sections or not all(steps):
            known = ", ".join(sorted(sections))
            problems.append(Problem(name, "", f"no such section {steps[0]!r}; there are: {known}"))
            continue
        try:
            value = expanded(load_yaml(environ[name], name), environ, name, "", problems)
        except InputError as error:
            problems += error.problems
            continue
        node, place = result, ""
        for step in steps[:-1]:
            key = _spelt(node, step)
            below = node.get(key)
            node[key] = below = dict(below) if isinstance(below, Mapping) else {}
            node, place = below, f"{place}.{key}" if place else key
        last = _spelt(node, steps[-1])
        node[last] = value
        origins[f"{place}.{last}" if place else last] = name
    return result, origins


def attributed(problem: Problem, origins: Mapping[str, str]) -> Problem:
    """`problem`, naming the variable where its place was set by one."""
    for place, name in sorted(origins.items(), reverse=True):
        if problem.place == place or problem.place.startswith((f"{place}.", f"{place}[")):
            return dataclasses.replace(problem, source=name)
    return problem


def shown(value: Any) -> Any:
    """Plain values of a configuration: secrets, and credentials inside URLs, as asterisks."""
    if isinstance(value, Secret):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        keys = written(type(value))
        return {keys[part.name]: shown(getattr(value, part.name)) for part in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {
            str(key): HIDDEN if isinstance(item, str) and _SECRET_KEY.search(str(key)) else shown(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [shown(item) for item in value]
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
        return f"{int(seconds)}s" if seconds.is_integer() else f"{seconds:g}s"  # not 7.776e+06s, which nothing reads
    return _USERINFO.sub(HIDDEN, value) if isinstance(value, str) else str(value) if isinstance(value, (Path, date)) else value


def _spelt(node: Mapping[str, Any], step: str) -> str:
    return next((str(key) for key in node if str(key).casefold().replace("-", "_") == step), step)
