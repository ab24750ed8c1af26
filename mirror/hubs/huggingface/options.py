"""How one Hugging Face instance is configured, as far as the dialect needs to know."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from mirror.proxy.tuning import PATIENCE

if TYPE_CHECKING:
    from mirror.core.actor import Credential
    from mirror.core.ports import Ask

SERVICE: Final = "service"


@dataclass(frozen=True, slots=True)
class Options:
    """`hubs.<name>` of the configuration. `mount` is "" for the root.

    `upstream_origins` are scheme://host[:port] of the upstreams, for links that must be turned round. `token` says
    whether the organisation's own token is configured (the token itself is with the upstream client alone).
    """

    name: str
    upstream_origins: tuple[str, ...]
    mount: str = ""
    hosts: tuple[str, ...] = ()
    token: bool = False
    bundled: bool = False  # nobody can be asked, and the organisation may read what a bundle says that it may
    credentials: Literal["passthrough", "service", "both"] = "passthrough"
    online: timedelta = timedelta(minutes=5)
    outage: timedelta = timedelta(hours=24)
    unknown_routes: Literal["refuse", "forward"] = "refuse"
    gone: Literal["refuse", "serve"] = "refuse"
    git: Literal["refuse", "permit"] = "refuse"
    datasets_server: str | None = None
    large_files: Literal["xet", "refuse", "missing"] = "xet"  # `missing`: would be xet, but hf_xet is not installed
    large_from: int = 50_000_000_000  # bytes
    large_serving: Literal["auto", "xet", "plain"] = "auto"
    key: bytes = field(default_factory=partial(os.urandom, 32), repr=False)  # the installation's own secret
    country: str | None = None  # from where the hub is asked, ISO 3166-1 alpha-2
    lineage_patience: float = 8.0
    patience: float = PATIENCE  # seconds that a client waits for the head of an answer

    @property
    def upstream(self) -> str:
        """The first upstream's origin, to be named in errors."""
        return self.upstream_origins[0]


@dataclass(frozen=True, slots=True)
class Bearer:
    """In whose name upstream is asked. `scope` is what answers are kept under ("" is anybody)."""

    scope: str = ""
    credential: Credential | None = None
    service: bool = False

    def on(self, ask: Ask) -> Ask:
        """The ask in this name. A caller's credential and the organisation's token never travel together."""
        return replace(ask, credential=self.credential, use_service_token=self.service and self.credential is None)


def public_bearer(options: Options) -> Bearer:
    """For what anybody may see: the organisation's token, for its quota, else nobody's."""
    return Bearer(SERVICE, None, service=True) if options.token else Bearer()


def own_bearer(options: Options, credential: Credential | None) -> Bearer:
    """For what not everybody may see (P5): the caller's own credential, or the organisation's where that is configured.

    `service`: callers' credentials are ignored. `both`: a caller without one goes by the organisation's, as does one whose
    group may (`exchanged`).
    """
    organisation = options.token or options.bundled
    if credential is not None and credential.exchanged:
        return Bearer(SERVICE, None, service=True) if organisation else Bearer()
    if options.credentials != "service" and credential is not None:
        return Bearer(credential.fingerprint, credential)
    if options.credentials != "passthrough" and organisation:
        return Bearer(SERVICE, None, service=True)
    return Bearer()


def passed_on(options: Options, credential: Credential | None) -> Credential | None:
    """The caller's own credential for what is nobody else's business; the organisation's token is never lent for that."""
    lent = options.credentials == "service" or (credential is not None and credential.exchanged)
    return None if lent else credential
