"""The mirror's own tokens for its Xet routes: what may be read, in whose name, until when.

hf_xet sends no credential of its caller with what it asks of a store, and no `Authorization` at all with a range of a xorb. So the token,
and the query of a xorb's address, carry what an admission needs: the `Authorization` with which the token was asked for, and to
whom it was given. They are sealed under a key that only this installation has (AES-256-GCM, NIST SP 800-38D): nobody can make
one, change one or read what is in one, any worker can open it, and nothing needs to be remembered.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from multidict import CIMultiDict

from mirror.core.nouns import HUGGINGFACE, Kind, Project

if TYPE_CHECKING:
    from aiohttp import web

    from mirror.core.actor import Actor

#: For how long a permit is good, in seconds. It is judged anew at each use; this bounds what a stolen one is worth.
LIFE: Final = 900
_BEARER: Final = re.compile(r"Bearer +([A-Za-z0-9_-]+)", re.IGNORECASE)
_QUERY: Final = re.compile(r"permit=([A-Za-z0-9_-]+)")
_NONCE: Final = 12
_LONGEST: Final = 16384


@dataclass(frozen=True, slots=True)
class Holder:
    """To whom a permit was given: the parts of an `Actor` that later requests may not show by themselves."""

    name: str
    groups: tuple[str, ...]
    jurisdictions: tuple[str, ...]
    entity: str
    address: str
    country: str | None
    country_source: str

    @classmethod
    def of(cls, actor: Actor) -> Holder:
        """The holder that `actor` is."""
        return cls(actor.name, actor.groups, actor.jurisdictions, actor.entity, actor.address, actor.country, actor.country_source)

    def shown_by(self, actor: Actor) -> Actor:
        """Who asks where `actor`, as the request itself tells it, shows a permit of this holder.

        The groups of both count: a group that a certificate or a proxy vouched for is not left by asking without them, nor
        that of a network by asking from another. The country is that of the address from which the request comes.
        """
        near = actor.address == self.address
        return replace(
            actor,
            name=self.name,
            groups=tuple(dict.fromkeys((*self.groups, *actor.groups))),
            jurisdictions=tuple(sorted({*self.jurisdictions, *actor.jurisdictions})),
            entity=self.entity or actor.entity,
            country=self.country if near else actor.country,
            country_source=self.country_source if near else actor.country_source,
        )


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to ask for the large files of one commit, or for one of them (`file`, its SHA-256).

    `until` is in seconds since 1970. `authorization` is the header with which it was asked for, verbatim; empty for none.
    """

    project: Project
    commit: str
    holder: Holder
    until: int
    file: str = ""
    authorization: str = field(default="", repr=False)


class Seals:
    """Makes and opens permits of one hub. `key` is the installation's own secret."""

    def __init__(self, key: bytes, hub: str) -> None:
        self._hub = hub
        self._cipher = AESGCM(hmac.new(key, b"xet permits", hashlib.sha256).digest())

    def seal(self, permit: Permit) -> str:
        """The permit as text: letters, digits, `-` and `_`."""
        project, holder = permit.project, permit.holder
        fields = [
            [str(project.kind), project.name, project.hub_id], permit.commit, permit.until, permit.file, permit.authorization,
            [holder.name, holder.groups, holder.jurisdictions, holder.entity, holder.address, holder.country, holder.country_source],
        ]  # fmt: skip
        nonce = os.urandom(_NONCE)
        sealed = nonce + self._cipher.encrypt(nonce, json.dumps(fields).encode(), self._hub.encode())
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, text: str) -> Permit | None:
        """The permit that `text` is; None where this installation did not make it for this hub. It may have run out."""
        if not text.isascii() or len(text) > _LONGEST:
            return None
        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            plain = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], self._hub.encode())
        except (binascii.Error, ValueError, InvalidTag):
            return None
        (kind, name, hub_id), commit, until, file, authorization, (who, groups, jurisdictions, *others) = json.loads(plain)
        project = Project(HUGGINGFACE, Kind(kind), name, self._hub, hub_id)
        return Permit(project, commit, Holder(who, tuple(groups), tuple(jurisdictions), *others), until, file, authorization)

    def token(self, request: web.Request) -> Permit | None:
        """The permit that a request shows as its bearer token (RFC 6750 section 2.1)."""
        found = _BEARER.fullmatch(request.headers.get(hdrs.AUTHORIZATION, ""))
        return self.open(found[1]) if found else None

    def address(self, request: web.Request) -> Permit | None:
        """The permit in the address that a request asks for."""
        found = _QUERY.fullmatch(request.raw_path.partition("?")[2])
        return self.open(found[1]) if found else None

    def by_token(self, request: web.Request) -> web.Request:
        """The request as it is to be identified where it shows a permit as its bearer token; see `_as_asked`."""
        return _as_asked(request, self.token(request))

    def by_address(self, request: web.Request) -> web.Request:
        """The request as it is to be identified where its address holds a permit; see `_as_asked`."""
        return _as_asked(request, self.address(request))


def _as_asked(request: web.Request, permit: Permit | None) -> web.Request:
    """The request with the `Authorization` with which its permit was asked for, or with none.

    So a mirror token that was revoked ends its permits too, and a permit is never taken for a hub's token. Fields that are
    not UTF-8 are left out: nobody is told by them, and the library cannot write them again.
    """
    headers = CIMultiDict((name, value) for name, value in request.headers.items() if name.lower() != "authorization" and _is_text(value))
    if permit is not None and permit.authorization:
        headers[hdrs.AUTHORIZATION] = permit.authorization
    return request.clone(headers=headers)


def _is_text(value: str) -> bool:
    """Whether a field's value was UTF-8: what was not stands there as lone surrogates (PEP 383)."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
