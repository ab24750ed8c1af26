"""`mirror policy replay|diff|show`: the policy against what was really asked, and as it was at any moment."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mirror.cli.policy_inputs import CONFIG, JSON, configured, epoch_of, give_up, ledger_of, moment, since
from mirror.cli.signing import in_force
from mirror.core.canonical import canonical, instant
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mirror.config import Config
    from mirror.policy.epoch import Epoch
    from mirror.policy.rules import Policy
    from mirror.watch.archived import ArchivedRules
    from mirror.watch.past import Recomputed, Traffic

_SINCE: Final = click.option("--since", "start", default="30d", show_default=True, metavar="WHEN", help="From when on: 12h, 30d, 8w, a date (UTC) or all.")
_EXAMPLES: Final = click.option("--examples", type=click.IntRange(0), default=10, show_default=True, help="How many changes to spell out; 0: all.")
_AT: Final = click.option("--at", "at", help="Judge every request as if it came then; else each at its own time.")
#: How the texts begin that were signed beside the policy's files.
_BESIDE: Final = ("waivers/", "denies/", "releases/", "refusals/")


# --- replay ----------------------------------------------------------------------------------------------------------


@click.command()
@click.option("--with", "path", type=click.Path(path_type=Path), help="The policy file or folder to judge by.")
@click.option("--verify", "verify", is_flag=True, help="Work out every decision again from its record and the evidence archive, and compare.")
@_SINCE
@_AT
@_EXAMPLES
@CONFIG
@JSON
@click.pass_context
def replay(
    ctx: click.Context, path: Path | None, verify: bool, start: str, at: str | None, examples: int, config_path: Path | None, as_json: bool
) -> None:
    """Judge what was asked once more: --with a new policy, what would have been different, and for whom; or --verify the record.

    Facts are those of the record. With a new policy, catalogue and lists are those of now; what would differ under the rules
    in force too is counted apart. --verify looks at the whole ledger unless --since is given, and exits 1 where a decision is not
    what follows from its record or cannot be worked out.
    """
    try:
        if verify is (path is not None):
            raise InputError([Problem("", "--with", "say either --with FILE or --verify")])
        config = configured(config_path)
        directory, now = ledger_of(config), datetime.now(UTC)
        if verify:
            given = ctx.get_parameter_source("start") is not click.core.ParameterSource.DEFAULT
            sys.exit(asyncio.run(_verify(config, directory, since(start, now) if given else None, as_json=as_json)))
        found = _replayed(config, directory, path, config_path, _Window(since(start, now), moment(at, "--at") if at else None, examples))
    except InputError as error:
        give_up(error.problems, as_json)
    click.echo(json.dumps(found, ensure_ascii=False) if as_json else "\n".join(_replay_page(found)))


@dataclass(frozen=True, slots=True)
class _Window:
    """Which requests are judged again, at which time (None: their own), and how many changes are spelt out."""

    since: datetime | None
    at: datetime | None
    examples: int


def _replayed(config: Config, directory: Path, path: Path | None, config_path: Path | None, window: _Window) -> dict[str, Any]:
    from mirror.policy.replay import changes, summary

    asked_for = epoch_of(config_path, path)
    present = in_force(_named(config_path), epoch_of(config_path, None))
    past = _traffic(directory, present, window)
    found = changes(past.asked, asked_for.policy, now=present.policy, at=window.at)
    return _about(window, past) | {
        "policy": asked_for.policy.digest, "in_force": present.policy.digest, "changed": summary([one for one in found if not one.anyway], window.examples),
        "anyway": summary([one for one in found if one.anyway], window.examples),
    }  # fmt: skip


def _named(config_path: Path | None) -> Path | None:
    return config_path or click.get_current_context().find_object(Path)


def _traffic(directory: Path, epoch: Epoch, window: _Window) -> Traffic:
    from mirror.watch.past import traffic

    return traffic(directory, epoch, window.since)


def _about(window: _Window, past: Traffic) -> dict[str, Any]:
    return {
        "since": instant(window.since) if window.since else None, "at": instant(window.at) if window.at else None,
        "decisions": len(past.asked), "requests": sum(one.times for one in past.asked), "pages": sum(one.page for one in past.asked),
        "unread": past.unread,
    }  # fmt: skip


def _replay_page(found: dict[str, Any]) -> Iterator[str]:
    yield f"{found['decisions']} decisions ({found['requests']} requests, {found['pages']} pages that left something out) since {found['since'] or 'the beginning'}"
    if found["unread"]:
        yield f"{found['unread']} more cannot be read back by this release"
    yield from _changes_page(found["changed"])
    if found["anyway"]["decisions"]:
        yield f"besides, {found['anyway']['decisions']} decisions would be different under the rules in force too (catalogue, lists, waivers or dates have changed):"
        yield from _changes_page(found["anyway"])


def _changes_page(found: dict[str, Any]) -> Iterator[str]:
    yield f"{found['decisions']} would be answered otherwise ({found['requests']} requests, {found['pages']} of them pages)"
    for row in found["effects"]:
        yield f"  {row['before']} -> {row['after']}: {row['decisions']} decisions, {row['requests']} requests"
    for row in found["groups"]:
        yield f"  group {row['group'] or '(none)'}: {row['decisions']} decisions, {row['requests']} requests, {row['clients']} clients"
    for row in found["rules"]:
        yield f"  rule {row['id']}: decides {row['by']}, no longer decides {row['no_longer']}"
    for one in found["examples"]:
        rules = f" ({', '.join(one['after']['rules'])})" if one["after"]["rules"] else ""
        who = f"{one['client'] or '(erased)'} {', '.join(one['groups'])}".rstrip()
        yield f"    {one['artifact']}: {one['before']['effect']} -> {one['after']['effect']}{rules}, {one['requests']}x, {who}"


# --- verify ----------------------------------------------------------------------------------------------------------


def _rules(config: Config) -> ArchivedRules:
    from mirror.store.archive import EvidenceArchive
    from mirror.watch.archived import ArchivedRules

    return ArchivedRules(EvidenceArchive(config.data / "evidence"))


async def _verify(config: Config, directory: Path, start: datetime | None, *, as_json: bool) -> int:
    from mirror.watch.past import recompute

    same = differing = missing = 0
    async for one in recompute(directory, _rules(config), start):
        if one.missing:
            missing += 1
        elif one.deviations:
            differing += 1
        else:
            same += 1
            continue
        click.echo(json.dumps(_deviating(one), ensure_ascii=False) if as_json else "\n".join(_deviating_page(one)))
    total = same + differing + missing
    if as_json:
        click.echo(json.dumps({"decisions": total, "same": same, "different": differing, "not_recomputed": missing, "ok": total == same}))
    else:
        click.echo(f"{same} of {total} decisions follow from their record and the evidence archive; {differing} differ, {missing} cannot be worked out")
    return 0 if total == same else 1


def _deviating(one: Recomputed) -> dict[str, Any]:
    return {
        "seq": one.sequence, "decision": one.decision, "artifact": one.artifact, "version": one.version, "missing": one.missing,
        "notes": list(one.notes), "deviations": [{"part": row.part, "recorded": row.stated, "found": row.found} for row in one.deviations],
    }  # fmt: skip


def _deviating_page(one: Recomputed) -> Iterator[str]:
    by = f", recorded by {one.version}" if one.version else ""
    yield f"seq {one.sequence}, decision {one.decision} on {one.artifact}{by}:"
    if one.missing:
        yield f"  cannot be worked out: {one.missing}"
    for row in one.deviations:
        yield f"  {row.part}: recorded {json.dumps(row.stated, ensure_ascii=False)}, follows {json.dumps(row.found, ensure_ascii=False)}"
    yield from (f"  {note}" for note in one.notes)


# --- diff ------------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@_SINCE
@_AT
@_EXAMPLES
@CONFIG
@JSON
def diff(before: str, after: str, start: str, at: str | None, examples: int, config_path: Path | None, as_json: bool) -> None:
    """Compare two versions of the policy: rules added, removed, changed; and what that means for what was really asked.

    A and B are each a file or folder, `current` (in force now), a SHA-256 as decisions cite it (12 digits are enough), or a date or
    time: what was in force then. Exit 1 where they differ, as diff does.
    """
    from mirror.policy.edits import edits
    from mirror.policy.replay import between, summary

    try:
        # Two files are compared also where the configured policy is not there.
        files = [Path(name) for name in (before, after) if name != "current" and Path(name).exists()]
        config = configured(config_path, files[0] if len(files) == 2 else None)
        window = _Window(since(start, datetime.now(UTC)), moment(at, "--at") if at else None, examples)
        there = config.policy.path is None or config.policy.path.exists()
        present = in_force(_named(config_path), epoch_of(config_path, None)) if there else epoch_of(config_path, files[0])
        old, new = (_version(config, present, name, config_path) for name in (before, after))
        has_ledger = ((config.ledger.path or config.data / "ledger") / "head").exists()
        past = _traffic(ledger_of(config), present, window) if has_ledger else None
    except InputError as error:
        give_up(error.problems, as_json)
    rows = edits(old, new)
    found: dict[str, Any] = {"before": old.digest, "after": new.digest, "edits": rows, "decisions": None}
    if past is not None:
        changed = summary(between(past.asked, old, new, at=window.at), window.examples)
        found["decisions"] = _about(window, past) | {"changed": changed}
    click.echo(json.dumps(found, ensure_ascii=False) if as_json else "\n".join(_diff_page(found)))
    sys.exit(1 if rows or (found["decisions"] and found["decisions"]["changed"]["decisions"]) else 0)


def _diff_page(found: dict[str, Any]) -> Iterator[str]:
    yield f"{found['before'][:12]} -> {found['after'][:12]}"
    marks = {"added": "+", "removed": "-", "changed": "~"}
    for row in found["edits"]:
        yield f"{marks[row['change']]} {row['what']} {row['id']}"
        if row["change"] == "changed":
            for key in dict.fromkeys((*row["from"], *row["to"])):
                yield f"    {key}: {json.dumps(row['from'].get(key), ensure_ascii=False)} -> {json.dumps(row['to'].get(key), ensure_ascii=False)}"
    if not found["edits"]:
        yield "no rule, exception, default or set differs"
    if found["decisions"] is None:
        yield "there is no ledger here: what it means for requests is not known"
        return
    yield f"of {found['decisions']['decisions']} decisions since {found['decisions']['since'] or 'the beginning'}:"
    yield from _changes_page(found["decisions"]["changed"])


def _version(config: Config, present: Epoch, name: str, config_path: Path | None) -> Policy:
    """The policy that `name` means, judging by the catalogue and lists of now. Raises `InputError`."""
    from mirror.watch.archived import NotArchived

    if name == "current":
        return present.policy
    if Path(name).exists():
        return epoch_of(config_path, Path(name)).policy
    try:
        digest = _digest(config, name)
        return asyncio.run(_rules(config).compiled(digest, present.catalogue, present.lineage, present.lists))
    except NotArchived as error:
        raise InputError([Problem(name, "", error.what)]) from None


def _digest(config: Config, name: str) -> str:
    """The digest of a policy that was in force: by the first digits of it, or by a moment. Raises `InputError`."""
    from mirror.watch.past import in_force_at

    if len(name) >= 12 and set(name) <= set("0123456789abcdef"):
        folder = config.data / "evidence" / name[:2]
        known = sorted(one.name for one in folder.glob(f"{name}*")) if folder.is_dir() else []
        if len(known) == 1:
            return known[0]
        raise InputError([Problem(name, "", "names several things in the evidence archive" if known else "is not in the evidence archive")])
    try:
        then = moment(name, "")
    except InputError:
        raise InputError([Problem(name, "", "is neither a file or folder, nor 'current', nor twelve digits of a policy's SHA-256, nor a date or time")]) from None
    found = in_force_at(ledger_of(config), then + timedelta(microseconds=1))
    if found is None:
        raise InputError([Problem(name, "", "is before the ledger begins")])
    return found.digest


# --- show ------------------------------------------------------------------------------------------------------------


@click.command()
@click.option("--at", "at", metavar="WHEN", help="A date (its midnight UTC), a time, or a policy's SHA-256 (12 digits are enough). Now without it.")
@CONFIG
@JSON
def show(at: str | None, config_path: Path | None, as_json: bool) -> None:
    """Print the policy that was in force at a moment, from ledger and evidence archive: every file of it, and who approved it.

    Waivers and emergency denies that were in force with it are files of it.
    """
    from mirror.watch.archived import NotArchived
    from mirror.watch.past import in_force_at

    try:
        config = configured(config_path)
        then = datetime.now(UTC)
        digest = None
        if at is not None and len(at) >= 12 and set(at) <= set("0123456789abcdef"):
            digest = _digest(config, at)
        elif at is not None:
            then = moment(at, "--at")
        found = in_force_at(ledger_of(config), then + timedelta(microseconds=1))
        if digest is None and found is None:
            raise InputError([Problem("", "--at", f"{instant(then)} is before the ledger begins")])
        digest = digest or (found.digest if found else "")
        texts = asyncio.run(_rules(config).policy_texts(digest))
    except NotArchived as error:
        give_up([Problem("", "", error.what)], as_json)
    except InputError as error:
        give_up(error.problems, as_json)
    base = sha256(canonical([list(pair) for pair in texts if not pair[0].startswith(_BESIDE)])).hexdigest()
    approval = found.approvals.get(base) if found is not None else None
    row = {
        "policy": digest, "since": found.since if found is not None and found.digest == digest else None, "approval": approval,
        "files": [{"name": name, "text": text} for name, text in texts],
    }  # fmt: skip
    click.echo(json.dumps(row, ensure_ascii=False) if as_json else "\n".join(_policy_page(row)))


def _policy_page(row: Mapping[str, Any]) -> Iterator[str]:
    yield f"# policy {row['policy']}" + (f", in force since {row['since']}" if row["since"] else "")
    approval = row["approval"]
    if approval is not None:
        yield f"# activation {approval['number']}, requested by {approval['requested_by']}, approved by {', '.join(approval['approved_by'])} ({approval['at']})"
    else:
        yield "# activated without signatures, by whoever could write the file"
    for file in row["files"]:
        yield f"# --- {file['name']} ---"
        yield file["text"].rstrip("\n")


COMMANDS = (replay, diff, show)
