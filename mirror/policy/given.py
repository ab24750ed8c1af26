"""Situations written down: the facts of a policy's own tests and of `policy explain --facts`, and how a test is run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from mirror.core.actor import Actor
from mirror.core.decision import Mode, Verdict
from mirror.core.errors import InputError, Problem
from mirror.core.facts import GRADES, Ancestor, Fact, Facts, Publisher
from mirror.core.nouns import Artifact, FileKind, Project
from mirror.core.purl import parse_loose
from mirror.decode import place_of, unknown_key
from mirror.policy.conditions import SCANS
from mirror.policy.countries import CODES
from mirror.policy.derive import codes, derive
from mirror.policy.measures import size

if TYPE_CHECKING:
    from mirror.policy.catalogue import Catalogue
    from mirror.policy.grammar import ExpectText
    from mirror.policy.lineage import Lineage
    from mirror.policy.rules import Policy

Evaluate = Callable[["Policy", Artifact, Facts, Actor, datetime], Verdict]


@dataclass(frozen=True, slots=True)
class PolicyTest:
    """One test of a policy, ready to run. `now` None leaves the time to the runner."""

    name: str
    source: str
    place: str
    artifact: Artifact
    facts: Mapping[str, Any]
    actor: Actor
    now: datetime | None
    expect: ExpectText


@dataclass(frozen=True, slots=True)
class Failure:
    """A test that does not hold: what was `expected` and what came, with the verdict's sentence."""

    test: str
    source: str
    place: str
    expected: str
    found: str
    sentence: str

    def __str__(self) -> str:
        return f"test '{self.test}': expected {self.expected}, found {self.found} ({self.sentence})"


# --- facts -------------------------------------------------------------------------------------------------------


def read_facts(raw: Mapping[str, Any], catalogue: Catalogue, now: datetime, source: str, place: str, child: Project) -> Facts:
    """Facts written as YAML: a plain value, or `{value, source, confidence}`. Raises `InputError` with every problem.

    Names are those of the conditions (`origin`, `license`, `kind`, `age_days`, …) or of `core.facts.Facts`;
    `publisher` is an id, an entity's name or a handle of the catalogue; `ancestors` a list of `{project, relation}`.
    A value of null says that the fact is unknown.
    """
    problems: list[Problem] = []
    found: dict[str, Any] = {}
    reading = _Reading(catalogue, now, child)
    for key, value in raw.items():
        name = _NAMES.get(key, key)
        if name not in _READERS:
            problems.append(Problem(source, place, unknown_key(str(key), [*_READERS, *_NAMES])))
            continue
        plain, said, grade = value, "stated", "A"
        if isinstance(value, Mapping) and "value" in value and set(value) <= {"value", "source", "confidence"}:
            plain, said, grade = value["value"], str(value.get("source", "stated")), value.get("confidence", "A")
        try:
            if grade not in GRADES:
                raise ValueError(f"{grade!r} is not a grade of evidence ({', '.join(GRADES)})")
            wanted = "age_days" if key == "age_days" else name
            found[name] = Fact(None if plain is None else _READERS[wanted](reading, plain), said, grade)
        except ValueError as error:
            problems.append(Problem(source, place_of([key], place), str(error)))
    if problems:
        raise InputError(problems)
    return Facts(**found)


@dataclass(frozen=True, slots=True)
class _Reading:
    catalogue: Catalogue
    now: datetime
    child: Project


def _countries(reading: _Reading, value: Any) -> tuple[str, ...]:
    found = tuple(str(item).upper() for item in (value if isinstance(value, list) else [value]))
    for code in found:
        if code not in CODES:
            raise ValueError(f"{code!r} is not an ISO 3166-1 code")
    return tuple(sorted(found))


def _blocked(reading: _Reading, value: Any) -> tuple[str, ...]:
    return ("*",) if value in ("*", ["*"]) else _countries(reading, value) if value else ()


def _who(reading: _Reading, value: Any) -> Publisher:
    text = str(value).removeprefix("entity:").strip()
    found = reading.catalogue.entities(text)
    one = found[0] if found else reading.catalogue.by_handle(reading.child.ecosystem, text)
    if one is None:
        raise ValueError(f"no publisher in the catalogue is called {text!r}")
    return one


def _walk(reading: _Reading, value: Any) -> tuple[Ancestor, ...]:
    if not isinstance(value, list):
        raise ValueError("expected a list of ancestors")  # noqa: TRY004 - reported like every other bad value
    found: list[Ancestor] = []
    for item in value:
        given = {"project": item} if isinstance(item, str) else item
        known = ("project", "child", "relation", "evidence", "confidence", "publisher", "countries", "missing")
        if not isinstance(given, Mapping) or "project" not in given or not set(given) <= set(known):
            raise ValueError(f"an ancestor is a package URL or a mapping of {', '.join(known)}")
        child = parse_loose(given["child"]).project if "child" in given else reading.child
        below = next((edge.depth for edge in found if edge.project == child), 0)
        found.append(_edge(reading, given, child, below + 1))
    return tuple(sorted(found, key=lambda edge: edge.depth))


def _edge(reading: _Reading, given: Mapping[str, Any], child: Project, depth: int) -> Ancestor:
    share = given.get("confidence", 1.0)
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
        raise ValueError(f"{share!r} is not a confidence from 0 to 1")
    publisher = _who(reading, given["publisher"]) if given.get("publisher") else None
    countries = _countries(reading, given["countries"]) if given.get("countries") else None
    if publisher is not None and countries is None:
        countries = codes(reading.catalogue.countries_of(publisher)) or None
    return Ancestor(
        parse_loose(str(given["project"])).project, child, str(given.get("relation", "unknown")),
        str(given.get("evidence", "declared")), round(share * 10_000), depth, publisher, countries, str(given.get("missing", "")),
    )  # fmt: skip


def _texts(_reading: _Reading, value: Any) -> tuple[str, ...]:
    return tuple(str(item) for item in (value if isinstance(value, list) else [value] if value else []))


def _moment(_reading: _Reading, value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    raise ValueError(f"{value!r} is not a date")


def _days_ago(reading: _Reading, value: Any) -> datetime:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{value!r} is not a number of days")  # noqa: TRY004 - reported like every other bad value
    return reading.now - timedelta(days=value)


def _kind(_reading: _Reading, value: Any) -> FileKind:
    if value not in {kind.value for kind in FileKind}:
        raise ValueError(f"{value!r} is not a kind of file; known: {', '.join(FileKind)}")
    return FileKind(value)


def _flag(_reading: _Reading, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, found {value!r}")  # noqa: TRY004 - reported like every other bad value
    return value


def _verdict(_reading: _Reading, value: Any) -> str:
    if value not in SCANS:
        raise ValueError(f"{value!r} is not a verdict of a scan; known: {', '.join(SCANS)}")
    return str(value)


def _word(_reading: _Reading, value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_READERS: Final[Mapping[str, Callable[[_Reading, Any], Any]]] = {
    "publisher": _who, "publisher_countries": _countries, "origin": _countries, "ancestors": _walk, "license": _texts,
    "file_kind": _kind, "size": lambda _reading, value: int(size(value)), "published_at": _moment, "age_days": _days_ago,
    "gated": _word, "yanked": _flag, "status": _word, "attested": _word, "scan": _verdict, "vulnerabilities": _texts,
    "direct_urls": _texts, "blocked_countries": _blocked, "names": _texts, "claims": _texts,
}  # fmt: skip
_NAMES: Final = {
    "kind": "file_kind", "age_days": "published_at", "publisher.country": "publisher_countries",
    "vulnerability": "vulnerabilities", "direct_url": "direct_urls", "lineage": "ancestors",
}  # fmt: skip

#: What a file's name says of its kind, where a test or a person at a terminal states no kind.
_ENDINGS: Final = (
    (FileKind.METADATA, r"\.metadata$"), (FileKind.WHEEL, r"\.whl$"), (FileKind.SDIST, r"\.(tar\.gz|zip)$"),
    (FileKind.WEIGHTS, r"\.(safetensors|gguf|ggml|bin|pt|pth|ckpt|h5|onnx|msgpack|pkl|tflite|npz)$"),
    (FileKind.TOKENIZER, r"(^|/)(tokenizer|vocab|merges|special_tokens|added_tokens)[^/]*$"), (FileKind.CODE, r"\.(py|ipynb|sh|cu|cpp|so)$"),
    (FileKind.DATA, r"\.(parquet|arrow|csv|jsonl|tsv)$"), (FileKind.CONFIG, r"\.(json|ya?ml|toml|txt|md)$"),
)  # fmt: skip


def guess_kind(path: str) -> FileKind:
    """The kind of file that a name suggests: for situations in writing only; requests take the hub's word."""
    return next((kind for kind, ending in _ENDINGS if re.search(ending, path.casefold())), FileKind.OTHER)


# --- running -----------------------------------------------------------------------------------------------------


def situation(test: PolicyTest, catalogue: Catalogue, lineage: Lineage, now: datetime) -> tuple[Facts, datetime]:
    """The derived facts of a test and its time."""
    moment = test.now or now
    facts = read_facts(test.facts, catalogue, moment, test.source, f"{test.place}.given.facts", test.artifact.project)
    return complete_facts(facts, test.artifact, catalogue, lineage), moment


def complete_facts(facts: Facts, artifact: Artifact, catalogue: Catalogue, lineage: Lineage) -> Facts:
    """Facts in writing with what follows from them: the file's kind by its name, then catalogue and lineage."""
    if facts.file_kind is None and artifact.path:
        facts = replace(facts, file_kind=Fact(guess_kind(artifact.path), "file name", "B"))
    return derive(facts, artifact, catalogue, lineage)


def run_one(
    test: PolicyTest, policy: Policy, catalogue: Catalogue, lineage: Lineage, now: datetime, evaluate: Evaluate
) -> Sequence[Failure]:
    """What of a test does not hold: nothing, or one failure naming every part."""
    facts, moment = situation(test, catalogue, lineage, now)
    verdict = evaluate(policy, test.artifact, facts, test.actor, moment)
    wrong = list(_differences(test.expect, verdict))
    if not wrong:
        return ()
    expected, found = "; ".join(part for part, _ in wrong), "; ".join(part for _, part in wrong)
    return (Failure(test.name, test.source, test.place, expected, found, verdict.sentence),)


def _differences(expect: ExpectText, verdict: Verdict) -> list[tuple[str, str]]:
    wrong = []
    if expect.effect is not None and expect.effect != verdict.effect.word:
        wrong.append((f"effect {expect.effect}", verdict.effect.word))
    if expect.rules is not None:
        decided = [hit.id for hit in verdict.rules if hit.mode is Mode.ENFORCE and not hit.exception and hit.effect is verdict.effect]
        if (not expect.rules and decided) or not set(expect.rules) <= set(decided):
            wrong.append((f"rules {', '.join(expect.rules) or 'none'}", ", ".join(decided) or "no rule"))
    if isinstance(expect.would, str):
        if expect.would != verdict.would.word:
            wrong.append((f"would {expect.would}", verdict.would.word))
    elif expect.would is not None:
        audited = [hit.id for hit in verdict.rules if hit.mode is Mode.AUDIT]
        if (not expect.would and audited) or not set(expect.would) <= set(audited):
            wrong.append((f"would {', '.join(expect.would) or 'none'}", ", ".join(audited) or "no audit rule"))
    if expect.sentence is not None and expect.sentence not in verdict.sentence:
        wrong.append((f"a sentence with {expect.sentence!r}", "another"))
    return wrong
