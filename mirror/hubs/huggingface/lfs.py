"""The Git LFS batch: which objects of a repository may be had, each under its own name, and where (docs/api/batch.md).

https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md. An object is what some file of the repository holds: it
is found by its digest on the judging page, judged as that file, and given as a link to the file itself. So a link that
is kept, or handed on, gives nothing that the rules of the day would not give.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from aiohttp import web

from mirror.core.decision import EventKind
from mirror.core.errors import HubSaysNo, Malformed, Refused
from mirror.core.nouns import HUGGINGFACE
from mirror.decode import parse_json
from mirror.hubs.huggingface.facts import file_facts
from mirror.hubs.huggingface.intake import read_body
from mirror.hubs.huggingface.paths import Repo, kind_of, parse_repo, parse_revision
from mirror.hubs.huggingface.replies import LFS_TYPE, WRITES_OFF, dressed, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.core.facts import Facts
    from mirror.hubs.huggingface.documents import RepoPage
    from mirror.hubs.huggingface.hub import HuggingFaceHub
    from mirror.reply.routing import Call

_OID: Final = re.compile(r"[0-9a-f]{64}")
#: git-lfs sends 100 at a time (`lfs.transfer.batchSize`).
_MAX_OBJECTS: Final = 1000
_MISSING: Final = "Object does not exist on the server"


@dataclass(frozen=True, slots=True)
class Batch:
    """What is asked for: objects as (digest, size), and the ref that they are wanted for ("": the default branch)."""

    upload: bool
    ref: str
    objects: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class _Shelf:
    """One commit in which objects are looked for: its page, the facts of all its files, and names by digest."""

    page: RepoPage
    shared: Facts
    paths: Mapping[str, list[str]]


class LfsRoutes:
    """Handler of the batch."""

    def __init__(self, hub: HuggingFaceHub) -> None:
        """Routes of one instance."""
        self._hub = hub

    async def batch(self, call: Call) -> web.StreamResponse:
        """`POST /{P}ID[.git]/info/lfs/objects/batch`: a read, whatever its method, unless it means to upload."""
        asked = parse_batch(await read_body(call, "the list of objects is too long"))
        if asked.upload:
            await self._hub.gateway.note(EventKind.WRITE_REFUSED, call.actor, call.info, f"{self._hub.name}:{call.raw_path[:500]}")
            return dressed(call, say(403, "Nothing is taken in", WRITES_OFF, "mirror-write"))
        repo = parse_repo(call.match["repo"].removesuffix(".git"), kind_of(call.match.groupdict()))
        shelves = await self._shelves(call, repo, asked, anew=False)
        if _missing(shelves, asked):  # right after a push the lists that are known are older than the objects
            shelves = await self._shelves(call, repo, asked, anew=True)
        rows = [await self._object(call, shelves, oid, size) for oid, size in asked.objects]
        body = json.dumps({"transfer": "basic", "objects": rows, "hash_algo": "sha256"}, ensure_ascii=False).encode()
        headers = {"Content-Type": LFS_TYPE, "Cache-Control": "no-store", "Vary": "Authorization"}
        return web.Response(body=body, headers=headers)

    async def _shelves(self, call: Call, repo: Repo, asked: Batch, *, anew: bool) -> list[_Shelf]:
        """Where objects may be: the default branch, then the ref that the batch names, if that is needed."""
        shelves = [await self._shelf(call, repo, None, asked, anew=anew)]
        if asked.ref and _missing(shelves, asked):
            try:
                shelves.append(await self._shelf(call, repo, parse_revision(quote(asked.ref, safe="")), asked, anew=anew))
            except HubSaysNo as no:
                if no.cause != "missing_revision":  # git names its local branch, which the hub may not have
                    raise
        return shelves

    async def _shelf(self, call: Call, repo: Repo, revision: str | None, asked: Batch, *, anew: bool) -> _Shelf:
        """A commit, after project and caller have passed."""
        hub, credential = self._hub, call.actor.credential
        page = await hub.pages.repository(repo, revision, credential)
        if anew:
            page = await hub.pages.renewed(page, repo, revision, credential)
        await hub.admit_project(call, page)
        await hub.admit_rights(call, page)
        paths = page.paths_of({oid for oid, _ in asked.objects})
        judged = [path for places in paths.values() for path in places]
        return _Shelf(page, await hub.shared_facts(page, credential, hub.gateway.needs(HUGGINGFACE), judged), paths)

    async def _object(self, call: Call, shelves: list[_Shelf], oid: str, size: int) -> dict[str, Any]:
        """One row of the answer. Of several files with these bytes, the first that may be had gives the link."""
        row: dict[str, Any] = {"oid": oid, "size": size}
        places = [(shelf, path) for shelf in shelves for path in shelf.paths.get(oid, ())]
        if not places:
            return row | {"error": {"code": 404, "message": _MISSING}}
        gateway = self._hub.gateway
        for shelf, path in places:
            facts = file_facts(shelf.shared, shelf.page, path)
            verdict = await gateway.judge(call.actor, shelf.page.artifact(path), facts)
            if verdict.effect.serves:
                return row | _link(call, shelf.page, path)
        shelf, path = places[0]
        try:
            await gateway.admit(call.actor, shelf.page.artifact(path), call.info, facts=file_facts(shelf.shared, shelf.page, path))
        except Refused as refused:
            return row | {"error": {"code": refused.decision.verdict.status, "message": refused.decision.sentence}}
        return row | _link(call, shelf.page, path)  # the rules have changed since the line before


def _missing(shelves: list[_Shelf], asked: Batch) -> bool:
    return any(all(oid not in shelf.paths for shelf in shelves) for oid, _ in asked.objects)


def _link(call: Call, page: RepoPage, path: str) -> dict[str, Any]:
    """Where an object is: at its file, by commit. git-lfs adds a credential of its own where it is not told to do without."""
    href = call.public_url + call.mount + Repo.of(page.project).file("resolve", page.commit, path)
    size = page.files[path].size
    told: dict[str, Any] = {"authenticated": True} if page.public else {}
    return told | ({} if size is None else {"size": size}) | {"actions": {"download": {"href": href}}}


def parse_batch(body: bytes) -> Batch:
    """A batch request. Raises `Malformed` for what is none, and for hashes that the hub does not keep."""
    try:
        asked = parse_json(body)
        operation, rows = asked.get("operation"), asked.get("objects")
        ref, transfers = asked.get("ref") or {}, asked.get("transfers") or ["basic"]
        name = ref.get("name") or ""
    except (ValueError, AttributeError) as error:
        raise Malformed("the body is not a batch of Git LFS") from error
    if operation not in ("download", "upload"):
        raise Malformed("the batch's operation is neither download nor upload", status=422)
    if asked.get("hash_algo", "sha256") != "sha256":
        raise Malformed("objects are known by their SHA-256 only", status=409)
    if not isinstance(name, str) or not isinstance(transfers, list) or "basic" not in transfers:
        raise Malformed("the batch admits no 'basic' transfer", status=422)
    if not isinstance(rows, list) or len(rows) > _MAX_OBJECTS:
        raise Malformed(f"the batch's objects are not a list of at most {_MAX_OBJECTS}", status=413 if isinstance(rows, list) else 422)
    return Batch(operation == "upload", name, tuple(_object(row) for row in rows))


def _object(row: Any) -> tuple[str, int]:
    oid, size = (row.get("oid"), row.get("size", 0)) if isinstance(row, dict) else (None, 0)
    if not isinstance(oid, str) or not _OID.fullmatch(oid) or not isinstance(size, int) or size < 0:
        raise Malformed("an object of the batch has no SHA-256 in 'oid', or no size", status=422)
    return oid, size
