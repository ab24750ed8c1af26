"""What people sign: activations, waivers, rejections, emergency denies and lifts, releases, as JSON within envelopes. Pure.

`read` gives the statement of an envelope, `drafted` an envelope without signatures. What is signed are the bytes as they were
drafted; they are parsed once, with duplicate and unknown keys refused, and never written again.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from mirror.core.canonical import canonical, instant
from mirror.core.dsse import Envelope
from mirror.core.errors import InputError, Problem
from mirror.decode import decode
from mirror.policy.grammar import ExceptionScope, Texts
from mirror.policy.patterns import parse_pattern
from mirror.policy.releases import Rests

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def _moment(value: Any) -> Any:
    if isinstance(value, datetime):
        return value
    moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    if moment is None or moment.tzinfo is None or not 2000 < moment.year < 9000:
        raise ValueError("expected an RFC 3339 moment")
    return moment


def _plain(value: Any) -> Any:
    if isinstance(value, str) and _CONTROL.search(value):
        raise ValueError("holds a control character")
    return value


def _day(value: Any) -> Any:
    if value is None or (isinstance(value, date) and not isinstance(value, datetime)):
        return value
    if not isinstance(value, str):
        raise ValueError("expected a date such as 2027-01-31")  # noqa: TRY004 - pydantic's protocol
    return date.fromisoformat(value)


Moment = Annotated[datetime, BeforeValidator(_moment)]
#: A date: the first instant of a day in UTC.
OnlyDay = Annotated[date | None, BeforeValidator(_day)]
Said = Annotated[str, BeforeValidator(_plain), Field(max_length=2000)]
#: A person's id, as in the cards of enrolled keys.
Person = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._@-]*$", max_length=80)]
Hexadecimal = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
RuleId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=80)]
WaiverId = Annotated[str, Field(pattern=r"^W-[0-9A-HJKMNP-TV-Z]{26}$")]
ReleaseId = Annotated[str, Field(pattern=r"^R-[0-9A-HJKMNP-TV-Z]{26}$")]
DenyId = Annotated[str, Field(pattern=r"^D-[0-9A-HJKMNP-TV-Z]{26}$")]
HoldId = Annotated[str, Field(pattern=r"^H-[0-9A-HJKMNP-TV-Z]{26}$")]
ViewId = Annotated[str, Field(pattern=r"^V-[0-9A-HJKMNP-TV-Z]{26}$")]


@dataclass(frozen=True, slots=True)
class FileDigest:
    """One policy file: its label (`mirror.proxy.rulebook.policy_texts`) and the SHA-256 of its bytes."""

    name: str
    sha256: Hexadecimal


@dataclass(frozen=True, slots=True)
class Activation:
    """These policy files, and no others, are to be in force. `number` rises: an older activation is refused for ever."""

    number: Annotated[int, Field(ge=1, le=2**31)]
    at: Moment
    requested_by: Person
    files: tuple[FileDigest, ...]
    reason: Said = ""
    version: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class Licence:
    """A government's licence that is the reason for a waiver. Dates: `from` inclusive, `until` exclusive."""

    number: Said
    item: Said
    parties: tuple[Said, ...]
    since: Annotated[OnlyDay, Field(alias="from")] = None
    until: OnlyDay = None
    authority: Said = ""


@dataclass(frozen=True, slots=True)
class Waiver:
    """An exception from `rule` within `scope` until `expires`: as it is asked for, and as it is granted.

    `request` is empty in a request; in a grant it is the digest of the request (`Envelope.digest`), which it may narrow.
    """

    id: WaiverId
    at: Moment
    requested_by: Person
    rule: RuleId
    scope: ExceptionScope
    reason: Said
    expires: OnlyDay
    since: Annotated[OnlyDay, Field(alias="from")] = None
    decision: Said = ""
    licence: Licence | None = None
    request: str = ""
    version: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class Rejection:
    """A request is refused, or a waiver taken back, for good. One approver."""

    id: WaiverId
    at: Moment
    reason: Said
    version: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class Deny:
    """An emergency: `artifacts` (patterns) are refused to everybody until `until`, or until it is lifted. One approver."""

    id: DenyId
    at: Moment
    artifacts: Texts
    reason: Said
    legal: bool = False
    basis: Said = ""
    until: OnlyDay = None
    version: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class Lift:
    """The end of an emergency deny. `deny` is the digest of what it lifts."""

    id: DenyId
    at: Moment
    requested_by: Person
    reason: Said
    deny: Hexadecimal
    version: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class Release:
    """A reviewer lets go what `rule` holds within `scope`, until `expires`, while what it rests on is unchanged.

    One reviewer or approver; two for a legal rule. `lifts` is the hold that ends.
    """

    id: ReleaseId
    at: Moment
    rule: RuleId
    lifts: Literal["review", "quarantine"]
    scope: ExceptionScope
    reason: Said
    expires: OnlyDay
    rests: Rests
    decision: Said = ""
    version: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reviewer has looked at what `rule` holds, and it is denied within `scope` until `until`, or until it is withdrawn."""

    id: ReleaseId
    at: Moment
    rule: RuleId
    scope: ExceptionScope
    reason: Said
    until: OnlyDay = None
    decision: Said = ""
    version: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A release or a refusal is taken back, for good. One reviewer or approver."""

    id: ReleaseId
    at: Moment
    reason: Said
    version: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class HoldLift:
    """A matter keeps nothing from being deleted any more. One approver, and not who added the hold."""

    id: HoldId
    at: Moment
    requested_by: Person
    reason: Said
    version: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class Opening:
    """Questions about persons are open for a matter until a date. Two approvers, neither of whom is who asks."""

    id: ViewId
    at: Moment
    requested_by: Person
    matter: Said
    reason: Said
    expires: OnlyDay
    version: Literal[1] = 1


Statement = Activation | Waiver | Rejection | Deny | Lift | Release | Refusal | Withdrawal | HoldLift | Opening

_TYPE: Final = "application/vnd.entrepot.{}+json"
ACTIVATION: Final = _TYPE.format("activation")
REQUEST: Final = _TYPE.format("waiver-request")
GRANT: Final = _TYPE.format("waiver")
REJECTION: Final = _TYPE.format("waiver-rejection")
DENY: Final = _TYPE.format("deny")
LIFT: Final = _TYPE.format("lift")
RELEASE: Final = _TYPE.format("release")
REFUSAL: Final = _TYPE.format("refusal")
WITHDRAWAL: Final = _TYPE.format("withdrawal")
HOLD_LIFT: Final = _TYPE.format("hold-lift")
OPENING: Final = _TYPE.format("view")
#: A public key's card, endorsed by the key that it replaces: the card's own bytes.
KEY: Final = "application/vnd.entrepot.key+yaml"

_KINDS: Final[dict[str, type[Any]]] = {
    ACTIVATION: Activation, REQUEST: Waiver, GRANT: Waiver, REJECTION: Rejection, DENY: Deny, LIFT: Lift,
    RELEASE: Release, REFUSAL: Refusal, WITHDRAWAL: Withdrawal, HOLD_LIFT: HoldLift, OPENING: Opening,
}  # fmt: skip


def drafted(kind: str, statement: Statement) -> Envelope:
    """`statement` in an envelope of this kind that nobody has signed yet."""
    return Envelope(kind, canonical(_written(statement)))


def read(envelope: Envelope, kind: str, source: str) -> Any:
    """The statement of an envelope that must be of `kind`. Raises `InputError` with every problem."""
    if envelope.kind != kind:
        raise InputError([Problem(source, "payloadType", f"expected {kind}, found {envelope.kind[:100]}")])
    try:
        raw = json.loads(envelope.payload, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        said = str(error) if isinstance(error, _TwiceError) else "is not JSON"
        raise InputError([Problem(source, "payload", said)]) from None
    statement = decode(_KINDS[kind], raw, source, "payload")
    if problems := [Problem(source, f"payload.{place}", message) for place, message in _faults(statement, kind)]:
        raise InputError(problems)
    return statement


class _TwiceError(ValueError):
    """A key that stands twice: two readers could see two statements."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number]))
        raise _TwiceError(f"duplicate key {twice!r}")
    return found


def _faults(statement: Statement, kind: str) -> Iterator[tuple[str, str]]:
    match statement:
        case Waiver():
            if not statement.reason.strip():
                yield "reason", "is empty"
            if statement.expires is None:
                yield "expires", "is required: a waiver ends"
            if not statement.scope.artifact:
                yield "scope.artifact", "names no artifact"
            if (kind == GRANT) != bool(re.fullmatch("[0-9a-f]{64}", statement.request)):
                yield "request", "must be the digest of the request in a grant, and empty in a request"
            if statement.since is not None and statement.expires is not None and statement.since >= statement.expires:
                yield "from", "is not before expires"
            if statement.licence is not None and statement.licence.until is not None and str(statement.expires) > str(statement.licence.until):
                yield "expires", f"is after the end of the licence ({statement.licence.until})"
            if statement.licence is not None and not all((statement.licence.number.strip(), statement.licence.item.strip(), statement.licence.parties)):
                yield "licence", "needs a number, an item and parties"
            yield from _patterns("scope.artifact", statement.scope.artifact)
        case Deny():
            if not statement.artifacts:
                yield "artifacts", "names no artifact"
            if statement.legal and not statement.basis.strip():
                yield "basis", "is required for a legal deny"
            yield from _patterns("artifacts", statement.artifacts)
        case Release() | Refusal():
            if not statement.reason.strip():
                yield "reason", "is empty"
            if not statement.scope.artifact:
                yield "scope.artifact", "names no artifact"
            if statement.scope.not_groups or statement.scope.networks:
                yield "scope", "is for artifacts and groups only"
            if isinstance(statement, Release):
                if statement.expires is None:
                    yield "expires", "is required: a release ends"
                if any(text.count("#") < 2 for text in statement.rests.entries):
                    yield "rests.entries", "expected list#entry#digest"
            yield from _patterns("scope.artifact", statement.scope.artifact)
        case HoldLift() | Opening():
            if not statement.reason.strip():
                yield "reason", "is empty"
            if isinstance(statement, Opening) and (statement.expires is None or not statement.matter.strip()):
                yield "matter" if statement.expires else "expires", "is required: a view is open for a matter, until a date"
        case Activation() if not statement.files:
            yield "files", "names no file"
        case _:
            pass


def _patterns(place: str, texts: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for text in texts:
        try:
            parse_pattern(text)
        except ValueError as error:
            yield place, str(error)


def _written(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {"from" if one.name == "since" else one.name: _written(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, tuple):
        return [_written(one) for one in value]
    return value


@dataclass(frozen=True, slots=True)
class Granted:
    """A waiver that may lift its rule: who approved it, () where the rule grants waivers by itself."""

    waiver: Waiver
    approved_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Released:
    """A release that is in order, and who signed it."""

    release: Release
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recall:
    """What the sender of bundles took back, in force as an emergency deny is. `rule` is the id of its rule, empty for that of `deny`."""

    rule: str
    deny: Deny


@dataclass(frozen=True, slots=True)
class Standing:
    """Every statement that is in order, as of one look. Which of the waivers are in force depends on the rules."""

    granted: tuple[Granted, ...] = ()
    asked: tuple[Waiver, ...] = ()
    denies: tuple[Deny, ...] = field(default=())
    released: tuple[Released, ...] = ()
    refused: tuple[Refusal, ...] = ()
    recalled: tuple[Recall, ...] = ()
