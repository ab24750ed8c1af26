"""The policy file as it is written (SURFACE 4): the shape of every section, and nothing about its meaning.

`mirror.policy.compile` gives it meaning. Keys are spelt as in the file; `from` and `for` are the fields `since`, `scope`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictBool


def _one_or_many(value: Any) -> Any:
    """A single text where a list is meant."""
    return [value] if isinstance(value, str) else value


def _strict_day(value: Any) -> Any:
    """Dates as YAML gives them, or as RFC 3339 text; numbers are no dates (pydantic would read them as seconds)."""
    if isinstance(value, (bool, int, float)):
        raise ValueError(f"expected a date such as 2027-01-31, found {value!r}")  # noqa: TRY004 - pydantic's protocol
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise ValueError(f"expected a date such as 2027-01-31, found {value!r}") from None
    return value


Texts = Annotated[tuple[str, ...], BeforeValidator(_one_or_many)]
Day = Annotated[datetime | date | None, BeforeValidator(_strict_day)]
Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=80)]
EffectWord = Literal["deny", "quarantine", "review", "warn", "allow"]
UnknownWord = Literal["allow", "warn", "review", "deny"]
Grade = Literal["A", "A-", "B", "C", "D"]


@dataclass(frozen=True, slots=True)
class ScopeText:
    """`for` of a rule: whom it binds. Empty means everyone."""

    groups: Texts = ()
    not_groups: Texts = ()
    networks: Texts = ()


@dataclass(frozen=True, slots=True)
class RuleText:
    """One rule. `when` is read by `mirror.policy.compile`."""

    id: Identifier
    effect: EffectWord
    when: dict[str, Any]
    scope: Annotated[ScopeText, Field(alias="for")] = field(default_factory=ScopeText)
    mode: Literal["enforce", "audit"] = "enforce"
    legal: StrictBool = False
    recall: StrictBool = False
    use: Literal["forbidden"] | None = None
    basis: str = ""
    source: str = ""
    reason: str = ""
    suggest: Texts = ()
    since: Annotated[Day, Field(alias="from")] = None
    until: Day = None
    timezone: str | None = None
    lineage: Literal["none", "inherit"] = "none"
    on_unknown: UnknownWord | None = None
    min_confidence: Grade = "B"
    release: Literal["auto", "manual"] = "auto"
    waiver: Literal["none", "manual", "automatic"] = "manual"
    applies_to: Texts = ()


@dataclass(frozen=True, slots=True)
class ExceptionScope:
    """Where an exception holds: every part that is given must match."""

    artifact: Texts = ()
    groups: Texts = ()
    not_groups: Texts = ()
    networks: Texts = ()


@dataclass(frozen=True, slots=True)
class ExceptionText:
    """One exception: lifts `rule` within `scope` until `expires`."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
    rule: str
    scope: ExceptionScope
    reason: str
    expires: Day
    since: Annotated[Day, Field(alias="from")] = None
    timezone: str | None = None
    requested_by: str = ""
    approved_by: Texts = ()


@dataclass(frozen=True, slots=True)
class RestsText:
    """What a release rested on: digests that are empty where it did not (`mirror.policy.releases.Rests`)."""

    rule: str = ""
    publisher: str = ""
    lineage: str = ""
    entries: Texts = ()


@dataclass(frozen=True, slots=True)
class ReleaseScope:
    """What is released, for whom; without groups for everybody."""

    artifact: Texts
    groups: Texts = ()


@dataclass(frozen=True, slots=True)
class ReleaseText:
    """One release: `rule` holds what is in `scope` no longer, while what it rests on is unchanged, until `expires`."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
    rule: str
    lifts: Literal["review", "quarantine"]
    scope: ReleaseScope
    reason: str
    expires: Day
    by: Texts = ()
    rests_on: RestsText = field(default_factory=RestsText)
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class DefaultsText:
    """What happens without a rule, and where a rule cannot be judged."""

    action: Literal["allow", "deny"] | None = None
    on_unknown: dict[str, UnknownWord] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GivenText:
    """The situation of a test. `facts` is read by `mirror.policy.given`."""

    artifact: str
    groups: Texts = ()
    facts: dict[str, Any] = field(default_factory=dict)
    country: str | None = None
    now: Day = None
    address: str = ""
    entity: str = ""
    jurisdictions: Texts = ()


@dataclass(frozen=True, slots=True)
class ExpectText:
    """What a test wants to see. Parts that are not given are not looked at.

    `rules` must be among the determining rules (an empty list: no rule determined); `would` is an effect, or the ids
    of audit rules that held.
    """

    effect: EffectWord | None = None
    rules: Texts | None = None
    would: EffectWord | Texts | None = None
    sentence: str | None = None


@dataclass(frozen=True, slots=True)
class TestText:
    """One test of the policy itself."""

    __test__ = False  # not pytest's

    name: str
    given: GivenText
    expect: ExpectText


@dataclass(frozen=True, slots=True)
class FileText:
    """One policy file, its sections still plain values: each item is decoded alone, so that all errors are found."""

    version: Literal[1]
    defaults: Any = None
    sets: Any = None
    rules: Any = None
    exceptions: Any = None
    releases: Any = None
    tests: Any = None
    timezone: str | None = None
