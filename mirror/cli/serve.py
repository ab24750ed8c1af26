"""`mirror serve`: the server process, from configuration to the last drained request."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import click

from mirror import config as configuration


@click.command(name="serve")
@click.option("--host", default=None, help="Listen address, instead of listen.host.")
@click.option("--port", type=int, default=None, help="Listen port, instead of listen.port (0: any free one).")
@click.option("--worker", type=int, default=None, hidden=True, help="Private: the slot of a worker that a keeper starts.")
@click.option("--inherited", default="", hidden=True, help="Private: the listening sockets that it inherits.")
@click.pass_obj
def command(config_path: Path | None, host: str | None, port: int | None, worker: int | None, inherited: str) -> int:
    """Serve until SIGTERM or SIGINT, then finish what is under way."""
    environ = dict(os.environ)
    if host is not None:
        environ["MIRROR_LISTEN__HOST"] = host
    if port is not None:
        environ["MIRROR_LISTEN__PORT"] = str(port)
    config = configuration.load(config_path, environ)
    from mirror import log

    log.configure(config.log.level, config.log.format)
    if worker is not None:
        return _run(_work(config, worker, [int(number) for number in inherited.split(",")]))
    if config.listen.workers > 1:
        # What was named here is in the environment for the workers: they read the same file under the same overrides.
        os.environ.update(environ)
        return _run(_keep(config, config_path))
    return _run(_serve(config))


def _run(serving: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(serving)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serving)


def _say(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(line)
    sys.stdout.flush()


async def _keep(config: configuration.Config, path: Path | None) -> int:
    from mirror.fleet import keeper

    return await keeper.run(config, path, _say)


async def _work(config: configuration.Config, slot: int, descriptors: list[int]) -> int:
    from mirror.fleet import worker

    return await worker.run(config, slot, descriptors)


async def _serve(config: configuration.Config) -> int:
    from mirror.wiring import build

    services = await build(config)
    try:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        urls = await services.start()
        _say(services.greeting(urls))
        await stop.wait()
    finally:
        await services.stop()
    return 0
