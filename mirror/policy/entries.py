"""Entries of lists, and what identifies a body beside its name: addresses on the web and numbers of registers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Final

from mirror.core.canonical import canonical

TYPES: Final = ("", "organization", "company", "government", "entity", "individual", "vessel", "aircraft")

#: Sites on which anybody may have a page or a mailbox: an address there identifies nobody.
_SHARED_SITES: Final = frozenset(
    "github.com gitlab.com huggingface.co pypi.org linkedin.com facebook.com fb.com x.com twitter.com t.me telegram.me youtube.com "
    "instagram.com weibo.com vk.com ok.ru medium.com wikipedia.org sites.google.com gitee.com modelscope.cn wordpress.com blogspot.com "
    "alibaba.com made-in-china.com gmail.com googlemail.com yahoo.com hotmail.com outlook.com live.com msn.com aol.com icloud.com "
    "proton.me protonmail.com mail.ru yandex.ru yandex.com bk.ru inbox.ru list.ru rambler.ru qq.com 163.com 126.com sina.com sohu.com "
    "foxmail.com naver.com gmx.de gmx.net web.de github.io gitlab.io readthedocs.io pages.dev vercel.app netlify.app".split()
)


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One entry of a list. Dates as on the list, `until` exclusive; `country` is alpha-2 or empty.

    `weak_aliases` are those that the list itself calls weak or of low quality: they confirm, they never accuse.
    `web` are web and mail domains, `identifiers` numbers of registers as `kind:value`, folded (`lei:5493...`, `reg:9111...`).
    """

    id: str
    name: str
    aliases: tuple[str, ...] = ()
    weak_aliases: tuple[str, ...] = ()
    country: str = ""
    programme: str = ""
    listed_on: date | None = None
    until: date | None = None
    web: tuple[str, ...] = ()
    type: str = ""
    source: str = ""
    identifiers: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the entry's canonical JSON: what a reviewer's verdict was about."""
        return sha256(canonical({name: _plain(getattr(self, name)) for name in self.__slots__})).hexdigest()

    def in_force(self, day: date) -> bool:
        """Whether the entry is listed on `day`; an entry without dates always is."""
        return (self.listed_on is None or self.listed_on <= day) and (self.until is None or day < self.until)


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, date) else value


def domain(address: str) -> str:
    """The host of a web or mail address (`https://www.acme.example/x`, `info@acme.example`: `acme.example`).

    Empty for a site that many share, and for what is no host.
    """
    host = address.strip().casefold().partition("://")[2] or address.strip().casefold()
    host = re.split(r"[/?#]", host, maxsplit=1)[0].rpartition("@")[2].partition(":")[0].removeprefix("www.").rstrip(".")
    return "" if host in _SHARED_SITES or "." not in host or " " in host else host


def identifier(text: str) -> str:
    """`kind:value` as identifiers are compared: case-folded, the value without spaces, points and dashes; empty for anything else."""
    kind, colon, value = text.strip().casefold().partition(":")
    if kind in ("publisher", "huggingface", "pypi", "github", "gitlab", "modelscope"):  # keys of the catalogue stay as they are
        return f"{kind}:{value.strip()}" if value.strip() else ""
    value = re.sub(r"[\s.\-/]", "", value)
    # Registers that reuse short numbers say little: four digits are a year or a room.
    return f"{kind.strip()}:{value}" if colon and kind.strip() and len(value) >= _SHORTEST else ""


_SHORTEST: Final = 5
