"""`python -m tests.support.standin`: a stand-in as a process, so that killing it is an outage.

One line on standard output says that it is ready: the URLs, as words or (with `--json`) as one JSON object
{"hub": ..., "cdn": ..., "cas": ..., "index": ..., "files": ..., "simple": ..., "pid": ...}.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING

from .defaults import populate
from .hub import StandInHub
from .index import StandInIndex
from .index_defaults import populate_index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .server import StandIn


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.standin", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("hub", "index", "both"), default="both")
    parser.add_argument("--host", default="127.0.0.1")
    for name in ("port", "cdn-port", "cas-port", "index-port", "files-port"):
        parser.add_argument(f"--{name}", type=int, default=0, help="0: a free one (--port is the hub's)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same bytes and ids")
    parser.add_argument("--empty", action="store_true", help="without the default content")
    parser.add_argument("--json", action="store_true", help="the ready line as JSON")
    return parser.parse_args(arguments)


def made(options: argparse.Namespace) -> list[StandIn]:
    """The stand-ins asked for, with their content."""
    wanted: list[StandIn] = []
    if options.what in {"hub", "both"}:
        ports = {"hub": options.port, "cdn": options.cdn_port, "cas": options.cas_port}
        hub = StandInHub(options.seed, options.host, ports)
        wanted.append(hub if options.empty else populate(hub))
    if options.what in {"index", "both"}:
        index = StandInIndex(options.seed, options.host, {"index": options.index_port, "files": options.files_port})
        wanted.append(index if options.empty else populate_index(index))
    return wanted


async def serve(options: argparse.Namespace) -> None:
    """Run until SIGINT or SIGTERM."""
    stand_ins = made(options)
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    urls: dict[str, str] = {}
    for one in stand_ins:
        await one.start()
        urls |= one.urls()
    if "index" in urls:
        urls["simple"] = f"{urls['index']}/simple/"
    words = "stand-in ready " + " ".join(f"{name}={url}" for name, url in urls.items())
    print(json.dumps({**urls, "pid": os.getpid()}) if options.json else words, flush=True)
    await stop.wait()
    for one in stand_ins:
        await one.stop()


if __name__ == "__main__":
    asyncio.run(serve(parsed()))
