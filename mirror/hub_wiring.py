"""Each configured hub, made: its way out, and its dialect registered with the gateway."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal
from urllib.parse import urlsplit

from mirror import __version__
from mirror.config import Config, HubConfig
from mirror.core.ports import Upstream
from mirror.hubs.huggingface.hub import HuggingFaceHub
from mirror.hubs.huggingface.options import Options
from mirror.hubs.pypi.hub import PypiHub, Settings
from mirror.hubs.pypi.osv_files import OsvBook
from mirror.hubs.pypi.routes import PypiDialect
from mirror.proxy.gateway import Gateway
from mirror.reply.routing import Dialect
from mirror.upstream.client import HttpUpstream, Limits
from mirror.upstream.closed import ClosedUpstream
from mirror.upstream.xet import LargeFileUpstream, XetLimits


def large_files(row: HubConfig) -> Literal["xet", "refuse", "missing"]:
    """How files come that a hub gives through Xet only: `missing` where hf_xet should fetch them and is not installed."""
    return "missing" if row.large_files == "xet" and find_spec("hf_xet") is None else row.large_files


def upstream_for(name: str, row: HubConfig, config: Config) -> Upstream:
    """A hub's way out of this mirror; none where it is offline."""
    if config.network == "offline":
        return ClosedUpstream()
    # A private index and a dataset viewer are places that files and pages come from, like any other origin.
    beside = tuple("{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in (row.private.upstream, row.datasets_server) if url)
    origins = (*(row.origins or ()), *beside)
    plain = HttpUpstream(
        name,
        row.upstreams,
        origins,
        token=row.token.reveal() if row.token else None,
        proxy=config.outbound.proxy,
        ca=config.outbound.ca,
        limits=Limits(
            connect=row.timeouts.connect.total_seconds(),
            read=row.timeouts.read.total_seconds(),
            user_agent=f"entrepot/{__version__}",
        ),
    )
    if row.dialect != "huggingface" or large_files(row) != "xet":
        return plain
    return LargeFileUpstream(
        plain, row.upstreams, origins, config.data / "xet", limits=XetLimits(user_agent=f"entrepot/{__version__}"),
        proxy=config.outbound.proxy, ca=config.outbound.ca,
    )  # fmt: skip


def dialect_for(
    name: str, row: HubConfig, gateway: Gateway, upstream: Upstream, config: Config, advisories: OsvBook | None, key: bytes
) -> Dialect:
    """One configured hub, registered with the gateway. `key` is the installation's own secret."""
    if row.dialect == "pypi":
        index = PypiHub(
            Settings(
                name=name,
                mount=row.mount,
                hosts=row.hosts,
                upstreams=row.upstreams,
                index=row.index,
                private_names=row.private.names,
                private_upstream=row.private.upstream,
                denied_project=row.denied_project,
                unverified=config.store.unverified_ranges != "wait",
            ),
            gateway,
            advisories,
        )
        gateway.register(index)
        return PypiDialect(index, gateway)
    options = Options(
        name=name,
        upstream_origins=tuple("{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in row.upstreams),
        mount=row.mount,
        hosts=row.hosts,
        token=row.token is not None,
        bundled=config.network == "offline" and row.grants.offline == "bundle",
        credentials=row.credentials,
        online=row.grants.online,
        outage=row.grants.outage,
        unknown_routes=row.unknown_routes,
        gone=row.gone,
        git=row.git,
        datasets_server=row.datasets_server,
        large_files=large_files(row),
        large_from=row.large_from,
        # A Xet client asks for nothing but ranges, which there leave only after the whole file.
        large_serving="plain" if config.store.unverified_ranges == "wait" else row.large_serving,
        key=key,
        country=row.country,
        lineage_patience=config.lineage.patience.total_seconds(),
        patience=row.timeouts.patience.total_seconds(),
    )
    hub = HuggingFaceHub(options, upstream, gateway)
    gateway.register(hub)
    return hub
