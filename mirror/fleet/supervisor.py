"""Worker processes: started by the same command with a private argument, started again when they die, ended with the keeper."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog

from mirror.core.errors import InputError, Problem

_LOG = structlog.get_logger("mirror.keeper")
#: Seconds before a worker that died is started again; doubled each time, at most `_MOST`, ...
_FIRST: Final = 0.1
_MOST: Final = 30.0
#: ... until one has lived so long.
_SOUND: Final = 60.0
#: How long all workers together may take to serve for the first time, in seconds.
START: Final = 60.0


class Supervisor:
    """Keeps `count` workers alive. `sockets` gives each one that is started those on which it is to listen."""

    def __init__(self, config: str | None, count: int, sockets: Callable[[], Sequence[socket.socket]]) -> None:
        """`config` is the configuration file as it was named."""
        self._config, self._count, self._sockets = config, count, sockets
        self._tasks: list[asyncio.Task[None]] = []
        self._alive: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = False
        self._failed = asyncio.Event()

    async def start(self, ready: Callable[[], bool], changed: asyncio.Event) -> None:
        """Start them all, and wait until `ready`, looked at after each `changed`.

        Raises `InputError` when one ends before that: what is wrong with it is wrong with all of them.
        """
        for slot in range(self._count):
            await self._spawn(slot)
        self._tasks = [asyncio.create_task(self._keep(slot), name=f"worker {slot}") for slot in range(self._count)]
        failed = asyncio.create_task(self._failed.wait())
        try:
            async with asyncio.timeout(START):
                while not ready():
                    changed.clear()
                    waiting = asyncio.create_task(changed.wait())
                    await asyncio.wait({waiting, failed}, return_when=asyncio.FIRST_COMPLETED)
                    waiting.cancel()
                    if failed.done():
                        raise InputError([Problem("listen.workers", "", "a worker did not start; what it said stands above")])
        except TimeoutError:
            raise InputError([Problem("listen.workers", "", f"the workers did not serve within {START:.0f} s")]) from None
        finally:
            failed.cancel()

    async def stop(self, within: float) -> None:
        """Let every worker drain, and end those that have not within `within` seconds."""
        self._stopping = True
        for process in self._alive.values():
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        ends = [asyncio.ensure_future(process.wait()) for process in self._alive.values()]
        if ends:
            _, late = await asyncio.wait(ends, timeout=within)
            if late:
                _LOG.error("workers_killed", count=len(late), after_seconds=within)
        for process in self._alive.values():
            with suppress(ProcessLookupError):
                process.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*ends, *self._tasks, return_exceptions=True)

    def processes(self) -> dict[int, int]:
        """The process ids of the workers that run, by slot."""
        return {slot: process.pid for slot, process in self._alive.items() if process.returncode is None}

    def replace(self, slot: int) -> None:
        """End the worker in this slot, which hears no signal that it could refuse. Another is started, as for any that ends."""
        with suppress(ProcessLookupError):
            self._alive[slot].kill()

    async def _spawn(self, slot: int) -> None:
        sockets = self._sockets()
        try:
            descriptors = [one.fileno() for one in sockets]
            self._alive[slot] = await asyncio.create_subprocess_exec(
                *command_of(self._config, slot, descriptors), stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL, pass_fds=descriptors, env=dict(os.environ),
            )  # fmt: skip
        finally:
            for one in sockets:
                one.close()  # the worker's alone from here on: they end with it

    async def _spawn_again(self, slot: int) -> None:
        """A machine that has no room for a process now may have it later."""
        while True:
            try:
                await self._spawn(slot)
            except OSError as error:
                _LOG.error("worker_not_started", slot=slot, fault=error.strerror, again_in_seconds=_MOST)
                await asyncio.sleep(_MOST)
            else:
                return

    async def _keep(self, slot: int) -> None:
        loop, pause = asyncio.get_running_loop(), _FIRST
        while True:
            since = loop.time()
            code = await self._alive[slot].wait()
            if self._stopping:
                return
            pause = _FIRST if loop.time() - since >= _SOUND else pause
            _LOG.error("worker_ended", slot=slot, code=code, again_in_seconds=pause)
            self._failed.set()
            await asyncio.sleep(pause)
            pause = min(_MOST, pause * 2)
            await self._spawn_again(slot)


def command_of(config: str | None, slot: int, descriptors: Sequence[int]) -> list[str]:
    """What starts a worker of this mirror."""
    chosen = [] if config is None else ["-c", config]
    inherited = ",".join(map(str, descriptors))
    return [sys.executable, "-m", "mirror.cli.main", *chosen, "serve", "--worker", str(slot), "--inherited", inherited]
