"""`mirror publisher unknown`: of whom the catalogue knows nothing although much of theirs is downloaded."""

from __future__ import annotations

import asyncio
import json
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, count
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import click

from mirror.policy.accounts import own_domain, read_claim, settle

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from mirror.config import Config
    from mirror.core.traffic import Seen
    from mirror.index.sql import SqlIndex
    from mirror.policy.catalogue import Catalogue

#: Of how many strangers, those with most decisions, downloads are counted; and how many records of each are read.
_CANDIDATES: Final = 500
_RECORDS: Final = 5_000
_PAGE: Final = 500
#: The keys of an entry in the order of a pack.
_KEYS: Final = ("id", "entity", "kind", "role", "handles", "projects", "countries", "web", "confidence")
_FORGES: Final = {"github": "https://github.com", "gitlab": "https://gitlab.com"}


@dataclass(frozen=True, slots=True)
class Stranger:
    """An owner on a hub, or a package, of whom the catalogue knows nobody. `claims` are those of the newest decision."""

    ecosystem: str
    owner: str
    projects: tuple[str, ...]
    downloads: int
    last: datetime
    names: tuple[str, ...]
    claims: tuple[str, ...]
    attested: str

    @property
    def called(self) -> str:
        """The handle, or the package."""
        return self.owner or self.projects[0]


@click.command()
@click.option("--since", default="30d", show_default=True, metavar="WHEN", help="12h, 30d, 8w, a date (UTC) or all.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 500))
@click.option("-c", "--config", "config_path", type=click.Path(), help="Configuration file (else $MIRROR_CONFIG).")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines, each with its overlay entry.")
@click.pass_context
def unknown(ctx: click.Context, since: str, limit: int, config_path: str | None, as_json: bool) -> None:
    """List whom the catalogue does not know, by downloads, with an entry for an overlay that is filled in as far as can be.

    Nothing of an entry is checked: whoever adds it says what the entity is, where it sits, and how that is known.
    """
    from pathlib import Path as FilePath

    import mirror.cli.publisher as shared

    config = shared.configured(FilePath(config_path) if config_path else None)
    catalogue = shared.load(config)
    found = asyncio.run(_strangers(config, catalogue, since))[:limit]
    rows = [row(one, config, entry) for one, entry in zip(found, entries(found, catalogue), strict=True)]
    if as_json:
        for one in rows:
            click.echo(json.dumps(one, ensure_ascii=False))
        return
    if not rows:
        click.echo(f"nobody: the catalogue knows everybody who was downloaded from since {since}")
        return
    click.echo("\n".join(_page(rows)))


def row(one: Stranger, config: Config, entry: Mapping[str, Any]) -> dict[str, Any]:
    """A stranger as JSON, with links to look at and the entry to start from."""
    base = next((hub.upstreams[0] for hub in config.hubs.values() if hub.dialect == one.ecosystem and hub.upstreams), "").rstrip("/")
    card = f"{base}/project/{quote(one.called)}/" if one.ecosystem == "pypi" else f"{base}/{quote(one.projects[0])}"
    return {
        "ecosystem": one.ecosystem, "handle": one.called, "downloads": one.downloads, "last": f"{one.last.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "projects": list(one.projects), "website": website(one, base), "card": card, "attested": one.attested, "claims": list(one.claims),
        "names": list(one.names), "overlay": entry,
    }  # fmt: skip


def website(one: Stranger, base: str) -> str:
    """Where to read who they are: the site of a declared address of their own, else the account on a forge, else that on the hub at `base`."""
    if domains := _domains(one):
        return f"https://{domains[0]}"
    for kind in ("attested", "repository"):
        for forge, _, account in (value.partition(":") for value in _values(one, kind)):
            if forge in _FORGES:
                return f"{_FORGES[forge]}/{quote(account)}"
    return f"{base}/{quote(one.owner)}" if one.owner else ""


def entries(found: Sequence[Stranger], catalogue: Catalogue) -> list[dict[str, Any]]:
    """For each stranger an entry of a pack (SURFACE 5), sound as an overlay of `catalogue`: what is not known is empty, the link graded C.

    Strangers that share an account share one entry. No entry has the id of a publisher that is there: it would replace it.
    """
    made: list[dict[str, Any]] = []
    of_account: dict[tuple[str, str], dict[str, Any]] = {}
    taken: set[str] = set()
    for one in found:
        accounts = _accounts(one)
        entry = next((of_account[account] for account in accounts if account in of_account), None)
        if entry is None:
            entry = _entry(one, _id(one, taken, catalogue))
            taken.add(entry["id"])
        for hub, account in accounts:
            if of_account.setdefault((hub, account), entry) is entry and catalogue.by_handle(hub, account) is None:
                held = entry.setdefault("handles", {}).setdefault(hub, [])
                held += [] if account in held else [account]
        if not one.owner:
            projects = entry.setdefault("projects", {}).setdefault("pypi", [])
            projects += [name for name in one.projects if name not in projects]
        web = [*entry.get("web", ()), *_domains(one)]
        entry |= {"web": list(dict.fromkeys(web))[:3]} if web else {}
        made.append(entry)
    return [{key: entry[key] for key in _KEYS if key in entry} for entry in made]


def _entry(one: Stranger, name: str) -> dict[str, Any]:
    names = [text for text in one.names if text != one.owner]
    return {"id": name, "entity": names[0] if names else one.called, "kind": "company", "role": "developer", "countries": [], "confidence": "C"}


def _accounts(one: Stranger) -> list[tuple[str, str]]:
    """Accounts that are known to be theirs, as (hub, account): not what an uploader declares of himself."""
    told = [value.partition(":") for kind in ("attested", "organisation") for value in _values(one, kind)]
    return [*([(one.ecosystem, one.owner)] if one.owner else []), *((hub, account) for hub, _, account in told)]


def _domains(one: Stranger) -> list[str]:
    return list(dict.fromkeys(name for value in _values(one, "mail") if (name := own_domain(value))))


def _values(one: Stranger, kind: str) -> list[str]:
    return [claim.value for claim in map(read_claim, one.claims) if claim is not None and claim.kind == kind]


def _id(one: Stranger, taken: Collection[str], catalogue: Catalogue) -> str:
    """A readable id that nobody has."""
    plain = unicodedata.normalize("NFKD", one.called).encode("ascii", "ignore").decode().lower()
    first = re.sub(r"[^a-z0-9-]+", "-", plain).strip("-") or "unnamed"
    wanted = chain((first, f"{first}-{one.ecosystem}"), (f"{first}-{number}" for number in count(2)))
    return next(name for name in wanted if name not in taken and catalogue.by_id(name) is None)


def _page(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    import yaml

    lines = ["# downloads  who"]
    for one in rows:
        lines.append(f"# {one['downloads']:>9}  {one['ecosystem']}:{one['handle']}  {one['card']}")
        told = [f"website {one['website']}"] if one["website"] else []
        told += [f"attested {one['attested']}"] if one["attested"] else []
        told += [f"names {', '.join(one['names'][:5])}"] if one["names"] else []
        lines += [f"#            {text}" for text in told]
    overlays = {one["overlay"]["id"]: one["overlay"] for one in rows}
    text = yaml.safe_dump({"version": 1, "publishers": list(overlays.values())}, allow_unicode=True, sort_keys=False, width=120)
    return [*lines, "", "# for an overlay: entity, kind, role and countries are yours to find out (docs/catalogue.md)", text.rstrip()]


async def _strangers(config: Config, catalogue: Catalogue, since: str) -> list[Stranger]:
    """Everybody unknown to the catalogue of today, most downloads first. Raises `InputError`, `IndexDown`."""
    from mirror.cli.policy_inputs import since as moment_of
    from mirror.cli.record_index import record_index

    moment = moment_of(since, datetime.now(UTC))
    async with record_index(config) as index:
        seen = [one for one in await index.seen(moment) if _unresolved(one, catalogue)]
        seen.sort(key=lambda one: one.decisions, reverse=True)
        found = [await _weighed(index, one, moment) for one in seen[:_CANDIDATES]]
    return sorted((one for one in found if one.downloads and not _settled(one, catalogue)), key=lambda one: (-one.downloads, one.ecosystem, one.called))


def _unresolved(one: Seen, catalogue: Catalogue) -> bool:
    from mirror.core.nouns import PYPI, Kind, Project

    if one.publisher:
        return False
    if one.owner:
        return catalogue.by_handle(one.ecosystem, one.owner) is None
    known = catalogue.publisher_of(Project(PYPI, Kind.PACKAGE, one.projects[0])) if one.ecosystem == PYPI and one.projects else None
    return bool(one.projects) and (known is None or known[1] == "D")


def _settled(one: Stranger, catalogue: Catalogue) -> bool:
    """Whether the catalogue of today names who is behind a package, by what its newest decision saw of it."""
    from mirror.core.nouns import PYPI, Kind, Project

    found = settle(Project(PYPI, Kind.PACKAGE, one.projects[0]), one.claims, catalogue) if one.ecosystem == PYPI else None
    return found is not None and found.publisher is not None and found.grade != "D"


async def _weighed(index: SqlIndex, one: Seen, moment: datetime | None) -> Stranger:
    """How often something of theirs was given out: repeats counted, refusals not; and what the newest decision saw."""
    prefix = f"pkg:{one.ecosystem}/" + (f"{quote(one.owner)}/" if one.owner else f"{quote(one.projects[0])}@")
    where = {"artifact": prefix, **({"since": moment.isoformat()} if moment is not None else {})}
    records: list[Mapping[str, Any]] = []
    before: int | None = None
    while len(records) < _RECORDS:
        page = await index.query(where, _PAGE, before)
        records += page
        if len(page) < _PAGE:
            break
        before = page[-1]["seq"]
    given = {record["decision"]["id"] for record in records if record["kind"] == "allowed"}
    downloads = len(given) + sum(int(record.get("count") or 1) for record in records if record["kind"] == "repeated" and record.get("subject") in given)
    newest: Mapping[str, Any] = next((record["decision"]["facts"] for record in records if record["kind"] == "allowed"), {})
    claims = tuple((newest.get("claims") or {}).get("value") or ())
    by = next((claim.split(" ", 2)[2] for claim in claims if claim.startswith("A attested ")), "")
    attested = by or str((newest.get("attested") or {}).get("value") or "")
    return Stranger(one.ecosystem, one.owner, one.projects, downloads, one.last, one.names, claims, attested)
