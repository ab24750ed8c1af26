"""Typed configuration: the only reader of the configuration file and of the environment (SURFACE 2).

`load(path, environ)` gives the effective `Config` or every problem at once. Each key has a default; unknown and
duplicate keys are errors. Values may be overridden by `MIRROR_SECTION__KEY` and may hold `${NAME}` and
`${file:/path}`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import TypeAdapter, WithJsonSchema

from mirror.config_checks import checked
from mirror.config_clients import ClientLimits, Clients, GroupConfig, Limit, Tls
from mirror.config_ledger import LedgerConfig, ledger_located
from mirror.config_lists import CataloguePack, ListConfig, layered, located, pack_located
from mirror.config_mended import UnsoundConfig, mended
from mirror.config_sync import SyncConfig, sync_located
from mirror.config_values import (
    AUTO,
    Country,
    Duration,
    Hidden,
    Located,
    Network,
    Port,
    Server,
    Size,
    Url,
    Whole,
    attributed,
    expanded,
    overridden,
    shown,
)
from mirror.core.errors import InputError, Problem
from mirror.decode import DuplicateKeys, load_yaml
from mirror.lists.loading import shipped

__all__ = ["ClientLimits", "Clients", "Config", "GroupConfig", "HubConfig", "Limit", "ListConfig", "Tls", "effective", "load", "schema"]

DEFAULT_NAME: Final = "mirror.yaml"


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the mirror listens and what it calls itself."""

    host: str = "127.0.0.1"
    port: Port = 8080
    public_url: Url | None = None
    workers: Whole = 1
    admin: str | None = None  # host:port
    send_timeout: Duration = timedelta(minutes=2)
    worker_timeout: Duration = timedelta(seconds=20)
    max_connections: Whole | None = None
    tls: Tls = field(default_factory=Tls)
    trusted_proxies: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Store:
    """Where blobs lie and how much room they may take."""

    url: str | None = None
    quota: Size = 500 * 1024**3
    min_free: Size = 5 * 1024**3
    unverified_ranges: Literal["hold_tail", "serve", "wait"] = "hold_tail"
    scrub: Size = 4 * 1024**2


@dataclass(frozen=True, slots=True)
class Grants:
    """How long "this credential may read this" is trusted. `offline: bundle` means as long as a bundle states."""

    online: Duration = timedelta(minutes=5)
    outage: Duration = timedelta(hours=24)
    offline: Literal["bundle"] = "bundle"


@dataclass(frozen=True, slots=True)
class Private:
    """Names that are never asked of the public upstream."""

    names: tuple[str, ...] = ()
    upstream: Url | None = None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits of one hub: to connect to it, for one answer of it, and how long a client of ours is kept waiting."""

    connect: Duration = timedelta(seconds=5)
    read: Duration = timedelta(seconds=8)
    patience: Duration = timedelta(seconds=9)


@dataclass(frozen=True, slots=True)
class Transfers:
    """How large files come: so many parts at once, of which length, from which size on; bytes a second to go on for."""

    parallel: Whole = 4
    part: Size = 16 * 1024**2
    above: Size = 64 * 1024**2
    minimum: Size = 1024


@dataclass(frozen=True, slots=True)
class HubConfig:
    """One hub instance. `index`, `private`, `denied_project` and `osv` are read by the PyPI dialect only.

    After `load`, `datasets_server` is an origin or None.
    """

    dialect: Literal["huggingface", "pypi"]
    mount: str = "/"
    hosts: tuple[str, ...] = ()
    port: Port | None = None
    upstreams: tuple[Url, ...] = ()
    origins: tuple[str, ...] | None = None
    token: Hidden | None = None
    credentials: Literal["passthrough", "service", "both"] = "passthrough"
    grants: Grants = Grants()
    unknown_routes: Literal["refuse", "forward"] = "refuse"
    gone: Literal["refuse", "serve"] = "refuse"
    git: Literal["refuse", "permit"] = "refuse"
    datasets_server: Server | None = AUTO
    large_files: Literal["xet", "refuse"] = "xet"
    large_from: Size = 50_000_000_000
    large_serving: Literal["auto", "xet", "plain"] = "auto"
    country: Country | None = None
    index: str = "/simple/"
    private: Private = Private()
    denied_project: Literal["list", "page"] = "list"
    osv: tuple[Located, ...] = ()
    timeouts: Timeouts = Timeouts()
    transfers: Transfers = Transfers()


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """Where the policy lies (a file or a folder), whom to ask, and how a changed file comes into force.

    After `load`, `path` is the shipped profile `observe` where none was named and there is no `policy.yaml`, and None
    (no rules at all) only where the file says null.
    """

    path: Located | None = Path("policy.yaml")
    contact: str | None = None
    activation: Literal["immediate", "signed"] = "immediate"


@dataclass(frozen=True, slots=True)
class LineageConfig:
    """How long a request waits for the walk up a lineage."""

    patience: Duration = timedelta(seconds=8)


@dataclass(frozen=True, slots=True)
class Trust:
    """Keys: ours to sign checkpoints of the ledger with (None: one that is made under `data`), and enrolled public keys (cards, or folders of them) to verify what people sign.

    `requests`: whether waiver requests, activations and lifts must also bear the signature of whoever requests them.
    """

    signing_key: Located | None = None
    verify: tuple[Located, ...] = ()
    requests: Literal["named", "signed"] = "named"


@dataclass(frozen=True, slots=True)
class Outbound:
    """The way out: an HTTP proxy, and a CA file trusted beside the system's own."""

    proxy: str | None = None
    ca: Located | None = None


@dataclass(frozen=True, slots=True)
class LogConfig:
    """How much is logged, and in which form (`auto`: console on a terminal, else JSON lines)."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


@dataclass(frozen=True, slots=True)
class Config:
    """The whole of `mirror.yaml`. `file` is where it was read (None: embedded defaults only)."""

    listen: Listen = Listen()
    data: Located = Path("./var/mirror")
    database: Hidden | None = None
    store: Store = Store()
    network: Literal["online", "offline"] = "online"
    hubs: dict[str, HubConfig] = field(default_factory=dict)
    policy: PolicyConfig = PolicyConfig()
    catalogue: tuple[str, ...] = ("builtin",)
    catalogue_pack: CataloguePack = field(default_factory=CataloguePack)
    lists: dict[str, ListConfig] = field(default_factory=dict)
    clients: Clients = field(default_factory=Clients)
    lineage: LineageConfig = LineageConfig()
    ledger: LedgerConfig = field(default_factory=LedgerConfig)
    sync: tuple[SyncConfig, ...] = ()
    trust: Trust = Trust()
    outbound: Outbound = Outbound()
    log: LogConfig = LogConfig()
    file: Annotated[Path | None, WithJsonSchema({"type": "null"})] = None


DEFAULT_HUBS: Final[Mapping[str, Mapping[str, Any]]] = {
    "huggingface": {
        "dialect": "huggingface",
        "mount": "/",
        "upstreams": ["https://huggingface.co"],
    },
    "pypi": {
        "dialect": "pypi",
        "mount": "/pypi",
        "upstreams": ["https://pypi.org"],
        "origins": ["https://files.pythonhosted.org"],
    },
}
#: Where `datasets_server: auto` leads for that upstream.
PUBLIC_HUB: Final = "https://huggingface.co"
DATASETS_SERVER: Final = "https://datasets-server.huggingface.co"
#: Hosts from which a Hugging Face hub's files may come where `origins` is null.
HUGGINGFACE_ORIGINS: Final = ("*.huggingface.co", "*.hf.co", "*.xethub.hf.co")


def load(path: Path | None, environ: Mapping[str, str], *, cwd: Path | None = None) -> Config:
    """The effective configuration: `path`, else `$MIRROR_CONFIG`, else `./mirror.yaml`, else defaults alone.

    Raises `UnsoundConfig` with every problem of the file and of the environment: of what has a fault in its shape only that.
    """
    here = cwd or Path.cwd()
    file = _find(path, environ, here)
    source = str(file) if file else "defaults"
    problems: list[Problem] = []
    raw = _read(file, problems) if file else {}
    sections = {part.name for part in dataclasses.fields(Config)} - {"file"}
    raw = expanded(raw, environ, source, "", problems)
    if "file" in raw:
        problems.append(Problem(source, "file", "unknown key 'file'"))
        del raw["file"]
    raw, origins = overridden(raw, environ, sections, problems)
    # `listen:` with every key commented out is an empty section, not an error.
    raw = _with_default_hubs({key: value for key, value in raw.items() if value is not None})
    decoded = mended(Config, raw, source)
    problems += (attributed(one, origins) for one in decoded.problems)
    if (config := decoded.value) is None:
        raise UnsoundConfig(problems, None)
    base = file.resolve().parent if file else here
    config = _located(dataclasses.replace(config, file=file), base)
    if not _names_policy(decoded.raw) and config.policy.path is not None and not config.policy.path.exists():
        observe = shipped("profiles") / "observe" / "policy.yaml"
        config = dataclasses.replace(config, policy=dataclasses.replace(config.policy, path=observe))
    problems += (attributed(one, origins) for one in checked(config, source) if not decoded.follows(one))
    if problems:
        raise UnsoundConfig(problems, config)
    return config


def schema() -> dict[str, Any]:
    """The JSON Schema of `mirror.yaml` (draft 2020-12)."""
    found = TypeAdapter(Config).json_schema()
    found["properties"].pop("file", None)
    for node in (found, *found.get("$defs", {}).values()):
        if "properties" in node:
            node.setdefault("additionalProperties", False)  # unknown keys are errors
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": "Entrepôt configuration"}


def effective(config: Config) -> dict[str, Any]:
    """Plain values of everything that is in force, secrets as asterisks."""
    values = dict(shown(config))
    values.pop("file")
    return values


# --- reading ------------------------------------------------------------------------------------------------------


def _find(path: Path | None, environ: Mapping[str, str], here: Path) -> Path | None:
    named = path or (Path(environ["MIRROR_CONFIG"]) if environ.get("MIRROR_CONFIG") else None)
    if named is not None:
        return named if named.is_absolute() else here / named
    usual = here / DEFAULT_NAME
    return usual if usual.is_file() else None


def _read(file: Path, problems: list[Problem]) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError([Problem(str(file), "", error.strerror or "cannot be read")]) from None
    except UnicodeDecodeError as error:
        raise InputError([Problem(str(file), f"byte {error.start}", "not UTF-8")]) from None
    try:
        raw = load_yaml(text, str(file))
    except DuplicateKeys as error:
        problems += error.problems
        raw = error.value
    if raw is not None and not isinstance(raw, dict):
        raise InputError([Problem(str(file), "", "expected a mapping of sections")])
    return raw or {}


def _names_policy(raw: Mapping[str, Any]) -> bool:
    policy = raw.get("policy")
    return isinstance(policy, Mapping) and policy.get("path") is not None


def _with_default_hubs(raw: dict[str, Any]) -> dict[str, Any]:
    hubs = raw.get("hubs")
    if hubs is None:
        return {**raw, "hubs": {name: dict(row) for name, row in DEFAULT_HUBS.items()}}
    if not isinstance(hubs, Mapping):
        return raw
    merged = {
        name: {**DEFAULT_HUBS.get(str(name), {}), **row} if isinstance(row, Mapping) else row for name, row in hubs.items()
    }
    for name, row in DEFAULT_HUBS.items():
        merged.setdefault(name, dict(row))
    return {**raw, "hubs": {name: row for name, row in merged.items() if row is not None}}


def _located(config: Config, base: Path) -> Config:
    """Relative paths made absolute, from the folder of the configuration file."""

    def at(path: Path | None) -> Path | None:
        return None if path is None else path if path.is_absolute() else base / path

    change = dataclasses.replace
    listen = change(config.listen, tls=Tls(*map(at, (config.listen.tls.cert, config.listen.tls.key, config.listen.tls.client_ca))))
    hubs = {
        name: change(
            row,
            mount="" if row.mount == "/" else row.mount.rstrip("/"),
            origins=_origins(row),
            datasets_server=_viewer(row),
            osv=tuple(at(path) or path for path in row.osv),
        )
        for name, row in config.hubs.items()
    }
    return change(
        config,
        listen=listen,
        data=at(config.data) or config.data,
        hubs=hubs,
        policy=change(config.policy, path=at(config.policy.path)),
        catalogue=layered(config.catalogue, config.catalogue_pack, at(config.data) or config.data, base),
        catalogue_pack=pack_located(config.catalogue_pack, base),
        lists=located(config.lists, base),
        clients=change(config.clients, geoip=at(config.clients.geoip)),
        ledger=ledger_located(config.ledger, at),
        sync=sync_located(config.sync, at),
        trust=change(config.trust, signing_key=at(config.trust.signing_key), verify=tuple(at(key) or key for key in config.trust.verify)),
        outbound=change(config.outbound, ca=at(config.outbound.ca)),
    )


def _viewer(row: HubConfig) -> str | None:
    """Only the public hub has a dataset viewer that we know of."""
    if row.datasets_server != AUTO:
        return row.datasets_server
    return DATASETS_SERVER if row.dialect == "huggingface" and row.upstreams[:1] == (PUBLIC_HUB,) else None


def _origins(row: HubConfig) -> tuple[str, ...]:
    if row.origins is not None:
        return row.origins
    return HUGGINGFACE_ORIGINS if row.dialect == "huggingface" else ()
