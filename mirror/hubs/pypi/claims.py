"""Who published a file, as its index and its uploader say: lines of evidence for `policy.accounts`, each with its grade.

The index vouches for the attested identity (PEP 740, checked by it at upload and not again here) and for who owns the
project now; addresses, links and names are the uploader's own. PyPI states no country of anybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from email.utils import getaddresses
from typing import Any, Final

from mirror.hubs.pypi.labels import handles
from mirror.policy.accounts import ATTESTED, MAIL, MAINTAINER, NAME, ORGANISATION, OWNER, REPOSITORY, Claim

#: Claims of one kind that are kept: more accounts or addresses than any honest project has.
MOST: Final = 32
_LONGEST: Final = 200
_ACCOUNT: Final = re.compile(r"[\w.+-]{1,100}")
#: The publishers whose `repository` begins with an account (Google and ActiveState name none), and its hub.
_FORGES: Final = {"GitHub": "github", "GitLab": "gitlab"}
_ROLES: Final = {"Owner": OWNER, "Maintainer": MAINTAINER}


def attested_claims(identity: str | None) -> tuple[str, ...]:
    """Of the identity behind a file's attestations, as `facts.attestation` gives it (`GitHub:acme-labs/tool`)."""
    kind, _, repository = (identity or "").partition(":")
    account, slash, _ = repository.partition("/")
    return _written(ATTESTED, [f"{_FORGES[kind]}:{account}"] if kind in _FORGES and slash and _ACCOUNT.fullmatch(account) else [])


def ownership_claims(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Of the organisation and the accounts that own a project now (`ownership` in the legacy JSON); () where nothing is said."""
    ownership = raw.get("ownership")
    if not isinstance(ownership, dict):
        return ()
    name = ownership.get("organization")
    found = list(_written(ORGANISATION, [f"pypi:{name}"] if isinstance(name, str) and _ACCOUNT.fullmatch(name) else []))
    roles = ownership.get("roles")
    rows = [row for row in roles if isinstance(row, dict)] if isinstance(roles, list) else []
    for role, kind in _ROLES.items():
        users = [row.get("user") for row in rows if row.get("role") == role]
        found += _written(kind, [f"pypi:{user}" for user in users if isinstance(user, str) and _ACCOUNT.fullmatch(user)])
    return tuple(found)


def declared_claims(addresses: Iterable[object], urls: Iterable[tuple[str, str]], names: Iterable[str]) -> tuple[str, ...]:
    """Of what the uploader writes: the domains of `addresses`, the owners of repositories in `urls` (label, URL), `names`."""
    domains = []
    for _, address in getaddresses([field for field in addresses if isinstance(field, str)]):
        host = address.rpartition("@")[2].casefold().rstrip(".") if "@" in address else ""
        if re.fullmatch(r"[\w-]+(\.[\w-]+)+", host):
            domains.append(host)
    return (*_written(MAIL, domains), *_written(REPOSITORY, handles(urls)), *_written(NAME, names))


def _written(kind: str, values: Iterable[str]) -> tuple[str, ...]:
    kept = [value for value in dict.fromkeys(values) if len(value) <= _LONGEST]
    return tuple(str(Claim(kind, value)) for value in kept[:MOST])
