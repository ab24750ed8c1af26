"""What the configuration says of the record: where it lies, how often it is signed for, and who gets what was signed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from mirror.config_values import Country, Duration, Hidden, Located, Size, Url
from mirror.core.decision import Effect, EventKind
from mirror.core.errors import Problem

#: A log's name in its checkpoints (C2SP signed-note): no space, no plus sign.
_ORIGIN: Final = re.compile(r"[!-*,-~]{1,200}")
_KINDS: Final = ("file", "git", "webhook", "syslog")
#: A sink's name is that of its cursor's file.
_SINK: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.1
_PORTS: Final = {"tcp": 514, "tls": 6514, "http": 80, "https": 443}
_WHERE: Final = "expected tcp://host:514, tls://host:6514, https://… or file:/path; secrets belong into headers"


@dataclass(frozen=True, slots=True)
class CheckpointTarget:
    """One place that gets checkpoints: exactly one of `file`, `git`, `webhook` and `syslog`.

    `push` is the remote or URL that a git repository is pushed to, `token` the bearer token of a webhook.
    """

    file: Located | None = None
    git: Located | None = None
    push: str | None = None
    webhook: Url | None = None
    token: Hidden | None = None
    syslog: str | None = None


@dataclass(frozen=True, slots=True)
class CheckpointsConfig:
    """Who gets checkpoints."""

    to: tuple[CheckpointTarget, ...] = ()


@dataclass(frozen=True, slots=True)
class SinkConfig:
    """One receiver of a copy of the ledger. `kinds` and `effects` empty are all of them.

    `begin` is where a new sink begins: with the first record (`start`) or with the next one (`now`). `cert` and `key` are shown to
    the receiver, `ca` is trusted beside the system's own.
    """

    name: str
    to: str
    format: Literal["ocsf", "ecs", "cef", "rfc5424", "native"] = "ocsf"
    kinds: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()
    begin: Literal["start", "now"] = "start"
    ca: Located | None = None
    cert: Located | None = None
    key: Located | None = None
    headers: dict[str, Hidden] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RetentionConfig:
    """How long records are kept: plain permissions, and the personal parts of everything else. `home` is where a permission crosses no border.

    `every` is how often what had its time is removed.
    """

    allows: Duration = timedelta(days=90)
    others: Duration = timedelta(days=3653)
    home: tuple[Country, ...] = ()
    every: Duration = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ViewsConfig:
    """Whether commands show who asked: `people` closed is nobody, until two approvers open a view."""

    people: Literal["closed", "open"] = "closed"


@dataclass(frozen=True, slots=True)
class PseudonymsConfig:
    """The keys of pseudonyms: their folder (None: `pseudonyms` under `data`), and how long each is used."""

    path: Located | None = None
    rotate: Duration = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class LedgerConfig:
    """The record. `path` None is `ledger` under `data`; `origin` None is a name that is made up once."""

    path: Located | None = None
    reserve: Size = 1024**3
    checkpoint_every: Duration = timedelta(minutes=15)
    origin: str | None = None
    checkpoints: CheckpointsConfig = CheckpointsConfig()
    sinks: tuple[SinkConfig, ...] = ()
    retention: RetentionConfig = RetentionConfig()
    views: ViewsConfig = ViewsConfig()
    pseudonyms: PseudonymsConfig = PseudonymsConfig()


def ledger_located(config: LedgerConfig, at: Callable[[Path | None], Path | None]) -> LedgerConfig:
    """`config` with absolute paths."""
    to = tuple(replace(one, file=at(one.file), git=at(one.git)) for one in config.checkpoints.to)
    sinks = tuple(replace(one, to=_sink_located(one.to, at), ca=at(one.ca), cert=at(one.cert), key=at(one.key)) for one in config.sinks)
    pseudonyms = replace(config.pseudonyms, path=at(config.pseudonyms.path))
    return replace(config, path=at(config.path), checkpoints=CheckpointsConfig(to), sinks=sinks, pseudonyms=pseudonyms)


def _sink_located(to: str, at: Callable[[Path | None], Path | None]) -> str:
    path = to.removeprefix("file:")
    return f"file:{at(Path(path))}" if to.startswith("file:") and path else to


def sink_address(to: str) -> tuple[str, str, int]:
    """Scheme, host and port of where a sink leads; host is the path of a file. Raises `ValueError`."""
    if to.startswith("file:/"):
        return "file", to.removeprefix("file:"), 0
    parts = urlsplit(to)
    if parts.scheme not in _PORTS or not parts.hostname or parts.port == 0 or parts.username is not None or parts.query or parts.fragment:
        raise ValueError(_WHERE)
    if (parts.scheme in ("tcp", "tls") and parts.path.strip("/")) or re.search(r"\s", to):
        raise ValueError(_WHERE)
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


def ledger_checked(config: LedgerConfig, fault: Callable[[str, str], Problem]) -> Iterator[Problem]:
    """Every contradiction in it."""
    if config.origin is not None and not _ORIGIN.fullmatch(config.origin):
        yield fault("ledger.origin", "expected a name without spaces and plus signs, such as mirror.acme.example/ledger")
    if config.checkpoint_every < timedelta(seconds=1):
        yield fault("ledger.checkpoint_every", "expected at least 1s")
    yield from _retention(config.retention, fault)
    if config.pseudonyms.rotate < timedelta(days=1):
        yield fault("ledger.pseudonyms.rotate", "expected at least 1d")
    for at, one in enumerate(config.checkpoints.to):
        yield from _target(one, f"ledger.checkpoints.to[{at}]", fault)
    seen: set[str] = set()
    for at, sink in enumerate(config.sinks):
        yield from _sink(sink, f"ledger.sinks[{at}]", fault)
        if sink.name in seen:
            yield fault(f"ledger.sinks[{at}].name", f"another sink is called {sink.name!r}")
        seen.add(sink.name)


def _retention(config: RetentionConfig, fault: Callable[[str, str], Problem]) -> Iterator[Problem]:
    if config.allows < timedelta(days=1):
        yield fault("ledger.retention.allows", "expected at least 1d")
    if config.others < config.allows:
        yield fault("ledger.retention.others", "expected no less than ledger.retention.allows")
    if config.every < timedelta(hours=1):
        yield fault("ledger.retention.every", "expected at least 1h")


def _target(one: CheckpointTarget, place: str, fault: Callable[[str, str], Problem]) -> Iterator[Problem]:
    named = [kind for kind in _KINDS if getattr(one, kind) is not None]
    if len(named) != 1:
        yield fault(place, f"expected one of {', '.join(_KINDS)}, found {' and '.join(named) or 'none'}")
    if one.push is not None and (one.git is None or one.push.startswith("-")):
        yield fault(f"{place}.push", "names the remote or URL that the repository in `git` is pushed to")
    if one.token is not None and one.webhook is None:
        yield fault(f"{place}.token", "goes with a webhook")
    if one.syslog is not None and not _is_syslog(one.syslog):
        yield fault(f"{place}.syslog", "expected udp://host:514 or tcp://host:514")


def _is_syslog(url: str) -> bool:
    parts = urlsplit(url)
    try:
        return parts.scheme in ("udp", "tcp") and bool(parts.hostname) and parts.port != 0 and not parts.path.strip("/") and not parts.query
    except ValueError:
        return False


def _sink(one: SinkConfig, place: str, fault: Callable[[str, str], Problem]) -> Iterator[Problem]:
    if not _SINK.fullmatch(one.name):
        yield fault(f"{place}.name", "expected small letters, digits, dashes and underscores")
    try:
        scheme = sink_address(one.to)[0]
    except ValueError:
        yield fault(f"{place}.to", _WHERE)
        scheme = ""
    words = (("kinds", one.kinds, [kind.value for kind in EventKind]), ("effects", one.effects, [effect.word for effect in Effect]))
    for key, stated, known in words:
        for word in sorted(set(stated) - set(known)):
            yield fault(f"{place}.{key}", f"there is no {word!r}; there are: {', '.join(known)}")
    for key in ("ca", "cert", "key"):
        path = getattr(one, key)
        if path is not None and scheme not in ("tls", "https", ""):
            yield fault(f"{place}.{key}", "goes with tls:// and https://")
        elif path is not None and not path.is_file():
            yield fault(f"{place}.{key}", f"there is no file {path}")
    if one.key is not None and one.cert is None:
        yield fault(f"{place}.key", "is the key of the certificate in `cert`")
    if one.headers and scheme not in ("http", "https", ""):
        yield fault(f"{place}.headers", "go with https://")
    for name, value in one.headers.items():
        if not _HEADER.fullmatch(name) or re.search(r"[\r\n\0]", value.reveal()):
            yield fault(f"{place}.headers.{name}", "is no header")
