"""`mirror sync`: what is wanted, fetched before anybody asks for it, and pinned."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirror.cli.sync_wants import demand, past_of, wanted_of, wanting, with_past

if TYPE_CHECKING:
    from mirror.bundle.sync import Report
    from mirror.cli.sync_display import Display
    from mirror.cli.sync_mirror import Reached
    from mirror.cli.sync_wants import Wanted
    from mirror.config import Config


@dataclass(frozen=True, slots=True)
class Options:
    """How this run goes about it."""

    url: str | None
    token: str | None
    jobs: int
    retries: int
    dry_run: bool
    pin: bool
    prune: bool
    as_json: bool


@click.command(name="sync")
@click.argument("wants_path", metavar="[WANTS.YAML]", required=False, type=click.Path(path_type=Path, dir_okay=False))
@wanting
@click.option("--publisher", "publishers", metavar="NAME", multiple=True, help="Of --used only what this publisher (id, handle) published.")
@click.option("--name", default=None, help="Of the wanted list, for its pins; else its own or the file's.")
@click.option("--url", default=None, help="The mirror that runs, where it is not at its listen address.")
@click.option("--token", envvar="HF_TOKEN", default=None, help="The hub's token for what is gated; else $HF_TOKEN.")
@click.option("--jobs", type=click.IntRange(1, 64), default=8, show_default=True, help="Files at once.")
@click.option("--retries", type=click.IntRange(0, 100), default=3, show_default=True, help="How often what brings nothing is tried again.")
@click.option("--dry-run", is_flag=True, help="Fetch and pin nothing; say what is here, what is not, and what would be refused.")
@click.option("--no-pin", is_flag=True, help="Let what is fetched be evicted like everything else.")
@click.option("--prune-pins", is_flag=True, help="Remove pins of this wanted list that it no longer wants.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines, a summary last.")
@click.pass_obj
def command(config_path: Path | None, /, wants_path: Path | None, **given: Any) -> int:
    """Fetch models, datasets, spaces and packages through the mirror, and pin them: what is named, or what was used.

    Exit 0 when all is there, 1 when something was refused, is missing or failed, 2 when what is wanted cannot be read.
    """
    if given["no_pin"] and given["prune_pins"]:
        raise click.UsageError("--prune-pins with --no-pin: which of them?")
    past = past_of(given)
    wanted = wanted_of(wants_path, given)
    from mirror import config as configuration
    from mirror import log
    from mirror.cli.sync_mirror import credential

    options = Options(
        given["url"], credential(given["token"]), given["jobs"], given["retries"], given["dry_run"], not given["no_pin"],
        given["prune_pins"], given["as_json"],
    )  # fmt: skip
    config = configuration.load(config_path, os.environ)
    log.configure("error", config.log.format)  # what is done is printed; only what went wrong is logged
    if past is not None:
        wanted = with_past(wanted, config_path, config, past, whole=given["preserve"])
    return asyncio.run(_run(config, wanted, options))


# --- the run ------------------------------------------------------------------------------------------------------


async def _run(config: Config, wanted: Wanted, options: Options) -> int:
    from mirror.bundle.resolve import find_uv
    from mirror.cli.sync_display import Display
    from mirror.cli.sync_mirror import reached

    uv = find_uv() if wanted.closures else ""
    with Display(as_json=options.as_json) as display:
        async with reached(config, options.url, pin=options.pin) as mirror:
            demand(mirror, wanted)
            report, interrupted = await _synced(mirror, wanted, uv, options, display)
        display.finished(report, interrupted=interrupted, where=mirror.where)
    return 130 if interrupted else 0 if report.fine else 1


async def _synced(
    mirror: Reached, wanted: Wanted, uv: str, options: Options, display: Display
) -> tuple[Report, bool]:
    """The report, and whether a signal ended it early."""
    from mirror.bundle.fetch import Client, session
    from mirror.bundle.resolve import resolve
    from mirror.bundle.sync import Manner, Sync
    from mirror.cli.sync_origin import descended

    async with session(options.jobs) as connections:
        client = Client(connections, mirror.address, options.token, options.retries)
        manner = Manner(wanted.wants.name, options.jobs, options.dry_run, options.prune, mirror.pins)
        sync = Sync(
            client, lambda closure: resolve(uv, mirror.index or "", closure), mirror.origins, manner, display, lambda: datetime.now(UTC),
            mirror.index,
        )  # fmt: skip

        async def whole() -> None:
            asked, display.left_out = await descended(client, wanted, display.note)
            await sync.run([*asked.wants.repositories(), *asked.repositories], asked.closures, asked.locked, asked.used)

        interrupted = await _until_signal(asyncio.ensure_future(whole()))
    return sync.report, interrupted


async def _until_signal(running: asyncio.Future[Any]) -> bool:
    """Wait for `running`; SIGINT and SIGTERM cancel it, a second one ends the process as usual. Whether one came."""
    loop, told = asyncio.get_running_loop(), False

    def stop(number: signal.Signals) -> None:
        nonlocal told
        told = True
        loop.remove_signal_handler(number)
        running.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        with suppress(asyncio.CancelledError):
            await running
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    sys.stdout.flush()
    return told
