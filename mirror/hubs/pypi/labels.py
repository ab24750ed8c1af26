"""The labels of project URLs (PEP 753): many spellings, few meanings; and who owns the repositories that they name.

Anybody may write another's repository into his metadata, so an owner found here clears nobody: it is one more name
under which a project is screened.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

_DROPPED: Final = str.maketrans("", "", string.punctuation + string.whitespace)
#: PEP 753, "Well-known labels": each with its aliases, normalised.
WELL_KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "homepage": (),
    "source": ("repository", "sourcecode", "github"),
    "download": (),
    "changelog": ("changes", "whatsnew", "history"),
    "releasenotes": (),
    "documentation": ("docs",),
    "issues": ("bugs", "issue", "tracker", "issuetracker", "bugtracker"),
    "funding": ("sponsor", "donate", "donation"),
}
_MEANING: Final = {name: label for label, aliases in WELL_KNOWN.items() for name in (label, *aliases)}
#: The hubs of the catalogue on which a repository's owner has a handle.
_HUBS: Final = {"github.com": "github", "gitlab.com": "gitlab", "huggingface.co": "huggingface"}
#: Hosts whose first path segment is an account.
_FORGES: Final = frozenset({"github.com", "gitlab.com", "codeberg.org", "bitbucket.org", "gitee.com", "gitcode.com", "huggingface.co"})


def meaning(label: str) -> str | None:
    """The well-known label that a label stands for, or None: punctuation, space and case do not matter."""
    return _MEANING.get(label.translate(_DROPPED).casefold())


def owners(urls: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The accounts that own the source and the home page, as far as they lie on a forge. `urls` are (label, URL)."""
    return tuple(dict.fromkeys(account for _, account in _accounts(urls)))


def handles(urls: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The same as `hub:account`, of those forges whose accounts the catalogue knows; a segment of the path, matched whole."""
    return tuple(dict.fromkeys(f"{_HUBS[host]}:{account}" for host, account in _accounts(urls) if host in _HUBS))


def _accounts(urls: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for label, url in urls:
        if meaning(label) in ("source", "homepage") and (found := _account(url)) is not None:
            yield found


def _account(url: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(url.strip())
        host = (parts.hostname or "").removeprefix("www.")
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or host not in _FORGES:
        return None
    account = parts.path.lstrip("/").partition("/")[0]
    return (host, account) if 0 < len(account) <= 100 else None
