"""The mirror that `mirror sync` is a client of: the one that runs, else one in this process for as long as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import aiohttp

from mirror.bundle.fetch import Address
from mirror.cli.client_settings import default_url, index_url
from mirror.cli.owner import at_work, holder_of, ledger_of
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from mirror.config import Config, HubConfig
    from mirror.core.ports import PinIndex

_ASK: Final = aiohttp.ClientTimeout(total=3)


@dataclass(frozen=True, slots=True)
class Reached:
    """A mirror that answers. `index` is None where the configuration has none; `pins` None keeps none. `where` is for people."""

    where: str
    address: Address
    index: str | None
    origins: tuple[str, ...]
    pins: PinIndex | None


@asynccontextmanager
async def reached(config: Config, url: str | None, *, pin: bool) -> AsyncIterator[Reached]:
    """The mirror of this configuration: at `url`, at its listen address, or started here. Raises `InputError`."""
    found = await _running(config, url)
    if found is not None:
        if not pin:
            yield _reached(config, found, None)
            return
        if url is not None and config.database is None and not _owned(config):
            said = f"pins are kept beside the data of the mirror, and {config.data} is not that of {found}: run this where it runs, or say --no-pin"
            raise InputError([Problem("--url", "", said)])
        async with _pins(config) as pins:
            yield _reached(config, found, pins)
        return
    async with _own(config) as (base, own, index):
        yield replace(_reached(own, base, index if pin else None), where="a mirror started for this")


async def _running(config: Config, url: str | None) -> str | None:
    """The base URL of the mirror that runs; None where none does and this process may be it."""
    if url is not None:
        base = url.rstrip("/")
        if urlsplit(base).scheme not in ("http", "https") or not await _answers(base):
            raise InputError([Problem("--url", "", f"no mirror answers at {url}")])
        return base
    owned = _owned(config)
    listening = default_url(replace(config, listen=replace(config.listen, public_url=None)))
    candidates = [one for one in (listening, config.listen.public_url) if one]
    # Without an owner of our ledger, whoever answers there is another mirror with data of its own.
    for base in candidates if owned else ():
        if await _answers(base):
            return base
    if owned:
        said = f"the ledger is being written by process {holder_of(config)}, but no mirror answers at {' or '.join(candidates)}: name it with --url"
        raise InputError([Problem("sync", "", said)])
    return None


async def _answers(base: str) -> bool:
    """Whether one of us is alive there."""
    try:
        async with aiohttp.ClientSession(timeout=_ASK) as session, session.get(f"{base}/-/health/live", allow_redirects=False) as answer:
            ours = answer.status == 200 and answer.headers.get("Server", "") == "entrepot"
            return ours and b'"live"' in await answer.content.read(1000)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return False


def _owned(config: Config) -> bool:
    from mirror.audit.segments import is_written

    return is_written(ledger_of(config))


def _reached(config: Config, base: str, pins: PinIndex | None) -> Reached:
    public = (config.listen.public_url,) if config.listen.public_url else ()
    index = index_url(base, config)
    origins = tuple(dict.fromkeys("://".join(urlsplit(one)[:2]) for one in (base, *public)))
    return Reached(base, _address(config, base), index, origins, pins)


def _address(config: Config, base: str) -> Address:
    """With the Hugging Face hub that clients get by default: at the root, else the first, by its own port or host."""
    rows = [row for row in config.hubs.values() if row.dialect == "huggingface"]
    rows.sort(key=lambda row: bool(row.hosts or row.port))
    if not rows:
        return Address(base)
    parts = urlsplit(base)
    if rows[0].port is not None:
        shown = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return Address(base, f"{parts.scheme}://{shown}:{rows[0].port}")
    port = f":{parts.port}" if parts.port else ""
    return Address(base, base, f"{rows[0].hosts[0]}{port}" if rows[0].hosts else "")


@asynccontextmanager
async def _own(config: Config) -> AsyncIterator[tuple[str, Config, PinIndex]]:
    """A mirror in this process, on loopback and a free port, with the rules, the ledger and the store of the configured one."""
    from mirror.wiring import build

    own = _private(config)
    services = await build(own)
    try:
        urls = await services.start()
        yield urls[0], own, services.index
    finally:
        await asyncio.shield(services.stop())


def _private(config: Config) -> Config:
    """The same mirror for this process alone: hubs that have a port of their own are told by a name instead."""
    listen = replace(config.listen, host="127.0.0.1", port=0, public_url=None, workers=1, admin=None, tls=type(config.listen.tls)())

    def named(name: str, row: HubConfig) -> HubConfig:
        return row if row.port is None else replace(row, port=None, hosts=row.hosts or (f"{name}.sync.localhost",))

    return replace(config, listen=listen, sync=(), hubs={name: named(name, row) for name, row in config.hubs.items()})


@asynccontextmanager
async def _pins(config: Config) -> AsyncIterator[PinIndex]:
    """Pins as the mirror that runs on this data keeps them; those of a shared database where it runs elsewhere."""
    there = await at_work(config)
    if there is not None:
        try:
            yield there
        finally:
            there.close()
        return
    from mirror.index.sql import SqlIndex

    index = await SqlIndex.open(config.database.reveal() if config.database else None, config.data)
    try:
        yield index
    finally:
        await index.close()


def credential(token: str | None) -> str | None:
    """A hub token that can be sent, or None. Raises `InputError` for one that cannot."""
    stripped = (token or "").strip()
    if stripped and not (stripped.isascii() and stripped.isprintable() and " " not in stripped):
        raise InputError([Problem("--token", "", "holds what no token has")])
    return stripped or None
