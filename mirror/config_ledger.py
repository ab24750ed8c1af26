"""What the configuration says of the record: where it lies, how often it is signed for, and who gets what was signed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from mirror.config_values import Duration, Hidden, Located, Size, Url
from mirror.core.errors import Problem

#: A log's name in its checkpoints (C2SP signed-note): no space, no plus sign.
_ORIGIN: Final = re.compile(r"[!-*,-~]{1,200}")
_KINDS: Final = ("file", "git", "webhook", "syslog")


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
class LedgerConfig:
    """The record. `path` None is `ledger` under `data`; `origin` None is a name that is made up once."""

    path: Located | None = None
    reserve: Size = 1024**3
    checkpoint_every: Duration = timedelta(minutes=15)
    origin: str | None = None
    checkpoints: CheckpointsConfig = CheckpointsConfig()
    sinks: tuple[dict[str, str], ...] = ()


def ledger_located(config: LedgerConfig, at: Callable[[Path | None], Path | None]) -> LedgerConfig:
    """`config` with absolute paths."""
    to = tuple(replace(one, file=at(one.file), git=at(one.git)) for one in config.checkpoints.to)
    return replace(config, path=at(config.path), checkpoints=CheckpointsConfig(to))


def ledger_checked(config: LedgerConfig, fault: Callable[[str, str], Problem]) -> Iterator[Problem]:
    """Every contradiction in it."""
    if config.origin is not None and not _ORIGIN.fullmatch(config.origin):
        yield fault("ledger.origin", "expected a name without spaces and plus signs, such as mirror.acme.example/ledger")
    if config.checkpoint_every < timedelta(seconds=1):
        yield fault("ledger.checkpoint_every", "expected at least 1s")
    for at, one in enumerate(config.checkpoints.to):
        yield from _target(one, f"ledger.checkpoints.to[{at}]", fault)


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
