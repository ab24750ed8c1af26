"""`mirror policy`: whether the rules are sound, whether their own tests hold, and what they say of one artifact."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from mirror.core.actor import Actor
from mirror.core.errors import InputError, Problem
from mirror.core.purl import parse_loose

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.core.facts import Facts
    from mirror.core.nouns import Artifact
    from mirror.policy.epoch import Epoch

_CONFIG = click.option(
    "-c", "--config", "config_path", type=click.Path(path_type=Path), help="Configuration file (else $MIRROR_CONFIG)."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="JSON; a list becomes JSON Lines.")
_PATH = click.argument("path", required=False, type=click.Path(path_type=Path))


@click.group()
def policy() -> None:
    """Check, test and explain the rules. Nothing here needs the server or the network."""


@policy.command()
@_PATH
@_CONFIG
@_JSON
def check(path: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Check a policy file or folder (else the configured one): every fault at once.

    Exit 2 for a file that cannot be used, 1 where only its own tests do not hold.
    """
    epoch = _epoch(config_path, path, as_json)
    rules = epoch.policy
    failures = _failures(epoch)
    warnings = [{"level": "warning", **_row(problem)} for problem in rules.warnings]
    failed = [{"level": "test", "source": one.source, "place": one.place, "message": str(one)} for one in failures]
    if as_json:
        _lines([*warnings, *failed])
    else:
        for row in (*warnings, *failed):
            click.echo(f"{row['level']}: {row['source']}: {row['place']}: {row['message']}", err=True)
        counts = {"rule": len(rules.rules), "exception": sum(map(len, rules.exceptions.values())), "test": len(rules.tests)}
        told = ", ".join(f"{count} {what}{'' if count == 1 else 's'}" for what, count in counts.items())
        click.echo(f"{told}, digest {rules.digest[:12]}")
        if not failed:
            click.echo("sound")
    sys.exit(1 if failed else 0)


@policy.command()
@_PATH
@_CONFIG
@_JSON
def test(path: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Run the policy's own tests. Exit 1 where one does not hold."""
    epoch = _epoch(config_path, path, as_json)
    failures = _failures(epoch)
    broken = {(one.source, one.place): one for one in failures}
    for one in epoch.policy.tests:
        failure = broken.get((one.source, one.place))
        if as_json:
            row: dict[str, Any] = {"test": one.name, "source": one.source, "place": one.place, "holds": failure is None}
            if failure is not None:
                row |= {"expected": failure.expected, "found": failure.found, "sentence": failure.sentence}
            _lines([row])
        elif failure is None:
            click.echo(f"ok      {one.name}")
        else:
            click.echo(f"FAILED  {one.name}\n        expected {failure.expected}; found {failure.found}\n        {failure.sentence}")
    if not as_json:
        click.echo(f"{len(epoch.policy.tests) - len(failures)} of {len(epoch.policy.tests)} tests hold")
    sys.exit(1 if failures else 0)


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of `explain`."""

    artifact: Artifact
    actor: Actor
    facts: dict[str, Any]
    now: datetime


@policy.command()
@click.argument("artifact")
@click.option("--as", "--group", "groups", multiple=True, metavar="GROUP", help="Ask as a member of this group (repeatable).")
@click.option("--country", help="The client's country (ISO 3166-1 alpha-2).")
@click.option("--address", default="", help="The client's address, for rules on networks.")
@click.option("--at", "at", help="The time to judge at: a date, or a time with offset. Now without it.")
@click.option("--facts", "facts_path", type=click.Path(path_type=Path), help="YAML or JSON: facts as in a policy's tests; - reads them from standard input.")
@click.option("--policy", "path", type=click.Path(path_type=Path), help="A policy file or folder instead of the configured one.")
@_CONFIG
@_JSON
def explain(
    artifact: str, groups: tuple[str, ...], country: str | None, address: str, at: str | None, facts_path: Path | None,
    path: Path | None, config_path: Path | None, as_json: bool,
) -> None:
    """Show how the rules come to their verdict on ARTIFACT (a package URL, or org/name for a model).

    Offline: the catalogue and the shipped lineage, and what --facts adds. Exit 1 where the artifact would not be served.
    """
    from mirror.policy.explain import explain as derivation
    from mirror.policy.given import complete_facts, read_facts

    epoch = _epoch(config_path, path, as_json)
    try:
        asked = _question(artifact, groups, country, address, at, facts_path)
        source = str(facts_path or "facts")
        stated = read_facts(asked.facts, epoch.catalogue, asked.now, source, "", asked.artifact.project)
    except InputError as error:
        _give_up(error.problems, as_json)
    facts = complete_facts(stated, asked.artifact, epoch.catalogue, epoch.lineage)
    found = derivation(epoch.policy, asked.artifact, facts, asked.actor, asked.now)
    if as_json:
        trace = {key: found[key] for key in ("default", "determining")} | {"trace": found["rules"]}
        click.echo(json.dumps(_decision(epoch, asked, facts) | trace, ensure_ascii=False))
    else:
        click.echo("\n".join(_page(found)))
    sys.exit(0 if found["effect"] in ("allow", "warn") else 1)


# --- input -------------------------------------------------------------------------------------------------------


def _epoch(config_path: Path | None, path: Path | None, as_json: bool) -> Epoch:
    """Everything that judges, also where only the policy's own tests do not hold. Exit 2 with every problem."""
    from mirror import config as configuration
    from mirror.policy.compile import FailedTest
    from mirror.policy.epoch import Epoch
    from mirror.proxy.rulebook import load_epoch

    try:
        loaded = configuration.load(config_path or click.get_current_context().find_object(Path), os.environ)
        if path is not None and not path.exists():
            raise InputError([Problem(str(path), "", "no such file or folder")])
        groups = None if loaded.file is None else loaded.clients.groups  # without a configuration nobody knows the groups
        return load_epoch(path if path is not None else loaded.policy.path, loaded.catalogue, loaded.lists, groups=groups)
    except InputError as error:
        first = error.problems[0]
        if all(isinstance(problem, FailedTest) for problem in error.problems) and isinstance(first, FailedTest) and first.whole:
            whole = first.whole
            return Epoch(0, whole.policy, whole.catalogue, whole.lineage, whole.lists)
        _give_up(error.problems, as_json)


def _question(
    artifact: str, groups: tuple[str, ...], country: str | None, address: str, at: str | None, facts_path: Path | None
) -> _Question:
    from mirror.policy.countries import CODES

    problems = []
    now, thing, facts = datetime.now(UTC), None, {}
    try:
        thing = parse_loose(artifact)
    except ValueError as error:
        problems.append(Problem("", "ARTIFACT", str(error)))
    if country is not None and country.upper() not in CODES:
        problems.append(Problem("", "--country", f"{country!r} is not an ISO 3166-1 code"))
    try:
        now = _moment(at) or now
    except ValueError:
        problems.append(Problem("", "--at", f"{at!r} is not a date or time"))
    try:
        facts = _facts(facts_path)
    except InputError as error:
        problems += error.problems
    if problems or thing is None:
        raise InputError(problems)
    actor = Actor("explain", groups, address, country.upper() if country else None, "stated" if country else "")
    return _Question(thing, actor, facts, now)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _facts(path: Path | None) -> dict[str, Any]:
    from mirror.decode import load_yaml

    if path is None:
        return {}
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError([Problem(str(path), "", error.strerror or "cannot be read")]) from None
    except UnicodeDecodeError as error:
        raise InputError([Problem(str(path), f"byte {error.start}", "not UTF-8")]) from None
    found = load_yaml(text, str(path))
    if not isinstance(found, dict):
        raise InputError([Problem(str(path), "", "expected a mapping of facts")])
    return found


# --- output ------------------------------------------------------------------------------------------------------


def _decision(epoch: Epoch, asked: _Question, facts: Facts) -> dict[str, Any]:
    """The decision as everything else prints it (`docs/schema/decision.json`); `id` is null, for nothing was recorded."""
    from mirror.audit.record import decision_json
    from mirror.core.decision import Decision, RequestInfo
    from mirror.policy.evaluate import evaluate

    verdict = evaluate(epoch.policy, asked.artifact, facts, asked.actor, asked.now)
    decision = Decision(
        id="", at=asked.now, verdict=verdict, sentence=verdict.sentence, artifact=asked.artifact, actor=asked.actor,
        facts=facts, policy=epoch.policy.digest, catalogue=epoch.catalogue.digest, lists=epoch.editions,
        request=RequestInfo("", "", "", ""), status=verdict.status,
    )  # fmt: skip
    return decision_json(decision) | {"id": None}


def _failures(epoch: Epoch) -> list[Any]:
    from mirror.policy.compile import reference_time
    from mirror.policy.evaluate import run_tests

    return run_tests(epoch.policy, epoch.catalogue, epoch.lineage, reference_time(epoch.policy))


def _row(problem: Problem) -> dict[str, str]:
    return {"source": problem.source, "place": problem.place, "message": problem.message}


def _lines(rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        click.echo(json.dumps(row, ensure_ascii=False))


def _give_up(problems: Iterable[Problem], as_json: bool) -> NoReturn:
    """Exit 2: every problem on standard error, as JSON Lines on standard output where asked."""
    if as_json:
        _lines({"level": "error", **_row(problem)} for problem in problems)
    else:
        for problem in problems:
            click.echo(str(problem), err=True)
    sys.exit(2)


def _page(found: dict[str, Any]) -> Iterable[str]:
    yield found["sentence"]
    yield f"effect {found['effect']}" + (f", would be {found['would']} with audit rules" if found["would"] != found["effect"] else "")
    if found["whole"]:
        yield "  no file is named: what is asked of single files holds for none; add #path to a model, ?file_name= to a package"
    for name, fact in found["facts"].items():
        value = fact["value"]
        shown = "unknown" if value is None else value["entity"] if isinstance(value, dict) else ", ".join(map(str, value)) if isinstance(value, list) else value
        yield f"  {name}: {shown}" + (f"  [{fact['source']}, {fact['confidence']}]" if value is not None else "")
    for edge in found["lineage"]:
        yield f"  {edge['from']} <- {edge['to']} ({edge['relation']}, {edge['evidence']})"
    for rule in found["rules"]:
        gives = f" -> {rule['gives']}" if rule["gives"] else ""
        lifted = f", lifted by {rule['exception']}" if rule["exception"] else ""
        audit = " (audit)" if rule["mode"] == "audit" else ""
        yield f"rule {rule['id']}{audit}: {rule['outcome']}{gives}{lifted}" + (f": {rule['why']}" if rule["why"] else "")
        for one in rule["conditions"]:
            yield f"    {one['condition']}: {one['held']}" + (f" ({one['why']})" if one["why"] else "")
    if found["valid_until"]:
        yield f"valid until {found['valid_until']}"


#: What `mirror.cli.main` loads.
command = policy
