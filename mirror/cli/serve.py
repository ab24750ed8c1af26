"""`mirror serve`: the server process, from configuration to the last drained request."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import click

from mirror import config as configuration


@click.command(name="serve")
@click.option("--host", default=None, help="Listen address, instead of listen.host.")
@click.option("--port", type=int, default=None, help="Listen port, instead of listen.port (0: any free one).")
@click.pass_obj
def command(config_path: Path | None, host: str | None, port: int | None) -> int:
    """Serve until SIGTERM or SIGINT, then finish what is under way."""
    environ = dict(os.environ)
    if host is not None:
        environ["MIRROR_LISTEN__HOST"] = host
    if port is not None:
        environ["MIRROR_LISTEN__PORT"] = str(port)
    config = configuration.load(config_path, environ)
    from mirror import log

    log.configure(config.log.level, config.log.format)
    try:
        import uvloop
    except ImportError:
        return asyncio.run(_serve(config))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config))


async def _serve(config: configuration.Config) -> int:
    from mirror.wiring import build

    services = await build(config)
    try:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        urls = await services.start()
        for line in services.greeting(urls):
            click.echo(line)
        sys.stdout.flush()
        await stop.wait()
    finally:
        await services.stop()
    return 0
