"""A client of the mirror like any other: pages, what stands where (HEAD), and files fetched to nowhere.

Bytes are not kept here: fetching them makes the mirror keep them. What is checked is that they came whole, and for
packages that they are what the lock says.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from yarl import URL

from mirror import __version__
from mirror.bundle.plan import PREFERENCE, State, WantedFile
from mirror.core.decision import OWN_AGENT
from mirror.core.http import parse_content_range
from mirror.core.tokens import PREFIX
from mirror.decode import parse_json

_AGENT: Final = f"{OWN_AGENT}{__version__}"
#: Seconds without a byte after which a connection is given up: well above all that the mirror lets clients wait.
_SILENCE: Final = 60.0
#: Longest wait between two attempts, in seconds, whatever Retry-After says: the mirror never says more (reply.refusal).
_LONGEST: Final = 30.0
_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_NEXT: Final = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')
#: How long a file may take to be in the store after its last byte has left, in waits between looks (seconds).
_LANDING: Final = (0.0, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)


class Declined(Exception):
    """The mirror's answer is no. `state` says whose; `sentence` is the mirror's."""

    def __init__(self, state: State, sentence: str, rule: str = "", decision: str = "") -> None:
        super().__init__(sentence)
        self.state, self.sentence, self.rule, self.decision = state, sentence, rule, decision


@dataclass(frozen=True, slots=True)
class Address:
    """Where the mirror is: `base`, and `hub` where its Hugging Face hub is ("": it has none); no trailing slashes.

    `hub_host` is the Host header by which that hub is told from others, where there is one.
    """

    base: str
    hub: str = ""
    hub_host: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """Bytes of a file (None: unsaid) and whether they are in the store; `before`: they were when they were asked for."""

    size: int | None
    here: bool
    before: bool = False


class Client:
    """Requests to one mirror. `token` is a hub credential, which goes to the hub's routes only, or a mirror token.

    `retries` is how often an attempt that brought nothing is repeated.
    """

    def __init__(self, session: aiohttp.ClientSession, address: Address, token: str | None, retries: int) -> None:
        self._session, self._address, self._token, self.retries = session, address, token, retries

    async def page(self, target: str, prefer: str = PREFERENCE) -> tuple[Any, Mapping[str, str]]:
        """A JSON page of the hub with its headers; `prefer` asks for more than the hub tells (RFC 7240). Raises `Declined`."""
        found: tuple[Any, Mapping[str, str]] = await self._again(lambda: self._page(target, headers={"Prefer": prefer}))
        return found

    async def pages(self, target: str) -> None:
        """Every page of a listing, so that the mirror has them too. Raises `Declined`."""
        seen: set[str] = set()
        while target not in seen:
            seen.add(target)
            _, headers = await self.page(target)
            following = _NEXT.search(headers.get("Link", ""))
            if following is None:
                return
            target = URL(following[1], encoded=True).raw_path_qs

    async def listing(self, target: str, media: str) -> Any:
        """A JSON page of the package index in the form `media`. Raises `Declined`."""
        found, _ = await self._again(lambda: self._page(target, hub=False, headers={"Accept": media}))
        return found

    async def standing(self, file: WantedFile) -> Standing:
        """Size of a file, and whether the mirror has it. Raises `Declined`; on the record like any HEAD."""
        found: Standing = await self._again(lambda: self._standing(file))
        return found

    async def fetch(self, file: WantedFile, came: Callable[[int], None]) -> Standing:
        """All bytes of a file, to nowhere; `came` is told how many more. Their number, and whether the mirror has them now.

        Raises `Declined`.
        """
        transfer = _Transfer(file, came)
        size: int = await self._again(lambda: self._transferred(transfer), lambda: transfer.got)
        for target in file.beside:
            await self._beside(target, hub=file.hub)
        if transfer.landed:  # the last bytes of a verified file leave once it is in the store
            return Standing(size, here=True, before=transfer.hit)
        for pause in _LANDING[: 1 if transfer.passing else None]:
            await asyncio.sleep(pause)
            if (await self.standing(file)).here:
                return Standing(size, here=True)
        return Standing(size, here=False)

    async def why(self, url: str) -> Declined | None:
        """Why the mirror refuses `url`, which a resolver could not get; None where it does not (any more)."""
        parts = URL(url, encoded=True)
        if str(parts.origin()) != str(URL(self._address.base).origin()):
            return None
        try:
            await self._again(lambda: self._given(parts.raw_path_qs))
        except Declined as no:
            return no
        return None

    # --- attempts -------------------------------------------------------------------------------------------------

    async def _again(self, attempt: Callable[[], Any], progress: Callable[[], int] = lambda: 0) -> Any:
        """`attempt` until it succeeds, is declined for good, or has brought nothing for `retries` times more."""
        left, before = self.retries, progress()
        while True:
            try:
                return await attempt()
            except _Later as later:
                if progress() > before:
                    left, before = self.retries, progress()
                elif not later.limited:  # whose turn has not come (clients.limits) has not failed
                    if left <= 0:
                        raise later.declined from None
                    left -= 1
                await asyncio.sleep(later.wait)

    def _asked(self, method: str, target: str, *, hub: bool, headers: Mapping[str, str] | None = None) -> Any:
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        if self._token and (hub or self._token.startswith(PREFIX)):  # a mirror token is for the mirror itself
            sent["Authorization"] = f"Bearer {self._token}"
        if hub and self._address.hub_host:
            sent["Host"] = self._address.hub_host
        return self._session.request(method, URL((self._address.hub if hub else self._address.base) + target, encoded=True), headers=sent, allow_redirects=False)

    async def _page(self, target: str, *, headers: Mapping[str, str], hub: bool = True) -> tuple[Any, Mapping[str, str]]:
        try:
            async with self._asked("GET", target, hub=hub, headers={**headers, "Accept-Encoding": "gzip"}) as answer:
                if answer.status != 200:
                    raise await _no(answer)
                return parse_json(await answer.read()), answer.headers
        except ValueError as error:
            raise Declined(State.FAILED, f"{target}: the answer is no JSON: {error}") from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _Later(_broken(error)) from None

    async def _standing(self, file: WantedFile) -> Standing:
        # A range, although HEAD knows none, because whoever sends one is answered from the store and not from memory.
        try:
            async with self._asked("HEAD", file.target, hub=file.hub, headers={"Range": "bytes=0-"}) as answer:
                if answer.status == 200:
                    here = "hit" in [part.strip() for part in answer.headers.get("Cache-Status", "").split(";")]
                    return Standing(answer.content_length, here)
            async with self._asked("GET", file.target, hub=file.hub) as answer:  # which says why in words
                if answer.status != 200:
                    raise await _no(answer)
                return Standing(answer.content_length, here=False)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _Later(_broken(error)) from None

    async def _transferred(self, transfer: _Transfer) -> int:
        try:
            async with self._asked("GET", transfer.file.target, hub=transfer.file.hub, headers=transfer.headers()) as answer:
                if answer.status not in (200, 206):
                    raise await _no(answer)
                await transfer.take(answer)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if not transfer.whole:
                raise _Later(_broken(error)) from None
        return transfer.done()

    async def _given(self, target: str) -> None:
        """Returns where there is an answer, of which nothing is read. Raises `Declined`, `_Later`."""
        try:
            async with self._asked("GET", target, hub=False) as answer:
                if answer.status >= 400:
                    raise await _no(answer)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _Later(_broken(error)) from None

    async def _beside(self, target: str, *, hub: bool) -> None:
        """A small thing that belongs to a file; where there is none, there is none."""
        try:
            async with self._asked("GET", target, hub=hub) as answer:
                await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return


class _Later(Exception):
    """An attempt that may succeed when it is repeated after `wait` seconds."""

    def __init__(self, declined: Declined, wait: float = 0.5, *, limited: bool = False) -> None:
        super().__init__(declined.sentence)
        self.declined, self.wait, self.limited = declined, wait, limited


class _Transfer:
    """One file on its way, over as many connections as it takes."""

    def __init__(self, file: WantedFile, came: Callable[[int], None]) -> None:
        self.file, self._came, self.passing, self.hit, self.landed = file, came, False, False, False
        self._begin()

    def _begin(self) -> None:
        self.got, self._size, self._etag, self._hash = 0, self.file.size, "", hashlib.sha256()

    def headers(self) -> Mapping[str, str]:
        """Of the next request: from where it stands, if the file is still the same one (RFC 9110 section 13.1.5)."""
        return {"Range": f"bytes={self.got}-", "If-Range": self._etag} if self.got and self._etag else {}

    async def take(self, answer: aiohttp.ClientResponse) -> None:
        """Read an answer to its end."""
        span = parse_content_range(answer.headers.get("Content-Range", "")) if answer.status == 206 else None
        if span is None or span[0].start != self.got:
            self._came(-self.got)
            self._begin()
            if answer.status == 206:
                raise _Later(Declined(State.FAILED, "the mirror sent another range than was asked for"))
            self._size = answer.content_length if answer.content_length is not None else self._size
        # RFC 9211 section 2.5: what is being stored says so; what only passes through a full cache does not.
        said = [part.strip() for part in answer.headers.get("Cache-Status", "").split(";")]
        kept = not {"hit", "stored", "collapsed"}.isdisjoint(said)
        self.passing, self.hit = "fwd=miss" in said and not kept, "hit" in said and answer.status == 200
        self.landed = kept and not any("unverified" in part for part in said)
        self._etag = answer.headers.get("ETag", "")
        async for data in answer.content.iter_any():
            self.got += len(data)
            if self.file.sha256 is not None:
                self._hash.update(data)
            self._came(len(data))

    @property
    def whole(self) -> bool:
        """Whether all bytes came, however the connection ended."""
        return self._size is not None and self.got == self._size

    def done(self) -> int:
        """The number of bytes, all there. Raises `Declined` for bytes that are not those of the lock."""
        if self._size is not None and self.got != self._size:
            raise _Later(Declined(State.FAILED, f"{self.got} bytes came of {self._size}"))
        if self.file.sha256 is not None and self._hash.hexdigest() != self.file.sha256:
            raise Declined(State.FAILED, f"its SHA-256 is {self._hash.hexdigest()} and not {self.file.sha256}, as the lock says")
        return self.got


def _broken(error: Exception) -> Declined:
    said = " ".join(str(error).split()) or type(error).__name__
    return Declined(State.FAILED, f"the connection to the mirror broke: {said[:300]}")


async def _no(answer: aiohttp.ClientResponse) -> Exception:
    """What an answer other than success means: for good, or to be tried again."""
    declined = await _declined(answer)
    if declined.state is State.FAILED and answer.status in _AGAIN:
        told = answer.headers.get("Retry-After", "")
        return _Later(declined, min(float(told), _LONGEST) if told.isdecimal() else 1.0, limited=answer.status == 429)
    return declined


#: What the hub's codes say of what is not there, https://huggingface.co/docs/huggingface_hub/package_reference/utilities
_GONE: Final = {
    "EntryNotFound": "this revision has no such file",
    "RepoNotFound": "the hub has no such repository, or does not show it to this credential",
    "RevisionNotFound": "the repository has no such revision",
}


async def _declined(answer: aiohttp.ClientResponse) -> Declined:
    try:
        body = parse_json(await answer.read())
    except ValueError:
        body = {}
    told = {key: body[key] for key in ("detail", "rule", "decision") if isinstance(body.get(key), str)} if isinstance(body, dict) else {}
    code = answer.headers.get("X-Error-Code", "")
    sentence = told.get("detail") or _GONE.get(code) or f"the mirror answered {answer.status} {answer.reason or ''}".strip()
    if "decision" in told:
        return Declined(State.REFUSED, sentence, told.get("rule", ""), told["decision"])
    state = State.MISSING if answer.status == 404 or code in _GONE else State.WITHHELD if 400 <= answer.status < 500 else State.FAILED
    return Declined(State.FAILED if answer.status in _AGAIN else state, sentence)


def session(jobs: int) -> aiohttp.ClientSession:
    """For at most `jobs` requests at once; no proxy and no cookies, whatever the environment says."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=max(1, jobs)),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_SILENCE),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": _AGENT},
        trust_env=False,
    )

