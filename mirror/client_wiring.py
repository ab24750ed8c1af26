"""How callers are told apart, made from the configuration; what it follows on disk is watched from then on."""

from __future__ import annotations

import ipaddress
from contextlib import AsyncExitStack

from mirror.config import Config
from mirror.core.ports import Clock
from mirror.core.tokens import TokenIndex
from mirror.reply.geoip import GeoBook
from mirror.reply.identify import Identification, groups_from
from mirror.reply.tokens import TokenBook


async def identification_of(config: Config, key: bytes, index: TokenIndex, clock: Clock, opened: AsyncExitStack) -> Identification:
    """Who asks. `key` is the installation's own. Raises `InputError` for a database of addresses that is none, `IndexDown`."""
    clients = config.clients
    book = TokenBook(index, key)
    await book.refresh()
    places = None if clients.geoip is None else GeoBook(clients.geoip)
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
    )
    for watched in (book, places):
        if watched is not None:
            watched.watch(who.forget)
            opened.push_async_callback(watched.close)
    return who
