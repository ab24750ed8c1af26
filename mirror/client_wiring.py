"""How callers are told apart, made from the configuration; what it follows on disk is watched from then on."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final

import structlog

from mirror.config import Config
from mirror.core.errors import MirrorError
from mirror.core.ports import Clock
from mirror.core.tokens import TokenIndex
from mirror.ledger_wiring import pseudonym_keys_of
from mirror.reply.geoip import GeoBook
from mirror.reply.identify import Identification, groups_from
from mirror.reply.tokens import TokenBook
from mirror.trust.pseudonyms import PseudonymKeys, pseudonym

_LOG = structlog.get_logger("mirror.reply")
#: Seconds between looks whether another key is to be used.
_LOOK: Final = 60.0


async def identification_of(config: Config, key: bytes, index: TokenIndex, clock: Clock, opened: AsyncExitStack) -> Identification:
    """Who asks. `key` is the installation's own. Raises `InputError` for a database of addresses that is none, `IndexDown`."""
    clients = config.clients
    book = TokenBook(index, key)
    await book.refresh()
    places = None if clients.geoip is None else GeoBook(clients.geoip)
    keys = pseudonym_keys_of(config)
    keys.current(clock.now())
    who = Identification(
        groups_from(clients.groups),
        tuple(ipaddress.ip_network(text, strict=False) for text in config.listen.trusted_proxies),
        clients.header,
        key,
        tokens=book,
        geoip=places,
        anonymous=clients.anonymous,
        certificates=config.listen.tls.client_ca is not None,
        now=clock.now,
        pseudonyms=lambda subject: pseudonym(keys.key, subject),
    )
    turning = asyncio.create_task(_turn(keys, clock, who.forget), name="keys of pseudonyms")

    async def halt() -> None:
        turning.cancel()
        await asyncio.wait({turning})

    opened.push_async_callback(halt)
    for watched in (book, places):
        if watched is not None:
            watched.watch(who.forget)
            opened.push_async_callback(watched.close)
    return who


async def _turn(keys: PseudonymKeys, clock: Clock, changed: Callable[[], None]) -> None:
    """Use another key when its time has come; a folder that cannot be written puts that off."""
    while True:
        await asyncio.sleep(_LOOK)
        try:
            if await asyncio.to_thread(keys.changed, clock.now()):
                changed()
        except (MirrorError, OSError) as error:
            _LOG.error("pseudonyms_not_rotated", why=str(error))
