"""Policy text to policy: every fault of every file named at once, then the index, then the policy's own tests."""

from __future__ import annotations

import difflib
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mirror.core.actor import Actor
from mirror.core.decision import Effect, Mode
from mirror.core.errors import InputError, Problem
from mirror.core.purl import parse_loose
from mirror.decode import DuplicateKeys, decode, load_yaml, unknown_key
from mirror.policy import checks, conditions, identity, listed, measures
from mirror.policy.assembly import Stated, assembled
from mirror.policy.countries import CODES, build_sets, resolve
from mirror.policy.dates import span
from mirror.policy.evaluate import run_tests
from mirror.policy.given import Failure, PolicyTest, read_facts
from mirror.policy.grammar import DefaultsText, ExceptionScope, ExceptionText, FileText, ReleaseText, RuleText, TestText
from mirror.policy.operators import Building
from mirror.policy.patterns import PatternSet, parse_pattern
from mirror.policy.releases import LIFTED, Rests
from mirror.policy.rules import Network, Policy, Rule, Scope, Waived
from mirror.policy.subject import ON_UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from mirror.policy.catalogue import Catalogue
    from mirror.policy.conditions import Condition
    from mirror.policy.lineage import Lineage
    from mirror.policy.screening import ScreeningList

__all__ = ["FailedTest", "Policy", "TestsFail", "compile_policy", "reference_time"]

T = TypeVar("T")

_BUILDERS: Final = {**identity.BUILDERS, **listed.BUILDERS, **measures.BUILDERS, **conditions.BUILDERS}


@dataclass(slots=True)
class _Work:
    """What has been read so far, over all files."""

    catalogue: Catalogue
    lists: Mapping[str, ScreeningList]
    groups: Collection[str] | None = None
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    files: list[tuple[str, FileText]] = field(default_factory=list)
    sets: dict[str, frozenset[str]] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    rule_ids: dict[str, str] = field(default_factory=dict)  # also of rules with faults: exceptions may name them
    permits: set[str] = field(default_factory=set)
    exceptions: list[Waived] = field(default_factory=list)
    tests: list[PolicyTest] = field(default_factory=list)
    screened: dict[Any, Any] = field(default_factory=dict)
    action: str | None = None
    on_unknown: dict[str, Effect] = field(default_factory=dict)

    def wrong(self, source: str, place: str, message: str) -> None:
        self.problems.append(Problem(source, place, message))

    def building(self, source: str) -> Building:
        return Building(source, self.sets, self.lists, self.catalogue, self.problems, self.warnings, self.screened, groups=self.groups)


def compile_policy(
    texts: Sequence[tuple[str, str]],
    catalogue: Catalogue,
    lineage: Lineage,
    lists: Mapping[str, ScreeningList],
    *,
    run: bool = True,
    groups: Collection[str] | None = None,
    known: Collection[str] = (),
) -> Policy:
    """The policy that the files `texts` (name, YAML) state together, with its own tests run.

    Raises `InputError` with every fault and warning of every file; where there is no fault, with one problem a test that does not hold.
    `run` False leaves the tests to the caller (`evaluate.run_tests`). `groups` are those that clients can be in: others in
    a scope are warned of; None leaves them alone. `known` are ids of rules stated elsewhere, which exceptions may name.
    """
    work = _Work(catalogue, lists, groups, rule_ids=dict.fromkeys(known, "another policy"))
    for source, text in texts:
        _file(work, source, text)
    _defaults(work)
    _sets(work)
    for source, file in work.files:
        _rules(work, source, file)
    for source, file in work.files:
        _exceptions(work, source, file)
        _releases(work, source, file)
        _tests(work, source, file)
    if work.problems:
        raise InputError(work.problems, work.warnings)
    policy = _assembled(work, texts)
    if run and (failures := run_tests(policy, catalogue, lineage, reference_time(policy))):
        raise TestsFail(failures, policy, catalogue, lineage, lists)
    return policy


@dataclass(frozen=True, slots=True)
class FailedTest(Problem):
    """A test that does not hold, as a problem among others; `whole` is the error that has the policy."""

    whole: TestsFail | None = field(default=None, repr=False, compare=False)

    __str__ = Problem.__str__


class TestsFail(InputError):
    """A policy that can be read, but whose own tests do not hold: one problem a test. Carries what it was judged with."""

    __test__ = False  # not pytest's

    def __init__(
        self, failures: Sequence[Failure], policy: Policy, catalogue: Catalogue, lineage: Lineage, lists: Mapping[str, ScreeningList]
    ) -> None:
        super().__init__([FailedTest(failure.source, failure.place, str(failure), self) for failure in failures])
        self.failures = tuple(failures)
        self.policy, self.catalogue, self.lineage, self.lists = policy, catalogue, lineage, lists


def reference_time(policy: Policy) -> datetime:
    """When a test without `now` takes place: once the last `from` of a rule has begun, so that results never drift."""
    return max((rule.since for rule in policy.rules if rule.since is not None), default=datetime(2026, 1, 1, tzinfo=UTC))


def _assembled(work: _Work, texts: Sequence[tuple[str, str]]) -> Policy:
    stated = Stated(tuple(texts), tuple(work.rules), tuple(work.exceptions), tuple(work.tests), tuple(work.warnings))
    on_unknown = {fact: work.on_unknown.get(fact, Effect[word.upper()]) for fact, word in ON_UNKNOWN.items()}
    return assembled(stated, permits_by_default=work.action != "deny", on_unknown=on_unknown, sets=work.sets)


# --- sections ----------------------------------------------------------------------------------------------------


def _file(work: _Work, source: str, text: str) -> None:
    raw: Any = None
    try:
        try:
            raw = load_yaml(text, source)
        except DuplicateKeys as error:
            work.problems += error.problems
            raw = error.value
        if raw is None:
            raise InputError([Problem(source, "", "is empty; it must at least say 'version: 1'")])
        work.files.append((source, decode(FileText, raw, source)))
    except InputError as error:
        work.problems += error.problems
        if isinstance(raw, dict):  # the sections that are there are still worth checking
            known = {key: raw[key] for key in FileText.__dataclass_fields__ if key in raw and key not in ("version", "timezone")}
            work.files.append((source, FileText(version=1, **known)))


def _each(work: _Work, source: str, section: str, raw: Any, kind: type[T]) -> Iterator[tuple[str, Any, T | None]]:
    """(place, plain value, decoded or None) of every item of a section; faults are noted."""
    if raw is not None and not isinstance(raw, list):
        work.wrong(source, section, "expected a list")
        return
    for number, item in enumerate(raw or ()):
        place = f"{section}[{number}]"
        try:
            yield place, item, decode(kind, item, source, place)
        except InputError as error:
            work.problems += error.problems
            yield place, item, _mended(kind, item, place, error)


def _mended(kind: type[T], item: Any, place: str, error: InputError) -> T | None:
    """The item without what is wrong in it, so that its other faults come to light too; None where too little is left."""
    whole = deepcopy(item)
    for problem in error.problems:
        *steps, last = problem.place.removeprefix(f"{place}.").split(".")
        inner = whole
        for step in steps:
            inner = inner.get(step) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            inner.pop(last.partition("[")[0], None)
    try:
        return decode(kind, whole, "", place)
    except InputError:
        return None


def _defaults(work: _Work) -> None:
    for source, file in work.files:
        try:
            stated = decode(DefaultsText, file.defaults or {}, source, "defaults")
        except InputError as error:
            work.problems += error.problems
            mended = _mended(DefaultsText, file.defaults, "defaults", error)
            if mended is None:
                continue
            stated = mended
        if stated.action is not None:
            if work.action not in (None, stated.action):
                work.wrong(source, "defaults.action", f"another file says {work.action!r}")
            work.action = stated.action
        for fact, word in stated.on_unknown.items():
            effect = Effect[word.upper()]
            if fact not in ON_UNKNOWN:
                work.wrong(source, "defaults.on_unknown", unknown_key(fact, list(ON_UNKNOWN)))
            elif work.on_unknown.setdefault(fact, effect) is not effect:
                work.wrong(source, f"defaults.on_unknown.{fact}", f"another file says {work.on_unknown[fact].word!r}")


def _sets(work: _Work) -> None:
    merged: dict[str, list[Any]] = {}
    where: dict[str, str] = {}
    for source, file in work.files:
        if file.sets is not None and not isinstance(file.sets, dict):
            work.wrong(source, "sets", "expected a mapping of names to lists of countries")
            continue
        for name, members in (file.sets or {}).items():
            if name in merged:
                work.wrong(source, f"sets.{name}", f"is defined in {where[name]} already")
            elif not isinstance(members, list) or not members:
                work.wrong(source, f"sets.{name}", "expected a list of countries")
                where[name], merged[name] = source, []
            else:
                where[name], merged[name] = source, members
    work.sets, faults = build_sets(merged)
    for place, message in faults:
        work.wrong(where.get(place.partition("[")[0], work.files[0][0]), f"sets.{place}", message)


def _rules(work: _Work, source: str, file: FileText) -> None:
    for place, raw, stated in _each(work, source, "rules", file.rules, RuleText):
        rule_id = raw.get("id") if isinstance(raw, dict) else None
        if isinstance(rule_id, str):
            if rule_id in work.rule_ids:
                work.wrong(source, f"{place}.id", f"{rule_id!r} is the id of {work.rule_ids[rule_id]} already")
            work.rule_ids.setdefault(rule_id, f"{place} in {source}" if len(work.files) > 1 else place)
            if raw.get("effect") == "allow":
                work.permits.add(rule_id)
        building = work.building(source)
        building.permits = isinstance(raw, dict) and raw.get("effect") == "allow"
        when = raw.get("when") if isinstance(raw, dict) else None
        read = _when(building, f"{place}.when", when) if isinstance(when, dict) else ()
        if stated is not None:
            work.rules.append(_rule(work, building, place, stated, read, file.timezone))


def _when(building: Building, place: str, when: Mapping[str, Any]) -> tuple[Condition, ...]:
    if not when:
        building.wrong(place, "names no condition")
    read = []
    for key, raw in when.items():
        if key not in _BUILDERS:
            near = difflib.get_close_matches(key, _BUILDERS, n=1)
            building.wrong(f"{place}.{key}", "unknown condition" + (f"; did you mean {near[0]!r}?" if near else ""))
            continue
        read.append(_BUILDERS[key](building, f"{place}.{key}", raw))
    return tuple(sorted(read, key=lambda condition: (condition.dated, condition.key == "list_match")))


def _rule(
    work: _Work, building: Building, place: str, stated: RuleText, read: tuple[Condition, ...], zone: str | None
) -> Rule:
    since, until = span(building, place, stated.since, stated.until, stated.timezone or zone, "until")
    checks.founded(building, place, legal=stated.legal, basis=stated.basis)
    if stated.lineage == "inherit" and read and not any(condition.identity for condition in read):
        building.wrong(f"{place}.lineage", "nothing to inherit: no condition on publisher, publisher.country, artifact or list_match")
    if stated.release == "manual" and stated.effect != "quarantine":
        building.wrong(f"{place}.release", "only a quarantine is released")
    if stated.use == "forbidden" and stated.effect != "deny":
        building.wrong(f"{place}.use", "forbidden needs effect: deny")
    for number, text in enumerate(stated.suggest):
        _purl(building, f"{place}.suggest[{number}]", text)
    rule = Rule(
        id=stated.id, effect=Effect[stated.effect.upper()], conditions=read,
        scope=_scope(building, f"{place}.for", stated.scope.groups, stated.scope.not_groups, stated.scope.networks),
        mode=Mode(stated.mode), legal=stated.legal, recall=stated.recall or stated.use == "forbidden", basis=stated.basis, source=stated.source,
        reason=stated.reason, suggest=stated.suggest, since=since, until=until, inherit=stated.lineage == "inherit",
        on_unknown=None if stated.on_unknown is None else Effect[stated.on_unknown.upper()],
        min_confidence=stated.min_confidence, release=stated.release, waiver=stated.waiver,
        applies_to=_jurisdictions(building, f"{place}.applies_to", stated.applies_to), when=stated.when, forbidden=stated.use == "forbidden",
        identity=tuple(condition for condition in read if condition.identity),
        rest=tuple(condition for condition in read if not condition.identity),
    )  # fmt: skip
    checks.foreign_law(building, place, rule)
    return rule


def _exceptions(work: _Work, source: str, file: FileText) -> None:
    for place, raw, stated in _each(work, source, "exceptions", file.exceptions, ExceptionText):
        building = _lifting(work, source, place, raw, stated)
        if stated is not None:
            work.exceptions.append(_waived(building, place, stated, file.timezone))


def _lifting(work: _Work, source: str, place: str, raw: Any, stated: ExceptionText | ReleaseText | None) -> Building:
    """What is wrong with the rule that an exception or a release names, and with its id."""
    building = work.building(source)
    rule = raw.get("rule") if isinstance(raw, dict) else None
    if isinstance(rule, str) and rule not in work.rule_ids:
        near = difflib.get_close_matches(rule, work.rule_ids, n=1)
        building.wrong(f"{place}.rule", f"no rule has the id {rule!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    elif rule in work.permits:
        building.wrong(f"{place}.rule", f"{rule!r} permits: there is nothing to lift")
    if stated is not None and any(one.id == stated.id for one in work.exceptions):
        building.wrong(f"{place}.id", f"{stated.id!r} is the id of another exception already")
    return building


def _releases(work: _Work, source: str, file: FileText) -> None:
    for place, raw, stated in _each(work, source, "releases", file.releases, ReleaseText):
        building = _lifting(work, source, place, raw, stated)
        if stated is None:
            continue
        rests = Rests(stated.rests_on.rule, stated.rests_on.publisher, stated.rests_on.lineage, stated.rests_on.entries)
        scope = ExceptionScope(artifact=stated.scope.artifact, groups=stated.scope.groups)
        text = ExceptionText(stated.id, stated.rule, scope, stated.reason, stated.expires, None, stated.timezone, "", stated.by)
        work.exceptions.append(replace(_waived(building, place, text, file.timezone), lifts=LIFTED[stated.lifts], rests=rests))


def _waived(building: Building, place: str, stated: ExceptionText, zone: str | None) -> Waived:
    since, expires = span(building, place, stated.since, stated.expires, stated.timezone or zone, "expires")
    if expires is None:
        building.wrong(f"{place}.expires", "is required: an exception ends")
    if stated.requested_by and stated.requested_by in stated.approved_by:
        building.wrong(f"{place}.approved_by", f"{stated.requested_by!r} cannot approve what they requested")
    scope = stated.scope
    if not (scope.artifact or scope.groups or scope.not_groups or scope.networks):
        building.wrong(f"{place}.scope", "names nothing: an exception is for an artifact, a group or a network")
    patterns = []
    for text in scope.artifact:
        try:
            patterns.append(parse_pattern(text))
        except ValueError as error:
            building.wrong(f"{place}.scope.artifact", str(error))
    return Waived(
        stated.id, stated.rule, _scope(building, f"{place}.scope", scope.groups, scope.not_groups, scope.networks),
        PatternSet(patterns) if scope.artifact else None, since, expires or datetime.min.replace(tzinfo=UTC), stated.reason,
        stated.requested_by, stated.approved_by,
    )  # fmt: skip


def _tests(work: _Work, source: str, file: FileText) -> None:
    for place, _, stated in _each(work, source, "tests", file.tests, TestText):
        if stated is None:
            continue
        building = work.building(source)
        given = stated.given
        country = given.country.upper() if given.country else None
        if country is not None and country not in CODES:
            building.wrong(f"{place}.given.country", f"{given.country!r} is not an ISO 3166-1 code")
        now, _ = span(building, f"{place}.given", given.now, None, file.timezone, "now")
        for rule_id in (*(stated.expect.rules or ()), *(() if isinstance(stated.expect.would, str) else stated.expect.would or ())):
            if rule_id not in work.rule_ids:
                building.wrong(f"{place}.expect", f"no rule has the id {rule_id!r}")
        artifact = _purl(building, f"{place}.given.artifact", given.artifact)
        if artifact is None:
            continue
        try:
            moment = now or datetime(2026, 1, 1, tzinfo=UTC)
            read_facts(given.facts, work.catalogue, moment, source, f"{place}.given.facts", artifact.project)
        except InputError as error:
            work.problems += error.problems
        actor = Actor("test", given.groups, given.address, country, "test" if country else "", given.entity, given.jurisdictions)
        work.tests.append(PolicyTest(stated.name, source, place, artifact, given.facts, actor, now, stated.expect))


# --- parts -------------------------------------------------------------------------------------------------------


def _purl(building: Building, place: str, text: str) -> Any:
    try:
        return parse_loose(text)
    except ValueError as error:
        building.wrong(place, str(error))
        return None


def _scope(building: Building, place: str, groups: Sequence[str], not_groups: Sequence[str], networks: Sequence[str]) -> Scope:
    if both := sorted(set(groups) & set(not_groups)):
        building.wrong(place, f"{both[0]!r} is both included and excluded")
    _known_groups(building, f"{place}.groups", groups)
    _known_groups(building, f"{place}.not_groups", not_groups)
    found: list[Network] = []
    for text in networks:
        try:
            found.append(ip_network(text))
        except ValueError as error:
            building.wrong(f"{place}.networks", str(error))
    return Scope(frozenset(groups), frozenset(not_groups), tuple(found))


def _known_groups(building: Building, place: str, names: Sequence[str]) -> None:
    if building.groups is None:
        return
    for name in names:
        if name not in building.groups:
            near = difflib.get_close_matches(name, building.groups, n=1)
            building.warn(place, f"clients.groups defines no group {name!r}: nobody is in it" + (f"; did you mean {near[0]!r}?" if near else ""))


def _jurisdictions(building: Building, place: str, texts: Sequence[str]) -> frozenset[str]:
    found: set[str] = set()
    for text in texts:
        try:
            found |= resolve(text, building.sets) | {text}
        except ValueError as error:
            building.wrong(place, str(error))
    return frozenset(found)
