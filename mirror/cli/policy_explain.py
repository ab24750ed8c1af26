"""`mirror policy explain`: how a verdict comes about, of an artifact now or of a decision on the record."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirror.cli.policy_inputs import CONFIG, JSON, configured, epoch_or_exit, give_up, ledger_of, moment
from mirror.cli.signing import in_force
from mirror.cli.views import people_shown, view_option, without_people
from mirror.core.actor import Actor
from mirror.core.errors import InputError, Problem
from mirror.core.ids import is_ulid
from mirror.core.purl import parse_loose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.config import Config
    from mirror.core.facts import Facts
    from mirror.core.nouns import Artifact
    from mirror.policy.epoch import Epoch
    from mirror.watch.past import Recomputed


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of `explain`."""

    artifact: Artifact
    actor: Actor
    facts: dict[str, Any]
    now: datetime


@click.command()
@click.argument("artifact", metavar="ARTIFACT|DECISION")
@click.option("--as", "--group", "groups", multiple=True, metavar="GROUP", help="Ask as a member of this group (repeatable).")
@click.option("--country", help="The client's country (ISO 3166-1 alpha-2); else the group's.")
@click.option("--address", default="", help="The client's address, for rules on networks.")
@click.option("--at", "at", help="The time to judge at: a date, or a time with offset. Now without it.")
@click.option("--facts", "facts_path", type=click.Path(path_type=Path), help="YAML or JSON: facts as in a policy's tests; - reads them from standard input.")
@click.option("--policy", "path", type=click.Path(path_type=Path), help="A policy file or folder instead of the configured one.")
@view_option
@CONFIG
@JSON
def explain(
    artifact: str, groups: tuple[str, ...], country: str | None, address: str, at: str | None, facts_path: Path | None,
    path: Path | None, view: str | None, config_path: Path | None, as_json: bool,
) -> None:
    """Show how the rules come to their verdict on ARTIFACT (a package URL, or org/name for a model), or came to DECISION (an id).

    Offline. Of an artifact: the catalogue, the shipped lineage, what this mirror has cached of the hub's pages, and what --facts
    says instead; waivers and emergency denies too. Of a decision: its record and the evidence archive, nothing else. Exit 1
    where it would not be served, or where a decision is not what follows from its record.
    """
    if is_ulid(artifact.upper()):
        try:
            if groups or country or address or at or facts_path or path:
                raise InputError([Problem("", "DECISION", "is explained by its record: it takes no --as, --country, --address, --at, --facts or --policy")])
            sys.exit(_explain_decision(artifact.upper(), config_path, view, as_json=as_json))
        except InputError as error:
            give_up(error.problems, as_json)
    if view is not None:
        give_up([Problem("", "--view", "is for a decision on the record: of an artifact nobody has asked")], as_json)
    epoch = epoch_or_exit(config_path, path, as_json)
    try:
        if path is None:
            epoch = in_force(config_path or click.get_current_context().find_object(Path), epoch)
        config = configured(config_path, path)
        asked = _question(artifact, groups, country, address, at, facts_path, config)
        _defined(groups, epoch, config)
        facts, notes = _facts_of(asked, epoch, config, str(facts_path or "facts"))
    except InputError as error:
        give_up(error.problems, as_json)
    sys.exit(_explain_artifact(epoch, asked, facts, notes, as_json=as_json))


# --- an artifact -----------------------------------------------------------------------------------------------------


def _explain_artifact(epoch: Epoch, asked: _Question, facts: Facts, notes: list[str], *, as_json: bool) -> int:
    from mirror.policy.explain import explain as derivation

    found = derivation(epoch.policy, asked.artifact, facts, asked.actor, asked.now)
    if as_json:
        trace = {key: found[key] for key in ("default", "determining")} | {"trace": found["rules"]}
        click.echo(json.dumps(_decision(epoch, asked, facts) | trace, ensure_ascii=False))
    else:
        click.echo("\n".join([*page_of(found), *notes]))
    return 0 if found["effect"] in ("allow", "warn") else 1


def _facts_of(asked: _Question, epoch: Epoch, config: Config, source: str) -> tuple[Facts, list[str]]:
    """What is known of the artifact here: what is stated, else what is cached, and what follows from both."""
    from mirror.cli.policy_cached import cached_facts
    from mirror.core.facts import Facts
    from mirror.policy.given import complete_facts, read_facts

    stated = read_facts(asked.facts, epoch.catalogue, asked.now, source, "", asked.artifact.project)
    cached, note = asyncio.run(cached_facts(config, epoch, asked.artifact)) if config.file is not None else (Facts(), "")
    given = {field.name: getattr(stated, field.name) for field in fields(Facts) if field.name != "evidence" and getattr(stated, field.name) is not None}
    return complete_facts(replace(cached, **given), asked.artifact, epoch.catalogue, epoch.lineage), [note] if note else []


def _question(
    artifact: str, groups: tuple[str, ...], country: str | None, address: str, at: str | None, facts_path: Path | None, config: Config
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
        now = moment(at, "--at") if at is not None else now
    except InputError as error:
        problems += error.problems
    try:
        facts = _stated(facts_path)
    except InputError as error:
        problems += error.problems
    if problems or thing is None:
        raise InputError(problems)
    return _Question(thing, _actor(groups, country, address, config), facts, now)


def _defined(groups: tuple[str, ...], epoch: Epoch, config: Config) -> None:
    """Raise `InputError` for a group that neither the configuration nor any rule knows: nobody is in it, and its verdict means nothing."""
    ruled = {name for rule in epoch.policy.rules for name in rule.scope.groups | rule.scope.not_groups}
    unknown = [name for name in groups if name not in config.clients.groups and name not in ruled]
    if unknown and config.file is not None:
        there = ", ".join(config.clients.groups) or "none"
        raise InputError([Problem("", "--as", f"clients.groups has no group {name!r}; there are: {there}") for name in unknown])


def _actor(groups: tuple[str, ...], country: str | None, address: str, config: Config) -> Actor:
    """A member of `groups` as the mirror would know one: with their country, jurisdictions and entity."""
    known = [row for name, row in config.clients.groups.items() if name in groups]
    home = country.upper() if country else next((row.country for row in known if row.country), None)
    return Actor(
        "explain", groups, address, home, "stated" if country else "group" if home else "",
        next((row.entity for row in known if row.entity), ""), tuple(sorted({code for row in known for code in row.jurisdiction})),
    )  # fmt: skip


def _stated(path: Path | None) -> dict[str, Any]:
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


# --- a decision ------------------------------------------------------------------------------------------------------


def _explain_decision(identity: str, config_path: Path | None, view: str | None, *, as_json: bool) -> int:
    """Print the derivation of a recorded decision; gives the exit code. Raises `InputError` where there is none of that id."""
    from mirror.policy.explain import explain as derivation
    from mirror.store.archive import EvidenceArchive
    from mirror.watch.archived import ArchivedRules, NotArchived
    from mirror.watch.past import case_of, find, recomputed

    config = configured(config_path)
    directory = ledger_of(config)
    record = find(directory, identity)
    if record is None:
        raise InputError([Problem(str(directory), "", f"no decision {identity} is on the record; plain permissions go when `ledger.retention.allows` is over")])
    people = people_shown(config, view, "policy explain", {"decision": identity})
    rules = ArchivedRules(EvidenceArchive(config.data / "evidence"))
    stated = (record if people else without_people(record))["decision"]

    async def worked_out() -> tuple[Recomputed, dict[str, Any] | None]:
        checked = await recomputed(record, rules)
        try:
            revived = await rules.of(record["decision"])
            case = case_of(record, revived.epoch.catalogue)
        except (NotArchived, ValueError, TypeError, KeyError):
            return checked, None
        return checked, derivation(revived.epoch.policy, case.artifact, case.facts, case.actor, case.at)

    checked, found = asyncio.run(worked_out())
    told = {"same": not checked.deviations and not checked.missing, "missing": checked.missing, "notes": list(checked.notes)}
    told["deviations"] = [{"part": one.part, "recorded": one.stated, "found": one.found} for one in checked.deviations]
    if as_json:
        trace = {} if found is None else {"default": found["default"], "determining": found["determining"], "trace": found["rules"]}
        click.echo(json.dumps(stated | trace | {"recomputed": told}, ensure_ascii=False))
    else:
        click.echo("\n".join(_told(record, checked, found, people=people)))
    return 0 if stated["effect"] in ("allow", "warn") and told["same"] else 1


def _told(record: dict[str, Any], checked: Recomputed, found: dict[str, Any] | None, *, people: bool) -> Iterator[str]:
    stated, actor = record["decision"], record["decision"]["actor"]
    groups = f" of {', '.join(actor['groups'])}" if actor["groups"] else ""
    yield f"{stated['id']} ({record['kind']}, seq {record['seq']}): {stated['artifact']}"
    who = (actor["name"] or "somebody (erased)") if people else "somebody (not shown)"
    yield f"  at {stated['at']} to {who}{groups}, {actor['country'] or 'country unknown'}"
    yield f"  under policy {stated['policy'][:12]}, catalogue {stated['catalogue'][:12]}" + "".join(f", {name} {edition}" for name, edition in stated["lists"].items())
    if record["kind"] == "steered":
        yield f"  a page that left out {record['detail']['left_out']}; this is of {record['detail'].get('judged', 'what was refused most severely')}"
    yield f"  on the record: {stated['effect']}: {stated['sentence']}"
    if found is not None:
        yield from page_of(found)
    else:
        for name, fact in stated["facts"].items():
            yield f"  {name}: {_shown(fact['value'])}  [{fact['source']}, {fact['confidence']}]"
        for rule in stated["rules"]:
            yield f"rule {rule['id']}: {rule['effect']}: {rule.get('cause', '')}"
    if checked.missing:
        yield f"cannot be worked out again: {checked.missing}"
    for one in checked.deviations:
        yield f"DIFFERS in {one.part}: recorded {json.dumps(one.stated, ensure_ascii=False)}, follows {json.dumps(one.found, ensure_ascii=False)}"
    if not checked.missing and not checked.deviations:
        yield "worked out again from record and archive: the same"
    yield from checked.notes


def page_of(found: dict[str, Any]) -> Iterator[str]:
    """A derivation (`policy.explain.explain`) for people."""
    yield found["sentence"]
    decided = f", decided by {', '.join(found['determining'])}" if found["determining"] else f", by default ({found['default']})"
    yield f"effect {found['effect']}{decided}" + (f"; would be {found['would']} with audit rules" if found["would"] != found["effect"] else "")
    if found["whole"]:
        yield "  no file is named: what is asked of single files holds for none; add #path to a model, ?file_name= to a package"
    for name, fact in found["facts"].items():
        yield f"  {name}: {_shown(fact['value'])}" + (f"  [{fact['source']}, {fact['confidence']}]" if fact["value"] is not None else "")
    for edge in found["lineage"]:
        ends = f", then {edge['missing']}" if edge["missing"] else ""
        yield f"  {edge['from']} <- {edge['to']} ({edge['relation']}, {edge['evidence']}, {edge['confidence'] / 100:.0f} %{ends})"
    for match in found["matches"]:
        said = f", {match['finding']}" if match["finding"] else ""
        yield f"  on list {match['list']} ({match['edition']}): '{match['name']}', {match['score'] / 100:.1f} % by {match['via'] or 'name'}{said}"
    for rule in found["rules"]:
        gives = f" -> {rule['gives']}" if rule["gives"] else ""
        lifted = f", lifted by {rule['exception']}" if rule["exception"] else ""
        audit = " (audit)" if rule["mode"] == "audit" else ""
        yield f"rule {rule['id']}{audit}: {rule['outcome']}{gives}{lifted}" + (f": {rule['why']}" if rule["why"] else "")
        for one in rule["conditions"]:
            yield f"    {one['condition']}: {one['held']}" + (f" ({one['why']})" if one["why"] else "")
    if found["valid_until"]:
        yield f"valid until {found['valid_until']}"


def _shown(value: Any) -> Any:
    if value is None:
        return "unknown"
    if isinstance(value, dict):
        return value["entity"]
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else value


COMMANDS = (explain,)
