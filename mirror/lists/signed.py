"""A signed, versioned pack of publishers: one file, whose first line says what the rest is and who vouches for it.

The first line is a DSSE envelope (`core.dsse`) over the pack's name, number and date and the SHA-256 of all bytes behind that
line; those are a pack as it is written (`lists.packs`). Numbers only grow: a smaller one is an older pack, whatever its date.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field

from mirror.core import dsse
from mirror.core.canonical import canonical
from mirror.core.errors import InputError, Problem
from mirror.decode import decode, load_yaml
from mirror.lists import packs
from mirror.policy.approval import SKEW
from mirror.policy.catalogue import Catalogue

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.policy.approval import Enrolled, Roll

#: What is signed, and the role that a key needs for it.
KIND: Final = "application/vnd.entrepot.catalogue+json"
ROLE: Final = "catalogue"
#: Bytes of a whole pack; the shipped catalogue is about one.
LARGEST: Final = 64 * 1024 * 1024
#: How a file that holds a signed pack is called.
SUFFIX: Final = ".pack"


_Date = date  # a field of this name hides the type


@dataclass(frozen=True, slots=True)
class Edition:
    """What is signed. `size` and `sha256` (hex) are those of the content, `publishers` how many it has."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
    number: Annotated[int, Field(ge=1, le=2**53 - 1, strict=True)]
    date: _Date
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0, strict=True)]
    publishers: Annotated[int, Field(ge=0, strict=True)]

    @property
    def moment(self) -> datetime:
        """The first instant of its date, UTC."""
        return datetime(self.date.year, self.date.month, self.date.day, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SignedPack:
    """A pack whose content is the one that its first line speaks of. That the signatures hold is `signers`' to say."""

    edition: Edition
    envelope: dsse.Envelope
    content: bytes

    @property
    def written(self) -> bytes:
        """The file."""
        return dsse.written(self.envelope) + self.content


def drafted(content: bytes, name: str, number: int, day: date) -> SignedPack:
    """A pack that nobody has signed yet. Raises `InputError` for content that is no sound pack, with every problem."""
    count = len(publishers(content, name).publishers)
    edition = Edition(name, number, day, sha256(content).hexdigest(), len(content), count)
    row = {key: getattr(edition, key) for key in ("name", "number", "sha256", "size", "publishers")} | {"date": day.isoformat()}
    return SignedPack(edition, dsse.Envelope(KIND, canonical(row)), content)


def read_pack(data: bytes, source: str) -> SignedPack:
    """The pack of a file's bytes. Raises `InputError` with one problem: what is no pack, cut short or changed."""
    if len(data) > LARGEST:
        raise InputError([Problem(source, "", f"larger than {LARGEST // 2**20} MiB")])
    end = data.find(b"\n", 0, dsse.LARGEST) + 1
    if not end:
        raise InputError([Problem(source, "", "not a signed pack: its first line is no envelope")])
    envelope = dsse.read(data[:end], source)
    if envelope.kind != KIND:
        raise InputError([Problem(source, "payloadType", f"expected {KIND}, found {envelope.kind[:100]}")])
    edition = _edition(envelope.payload, source)
    content = data[end:]
    if len(content) != edition.size or sha256(content).hexdigest() != edition.sha256:
        said = f"was changed: its content has {len(content)} bytes and not the digest that was signed ({edition.size} bytes, sha256 {edition.sha256[:16]}…)"
        raise InputError([Problem(source, "content", said)])
    return SignedPack(edition, envelope, content)


def _edition(payload: bytes, source: str) -> Edition:
    try:
        raw = json.loads(payload)
    except (ValueError, RecursionError):
        raise InputError([Problem(source, "payload", "is not JSON")]) from None
    # One spelling: what a second reader of the same bytes could see differently is refused.
    if not isinstance(raw, dict) or canonical(raw) != payload:
        raise InputError([Problem(source, "payload", "is not canonical JSON")])
    return decode(Edition, {**raw, "date": _day(raw.get("date"))}, source, "payload")


def _day(value: Any) -> Any:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        return value


def publishers(content: bytes, source: str) -> Catalogue:
    """The publishers of a pack's content alone. Raises `InputError` with every problem."""
    return Catalogue.build(packs.state([[(source, raw_pack(content, source))]]))


def raw_pack(content: bytes, source: str) -> Any:
    """The YAML object of a pack's content. Raises `InputError`."""
    try:
        return load_yaml(content.decode("utf-8"), source)
    except UnicodeDecodeError as error:
        raise InputError([Problem(source, f"byte {error.start}", "not UTF-8")]) from None


def signers(pack: SignedPack, roll: Roll, now: datetime, source: str, *, accepted: bool = False) -> tuple[Enrolled, ...]:
    """The keys that signed. Raises `InputError` unless there is one and every signature holds.

    `accepted`: this pack came into force while its keys were valid; they may have expired since, and not been revoked from
    before its date.
    """
    problems = [] if pack.edition.moment <= now + SKEW else [Problem(source, "payload.date", f"is dated {pack.edition.date}, and it is {now:%Y-%m-%d} here")]
    if not pack.envelope.signatures:
        problems.append(Problem(source, "signatures", "nobody signed it"))
    found = []
    for number, one in enumerate(pack.envelope.signatures):
        key = roll.keys.get(one.key)
        if key is None:
            fault = f"no enrolled key has the id {one.key[:16]} (trust.verify)"
        elif not dsse.verifies(pack.envelope, one, key.public):
            fault = f"is not by {key.person!r} over these bytes"
        elif ROLE not in key.roles:
            fault = f"the key of {key.person!r} has not the role {ROLE!r}"
        elif not key.valid(max(pack.edition.moment, key.since) if accepted else now):
            fault = f"the key of {key.person!r} is not valid"
        elif key in found:
            fault = f"{key.person!r} has signed already"
        else:
            found.append(key)
            continue
        problems.append(Problem(source, f"signatures[{number}]", fault))
    if problems:
        raise InputError(problems)
    return tuple(found)


# --- on disk ------------------------------------------------------------------------------------------------------


def current_file(data: Path) -> Path:
    """Where the pack in force lies, if there is one, below a data folder."""
    return data / "catalogue" / f"current{SUFFIX}"


def kept_file(data: Path, number: int) -> Path:
    """Where a pack that is or was in force lies."""
    return data / "catalogue" / f"{number}{SUFFIX}"


@dataclass(frozen=True, slots=True)
class PackCondition:
    """How the pack in force stands. `edition` None: there is none, and the shipped catalogue stands in for it."""

    edition: Edition | None
    age: timedelta | None
    problems: tuple[str, ...] = ()

    @property
    def alarming(self) -> bool:
        """Whether somebody should look."""
        return bool(self.problems)

    def record(self) -> dict[str, Any]:
        """As JSON, the age in whole seconds."""
        found = self.edition
        pack = None if found is None else {"name": found.name, "number": found.number, "date": found.date.isoformat(), "sha256": found.sha256}
        return {"pack": pack, "age_seconds": None if self.age is None else int(self.age.total_seconds()), "problems": list(self.problems)}


def condition(edition: Edition | None, max_age: timedelta | None, now: datetime, refused: tuple[str, ...] = ()) -> PackCondition:
    """How a pack stands at `now`: too old beyond `max_age` after its date; `refused` is why a newer one is kept out."""
    if edition is None:
        return PackCondition(None, None, ("no signed pack is in force: the shipped catalogue stands in for it", *refused))
    age = max(now - edition.moment, timedelta(0))
    old = max_age is not None and age > max_age
    said = f"pack {edition.number} is {age.days} days old, beyond catalogue_pack.max_age ({max_age.days if max_age else 0} days)"
    return PackCondition(edition, age, ((said,) if old else ()) + refused)
