"""Files that a hub gives through its Xet store alone: hf_xet in a process of its own for each, behind the `Upstream` port.

Who asks says by `Ask.xet` that a file is large, and notices no other difference: status, length and range are as over
HTTP, and a transfer that broke off is resumed by its offset. In this process there is no line of hf_xet, for it reads
2 GB ahead if it is let, and its stalls can only be ended by force. The hub's own word is asked first, in the name that
`Ask` carries and at the first upstream alone (P5): HEAD on the file tells its Xet hash, the token route which store holds
it. To the store goes that token, never a hub credential. Digests are compared by whoever asked: hf_xet compares none.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
from asyncio.subprocess import PIPE
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from yarl import URL

import mirror
from mirror.core.errors import HostNotAllowed, UpstreamDown, UpstreamError, UpstreamGarbage
from mirror.core.ports import Answer, Ask, Stream, Upstream
from mirror.upstream import xet_worker
from mirror.upstream.destinations import Destinations, origin
from mirror.upstream.xet_worker import Job

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_NUMBER: Final = re.compile(r"[0-9]{1,15}")
_RANGE: Final = re.compile(r"bytes=([0-9]{1,15})-([0-9]{0,15})")
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,8192}")
#: Where this package was found: a worker finds it there too, whatever folder it runs in.
_ROOT: Final = str(Path(mirror.__file__).parent.parent)
_PIECE: Final = 1024 * 1024
#: How much of what a worker has to say is kept, in bytes.
_SAID: Final = 64 * 1024
#: How long a worker that has sent its last byte may take to end, in seconds.
_ENDING: Final = 5.0


@dataclass(frozen=True, slots=True)
class XetLimits:
    """`stall` is in seconds without a byte; `memory` in bytes for each of at most `workers` processes at a time."""

    stall: float = 60.0
    memory: int = 1024**3
    workers: int = 4
    user_agent: str = "entrepot"


@dataclass(frozen=True, slots=True)
class _Kept:
    """A file as the store knows it, and the permit to have it."""

    hash: str
    size: int
    etag: str
    store: str
    token: str = field(repr=False)
    expires: int


class LargeFileUpstream:
    """`core.ports.Upstream`: what it wraps, but a stream with `Ask.xet` set comes out of the hub's Xet store.

    A file that the hub does not keep there comes over plain HTTP after all.
    """

    def __init__(
        self, plain: Upstream, upstreams: Sequence[str], origins: Sequence[str], scratch: Path, *,
        limits: XetLimits | None = None, proxy: str | None = None, ca: Path | None = None,
    ) -> None:  # fmt: skip
        """`upstreams`, `origins`, `proxy` and `ca` are those of `plain`; `origins` must name the store and where its data lie.

        `scratch` is a folder for hf_xet's own use, made when it is needed.
        """
        self._plain, self._scratch = plain, scratch
        self._upstreams, self._origins = tuple(upstreams), tuple(origins)
        self._destinations = Destinations(upstreams, origins)
        self._limits = limits or XetLimits()
        self._proxy, self._ca = proxy, ca
        self._room = asyncio.Semaphore(self._limits.workers)
        self._running: set[asyncio.subprocess.Process] = set()

    async def ask(self, ask: Ask) -> Answer:
        """A small answer; see `core.ports.Upstream.ask`."""
        return await self._plain.ask(ask)

    @asynccontextmanager
    async def stream(self, ask: Ask) -> AsyncIterator[Stream]:
        """A large answer; see `core.ports.Upstream.stream`. Waits while all workers are busy."""
        if not ask.xet:
            async with self._plain.stream(ask) as stream:
                yield stream
            return
        async with self._room:
            found = await self._found(ask)
            if found is None:
                async with self._plain.stream(replace(ask, xet="")) as stream:
                    yield stream
            elif isinstance(found, Answer):
                yield Told(found.status, found.headers, found.upstream)
            else:
                async with self._from_store(ask, found) as stream:
                    yield stream

    async def close(self) -> None:
        """End all workers, each to be reaped by its own stream; release connections."""
        for process in self._running:
            _kill(process)
        await self._plain.close()

    # --- what the hub says ----------------------------------------------------------------------------------------

    async def _found(self, ask: Ask) -> _Kept | Answer | None:
        """Where the store has the file; the hub's own no; or None where the file is not in the store."""
        quiet = replace(ask, headers={}, follow=False, first_only=True, xet="")
        head = await self._plain.ask(replace(quiet, method="HEAD"))
        if head.status >= 400:
            return head
        name = head.header("x-xet-hash") or ""
        size = head.header("x-linked-size") or ""
        if not _HASH.fullmatch(name) or not _NUMBER.fullmatch(size):
            return None
        permit = await self._plain.ask(replace(quiet, target=ask.xet, method="GET", follow=True, max_bytes=65536))
        if permit.status >= 400:
            return permit
        store, token = permit.header("x-xet-cas-url") or "", permit.header("x-xet-access-token") or ""
        expires = permit.header("x-xet-token-expiration") or ""
        if not store or not _TOKEN.fullmatch(token) or not _NUMBER.fullmatch(expires):
            raise UpstreamGarbage(permit.upstream, "its permit for the Xet store names no store, token or time")
        self._permitted(store, permit.upstream)
        return _Kept(name, int(size), head.header("x-linked-etag") or "", store, token, int(expires))

    def _permitted(self, store: str, hub: str) -> None:
        """Raises `HostNotAllowed` for a store that files may not come from. Where it sends us, and to what addresses, the worker's gate sees."""
        try:
            url = URL(store, encoded=True)
            self._destinations.check(url, through_proxy=self._proxy is not None)
        except ValueError as error:
            raise UpstreamGarbage(hub, "names a Xet store by what is no URL") from error

    # --- what the store gives -------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _from_store(self, ask: Ask, kept: _Kept) -> AsyncIterator[Stream]:
        asked = next((value for name, value in ask.headers.items() if name.lower() == "range"), None)
        store, etag = origin(URL(kept.store, encoded=True)), (("etag", kept.etag),) if kept.etag else ()
        start, stop = _span(asked, kept.size)
        if start >= stop and kept.size:
            yield Told(416, (("content-range", f"bytes */{kept.size}"),), store)
            return
        partial = (("content-range", f"bytes {start}-{stop - 1}/{kept.size}"),) if asked is not None else ()
        headers = (*etag, *partial, ("content-length", str(stop - start)))
        job = Job(
            kept.store, kept.token, kept.expires, kept.hash, kept.size, start, stop, self._limits.memory,
            self._limits.user_agent, self._upstreams, self._origins, self._proxy, None if self._ca is None else str(self._ca),
        )  # fmt: skip
        process = await self._launch()
        said = asyncio.create_task(_last_words(process))
        try:
            await _hand_over(process, job)
            yield XetStream(206 if partial else 200, headers, store, process, said, stop - start, self._limits.stall)
        finally:
            await _end(process)
            self._running.discard(process)
            said.cancel()
            await asyncio.wait({said})

    async def _launch(self) -> asyncio.subprocess.Process:
        """A worker that waits for its job. It is a new program, never a fork of this one, and inherits nothing of it."""
        await asyncio.to_thread(self._scratch.mkdir, parents=True, exist_ok=True)
        folder = str(self._scratch)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-s", "-P", "-m", xet_worker.__name__, stdin=PIPE, stdout=PIPE, stderr=PIPE,
            limit=_PIECE, cwd=folder, start_new_session=True,
            env={"PATH": "/usr/bin:/bin", "HOME": folder, "HF_HOME": folder, "LC_ALL": "C.UTF-8", "PYTHONPATH": _ROOT},
        )  # fmt: skip
        self._running.add(process)
        return process


@dataclass(slots=True)
class Told:
    """`core.ports.Stream` without a body: the hub's own answer to a question that came before the bytes."""

    status: int
    headers: tuple[tuple[str, str], ...]
    upstream: str

    def header(self, name: str) -> str | None:
        """The first value of header `name` (lower case), or None."""
        return next((value for key, value in self.headers if key == name), None)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Nothing."""
        nothing: tuple[bytes, ...] = ()
        for chunk in nothing:
            yield chunk


class XetStream:
    """`core.ports.Stream` over a worker's standard output; while nobody reads, the pipe fills and the worker waits."""

    def __init__(
        self, status: int, headers: tuple[tuple[str, str], ...], upstream: str, process: asyncio.subprocess.Process,
        said: asyncio.Task[Mapping[str, str]], length: int, stall: float,
    ) -> None:  # fmt: skip
        """`length` bytes are due; `stall` is in seconds."""
        self.status, self.headers, self.upstream = status, headers, upstream
        self._process, self._said, self._length, self._stall = process, said, length, stall

    def header(self, name: str) -> str | None:
        """The first value of header `name` (lower case), or None."""
        return next((value for key, value in self.headers if key == name), None)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes. Raises `UpstreamDown` when none came for `stall` seconds, and when the worker ends before the last.

        Raises `HostNotAllowed` where the store sent the worker to a host that is not on the list.
        """
        left = self._length
        while left > 0:
            try:
                async with asyncio.timeout(self._stall):
                    piece = await _output(self._process).read(_PIECE)
            except TimeoutError:
                raise UpstreamDown(self.upstream, f"its Xet store brought nothing for {self._stall:g} s") from None
            if not piece:
                raise await self._failure()
            left -= len(piece)
            yield piece

    async def _failure(self) -> UpstreamError:
        try:
            async with asyncio.timeout(_ENDING):
                await self._process.wait()
                said = await asyncio.shield(self._said)
        except TimeoutError:
            return UpstreamDown(self.upstream, "hf_xet closed its output and went on")
        if "host" in said:
            return HostNotAllowed(said["host"], said.get("fault", "is not permitted"))
        return UpstreamDown(self.upstream, f"hf_xet gave up: {said.get('fault') or f'exit {self._process.returncode}'}")


def _span(asked: str | None, size: int) -> tuple[int, int]:
    """First byte and the one after the last (RFC 9110 section 14.1.2; a range of another form is none)."""
    found = _RANGE.fullmatch(asked or "")
    if found is None:
        return 0, size
    return int(found[1]), min(int(found[2]) + 1, size) if found[2] else size


def _output(process: asyncio.subprocess.Process) -> asyncio.StreamReader:
    if process.stdout is None:
        raise ValueError("a worker without a pipe")
    return process.stdout


async def _hand_over(process: asyncio.subprocess.Process, job: Job) -> None:
    """The job through standard input, which stays open: its end tells the worker that we are gone."""
    if process.stdin is None:
        raise ValueError("a worker without a pipe")
    process.stdin.write(json.dumps(asdict(job)).encode() + b"\n")
    with contextlib.suppress(ConnectionError):  # it died already; reading will tell why
        await process.stdin.drain()


async def _last_words(process: asyncio.subprocess.Process) -> Mapping[str, str]:
    """What the worker says of its failure; empty where it said nothing that can be understood."""
    kept = b""
    while process.stderr is not None and (piece := await process.stderr.read(4096)):
        kept = (kept + piece)[-_SAID:]
    try:
        said = json.loads(kept.rstrip().rpartition(b"\n")[2])
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in said.items()} if isinstance(said, dict) else {}


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill and reap. What is left in the pipe is read, for a transport that does not see its end waits for ever."""
    _kill(process)
    while await _output(process).read(_PIECE):
        pass
    await process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
