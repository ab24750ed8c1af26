"""The part of the configuration that is about screening lists: where each comes from, what it means, whom it binds."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, WithJsonSchema

from mirror.config_values import Country, Duration
from mirror.core.errors import InputError, Problem
from mirror.lists.formats import LOADERS, SEVERAL
from mirror.lists.guards import read_guards
from mirror.lists.official import fetched, is_url
from mirror.lists.signed import current_file

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.IGNORECASE | re.ASCII)
#: More often than this no list changes, and no server likes to be asked.
_LEAST: Final = timedelta(minutes=1)
_MOST_FILES: Final = 8

Fault = Callable[[str, str], Problem]


def _sources(value: Any) -> Any:
    texts = [str(value)] if isinstance(value, (str, Path)) else value
    if not isinstance(texts, (list, tuple)) or not texts or not all(isinstance(one, str) and one and "\0" not in one for one in texts):
        raise ValueError("must be a file or an https URL, or a list of these")
    return tuple(texts)


Sources = Annotated[
    tuple[str, ...], BeforeValidator(_sources),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]  # fmt: skip
Day = Annotated[date, WithJsonSchema({"type": "string", "format": "date"})]


@dataclass(frozen=True, slots=True)
class ListConfig:
    """One screening list; `lists.official.ListSettings` and `watch.lists.WatchedList`. `since` is written `from`.

    After `load`, `source` holds absolute paths and URLs.
    """

    loader: str
    source: Sources
    origins: tuple[str, ...] = ()
    every: Duration | None = timedelta(hours=6)
    direction: Literal["inbound", "outbound", "both"] = "both"
    meaning: str = ""
    basis: str = ""
    jurisdictions: tuple[Country, ...] = ()
    since: Annotated[Day | None, Field(alias="from")] = None
    until: Day | None = None
    subjects: tuple[Literal["organization", "individual", "vessel", "aircraft"], ...] | None = None
    only: tuple[str, ...] = ()
    guards: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class CataloguePack:
    """Where signed packs of publishers come from, in the place of the shipped ones. `every` and `max_age` null: never."""

    source: str | None = None
    origins: tuple[str, ...] = ()
    every: Duration | None = timedelta(hours=24)
    max_age: Duration | None = timedelta(days=90)


def pack_located(pack: CataloguePack, base: Path) -> CataloguePack:
    """The same with a file's path made absolute, from the folder of the configuration file."""
    return pack if pack.source is None or is_url(pack.source) else replace(pack, source=str(base / pack.source))


def layered(names: tuple[str, ...], pack: CataloguePack, data: Path, base: Path) -> tuple[str, ...]:
    """`catalogue:` with paths made absolute, and with the signed pack behind `builtin`, in whose place it stands."""
    found = []
    for name in names:
        found.append(name if name == "builtin" else str(base / name))
        if name == "builtin" and pack.source is not None:
            found.append(str(current_file(data)))
    return tuple(found)


def pack_checked(pack: CataloguePack, names: tuple[str, ...], fault: Fault) -> Iterator[Problem]:
    """Every contradiction in `catalogue_pack:`."""
    if pack.source is None:
        return
    if is_url(pack.source):
        yield from _url(pack.source, "catalogue_pack", fault)
    elif pack.origins:
        yield fault("catalogue_pack.origins", "is read for a pack that is fetched, and its source names a file")
    if "builtin" not in names:
        yield fault("catalogue_pack.source", "a pack stands in the place of 'builtin', which `catalogue` does not name")
    if pack.every is not None and pack.every < _LEAST:
        yield fault("catalogue_pack.every", "expected at least 1m; null is never")


def located(lists: Mapping[str, ListConfig], base: Path) -> dict[str, ListConfig]:
    """The lists with their files' paths made absolute, from the folder of the configuration file."""
    return {
        name: replace(row, source=tuple(one if is_url(one) else str(base / one) for one in row.source)) for name, row in lists.items()
    }


def lists_checked(lists: Mapping[str, ListConfig], fault: Fault) -> Iterator[Problem]:
    """Every contradiction in `lists:`, files that are not there left to the check of all files."""
    for name, row in lists.items():
        place = f"lists.{name}"
        if not _NAME.fullmatch(name):
            yield fault(place, "a list's name is letters, digits, dots, dashes and underscores")
        if row.loader not in LOADERS:
            yield fault(f"{place}.loader", f"unknown loader {row.loader!r}; there are: {', '.join(LOADERS)}")
        elif len(row.source) > (_MOST_FILES if row.loader in SEVERAL else 1):
            yield fault(f"{place}.source", f"{row.loader} takes {_MOST_FILES if row.loader in SEVERAL else 'one'} at most, found {len(row.source)}")
        for source in filter(is_url, row.source):
            yield from _url(source, place, fault)
        if row.origins and not fetched(row):
            yield fault(f"{place}.origins", "is read for a list that is fetched, and its source names files")
        if row.every is not None and row.every < _LEAST:
            yield fault(f"{place}.every", "expected at least 1m; null is never")
        if row.since is not None and row.until is not None and row.until <= row.since:
            yield fault(f"{place}.until", f"{row.until} is not after 'from' {row.since}")
        if row.subjects == ():
            yield fault(f"{place}.subjects", "names nothing, so that no entry would be left; null is the loader's own choice")
        try:
            read_guards(row.guards, name)
        except InputError as error:
            yield from (fault(f"{one.source}.{one.place}", one.message) for one in error.problems)


def _url(source: str, place: str, fault: Fault) -> Iterator[Problem]:
    parts = urlsplit(source)
    shown = source.partition("?")[0]
    try:
        sound = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound or parts.username is not None or parts.fragment or re.search(r"\s", source):
        yield fault(f"{place}.source", f"must be a file or an https URL without credentials, found {shown!r}")
    elif parts.scheme.lower() == "http" and not _loopback(parts.hostname or ""):
        yield fault(f"{place}.source", f"{shown!r}: what is fetched in the clear can be changed on its way; use https")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
