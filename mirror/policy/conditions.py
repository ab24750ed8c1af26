"""The conditions of `when`: each is read once into a closure, with what it needs to know and how it is indexed."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import attrgetter
from typing import Any, Final

from mirror.core.facts import Fact, Facts
from mirror.core.nouns import HUGGINGFACE, PYPI, FileKind, Kind
from mirror.policy import licences
from mirror.policy.countries import resolve
from mirror.policy.operators import Building, Test, asking, fits, gate, only_any, words
from mirror.policy.patterns import Glob, glob
from mirror.policy.subject import FAILS, HOLDS, NO, Outcome, Subject, View, unknown

Judge = Callable[[Subject, View], Outcome]
Gate = frozenset[tuple[str, Hashable]]

YES: Final = Outcome(HOLDS)


@dataclass(frozen=True, slots=True)
class Condition:
    """One line of a `when`.

    `reads` are facts of `core.facts.Facts` (and `client_country`, `lineage`); `identity` marks what may be asked of an
    ancestor too; `gate` are index keys of which the subject must have one (None: always asked); `exact` and `globs`
    likewise for names; `salience` orders the causes; `dated` marks what changes with time alone. `alone` says that it is
    one `any`: where no key but that for "unknown" is there, it is unknown and needs not be asked.
    """

    key: str
    judge: Judge
    reads: frozenset[str]
    gate: Gate | None = None
    names: tuple[Glob, ...] | None = None
    identity: bool = False
    salience: int = 5
    dated: bool = False
    alone: bool = False


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected a text, found {value!r}")
    return value


def _choice(known: Mapping[str, Any], what: str) -> Callable[[Any], tuple[Any, ...]]:
    def convert(value: Any) -> tuple[Any, ...]:
        name = str(value).lower() if isinstance(value, (str, bool)) else repr(value)
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ValueError(f"{value!r} is not {what}; " + (f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"))
        entry = known[name]
        return entry if isinstance(entry, tuple) else (entry,)

    return convert


# --- facts with one value ----------------------------------------------------------------------------------------


def single(
    key: str, field: str, known: Mapping[str, Any], what: str, cause: str, *, per_file: bool = False, only: str = "", absent: Any = None,
) -> Callable[[Building, str, Any], Condition]:
    """A condition on a fact that has one of a few values; `cause` has a `{}` for it.

    `only` names the ecosystem that has the fact: elsewhere its value is `absent`. A `per_file` fact says nothing of a
    project as a whole: there the condition does not hold, except for a rule that permits.
    """

    def build(building: Building, place: str, raw: Any) -> Condition:
        pairs = words(building, place, raw, _choice(known, what))
        tests = [Test(word, frozenset(operand).__contains__) for word, operand in pairs]
        permits = building.permits
        answer = answering(tests, cause)
        open_, of_project = unknown(key), YES if permits else NO
        read = attrgetter(field)

        def judge(subject: Subject, view: View) -> Outcome:
            fact: Fact[Any] | None = read(subject.facts)
            if fact is not None and fact.value is not None:
                return answer(fact.value, fact.confidence)
            if only and view.ecosystem != only:
                return answer(absent, "A")
            return of_project if per_file and subject.whole else open_

        gates = None if permits and per_file else gate(key, pairs)
        alone = not per_file and only_any(pairs)
        return Condition(key, judge, frozenset({field}), gates, salience=4 if per_file else 6, alone=alone)

    return build


def answering(tests: Sequence[Test[Any]], cause: str) -> Callable[[Any, str], Outcome]:
    """The outcome for a fact's (value, grade). Facts with few values meet the same outcome again: some are kept."""
    made: dict[tuple[Any, str], Outcome] = {}

    def answer(value: Any, grade: str) -> Outcome:
        found = made.get((value, grade))
        if found is None:
            found = Outcome(HOLDS, cause.format(plainly(value)), grade=grade) if fits(tests, value) else NO
            if len(made) < _KEPT:
                made[value, grade] = found
        return found

    return answer


def plainly(value: Any) -> str:
    """A value in a sentence: booleans as YAML writes them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


_KEPT: Final = 1_024


def _project(key: str, known: Mapping[str, Any], what: str, value: Callable[[View], Any]) -> Callable[[Building, str, Any], Condition]:
    def build(building: Building, place: str, raw: Any) -> Condition:
        pairs = words(building, place, raw, _choice(known, what))
        tests = [Test(word, frozenset(operand).__contains__) for word, operand in pairs]
        answer = answering(tests, f"is of {key} {{}}")

        def judge(subject: Subject, view: View) -> Outcome:
            return answer(value(view), "A")

        return Condition(key, judge, frozenset(), gate(key, pairs), salience=1)

    return build


# --- files -------------------------------------------------------------------------------------------------------


def _file(building: Building, place: str, raw: Any) -> Condition:
    def convert(value: Any) -> tuple[tuple[str, Callable[[str], object]], ...]:
        return ((_text(value), glob(value).matcher()),)

    pairs = words(building, place, raw, convert)
    permits = building.permits

    def judge(subject: Subject, view: View) -> Outcome:
        if subject.whole:
            return YES if permits else NO
        path = view.path
        last = path.rpartition("/")[2]
        shown = ""
        for word, operand in pairs:
            found = next((text for text, matches in operand if matches(path) or matches(last)), None)
            if (found is not None) is not (word in ("any", "all")):
                return NO
            shown = shown or found or ""
        return Outcome(HOLDS, f"matches '{shown}'" if shown else "has a file name that is not listed")

    return Condition("file", judge, frozenset(), None if permits else _file_gate(pairs), salience=4)


def _file_gate(pairs: list[tuple[str, tuple[tuple[str, Any], ...]]]) -> Gate | None:
    for word, operand in pairs:
        if word != "any":
            continue
        keys = []
        for text, _ in operand:
            extension = text.casefold().rpartition(".")[2]
            if "." not in text or "*" in extension or "/" in extension:
                return None
            keys.append(("ext", extension))
        return frozenset(keys)
    return None


# --- facts with several values -----------------------------------------------------------------------------------


def _license(building: Building, place: str, raw: Any) -> Condition:
    pairs = words(building, place, raw, lambda value: (_text(value).strip().casefold(),))
    permits = building.permits
    tests: list[Test[tuple[str, ...]]] = []
    unstated: list[bool | None] = []
    for word, operand in pairs:
        matchers = [glob(item).matcher() for item in operand if item != "unknown"]

        def wanted(name: str, matchers: list[Callable[[str], object]] = matchers) -> bool:
            return any(matches(name) for matches in matchers)

        # Several stated licences all apply at once, like the parts of an AND.
        if permits is (word in ("any", "all")):
            tests.append(Test(word, _over(all, licences.satisfied_by, wanted)))
        else:
            tests.append(Test(word, _over(any, licences.bound_by, wanted)))
        unstated.append(("unknown" in operand) is (word in ("any", "all")) if "unknown" in operand else None)
    asked = asking(tests)

    def judge(subject: Subject, view: View) -> Outcome:
        fact = subject.facts.license
        values = tuple(value for value in (fact.value if fact else None) or () if not licences.is_unstated(value))
        if not values or fact is None:
            if None in unstated:
                return unknown("license")
            return Outcome(HOLDS, "states no licence") if all(unstated) else NO
        truth, grade, _ = asked(((values, fact.confidence),), True)
        return NO if truth is FAILS else Outcome(truth, f"is licensed {' and '.join(values)}", grade=grade)

    return Condition("license", judge, frozenset({"license"}), salience=6, gate=_license_gate(pairs))


def _over(
    fold: Callable[[Iterable[bool]], bool], reads: Callable[[str, Callable[[str], bool]], bool], wanted: Callable[[str], bool]
) -> Callable[[tuple[str, ...]], bool]:
    return lambda values: fold(reads(one, wanted) for one in values)


def _license_gate(pairs: list[tuple[str, tuple[str, ...]]]) -> Gate | None:
    """Identifiers only: the subject offers every identifier in its expressions."""
    if len(pairs) == 1 and pairs[0][0] == "any" and not any("*" in item for item in pairs[0][1]):
        return frozenset({*(("license", item) for item in pairs[0][1]), ("license", None)})
    return None


def _nothing(text: str) -> bool:
    return False


def _either(one: Callable[[str], object], other: Callable[[str], object]) -> Callable[[str], object]:
    return lambda text: one(text) or other(text)


def several(key: str, field: str, cause: str, *, only: str = "", flag: bool = True) -> Callable[[Building, str, Any], Condition]:
    """A condition on a fact that is a text or a list of texts: globs, or true and false for "has any" and "has none"."""

    def convert(value: Any) -> tuple[Callable[[str], object], ...]:
        if isinstance(value, bool) and flag:
            return (bool,) if value else (lambda text: not text,)
        return (glob(_text(value)).matcher(),)

    def build(building: Building, place: str, raw: Any) -> Condition:
        pairs = words(building, place, raw, convert)
        asked = asking([Test(word, reduce(_either, operand or (_nothing,))) for word, operand in pairs])
        permits = building.permits

        def judge(subject: Subject, view: View) -> Outcome:
            fact: Fact[Any] | None = getattr(subject.facts, field)
            value = fact.value if fact is not None else None
            grade = fact.confidence if fact is not None else "A"
            if value is None:
                if only and view.ecosystem != only:
                    value = ""
                elif subject.whole:
                    return YES if permits else NO
                else:
                    return unknown(key)
            texts = (value,) if isinstance(value, str) else tuple(value) or ("",)
            truth, grade, at = asked([(text.casefold(), grade) for text in texts], True)
            if truth is FAILS:
                return NO
            shown = texts[max(at, 0)]
            return Outcome(truth, cause.format(shown) if shown else cause.format("nothing"), grade=grade)

        return Condition(key, judge, frozenset({field}), None, salience=6)

    return build


# --- the client --------------------------------------------------------------------------------------------------


def _client_country(building: Building, place: str, raw: Any) -> Condition:
    pairs = words(building, place, raw, lambda word: resolve(word, building.sets))
    tests = [Test(word, frozenset(operand).__contains__) for word, operand in pairs]

    answer = answering(tests, "is requested from {}")
    open_ = unknown("client_country")

    def judge(subject: Subject, view: View) -> Outcome:
        return answer(subject.country, "A") if subject.country else open_

    return Condition("client.country", judge, frozenset({"client_country"}), gate("client", pairs), alone=only_any(pairs))


def _blocks_client(building: Building, place: str, raw: Any) -> Condition:
    if not isinstance(raw, bool):
        building.wrong(place, f"expected true or false, found {raw!r}")

    def judge(subject: Subject, view: View) -> Outcome:
        fact = subject.facts.blocked_countries
        if fact is None or fact.value is None:
            return unknown("upstream.blocks_client")
        country = (subject.actor.country or "").upper()
        if fact.value and "*" not in fact.value and not country:
            return unknown("client_country")
        blocked = bool(fact.value) and ("*" in fact.value or country in {code.upper() for code in fact.value})
        if blocked is not bool(raw):
            return NO
        where = country or "this country"
        return Outcome(HOLDS, f"is withheld by its hub from {where}" if blocked else f"is not withheld from {where}")

    return Condition("upstream.blocks_client", judge, frozenset({"blocked_countries", "client_country"}), None, salience=8)


#: The verdicts of a hub's file scan, each with what it says of a file in a sentence (docs/policy.md).
SCANS: Final = {
    "safe": "was found safe by its hub's scan", "unscanned": "has not been scanned by its hub",
    "queued": "is still being scanned by its hub", "error": "could not be scanned by its hub",
    "caution": "calls for caution by its hub's scan", "suspicious": "was found suspicious by its hub's scan",
    "unsafe": "was found unsafe by its hub's scan",
}  # fmt: skip
#: Verdicts that come before the hub's own.
AWAITED: Final = frozenset({"unscanned", "queued", "error"})


def _scan(building: Building, place: str, raw: Any) -> Condition:
    """The verdict on one file; `source` of the fact is the scanner and its finding, which a person wants to read."""
    pairs = words(building, place, raw, _choice({word: word for word in SCANS}, "a verdict of a scan"))
    tests = [Test(word, frozenset(operand).__contains__) for word, operand in pairs]
    permits = building.permits

    def judge(subject: Subject, view: View) -> Outcome:
        fact = subject.facts.scan
        if fact is None or fact.value is None:
            return (YES if permits else NO) if subject.whole else unknown("scan")
        if not fits(tests, fact.value):
            return NO
        found = f" ({fact.source})" if ":" in fact.source else ""
        return Outcome(HOLDS, SCANS.get(fact.value, f"was scanned as {fact.value}") + found, grade=fact.confidence)

    return Condition("scan", judge, frozenset({"scan"}), None, salience=6)


_GATES: Final = {"false": "false", "auto": "auto", "manual": "manual", "true": ("auto", "manual")}
_BOOLS: Final = {"true": True, "false": False}
_STATUS: Final = {word: word for word in ("active", "archived", "quarantined", "deprecated", "disabled")}

#: Conditions on the artifact itself, by name. Those on identity are in `mirror.policy.identity`, those that compare in `.measures`.
BUILDERS: Final[dict[str, Callable[[Building, str, Any], Condition]]] = {
    "kind": single("kind", "file_kind", {kind.value: kind for kind in FileKind}, "a kind of file", "is of kind {}", per_file=True),
    "type": _project("type", {kind.value: kind for kind in Kind}, "a type of project", lambda view: view.kind),
    "ecosystem": _project("ecosystem", {HUGGINGFACE: HUGGINGFACE, PYPI: PYPI}, "an ecosystem", lambda view: view.ecosystem),
    "gated": single("gated", "gated", _GATES, "a gate (false, auto, manual, true)", "is gated ({})", only=HUGGINGFACE, absent="false"),
    "yanked": single("yanked", "yanked", _BOOLS, "true or false", "is yanked: {}", per_file=True, only=PYPI, absent=False),
    "status": single("status", "status", _STATUS, "a project status", "has the status {}"),
    "file": _file,
    "license": _license,
    "attested": several("attested", "attested", "is attested by {}", only=PYPI),
    "scan": _scan,
    "vulnerability": several("vulnerability", "vulnerabilities", "has the vulnerability {}"),
    "direct_url": several("direct_url", "direct_urls", "depends on the direct URL {}", only=PYPI),
    "client.country": _client_country,
    "upstream.blocks_client": _blocks_client,
}  # fmt: skip

#: Facts that a verdict can read, for checks that the noun has them.
FIELDS: Final = frozenset(Facts.__dataclass_fields__)
