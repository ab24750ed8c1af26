"""POSTs to a place that takes our bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

from mirror.audit.outlets import ExportFailed
from mirror.audit.streams import Identity

if TYPE_CHECKING:
    from collections.abc import Mapping


async def post(url: str, data: bytes, headers: Mapping[str, str], *, identity: Identity, proxy: str | None = None) -> int:
    """The status of the answer to a POST; redirects are not followed. Raises `ExportFailed` where there is none."""
    context = await identity.context()
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
            session.post(url, data=data, headers={"User-Agent": "entrepot", **headers}, proxy=proxy, allow_redirects=False) as answer,
        ):
            await answer.read()
            return answer.status
    except aiohttp.ClientError as error:
        # Its text may hold the URL, and that a secret.
        raise ExportFailed(f"{type(error).__name__}: {error}".replace(url, "the URL")) from None
