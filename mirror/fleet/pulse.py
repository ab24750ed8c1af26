"""Noticing workers that stand still: a loop that never ends, a lock that nobody lets go of, a stopped process.

Once a second each worker is asked for a sign of life, which its event loop gives. One that owes an answer for `silence`
seconds serves nobody, and nobody can tell from outside: it is killed, and the supervisor starts another. Beats of this
loop are counted, not seconds of a clock: a keeper or a whole machine that stood still accuses nobody for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import structlog

from mirror.core.errors import LedgerDown
from mirror.fleet.supervisor import START
from mirror.keeper.service import Session
from mirror.keeper.wire import KeeperFault

_LOG = structlog.get_logger("mirror.keeper")
#: Seconds between two questions.
BEAT: Final = 1.0


class Pulse:
    """Feels the pulse of the workers of one keeper. `processes` gives their process ids by slot, `replace(slot)` ends one."""

    def __init__(
        self, sessions: Callable[[], Iterable[Session]], processes: Callable[[], Mapping[int, int]],
        replace: Callable[[int], None], silence: float, start: float = START,
    ) -> None:  # fmt: skip
        """`silence` and `start` in seconds: how long a worker that serves may owe an answer, and one that starts."""
        self._sessions, self._processes, self._replace = sessions, processes, replace
        self._silence, self._start = silence, start
        self._owed: dict[int, int] = {}  # beats without an answer, by process id
        self._asked: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await asyncio.sleep(BEAT)
                self.beat()
        finally:
            for task in self._asked.values():
                task.cancel()

    def beat(self) -> None:
        """Ask everybody who owes nothing, count for those who do, and replace who owes too much."""
        sessions = {session.pid: session for session in self._sessions()}
        running = self._processes()
        alive = set(running.values())
        self._owed = {pid: beats for pid, beats in self._owed.items() if pid in alive}
        self._asked = {pid: task for pid, task in self._asked.items() if pid in alive}
        for slot, pid in running.items():
            self._owed[pid] = self._owed.get(pid, 0) + 1
            # Until it serves it reads rules and catalogues in one go, which may take its loop longer than any request does.
            most = self._silence if pid in sessions and sessions[pid].serving else self._start
            if self._owed[pid] * BEAT >= most:
                _LOG.error("worker_stuck", slot=slot, pid=pid, silent_seconds=most)
                self._replace(slot)
                self._owed[pid] = 0  # it is ending: what comes next has another id
            elif pid in sessions and (pid not in self._asked or self._asked[pid].done()):
                self._asked[pid] = asyncio.get_running_loop().create_task(self._ask(sessions[pid]))

    async def _ask(self, session: Session) -> None:
        try:
            await session.link.call("beat")
        except LedgerDown:
            return  # its connection has ended: it is ending too
        except KeeperFault:
            pass  # it does not know the word, but it has read it
        self._owed[session.pid] = 0
