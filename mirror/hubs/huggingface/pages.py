"""Fetching the hub's pages through the gateway: in whose name, under which key, for how long."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mirror.core.errors import HubSaysNo, NotHere, UpstreamDown, UpstreamGarbage
from mirror.core.nouns import Document, DocumentKey
from mirror.core.ports import Answer, Ask, Grant
from mirror.decode import parse_json
from mirror.hubs.huggingface.access import HIDDEN
from mirror.hubs.huggingface.documents import MOVING, PINNED, RepoPage, load_json, parse_page, says_no
from mirror.hubs.huggingface.known import EVERY_REF, called, led_to, name_key
from mirror.hubs.huggingface.options import Bearer, Options, own_bearer, public_bearer
from mirror.hubs.huggingface.paths import Repo, is_commit, revision_segment, with_query

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.core.actor import Credential
    from mirror.proxy.gateway import Gateway

#: The hub's reasons that take a repository away from everybody who has no right of their own.
WITHDRAWN: Final = frozenset({"private", "missing_repo", "gated", "disabled", "region"})
_PARSED: Final = 512
_ROWS: Final = re.compile(r"/api/[a-z]+(?:\?|$)|/api/[a-z]+(?:/[^/?]+){1,2}/(?:tree|paths-info|commits)/")
#: Names of revisions that no list of references has: beginnings of commits.
_UNLISTED: Final = re.compile(r"[0-9a-f]{4,40}|HEAD")
#: How old a page must be before it is asked for again because something is missing on it.
ANEW: Final = timedelta(seconds=3)
#: A page of a repository with 100,000 files is about 25 MB.
_MAX_PAGE: Final = 128 * 1024 * 1024


class Pages:
    """The hub's pages. Raises throughout: `HubSaysNo`, `NotHere`, `UpstreamError`."""

    def __init__(self, gateway: Gateway, options: Options) -> None:
        """Pages of one instance."""
        self._gateway, self._options = gateway, options
        self._parsed: OrderedDict[tuple[str, str], RepoPage] = OrderedDict()
        self._pinned: OrderedDict[tuple[str, str, str, str], RepoPage] = OrderedDict()

    def renew(self) -> None:
        """Forget which page is that of which commit."""
        self._pinned.clear()

    async def repository(self, repo: Repo, revision: str | None, credential: Credential | None) -> RepoPage:
        """The judging page of `repo` at `revision` (None: the default branch), as this caller may see it.

        First as anybody sees it, so that public pages are one for all and a stale token harms nobody; then in the
        caller's own name. The page's project carries the canonical name, whatever name or case was asked for.
        """
        public, own = public_bearer(self._options), own_bearer(self._options, credential)
        try:
            page = await self._judging(repo, revision, public)
            if page.gone and own != public:
                return await self._own_or_gone(repo, revision, own, page)
            if not page.private or own == public:
                return page
            refusal: Exception = HubSaysNo(401, "RepoNotFound", "Repository not found", "private")
        except (HubSaysNo, UpstreamDown, NotHere) as error:
            refusal = error
        if own != public and (own.credential is not None or own.service):
            return await self._judging(repo, revision, own)
        found = await self._known_commit(repo, revision, own) if isinstance(refusal, (UpstreamDown, NotHere)) else None
        if found is None:
            raise refusal
        return found

    async def renewed(self, page: RepoPage, repo: Repo, revision: str | None, credential: Credential | None) -> RepoPage:
        """A page that does not know what it should, as after a push: asked for again, unless that was seconds ago.

        `page` is what `repository` gave for the same; of a full commit nothing new can be learnt.
        """
        document, now = page.document, self._gateway.clock.now()
        settled = (revision is not None and is_commit(revision)) or document.max_age is None or page.gone or self._gateway.offline
        if settled or abs(now - document.fetched_at) < ANEW:
            return page
        await self._gateway.keep_document(replace(document, max_age=timedelta(0)))
        return await self.repository(repo, revision, credential)

    async def unseen(self, repo: Repo, revision: str, credential: Credential | None) -> bool:
        """Whether the hub will have to be asked for the page of `repo` at `revision`, and nobody has seen it before."""
        if self._gateway.offline or self._gateway.held_off(self._options.name):
            return False
        target = f"{repo.api}/revision/{revision_segment(revision)}?blobs=true"
        for scope in {one.scope for one in (own_bearer(self._options, credential), public_bearer(self._options))}:
            if (repo.kind, repo.name.casefold(), revision, scope) in self._pinned:
                return False
            if await self._gateway.last_known(DocumentKey(self._options.name, target, scope)) is not None:
                return False
        return True

    async def lately(self, repo: Repo, within: timedelta) -> RepoPage | None:
        """The page of the default branch as anybody saw it within this time, without asking the hub; None where nobody did.

        One at hand that is fresh is taken as it is, as for whoever asks for it; else the newest of both that are known.
        """
        scope, now = public_bearer(self._options).scope, self._gateway.clock.now()
        keys = [DocumentKey(self._options.name, f"{repo.api}{tail}?blobs=true", scope) for tail in ("", "/revision/main")]
        seen = [one for key in keys if (one := self._gateway.newest(replace(key, scope=""))) is not None and one.status == 200 and one.fresh(now)]
        if not seen:
            read = await asyncio.gather(*map(self._gateway.last_known, keys))
            seen = [one for one in read if one is not None and one.status == 200]
        known = max(seen, key=lambda one: one.fetched_at, default=None)
        if known is None or not timedelta() <= now - known.fetched_at < within:
            return None
        page = self._parse(known, repo)
        if page.private:
            return None
        self._gateway.recorder.at_hand(known.digest.hex, known.body)
        return page

    async def _own_or_gone(self, repo: Repo, revision: str | None, own: Bearer, gone: RepoPage) -> RepoPage:
        """What the hub hides from the public it may still show to this caller."""
        try:
            return await self._judging(repo, revision, own)
        except (HubSaysNo, UpstreamDown, NotHere):
            return gone

    async def _last_public(self, repo: Repo, revision: str | None, target: str) -> RepoPage | None:
        """A repository as everybody could see and have it, before the hub stopped showing it."""
        if self._options.gone != "serve":
            return None
        known = await self._gateway.last_known(DocumentKey(self._options.name, target, ""))
        page = self._parse(known, repo) if known is not None and known.status == 200 else None
        page = page or await self._same_commit(repo, revision, Bearer())
        if page is None or not page.public:
            return None
        grant = await self._gateway.grants.get_grant("", page.project.identity)
        refused = grant is not None and not grant.allowed and grant.cause not in HIDDEN
        return None if refused else replace(page, gone=True)

    async def _judging(self, repo: Repo, revision: str | None, bearer: Bearer) -> RepoPage:
        now = self._gateway.clock.now()
        pin = (repo.kind, repo.name.casefold(), revision or "", bearer.scope)
        pinned = self._pinned.get(pin)
        if pinned is not None and pinned.document.fresh(now):
            return pinned
        tail = "" if revision is None else f"/revision/{revision_segment(revision)}"
        age = PINNED if revision is not None and is_commit(revision) else MOVING
        target = f"{repo.api}{tail}?blobs=true"
        if self._gateway.held_off(self._options.name) and (found := await self._known_commit(repo, revision, bearer)):
            return found
        try:
            document = await self.document(target, bearer, age, shared=_says_public)
        except HubSaysNo as no:
            last = await self._last_public(repo, revision, target) if no.cause in HIDDEN and not bearer.credential else None
            if last is not None:
                return last
            await self._remember_withdrawal(target, bearer, repo, no)
            raise
        except (UpstreamDown, NotHere):
            found = await self._known_commit(repo, revision, bearer) or await self._elsewhere(repo, revision, bearer)
            if found is None and self._gateway.offline:
                raise NotHere(f"The {repo.kind} {repo.name}" + (f" at {revision}" if revision else ""), offline=True) from None
            if found is None:
                raise
            return found
        page = self._parse(document, repo)
        if document.fresh(now):
            self._pin(page, bearer)
            return page
        return await self._unless_withdrawn(page, bearer)

    def _pin(self, page: RepoPage, bearer: Bearer) -> None:
        """The page of a branch is that of its commit too: what follows a look at `main` asks by commit."""
        kept = replace(page, document=replace(page.document, max_age=PINNED))
        self._pinned[page.project.kind, page.project.name.casefold(), page.commit, bearer.scope] = kept
        while len(self._pinned) > _PARSED:
            self._pinned.popitem(last=False)

    async def _unless_withdrawn(self, page: RepoPage, bearer: Bearer) -> RepoPage:
        """A page from before the hub withdrew the repository from the public is not shown again in an outage (P11).

        Raises the hub's refusal; where what vanished is served, the page comes back as that of something gone.
        """
        if bearer.credential is not None and page.document.key.scope:
            return page  # the caller's own page, from after the withdrawal
        grant = await self._gateway.grants.get_grant("", page.project.identity)
        if grant is None or grant.allowed or grant.at <= page.document.fetched_at:
            return page
        hidden = grant.cause in HIDDEN
        if hidden and page.public and self._options.gone == "serve":
            return replace(page, gone=True)
        if hidden or (grant.cause == "disabled" and not page.disabled):
            raise HubSaysNo(grant.status, grant.code, grant.message, grant.cause)
        return page

    async def _known_commit(self, repo: Repo, revision: str | None, bearer: Bearer) -> RepoPage | None:
        """`_same_commit`, unless the hub withdrew the repository since; raises its refusal then."""
        found = await self._same_commit(repo, revision, bearer)
        return None if found is None else await self._unless_withdrawn(found, bearer)

    async def _same_commit(self, repo: Repo, revision: str | None, bearer: Bearer) -> RepoPage | None:
        """With the hub out of reach: the page of another revision that is this very commit, if one is known."""
        if revision is None or not is_commit(revision):
            return None
        for tail in ("", "/revision/main"):
            key = DocumentKey(self._options.name, f"{repo.api}{tail}?blobs=true", bearer.scope)
            document = await self._gateway.last_known(key)
            if document is not None and document.status == 200:
                page = self._parse(document, repo)
                if page.commit == revision:
                    return page
        return None

    async def _elsewhere(self, repo: Repo, revision: str | None, bearer: Bearer) -> RepoPage | None:
        """With nobody to ask: the page under another name of the repository, or of the commit to which its references say a name leads.

        Raises `HubSaysNo` where the hub's own list of all references has no such name.
        """
        if not self._gateway.offline:
            return None
        known = await self._gateway.last_known(name_key(self._options.name, repo, bearer.scope))
        other = None if known is None else called(known, repo)
        if other is not None:
            return await self._judging(other, revision, bearer)
        if revision is None or is_commit(revision):
            return None
        for query in (EVERY_REF, ""):
            known = await self._gateway.last_known(DocumentKey(self._options.name, with_query(f"{repo.api}/refs", query), bearer.scope))
            if known is None or known.status != 200:
                continue
            commit = led_to(load_json(known, self._options.upstream), revision)
            if commit is not None and is_commit(commit):
                with suppress(NotHere):
                    return await self._judging(repo, commit, bearer)
                return None
            if query and not _UNLISTED.fullmatch(revision):
                raise HubSaysNo(404, "RevisionNotFound", f"Invalid rev id: {revision}", "missing_revision")
        return None

    async def _remember_withdrawal(self, target: str, bearer: Bearer, repo: Repo, no: HubSaysNo) -> None:
        """What anybody could see and the hub now refuses must not come back in an outage (P11), under no revision's page."""
        if bearer.credential is not None or no.cause not in WITHDRAWN:
            return
        now = self._gateway.clock.now()
        for identity in await self._identities(target, repo):
            await self._gateway.grants.put_grant(
                Grant("", identity, allowed=False, public=False, at=now, status=no.status, code=no.code, message=str(no), cause=no.cause)
            )

    async def _identities(self, target: str, repo: Repo) -> set[str]:
        """The repositories that went by this name, as far as pages that anybody could see are known."""
        name = repo.name.casefold()
        found = {page.project.identity for (kind, named, _, _), page in self._pinned.items() if (kind, named) == (repo.kind, name) and not page.private}
        for one in dict.fromkeys((target, f"{repo.api}?blobs=true", f"{repo.api}/revision/main?blobs=true")):
            known = await self._gateway.last_known(DocumentKey(self._options.name, one, ""))
            if known is not None and known.status == 200:
                found.add(self._parse(known, repo).project.identity)
        return found

    def _parse(self, document: Document, repo: Repo) -> RepoPage:
        key = (document.digest.hex, str(repo.kind))
        page = self._parsed.get(key)
        if page is None:
            page = parse_page(document, self._options.name, repo.kind, self._options.upstream)
            self._parsed[key] = page
            while len(self._parsed) > _PARSED:
                self._parsed.popitem(last=False)
        self._parsed.move_to_end(key)
        return page if page.document == document else replace(page, document=document)

    async def document(
        self,
        target: str,
        bearer: Bearer,
        max_age: timedelta | None,
        *,
        shared: Callable[[Answer], bool] = lambda _: False,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        variant: str = "",
        patience: float = 8.0,
        shape: type | tuple[type, ...] | None = None,
    ) -> Document:
        """A page with a status below 400; the hub's refusals are raised as `HubSaysNo`.

        `shape` is what its JSON must be where the target alone does not say it.
        """
        ask = bearer.on(
            Ask(target, method, headers or {}, body, follow=method != "HEAD", max_bytes=_MAX_PAGE, patience=patience)
        )
        key = DocumentKey(self._options.name, target, bearer.scope, variant)

        def sound(answer: Answer) -> bool:
            if method != "HEAD" and not isinstance(load_json(answer, self._options.upstream), shape or _shape(target)):
                raise UpstreamGarbage(self._options.upstream, f"its page {target.partition('?')[0]} is JSON of another shape")
            return shared(answer)

        document = await self._gateway.document(self._options.name, key, ask, max_age=max_age, shared=sound)
        if document.status >= 400:
            raise says_no(document)
        return document

    def bearer_for(self, page: RepoPage, credential: Credential | None) -> Bearer:
        """In whose name further pages about a repository are asked for."""
        return own_bearer(self._options, credential) if page.private else public_bearer(self._options)

    async def about(
        self, page: RepoPage, tail: str, query: str, credential: Credential | None, max_age: timedelta, *,
        contents: bool = False, shape: type | tuple[type, ...] | None = None,
    ) -> Document:  # fmt: skip
        """A further page about a repository under its canonical name, its query kept verbatim.

        `contents` marks pages that the hub refuses where it refuses the files (commits of a gated repository).
        """
        bearer = self.bearer_for(page, credential)
        if contents and not page.public:
            bearer = own_bearer(self._options, credential)
        target = with_query(Repo.of(page.project).api + tail, query)
        open_to_all = not page.private and not (contents and not page.public)
        try:
            return await self.document(target, bearer, max_age, shared=lambda _: open_to_all, shape=shape)
        except HubSaysNo as no:
            key = DocumentKey(self._options.name, target, "")
            known = await self._gateway.last_known(key) if page.gone and no.cause in HIDDEN else None
            if known is None or known.status != 200:
                raise
            return known


def _shape(target: str) -> type:
    """What a page's JSON must be: an array for lists of files, commits and repositories, else an object."""
    return list if _ROWS.match(target) else dict


def _says_public(answer: Answer) -> bool:
    """Whether a judging page may be shown to anybody: it says itself that the repository is not private."""
    try:
        data = parse_json(answer.body)
    except ValueError:
        return False
    return isinstance(data, dict) and data.get("private") is False
