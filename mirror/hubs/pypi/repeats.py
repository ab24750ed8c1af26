"""Which answers of an index may be given again a moment later, and for as long as what (`proxy.warm`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from mirror.proxy.warm import PAGE
from mirror.reply.again import again, answer, plain_key

if TYPE_CHECKING:
    from datetime import datetime

    from mirror.core.decision import Admission
    from mirror.hubs.pypi.hub import PypiHub, Sheet
    from mirror.hubs.pypi.judgement import Judgement
    from mirror.proxy.gateway import Gateway
    from mirror.proxy.warm import Key
    from mirror.reply.again import Headers
    from mirror.reply.routing import Call

#: What of a request for a page chooses its form, or makes it a 304.
_FORM = (hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.IF_NONE_MATCH)


class Repeats:
    """The answers of one index that were given a moment ago."""

    def __init__(self, hub: PypiHub, gateway: Gateway) -> None:
        self._hub, self._gateway = hub, gateway

    def page_key(self, call: Call) -> Key | None:
        """What makes two requests for a page the same one."""
        return plain_key(call, self._hub.name, *_FORM)

    def file_key(self, call: Call) -> Key | None:
        """What makes two requests for a whole small file, or for its head, the same one."""
        return plain_key(call, self._hub.name, *((hdrs.IF_NONE_MATCH,) if call.head else ()))

    async def given(self, key: Key | None) -> web.StreamResponse | None:
        """The answer under `key` once more, counted; None where it must be made."""
        warm = await self._gateway.again(key) if key is not None else None
        return None if warm is None else again(warm)

    def page(self, key: Key | None, given: web.Response, sheet: Sheet, judgement: Judgement) -> None:
        """Keep a page. One that leaves something out is an event that is on disk before each answer (P6), so never that."""
        body = given.body
        if key is None or judgement.left_out or not (body is None or (isinstance(body, bytes) and len(body) <= PAGE)):
            return
        until = self._end(sheet, judgement.valid_until)
        if until is not None:
            self._gateway.remember(
                key, None, tuple(given.headers.items()), body, until, lambda: self._stands(sheet, judgement.advice), given.status
            )

    def file(self, key: Key, admission: Admission, headers: Headers, body: bytes, sheet: Sheet) -> web.Response:
        """The answer with a whole small file, kept."""
        self._keep(key, admission, headers, body, sheet, 200)
        return answer(headers, body)

    def head(self, key: Key | None, admission: Admission, found: web.Response, sheet: Sheet) -> web.Response:
        """The answer to HEAD, kept where the file is here: a miss may be a hit in a moment."""
        if key is not None and "; hit" in found.headers["Cache-Status"]:
            self._keep(key, admission, tuple(found.headers.items()), None, sheet, found.status)
        return found

    def _keep(self, key: Key, admission: Admission, headers: Headers, body: bytes | None, sheet: Sheet, status: int) -> None:
        until = self._end(sheet, None)
        if until is not None:
            advice = self._hub.advice(sheet.page.project)
            self._gateway.remember(key, admission, headers, body, until, lambda: self._stands(sheet, advice), status)

    def _end(self, sheet: Sheet, valid_until: datetime | None) -> datetime | None:
        """When the page is asked for anew, or a verdict on it ends; None for one that never ages of itself."""
        age = sheet.document.max_age
        ends = [end for end in (valid_until, None if age is None else sheet.document.fetched_at + age) if end is not None]
        return min(ends, default=None)

    def _stands(self, sheet: Sheet, advice: tuple[str, ...]) -> bool:
        """Whether page, made metadata and advisories are those that went into an answer."""
        if self._gateway.replaced(sheet.document) or (advice and self._hub.advice(sheet.page.project) != advice):
            return False
        plain = sheet.edition == sheet.document.digest.hex
        if plain and not sheet.page.lacking:
            return True
        made = self._hub.made.newest(sheet.page.project)
        return plain if made is None else sheet.edition == f"{sheet.document.digest.hex}+{made.digest.hex}"
