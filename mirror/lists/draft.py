"""An entry in the making: what every loader gathers, brought into one form.

Names keep their scripts; a country is stated only where the entry's addresses agree on it; numbers of registers and
domains are folded so that the same body on two lists, or in the catalogue, has the same ones.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Final

from mirror.lists.country_names import country_code
from mirror.lists.material import refuse
from mirror.policy.entries import ListEntry

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Mail domains of which anybody may have an address: they identify nobody.
_FREE_MAIL: Final = frozenset(
    "gmail.com googlemail.com yahoo.com ymail.com rocketmail.com hotmail.com outlook.com live.com msn.com aol.com icloud.com me.com "
    "mail.com gmx.com gmx.net gmx.de web.de proton.me protonmail.com tutanota.com zoho.com mail.ru bk.ru inbox.ru list.ru rambler.ru "
    "yandex.ru yandex.com ya.ru ukr.net i.ua tut.by qq.com 163.com 126.com sina.com sina.cn sohu.com foxmail.com aliyun.com naver.com "
    "daum.net hanmail.net rediffmail.com cyber.net.pk hotmail.co.uk yahoo.co.uk yahoo.fr yahoo.com.hk hotmail.fr orange.fr free.fr "
    "wanadoo.fr t-online.de libero.it etecsa.cu chollian.net star-co.net.kp silibank.com silibank.net.kp net.sy".split()
)
#: Sites of one body at which lists put addresses of strangers as if it gave mail to everybody (OFAC 30518: …@google.com): a
#: mail address there names nobody, a web address there names the body.
_TAKEN_FOR_FREE: Final = frozenset({"google.com"})
_HOST: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")
_LEI: Final = re.compile(r"[0-9a-z]{18}[0-9]{2}")
_REGISTERS: Final = (
    r"registr|register|\btax\b|fiscal|v\.?a\.?t|(?:company|enterprise|business|identification) number|social credit|legal person|national id"
    r"|commerc|folio|matricula|charity|okpo|\bc\.?r\.?\b|\b(?:nit|ruc|rif|cif|inn|ogrn|bik|cuit|uen)\b"
)
#: How publishers call the numbers that name a body: by the first pattern that fits, in this order.
_KINDS: Final = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        ("web", r"web\s*site|e-?mail|domain|^url$|^web$"),
        ("", r"passport|licen[cs]e|gazette|visa|digital currency|phone|telephone|fax|driver|permit|birth|gender|permanent resident"),
        ("duns", r"d-?u-?n-?s"),
        ("lei", r"\blei\b|legal entity"),
        ("bic", r"swift|\bbic\b"),
        ("imo", r"\bimo\b|vessel registration|identification number imo"),
        (
            "reg",
            _REGISTERS,
        ),
    )
)
#: A shorter number of one country's register is another body's in the next one.
_TELLING: Final = 8


def kind_of(label: str) -> str:
    """What a number called `label` is: `web`, `duns`, `lei`, `bic`, `imo`, `reg`; "" for what names no body."""
    return next((kind for kind, pattern in _KINDS if pattern.search(label)), "")


def identifier(kind: str, value: str, country: str = "") -> str:
    """`kind:value` with only the letters and digits of `value`, folded; "" where it tells nothing.

    Registration numbers of 20 characters in the form of ISO 17442 are LEIs. One shorter than eight characters counts only with
    its country, and carries it: `reg:ir103492`.
    """
    folded = "".join(one for one in unicodedata.normalize("NFKC", value).casefold() if one.isalnum())
    if kind in ("reg", "lei") and _LEI.fullmatch(folded) and not folded.isdigit():
        kind = "lei"
    elif kind == "lei":
        kind = "reg"
    if kind == "imo":
        folded = folded.removeprefix("imo")
    if not 4 <= len(folded) <= 64 or (not any(one.isdigit() for one in folded) and kind != "bic"):
        return ""
    if kind == "reg" and len(folded) < _TELLING:
        return f"reg:{country.casefold()}{folded}" if country else ""
    return f"{kind}:{folded}"


def domain_of(address: str) -> str:
    """The host of a web or mail address, lower-case, without `www.`; "" for none, and for what anybody may have."""
    text = unicodedata.normalize("NFKC", address).strip().casefold()
    host = re.split(r"[/?#\s,;]", text.partition("://")[2] or text, maxsplit=1)[0]
    _, mail, host = host.rpartition("@")
    host = host.partition(":")[0].strip(".").removeprefix("www.")
    return "" if host in _FREE_MAIL or (mail and host in _TAKEN_FOR_FREE) or not _HOST.fullmatch(host) else host


@dataclass(slots=True)
class Draft:
    """What is known of one entry. `line` is where it stands, for errors."""

    source: str
    line: int
    id: str
    names: list[str] = field(default_factory=list)
    weak: list[str] = field(default_factory=list)
    countries: list[str] = field(default_factory=list)
    programmes: list[str] = field(default_factory=list)
    web: list[str] = field(default_factory=list)
    identifiers: list[str] = field(default_factory=list)
    listed_on: date | None = None
    until: date | None = None
    type: str = ""
    basis: str = ""

    def number(self, label: str, value: str, country: str = "") -> None:
        """Take a number or address that the list calls `label`; what names no body is left."""
        kind = "imo" if value.startswith("IMO ") else kind_of(label)
        if kind == "web":
            self.web.append(domain_of(value))
        elif kind:
            self.identifiers.append(identifier(kind, value, country_code(country)))

    def place(self, country: str) -> None:
        """Take the country of one address, by name or code; an unknown one is left."""
        self.countries.append(country_code(country))

    def entry(self) -> ListEntry:
        """The entry. Raises `InputError` where it has no id or no name."""
        names, weak = _distinct(self.names), _distinct(self.weak)
        if not self.id:
            refuse(self.source, self.line, "an entry has no id")
        if not names:
            refuse(self.source, self.line, f"entry {self.id[:60]!r} has no name")
        return ListEntry(
            id=self.id,
            name=names[0],
            aliases=names[1:],
            weak_aliases=tuple(name for name in weak if name not in names),
            country=_agreed(self.countries),
            programme="; ".join(_distinct(self.programmes)),
            listed_on=self.listed_on,
            until=self.until,
            web=_distinct(self.web),
            type=self.type,
            source=self.basis,
            identifiers=_distinct(self.identifiers),
        )


def entries_of(drafts: Iterable[Draft]) -> tuple[ListEntry, ...]:
    """Their entries. Raises `InputError`: an id that stands twice, and none at all is for the caller to judge."""
    found: dict[str, ListEntry] = {}
    for draft in drafts:
        entry = draft.entry()
        if entry.id in found:
            refuse(draft.source, draft.line, f"entry {entry.id[:60]!r} stands twice")
        found[entry.id] = entry
    return tuple(found.values())


def day(text: str, *, day_first: bool = False, month_first: bool = False) -> date | None:
    """A date as lists write them: `2015-03-27` (whatever follows), `29/06/2012`, `12/14/2020`; None for anything else.

    An entry whose date cannot be read counts as listed: None is always in force.
    """
    found = re.match(r"(\d{4})-(\d{2})-(\d{2})", text)
    if found is not None:
        year, month, number = map(int, found.groups())
    elif (day_first or month_first) and (slashed := re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{4})", text)):
        one, two, year = map(int, slashed.groups())
        month, number = (two, one) if day_first else (one, two)
    else:
        return None
    try:
        return date(year, month, number)
    except ValueError:
        return None


def _agreed(countries: list[str]) -> str:
    """The country that more than half of the addresses with a known one name, else ""."""
    known = [code for code in countries if code]
    best = max(dict.fromkeys(known), key=known.count, default="")
    return best if 2 * known.count(best) > len(known) else ""


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    cleaned = (" ".join(text.split()) for text in texts)
    return tuple(dict.fromkeys(text for text in cleaned if text))
