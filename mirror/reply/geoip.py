"""In which country an address is, by a database in MaxMind's format (MMDB) that the operator brings.

Nothing is looked up elsewhere and none is shipped. GeoLite2 and GeoIP2 say it as `country.iso_code`, others as a
two-letter `country_code` or `country`; where somebody registered the address (`registered_country`) is no answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import maxminddb
import structlog

from mirror.core.errors import InputError, Problem
from mirror.policy.countries import CODES
from mirror.proxy.following import Looking, state_of

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

log = structlog.get_logger("mirror")


class GeoBook:
    """One database, wholly in memory, read anew when its file changes. A broken file leaves the last good one in use."""

    def __init__(self, path: Path) -> None:
        """Raises `InputError` for a file that is no such database."""
        self._path = path
        self._state = state_of((path,))
        self._reader = _opened(path)
        self._watching: Looking | None = None

    def country(self, address: IPv4Address | IPv6Address) -> str | None:
        """ISO 3166-1 alpha-2, or None where the database does not know."""
        try:
            return _code(self._reader.get(address))
        except (ValueError, maxminddb.InvalidDatabaseError):  # an IPv6 address in a database of IPv4; a damaged branch
            return None

    def refresh(self) -> bool:
        """Read the file if it was written; whether it was. Raises `InputError`, once for each broken file."""
        state = state_of((self._path,))
        if state == self._state:
            return False
        self._state = state
        self._reader = _opened(self._path)
        return True

    def watch(self, changed: Callable[[], None]) -> None:
        """Look for changes about once a second from now on; `changed` is told of each."""
        self._watching = Looking(partial(self._look, changed))

    async def close(self) -> None:
        """Stop looking."""
        if self._watching is not None:
            await self._watching.close()

    async def _look(self, changed: Callable[[], None]) -> None:
        try:
            if await asyncio.to_thread(self.refresh):
                changed()
                log.info("geoip", built=self._reader.metadata().build_epoch)
        except InputError as error:
            log.error("geoip not read anew", problems=[str(problem) for problem in error.problems])


def _opened(path: Path) -> maxminddb.Reader:
    """The whole file in memory: one that is replaced in place must not be read half old and half new."""
    try:
        reader = maxminddb.open_database(path, maxminddb.MODE_MEMORY)
        reader.get("192.0.2.1")
    except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
        raise InputError([Problem(str(path), "", f"is no database in MaxMind's format ({str(error).splitlines()[0]})")]) from None
    return reader


def _code(record: Any) -> str | None:
    if not isinstance(record, Mapping):
        return None
    country = record.get("country")
    stated = country.get("iso_code") if isinstance(country, Mapping) else record.get("country_code", country)
    code = stated.upper() if isinstance(stated, str) else ""
    return code if code in CODES else None
