"""What no single key of the configuration can tell: keys that contradict each other, files that are not there."""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from mirror.config_ledger import ledger_checked
from mirror.config_lists import lists_checked, pack_checked
from mirror.config_sync import sync_checked
from mirror.core.errors import Problem
from mirror.lists.editions import store_of
from mirror.lists.loading import shipped
from mirror.lists.official import files_of
from mirror.lists.signed import SUFFIX, current_file

if TYPE_CHECKING:
    from mirror.config import ClientLimits, Config, HubConfig

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.IGNORECASE)
_MOUNT: Final = re.compile(r"/[A-Za-z0-9][A-Za-z0-9._-]*")
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[?[0-9a-f:.]+\]?", re.IGNORECASE)
#: `cdn.example`, `cdn.example:8443`, `*.cdn.example`, `https://cdn.example:8443`; brackets for IPv6.
_ORIGIN: Final = re.compile(r"(https?://)?([a-z0-9*?._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?/?", re.IGNORECASE)
_ENDPOINT: Final = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^:\s\[\]]+):(\d{1,5})")
#: First path segments that no hub may be mounted at (SURFACE 1).
_RESERVED: Final = ("/simple", "/packages", "/-")

Fault = Callable[[str, str], Problem]


def checked(config: Config, source: str) -> Iterator[Problem]:
    """Every contradiction in `config`, whose paths are absolute; `source` names it in the problems."""

    def fault(place: str, message: str) -> Problem:
        return Problem(source, place, message)

    yield from _listen(config, fault)
    yield from _files(config, fault)
    yield from lists_checked(config.lists, fault)
    yield from pack_checked(config.catalogue_pack, config.catalogue, fault)
    yield from _trust(config, fault)
    yield from ledger_checked(config.ledger, fault)
    yield from sync_checked(config.sync, fault)
    yield from _clients(config, fault)
    yield from _absent(config, fault)
    yield from _hubs(config, fault)


def remarks(config: Config) -> Iterator[str]:
    """What is allowed and probably not meant; for people, never an error."""
    if config.listen.public_url is None and not _loopback(config.listen.host):
        yield (
            "listen.public_url is null while the mirror listens beyond loopback: requests that name it otherwise than"
            " by its address are answered 421; set it to the URL that clients use"
        )
    if config.listen.tls.cert is None and not _loopback(config.listen.host) and not config.listen.trusted_proxies:
        yield "hub tokens of clients cross the network in the clear: set listen.tls, or put a TLS proxy in front"
    if config.clients.header is not None and not config.listen.trusted_proxies:
        yield "clients.header is believed only from listen.trusted_proxies, of which there are none: nobody is in a group by it"
    elif config.clients.header is None and any(group.header for group in config.clients.groups.values()):
        yield "a group names values of a header, and clients.header names none: nobody is in it by that"
    if config.clients.anonymous == "deny" and config.listen.tls.cert is None and not _loopback(config.listen.host) and not config.listen.trusted_proxies:
        yield "clients.anonymous is deny, and mirror tokens cross the network in the clear"
    lent = any(row.token for row in config.hubs.values()) or config.network == "offline"  # there a bundle states what may be read
    if any(group.hub_token for group in config.clients.groups.values()) and not lent:
        yield "a group has hub_token, and no hub has a token that it could use"
    if config.policy.path is None:
        yield "policy.path is null: there are no rules at all"
    elif config.policy.path == shipped("profiles") / "observe" / "policy.yaml":
        yield "no policy of your own: profile observe refuses nothing (`mirror init` writes one to start from)"


def _listen(config: Config, fault: Fault) -> Iterator[Problem]:
    listen = config.listen
    if (listen.tls.cert is None) != (listen.tls.key is None):
        yield fault("listen.tls", "cert and key go together")
    if listen.tls.client_ca is not None and listen.tls.cert is None:
        yield fault("listen.tls.client_ca", "clients show certificates under TLS only: name listen.tls.cert and key")
    if listen.public_url is not None and urlsplit(listen.public_url).path:
        yield fault("listen.public_url", "must be an origin without a path: clients want the hub's API at the root of its host")
    if not _HOST.fullmatch(listen.host):
        yield fault("listen.host", f"expected an address or a host name, found {listen.host!r}")
    if listen.workers < 1:
        yield fault("listen.workers", f"expected at least 1, found {listen.workers}")
    if listen.send_timeout < timedelta(seconds=1):
        yield fault("listen.send_timeout", "expected at least 1s")
    if listen.worker_timeout < timedelta(seconds=3):
        yield fault("listen.worker_timeout", "expected at least 3s: a worker that is busy for a moment is not stuck")
    if listen.max_connections is not None and listen.max_connections < 1:
        yield fault("listen.max_connections", f"expected at least 1, found {listen.max_connections}; null is no limit")
    if listen.admin is not None:
        found = _ENDPOINT.fullmatch(listen.admin)
        if found is None or int(found[1]) > 65535:
            yield fault("listen.admin", f"expected host:port, found {listen.admin!r}")
        elif listen.port and int(found[1]) == listen.port:
            yield fault("listen.admin", f"has the port of listen.port ({listen.port})")
    for at, network in enumerate(listen.trusted_proxies):
        if ipaddress.ip_network(network).prefixlen == 0:
            yield fault(f"listen.trusted_proxies[{at}]", f"{network} would let every client choose its own address and groups")


def _files(config: Config, fault: Fault) -> Iterator[Problem]:
    tls, ca, editions = config.listen.tls, config.outbound.ca, store_of(config.data)
    named: list[tuple[str, Path | None]] = [
        ("listen.tls.cert", tls.cert), ("listen.tls.key", tls.key), ("listen.tls.client_ca", tls.client_ca), ("outbound.ca", ca), ("clients.geoip", config.clients.geoip),
        # Where an edition is in force a file that is gone is no reason not to start: that edition judges, and an alarm says so.
        *((f"lists.{name}.source", file) for name, row in config.lists.items() if editions.current(name, row) is None for file in files_of(row)),
        *((f"hubs.{name}.osv[{at}]", path) for name, row in config.hubs.items() for at, path in enumerate(row.osv) if not path.is_dir()),
    ]  # fmt: skip
    missing = False
    for key, file in named:
        if file is not None and (reason := _unreadable(file)):
            missing = True
            yield fault(key, f"{str(file)!r} {reason}")
    if not missing and tls.cert and tls.key:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.cert, tls.key, password=_no_password)
        except (ssl.SSLError, ValueError) as error:
            yield fault("listen.tls", f"these are no certificate and key that belong together ({_reason(error)})")
    if not missing and tls.client_ca:
        try:
            ssl.create_default_context(cafile=str(tls.client_ca))
        except ssl.SSLError as error:
            yield fault("listen.tls.client_ca", f"{str(tls.client_ca)!r} holds no PEM certificate ({_reason(error)})")
    if not missing and ca:
        try:
            ssl.create_default_context(cafile=str(ca))
        except ssl.SSLError as error:
            yield fault("outbound.ca", f"{str(ca)!r} holds no PEM certificate ({_reason(error)})")
    policy = config.policy.path
    if policy is not None and not policy.exists():
        yield fault("policy.path", f"there is no file or folder {str(policy)!r}")
    for at, name in enumerate(config.catalogue):
        if name.endswith(SUFFIX) and name != str(current_file(config.data)):
            yield fault(f"catalogue[{at}]", f"{name!r} is a signed pack: name it in catalogue_pack.source, where its signatures are asked for")
        elif name != "builtin" and not name.endswith(SUFFIX) and not Path(name).exists():
            yield fault(f"catalogue[{at}]", f"there is no file or folder {name!r} (`builtin` is the shipped catalogue)")


def _trust(config: Config, fault: Fault) -> Iterator[Problem]:
    for at, path in enumerate(config.trust.verify):
        if not path.exists():
            yield fault(f"trust.verify[{at}]", f"there is no file or folder {str(path)!r}")
    if config.policy.activation == "signed":
        if config.policy.path in (None, shipped("profiles") / "observe" / "policy.yaml"):
            yield fault("policy.activation", "'signed' needs a policy of your own: name it in policy.path")
        if not config.trust.verify:
            yield fault("policy.activation", "'signed' needs keys to verify with: enrol them in trust.verify")


def _clients(config: Config, fault: Fault) -> Iterator[Problem]:
    clients = config.clients
    subnets: dict[str, str] = {}
    for name, group in clients.groups.items():
        place = f"clients.groups.{name}"
        if group.header and clients.header is None and not (group.subnets or group.tokens or group.certificates):
            yield fault(f"{place}.header", "clients.header names no header to read these values from")
        if group.certificates and config.listen.tls.client_ca is None:
            yield fault(f"{place}.certificates", "listen.tls.client_ca names no authority that could have issued them")
        for network in group.subnets:
            if subnets.setdefault(network, name) != name:
                yield fault(f"{place}.subnets", f"{network} already belongs to the group {subnets[network]!r}")
    if clients.limits is not None:
        yield from _limits(clients.limits, frozenset(clients.groups), fault)


def _limits(limits: ClientLimits, groups: frozenset[str], fault: Fault) -> Iterator[Problem]:
    rows = {"default": limits.default, "anonymous": limits.anonymous, **{f"groups.{name}": row for name, row in limits.groups.items()}}
    for name, row in rows.items():
        if row is not None and row.requests < 1:
            yield fault(f"clients.limits.{name}.requests", f"expected at least 1, found {row.requests}; null is no limit")
        if row is not None and row.per < timedelta(seconds=1):
            yield fault(f"clients.limits.{name}.per", "expected at least 1s: clients are told whole seconds")
    for name in sorted(set(limits.groups) - groups):
        yield fault(f"clients.limits.groups.{name}", f"clients.groups has no group {name!r}")


def _absent(config: Config, fault: Fault) -> Iterator[Problem]:
    """Keys of the surface whose power is not in this release: refused, rather than silently without effect."""
    if config.store.url is not None:
        yield fault("store.url", "this release keeps blobs on a local disk; object storage is not in it")
    database = config.database.reveal() if config.database else ""
    if database and not database.startswith(("postgresql://", "sqlite://")):
        yield fault("database", "expected postgresql://… or null")
    proxy = config.outbound.proxy
    if proxy is not None and (urlsplit(proxy).scheme not in ("http", "https") or not urlsplit(proxy).hostname):
        yield fault("outbound.proxy", "expected the http(s) URL of a proxy")


def _hubs(config: Config, fault: Fault) -> Iterator[Problem]:
    mounts: dict[str, str] = {}
    hosts: dict[str, str] = {}
    ports: dict[int, str] = {config.listen.port: "listen"}
    for name, row in config.hubs.items():
        place = f"hubs.{name}"
        if not _NAME.fullmatch(name):
            yield fault(place, "a hub's name is letters, digits, dots, dashes and underscores")
        yield from _hub(row, place, fault)
        if not (row.hosts or row.port) and mounts.setdefault(row.mount, name) != name:
            yield fault(f"{place}.mount", f"{row.mount or '/'!r} is already the mount of {mounts[row.mount]!r}")
        if row.port == 0:
            yield fault(f"{place}.port", "clients have to know it: name one")
        elif row.port is not None and ports.setdefault(row.port, name) != name:
            yield fault(f"{place}.port", f"{row.port} is already the port of {ports[row.port]!r}")
        for at, host in enumerate(row.hosts):
            if not _HOST.fullmatch(host):
                yield fault(f"{place}.hosts[{at}]", f"expected a host name without scheme and port, found {host!r}")
            if hosts.setdefault(host.casefold(), name) != name:
                yield fault(f"{place}.hosts[{at}]", f"{host!r} already belongs to {hosts[host.casefold()]!r}")


def _hub(row: HubConfig, place: str, fault: Fault) -> Iterator[Problem]:
    if not row.upstreams:
        yield fault(f"{place}.upstreams", "names no upstream")
    for at, origin in enumerate(row.origins or ()):
        if not _ORIGIN.fullmatch(origin):
            yield fault(f"{place}.origins[{at}]", f"expected a host, a glob of hosts or an origin, found {origin!r}")
    if row.mount and not _MOUNT.fullmatch(row.mount):
        yield fault(f"{place}.mount", f"expected / or one segment such as /torch, found {row.mount!r}")
    if row.mount in _RESERVED:
        yield fault(f"{place}.mount", f"{row.mount!r} is reserved")
    for key in ("connect", "read", "patience"):
        if getattr(row.timeouts, key) <= timedelta(0):
            yield fault(f"{place}.timeouts.{key}", "expected more than 0s")
    if not 1 <= row.transfers.parallel <= 16:
        yield fault(f"{place}.transfers.parallel", f"expected 1 to 16, found {row.transfers.parallel}")
    if row.transfers.part < 1024**2:
        yield fault(f"{place}.transfers.part", "expected at least 1MiB")
    if row.credentials != "passthrough" and row.token is None:
        yield fault(f"{place}.credentials", f"{row.credentials!r} needs {place}.token")
    if row.dialect == "huggingface":
        if row.mount:
            yield fault(f"{place}.mount", "a Hugging Face instance has / of its host; give a second one `hosts:` or a `port:`")
        defaults = type(row)("pypi")
        for key in ("index", "private", "denied_project", "osv"):
            if getattr(row, key) != getattr(defaults, key):
                yield fault(f"{place}.{key}", "is read by the pypi dialect only")
        if row.datasets_server is not None and urlsplit(row.datasets_server).path:
            yield fault(f"{place}.datasets_server", f"must be an origin without a path, found {row.datasets_server!r}")
        return
    for key, plain in (("gone", "refuse"), ("git", "refuse"), ("datasets_server", None), ("country", None)):
        if getattr(row, key) != plain:
            yield fault(f"{place}.{key}", "is read by the huggingface dialect only")
    if not row.mount and not row.hosts and row.port is None:
        yield fault(f"{place}.mount", "/ belongs to Hugging Face; give a Python index a segment, or its own `hosts:` or `port:`")
    if not re.fullmatch(r"/([^\s?#]*/)?", row.index):
        yield fault(f"{place}.index", f"expected a path that begins and ends with /, found {row.index!r}")
    if row.private.upstream is not None and not row.private.names:
        yield fault(f"{place}.private.names", "is empty, so private.upstream would never be asked")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _unreadable(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            stream.read(1)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""


def _no_password() -> str:
    # Without this OpenSSL would ask on the terminal, and a service would wait for ever.
    raise ValueError("the key is encrypted")


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or str(error)
