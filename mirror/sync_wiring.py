"""Scheduled syncs of a server: each is a `mirror sync` of its own, a client of this mirror like any other."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

from mirror.bundle.scheduled import Ran, Row, Scheduled

if TYPE_CHECKING:
    from mirror.config import Config
    from mirror.config_sync import SyncConfig
    from mirror.core.ports import Clock
    from mirror.web.metrics import Metrics

#: Exit codes of `mirror sync`.
_OUTCOMES: Final = {0: "complete", 1: "incomplete", 2: "unusable"}
#: Seconds that a sync has to end by itself when the server stops.
_END: Final = 5.0
_LONGEST_LINE: Final = 4 * 1024 * 1024
_SAID: Final = 2_000


def scheduled_of(config: Config, clock: Clock, metrics: Metrics, url: str) -> Scheduled | None:
    """The schedule of the mirror that answers at `url`, not begun; None where there is none, or without a network."""
    if not config.sync or config.network == "offline":
        return None
    rows = {row.name: row for row in config.sync}
    base = _reachable(url, config.listen.public_url)

    async def launch(row: Row) -> Ran:
        began = clock.now()
        code, counts, why = await _synced(config, rows[row.name], base)
        return Ran(began, clock.now(), _OUTCOMES.get(code, "broken"), counts, why)

    def told(row: Row, ran: Ran) -> None:
        metrics.syncs.labels(row.name, ran.outcome).inc()

    def measure() -> None:
        metrics.synced((name, None if ran is None else (ran.outcome, (clock.now() - ran.ended).total_seconds())) for name, ran in made.last().items())

    named = [Row(row.name, row.every, row.time) for row in config.sync]
    made = Scheduled(named, launch, config.data / "sync", clock.now, random.random, told)
    metrics.before_reading(measure)
    return made


def _reachable(url: str, public: str | None) -> str:
    """Where this machine reaches the mirror that listens at `url`: by its public name under TLS, whose certificate names that."""
    parts = urlsplit(url)
    if parts.scheme == "https" and public:
        return public
    loopback = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(parts.hostname or "")
    return url if loopback is None else urlunsplit(parts._replace(netloc=f"{loopback}:{parts.port}"))


async def _synced(config: Config, row: SyncConfig, base: str) -> tuple[int, dict[str, Any], str]:
    """(exit code, counts, what was said last) of one `mirror sync`. It does not outlive a cancellation."""
    named = ["-c", str(config.file)] if config.file is not None else []
    line = [sys.executable, "-m", "mirror.cli.main", *named, "sync", str(row.wants), "--url", base, "--jobs", str(row.jobs), "--json"]
    environ = {name: value for name, value in os.environ.items() if name != "HF_TOKEN"}
    if row.token is not None:
        environ["HF_TOKEN"] = row.token.reveal()
    try:
        process = await asyncio.create_subprocess_exec(
            *line, env=environ, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=_LONGEST_LINE
        )
    except OSError as error:
        return -1, {}, str(error.strerror)
    try:
        (counts, denied), errors, code = await asyncio.gather(_summary(process), _tail(process), process.wait())
    except (asyncio.CancelledError, ValueError) as error:
        await _ended(process)
        if isinstance(error, ValueError):
            return -1, {}, "a line of its answer is too long"
        raise
    return code, counts, denied or ("" if code == 0 else errors)


async def _summary(process: asyncio.subprocess.Process) -> tuple[dict[str, Any], str]:
    """(counts of the summary, the first thing that was wrong), from JSON Lines."""
    counts: dict[str, Any] = {}
    wrong = ""
    while process.stdout is not None and (line := await process.stdout.readline()):
        with suppress(ValueError):
            row = json.loads(line)
            counts = row.get("summary", {}).get("counts", counts)
            wrong = wrong or (f"{row['name']}: {row['sentence']}"[:_SAID] if row.get("sentence") else "")
    return counts, wrong


async def _tail(process: asyncio.subprocess.Process) -> str:
    """The end of what it said to people."""
    said = b""
    while process.stderr is not None and (data := await process.stderr.read(65536)):
        said = (said + data)[-_SAID:]
    return " ".join(said.decode("utf-8", "replace").split())


async def _ended(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _END)
        except TimeoutError:
            process.kill()
            await process.wait()
