"""How long a record is kept, and what may stand in its place afterwards. Pure.

Kept for the long term is everything but plain permissions: an `allowed` record whose answer nobody would have refused (`would`
is allow or warn), that met no list (a match of any score is on the record, in the review band and in audit mode too), used
no exception, and whose client is known to sit on the home side of the border; and repeats of such. A border is crossed
where the client's country is none of `home`, or, where no home is configured, none of the jurisdictions of its group: that
is the border at which the law that binds the house changes, and the release of a file is an export. Where publisher and
client sit is another question, which rules answer (`origin`): by it, all that comes from abroad would have to be kept.
A country that is not known is on neither side, and is kept for the long term.

A record that was removed leaves `{"leaf":…,"prev":…,"seq":N}`: chain, tree and proofs of others stay as they are. Removing is
permitted only by what was sealed before: a `classes` record says of each record since the last one whether it was
short-lived (a bit each, the lowest first), a `counts` record which of these were removed, and what they add up to.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Records that one `classes` record is of, at most.
WINDOW: Final = 8192
#: Grades of records that need no country: kept long, removed, a repeat of a decision that is too long ago to be remembered, and about retention.
LONG: Final = 0
REMOVED: Final = 1
UNSURE: Final = 2
ABOUT: Final = 3
#: Bytes from `kind` to the end of a record that is of interest here.
_TAIL: Final = 380
_REMEMBERED: Final = 100_000
_KIND: Final = b'"kind":"'
#: How the line begins that stays of a record; every other begins with its actor.
_STUB: Final = b'{"leaf":"'
#: Kinds of records that retention is made of; all are about the ledger.
KINDS: Final = ("classes", "counts", "hold", "erased")
#: Kinds of records that hold a decision and are kept for the long term, as are its repeats.
_JUDGED: Final = (b"refus", b'held"', b"steer")
_ABOUT: Final = frozenset(kind.encode().ljust(5, b'"')[:5] for kind in KINDS)


@dataclass(frozen=True, slots=True)
class Terms:
    """How long records and personal parts are kept, and where the house is at home (ISO 3166-1 alpha-2)."""

    allows: timedelta = timedelta(days=90)
    others: timedelta = timedelta(days=3653)
    home: frozenset[str] = frozenset()


def is_about_retention(line: bytes) -> bool:
    """Whether a record's line is one that retention is made of. These are about the ledger: what follows `kind` is short."""
    return _kind(line) in _ABOUT


def _kind(line: bytes) -> bytes:
    """The first five letters of a record's kind: they tell all kinds apart that are of interest here."""
    at = line.rfind(_KIND, -_TAIL) + len(_KIND)
    return line[at : at + 5]


def is_stub(line: bytes) -> bool:
    """Whether a sound line is what stays of a record that was removed."""
    return line.startswith(_STUB)


class Grades:
    """What each record is worth keeping for, one after another, by its canonical line: a test of its bytes, for it is made for each record.

    A grade is `LONG`, `REMOVED`, `UNSURE`, `ABOUT` or stands for a country and jurisdictions; `is_short` weighs it. What no byte test
    knows is `LONG`. Repeats are what their decision was, permission or not; of those that came long ago nothing is remembered.
    """

    def __init__(self) -> None:
        self._clients: dict[bytes, int] = {}
        self._known: list[tuple[str, frozenset[str]]] = []
        self._of: dict[bytes, int] = {}
        self._before: dict[bytes, int] = {}

    def grade(self, line: bytes) -> int:
        """The next record's."""
        kind = _kind(line)
        if kind == b"allow":
            return self._remembered(line, self._allowed(line))
        if kind in _JUDGED:
            return self._remembered(line, LONG)
        if kind == b"repea":
            subject = line[line.rfind(b':"') + 2 : line.rfind(b'"')]
            return self._of.get(subject, self._before.get(subject, UNSURE))
        if kind in _ABOUT:
            return ABOUT
        return REMOVED if is_stub(line) else LONG

    def _remembered(self, line: bytes, grade: int) -> int:
        if len(self._of) >= _REMEMBERED:
            self._before, self._of = self._of, {}
        self._of[_decision(line)] = grade
        return grade

    def _allowed(self, line: bytes) -> int:
        # `would` is the last key of a decision, and an allowed event without detail has its kind right behind it.
        at = line.rfind(_KIND, -_TAIL)
        judged = line[at - 18 : at]
        if not judged.endswith((b'"would":"allow"},', b'"would":"warn"},')):
            return LONG
        # Searched from the end: matches and rules stand behind facts and lineage, which are most of a record.
        matches = line.rfind(b'},"matches":[],"')
        if matches < 0 or line.find(b',"exception":"', line.rfind(b',"rules":[', matches)) >= 0:
            return LONG
        head = line[: line.find(b'},"at":"')]
        found = self._clients.get(head)
        if found is None:
            if len(self._clients) >= _REMEMBERED // 10:
                self._clients.clear()
            found = self._clients[head] = self._client(head)
        return found

    def _client(self, head: bytes) -> int:
        actor = json.loads(head[len(b'{"actor":') :] + b"}")
        if not actor["country"]:
            return LONG
        one = actor["country"], frozenset(actor.get("jurisdictions", ()))
        if one not in self._known:
            self._known.append(one)
        return self._known.index(one) + ABOUT + 1

    def is_short(self, grade: int, home: frozenset[str]) -> bool:
        """Whether a record with that grade is short-lived for a house that is at home there."""
        if grade <= ABOUT:
            return False
        country, jurisdictions = self._known[grade - ABOUT - 1]
        return country in (home or jurisdictions)


def _decision(line: bytes) -> bytes:
    end = line.rfind(b'","lineage":')
    return line[end - 26 : end]


@dataclass(frozen=True, slots=True)
class Window:
    """What a `classes` record says: of records `since` to before `until`, which are short-lived, and for which home that holds."""

    sequence: int
    at: str
    since: int
    until: int
    short: bytes
    home: frozenset[str]

    def numbers(self) -> list[int]:
        """The sequences of short-lived records."""
        return numbers(self.since, self.until, self.short)

    def detail(self) -> dict[str, object]:
        """As it is recorded."""
        return {"since": self.since, "until": self.until, "short": self.short.hex(), "home": sorted(self.home)}


def bits(since: int, until: int, chosen: Iterable[int]) -> bytes:
    """One bit for each of the sequences from `since` to before `until`: whether it is chosen."""
    data = bytearray((until - since + 7) // 8)
    for number in chosen:
        data[(number - since) // 8] |= 1 << (number - since) % 8
    return bytes(data)


def numbers(since: int, until: int, data: bytes) -> list[int]:
    """What `bits` was made of."""
    return [number for number in range(since, until) if data[(number - since) // 8] >> (number - since) % 8 & 1]


def window_of(record: Mapping[str, Any]) -> Window:
    """What a `classes` record says. Raises `ValueError`."""
    try:
        detail = record["detail"]
        since, until, home = int(detail["since"]), int(detail["until"]), frozenset(map(str, detail["home"]))
        short = bytes.fromhex(detail["short"])
        if not 0 <= since < until <= record["seq"] or len(short) != (until - since + 7) // 8:
            raise ValueError("classes of records that it cannot know")
        return Window(record["seq"], str(record["at"]), since, until, short, home)
    except (KeyError, TypeError) as error:
        raise ValueError(f"no classes: {error!r}") from None


@dataclass(frozen=True, slots=True)
class Removal:
    """What a `counts` record says. `parts` has the sequence of each `classes` record with the bits of what was removed of it.

    Of each the records were at least `allows` old when the record was made, counted from the moment at which their classes were sealed.
    """

    sequence: int
    at: str
    allows: timedelta
    parts: tuple[tuple[int, bytes], ...]
    rows: tuple[Mapping[str, Any], ...]
    records: int
    requests: int


def removal_of(record: Mapping[str, Any]) -> Removal:
    """What a `counts` record says. Raises `ValueError`."""
    try:
        detail = record["detail"]
        parts = tuple((int(one["classes"]), bytes.fromhex(one["removed"])) for one in detail["removed"])
        if any(number >= record["seq"] for number, _ in parts):
            raise ValueError("counts of records that it cannot know")
        return Removal(
            record["seq"], str(record["at"]), timedelta(seconds=int(detail["allows"])), parts, tuple(detail["rows"]), int(detail["records"]),
            int(detail["requests"]),
        )  # fmt: skip
    except (KeyError, TypeError) as error:
        raise ValueError(f"no counts: {error!r}") from None


class Ages:
    """When the classes of a window were sealed, whatever the clock did: the latest that had been sealed by then, as far as it is past.

    A clock that stood in 1970 for an hour makes nothing old; one that stood in 2100 keeps only what was recorded meanwhile.
    """

    def __init__(self, now: str) -> None:
        """`now` is an instant as records write them."""
        self._now, self._latest = now, ""

    def sealed(self, window: Window) -> str:
        """The moment from which the records of the next window count; `now` is past it by their age."""
        if window.at > self._now:
            return window.at
        self._latest = max(self._latest, window.at)
        return self._latest


def is_due(sealed: str, now: datetime, age: timedelta) -> bool:
    """Whether what was sealed then is that old. Raises `ValueError` for what is no instant."""
    return datetime.fromisoformat(sealed) + age <= now


class Sums:
    """What removed records add up to: events and answers by artifact, publisher, groups, country and day (UTC).

    A record about an artifact at a revision names its bytes as their digest does.
    """

    def __init__(self, decided: dict[str, tuple[str, str]]) -> None:
        """`decided` has artifact and publisher of decisions that were removed before, and gets those that are added."""
        self._rows: dict[tuple[Any, ...], list[int]] = {}
        self._decided = decided
        self.records = self.requests = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def known(self) -> Mapping[str, tuple[str, str]]:
        """Artifact and publisher of the decisions that were added."""
        return self._decided

    def add(self, record: Mapping[str, Any]) -> None:
        """One record that is about to be removed. A repeat is of its decision's artifact, if that was added before."""
        decision = record.get("decision")
        if decision is None:
            artifact, publisher = self._decided.get(str(record.get("subject")), ("", ""))
        else:
            artifact, publisher = decision["artifact"], str((decision["facts"].get("publisher") or {}).get("value") or "")
            self._decided[decision["id"]] = artifact, publisher
        actor = record["actor"]
        row = self._rows.setdefault((artifact, publisher, tuple(actor["groups"]), actor["country"] or "", record["at"][:10]), [0, 0])
        row[0] += 1
        row[1] += record["count"]
        self.records += 1
        self.requests += record["count"]

    def rows(self) -> list[dict[str, object]]:
        """As they are recorded."""
        names = ("artifact", "publisher", "groups", "country", "day")
        found = []
        for key, (events, requests) in sorted(self._rows.items()):
            row: dict[str, object] = dict(zip(names, key, strict=True))
            found.append({**row, "groups": list(key[2]), "events": events, "requests": requests})
        return found
