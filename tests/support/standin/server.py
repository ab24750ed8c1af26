"""Real servers on loopback for a stand-in: several origins, one log, one book of faults, and ways to run them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

from aiohttp import web
from multidict import CIMultiDictProxy

from . import deliver
from .faults import Fault, FaultBook, plan, reshape
from .wire import Call, Reply, RequestLog, json_reply, text_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

CONTROL = "/__standin__/"
_LOG = logging.getLogger(__name__)


class Origin:
    """One listening address. It keeps its port when it is stopped and started again."""

    def __init__(self, name: str, answer: Callable[[Call], Reply], owner: StandIn, port: int = 0) -> None:
        self.name = name
        self.port = port
        self._answer = answer
        self._owner = owner
        self._runner: web.ServerRunner | None = None
        self._gone = asyncio.Event()

    @property
    def url(self) -> str:
        """Scheme, host and port, without a trailing slash; only known once started."""
        return f"http://{self._owner.host}:{self.port}"

    async def start(self) -> None:
        """Listen; a port of 0 becomes a free one and stays the same from then on."""
        self._gone = asyncio.Event()
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0.2)
        await self._runner.setup()
        for patience in range(100, -1, -1):
            site = web.TCPSite(self._runner, self._owner.host, self.port, reuse_address=True)
            try:
                await site.start()
                break
            except OSError as error:  # somebody's outgoing connection may have our port for a moment
                if error.errno != errno.EADDRINUSE or not patience:
                    raise
                await asyncio.sleep(0.1)
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening and cut what is open; connections are refused from then on."""
        self._gone.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()
        headers = CIMultiDictProxy(request.headers.copy())
        call = Call(self.name, request.method, request.raw_path, headers, body)
        if call.path.startswith(CONTROL):
            reply = self._owner.control(call)
            return web.Response(status=reply.status, headers=reply.headers, body=reply.body)
        if self._owner.recording:
            self._owner.requests.append(call)
        faults = self._owner.faults.take(call)
        way = plan(faults)
        try:
            reply = reshape(self._answer(call), faults)
        except ValueError as wrong:  # a limit, cursor or body that cannot be read
            reply = reshape(json_reply({"error": f"Bad request: {wrong}"}, 400), faults)
        except Exception:
            _LOG.exception("the stand-in itself failed at %s %s", call.method, call.raw_path)
            call.status = 599
            raise
        reply = deliver.ranged(call, deliver.conditional(call, reply), way.range_off_by)
        call.status = 0 if way.silent or way.raw else reply.status
        return await deliver.send(request, reply, way, self._gone)


T = TypeVar("T")
_S = TypeVar("_S", bound="StandIn")


class StandIn:
    """Several origins that belong together. Use `async with`, `running(...)`, or `python -m tests.support.standin`."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        self.requests = RequestLog()
        self.recording = True  # off for benches, where the log would only grow
        self.faults = FaultBook()
        self.origins: dict[str, Origin] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def urls(self) -> dict[str, str]:
        """The origins' URLs by name."""
        return {name: origin.url for name, origin in self.origins.items()}

    async def start(self) -> Self:
        """Start all origins, on the ports they had before if there were any."""
        self._loop = asyncio.get_running_loop()
        for origin in self.origins.values():
            await origin.start()
        return self

    async def stop(self) -> None:
        """An outage: refuse connections until `start` is called again."""
        for origin in self.origins.values():
            await origin.stop()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    def call_in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the stand-in's loop from another thread and wait for it (at most 20 seconds)."""
        if self._loop is None:
            msg = "the stand-in was never started"
            raise RuntimeError(msg)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def go_down(self) -> None:
        """`stop` for a test that runs in another thread than the stand-in."""
        self.call_in_loop(self.stop())

    def come_back(self) -> None:
        """`start` for a test that runs in another thread than the stand-in."""
        self.call_in_loop(self.start())

    def behave(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Change behaviour by JSON: `clear_faults`, `faults` (a list), `remove_faults`, `clear_requests`.

        Returns the numbers of the new faults. Raises ValueError for a key nobody knows.
        """
        known = {"clear_faults", "faults", "remove_faults", "clear_requests"}
        if unknown := set(wanted) - known:
            msg = f"unknown keys {sorted(unknown)}; known here are {sorted(known)}"
            raise ValueError(msg)
        if wanted.get("clear_requests"):
            self.requests.clear()
        if wanted.get("clear_faults"):
            self.faults.clear()
        for number in wanted.get("remove_faults", ()):
            self.faults.remove(int(number))
        return {"faults": [self.faults.put(Fault.from_json(raw)) for raw in wanted.get("faults", ())]}

    def control(self, call: Call) -> Reply:
        """`GET /__standin__/requests|urls` and `POST /__standin__/behaviour`; never recorded, never faulty."""
        what = call.path.removeprefix(CONTROL)
        if call.method == "GET" and what == "requests":
            return json_reply([seen.plain() for seen in self.requests])
        if call.method == "GET" and what == "urls":
            return json_reply(self.urls())
        if call.method == "POST" and what == "behaviour":
            try:
                return json_reply(self.behave(json.loads(call.body or b"{}")))
            except (ValueError, TypeError, KeyError) as wrong:
                return json_reply({"error": str(wrong)}, 400)
        return text_reply("no such control", 404)


@contextlib.contextmanager
def running(stand_in: _S) -> Iterator[_S]:
    """Run a stand-in in its own thread and loop, for tests that are not asynchronous."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=type(stand_in).__name__, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(stand_in.start(), loop).result(20)
        yield stand_in
    finally:
        asyncio.run_coroutine_threadsafe(stand_in.stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()
