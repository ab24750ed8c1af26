"""Who may read what, by the hub's own word (P5, P11).

A grant says that a credential may read a project, known by the hub's id. It is learnt from a HEAD on a file of the
project, is trusted for `grants.online`, and carries through an outage for `grants.outage`. What anybody may read has
one grant for all, under no credential. A refusal is kept for seconds, and in an outage it stands.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from mirror.core.errors import HubSaysNo, NotHere, UpstreamDown, UpstreamGarbage
from mirror.core.nouns import Document, DocumentKey
from mirror.core.ports import Answer, Ask, Grant, Upstream
from mirror.hubs.huggingface.ahead import Ahead
from mirror.hubs.huggingface.documents import HubFile, RepoPage, file_from_headers, says_no
from mirror.hubs.huggingface.options import Bearer, Options, own_bearer, public_bearer
from mirror.hubs.huggingface.paths import Repo
from mirror.hubs.huggingface.regions import Regions
from mirror.proxy.documents import WITH_KNOWN

if TYPE_CHECKING:
    from mirror.core.actor import Credential
    from mirror.proxy.gateway import Gateway

_REFUSED_FOR: Final = timedelta(seconds=10)
_REMEMBERED: Final = 20_000
#: The hub's reasons that hide a repository altogether; whether it was deleted or closed, it does not say.
HIDDEN: Final = frozenset({"private", "missing_repo"})
#: The `cause` of a right that was brought by a bundle (`bundle.contents`).
BUNDLED: Final = "bundle"
_NOT_A_VERDICT: Final = frozenset({"missing_entry", "missing_revision"})


class Access:
    """Rights to contents, and the metadata of files that no list shows."""

    def __init__(self, gateway: Gateway, upstream: Upstream, options: Options) -> None:
        """Rights on one instance."""
        self._gateway, self._upstream, self._options = gateway, upstream, options
        self.regions = Regions(gateway, options)
        self.ahead = Ahead(upstream, options, gateway.clock)
        self._asking: dict[tuple[str, str], asyncio.Task[Grant]] = {}
        self._known: OrderedDict[tuple[str, str], Grant] = OrderedDict()

    def renew(self) -> None:
        """Forget who may read what; the index knows."""
        self._known.clear()

    def bearer(self, page: RepoPage, credential: Credential | None) -> Bearer:
        """In whose name contents are fetched."""
        return public_bearer(self._options) if page.public else own_bearer(self._options, credential)

    async def check(self, page: RepoPage, credential: Credential | None) -> Bearer:
        """Whether the hub lets this caller read the contents; gives the name to fetch them in.

        Raises `HubSaysNo` to be replayed, `UpstreamDown` where the hub cannot be asked and no grant is left.
        """
        bearer = self.bearer(page, credential)
        if page.gone:
            return bearer  # what everybody could have; `Pages` has made sure that nothing else was said of it since
        holder = "" if page.public else bearer.scope
        now = self._gateway.clock.now()
        grant = self._known.get((holder, page.project.identity))
        if (grant is None or not self._fresh(grant, now)) and not self.ahead.asked(page):
            stored = await self._gateway.grants.get_grant(holder, page.project.identity)
            # While the index was read, another caller may have asked the hub.
            grant = self._known.get((holder, page.project.identity))
            grant = stored if grant is None or not self._fresh(grant, now) else grant
        if grant is not None and self._fresh(grant, now):
            self._remember(grant)
            return self._honour(grant, page, bearer)
        if self._gateway.offline or not page.document.fresh(now):
            # A page that is past its time although upstream may be asked means that upstream did not answer just now.
            return self._outage(page, grant, bearer, None)
        asked = self._ask_once(page, holder, bearer)
        try:
            # With an older verdict at hand the hub is not waited for until the client is gone; the question goes on.
            settled = page.public or (grant is not None and abs(now - grant.at) < self._options.outage)
            fresh = await asyncio.wait_for(asked, self._options.patience * WITH_KNOWN if settled else None)
        except (UpstreamDown, TimeoutError) as error:
            down = error if isinstance(error, UpstreamDown) else UpstreamDown(self._options.upstream, "did not answer in time")
            return self._outage(page, grant, bearer, down)
        return self._honour(fresh, page, bearer)

    def good_until(self, page: RepoPage, credential: Credential | None) -> datetime | None:
        """When the right that `check` found a moment ago must be asked for anew; None where it rests on no fresh grant."""
        grant = self._known.get(("" if page.public else self.bearer(page, credential).scope, page.project.identity))
        return grant.at + self._options.online if grant is not None and grant.allowed and not page.gone else None

    def _fresh(self, grant: Grant, now: datetime) -> bool:
        # A grant from the future was dated by a clock that was wrong; it proves nothing about now (P5).
        return abs(now - grant.at) < (self._options.online if grant.allowed else _REFUSED_FOR)

    def _remember(self, grant: Grant) -> None:
        key = (grant.credential, grant.project)
        self._known[key] = grant
        self._known.move_to_end(key)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _outage(self, page: RepoPage, grant: Grant | None, bearer: Bearer, down: UpstreamDown | None) -> Bearer:
        """The verdict without the hub: what it said last, for as long as that is trusted."""
        if grant is not None and not grant.allowed and not _superseded(grant, page):
            return self._honour(grant, page, bearer)
        if page.public:
            return bearer
        if grant is not None and grant.allowed and (abs(self._gateway.clock.now() - grant.at) < self._options.outage or self._bundled(grant)):
            return bearer
        if down is not None and not self._gateway.offline:
            raise down
        cause = "private" if page.private else "gated"
        message = f"Access to {page.project.name} is restricted, and the hub cannot be asked now whether you may read it."
        raise HubSaysNo(403, "GatedRepo", message, cause)

    def _bundled(self, grant: Grant) -> bool:
        """Whether a signed bundle states this right: where nobody can be asked it holds until another bundle says otherwise."""
        return self._options.bundled and grant.cause == BUNDLED

    def _honour(self, grant: Grant, page: RepoPage, bearer: Bearer) -> Bearer:
        """The name to fetch in, or the hub's own no. A public repository that vanished is not refused (`gone`)."""
        vanished = page.public and grant.cause in HIDDEN and self._options.gone == "serve"
        if grant.allowed or vanished:
            return bearer
        raise HubSaysNo(grant.status, grant.code, grant.message, grant.cause)

    async def _ask_once(self, page: RepoPage, holder: str, bearer: Bearer) -> Grant:
        """One HEAD however many callers wait for the same verdict."""
        key = (holder, page.project.identity)
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask_hub(page, holder, bearer))
            self._asking[key] = task
            task.add_done_callback(lambda done: (self._asking.pop(key, None), done.cancelled() or done.exception()))
        return await asyncio.shield(task)

    async def _ask_hub(self, page: RepoPage, holder: str, bearer: Bearer) -> Grant:
        path = min(page.files, key=lambda name: (len(name), name), default="README.md")
        answer = await self.ahead.answer(page) if bearer == public_bearer(self._options) else None
        answer = answer or await self._head(page, path, bearer)
        grant = Grant(holder, page.project.identity, allowed=True, public=page.public, at=self._gateway.clock.now())
        if answer.status >= 400:
            no = says_no(answer)
            if no.cause in _NOT_A_VERDICT:
                # The hub may look for the file before it looks at the gate: this answer grants nothing (P5).
                if not page.public:
                    raise no
            else:
                grant = replace(grant, allowed=False, status=no.status, code=no.code, message=no.args[0], cause=no.cause)
        elif not answer.header("x-repo-commit"):
            raise UpstreamGarbage(answer.upstream, "answered HEAD on a file without X-Repo-Commit")
        if grant.allowed and grant.public:
            self._gateway.keep_grant(grant)
        else:
            await self._gateway.grants.put_grant(grant)
        await self.regions.learn(grant)
        self._remember(grant)
        return grant

    async def _head(self, page: RepoPage, path: str, bearer: Bearer) -> Answer:
        """HEAD on a file: redirects are not followed, so the metadata of a large file stay in sight."""
        target = Repo.of(page.project).file("resolve", page.commit, path)
        return await self._upstream.ask(bearer.on(Ask(target, "HEAD", first_only=not page.public)))

    async def unlisted(self, page: RepoPage, path: str, credential: Credential | None) -> HubFile:
        """A file that the page does not list, as HEAD describes it. Call `check` first.

        Raises `HubSaysNo`; `EntryNotFound` is kept for ever for a commit, and only ever as the hub said it.
        """
        bearer = self.bearer(page, credential)
        target = Repo.of(page.project).file("resolve", page.commit, path)
        key = DocumentKey(self._options.name, target, bearer.scope, "head")
        try:
            document = await self._gateway.document(
                self._options.name, key, bearer.on(Ask(target, "HEAD", first_only=not page.public)),
                max_age=None, shared=lambda _: page.public,
            )  # fmt: skip
        except NotHere as error:
            if not error.offline:
                raise
            # Nobody can be asked, and the hub's own list of this commit, which never changes, has no such file.
            raise HubSaysNo(404, "EntryNotFound", "Entry not found", "missing_entry", page.commit) from error
        if document.status >= 400:
            no = says_no(document)
            if no.cause == "missing_entry" and no.commit == page.commit and document.max_age is not None:
                await self._gateway.keep_document(replace(document, max_age=None))
            raise no
        found = file_from_headers(path, document)
        if found is None and document.status < 400:
            found = await self._behind_redirect(path, document, bearer, page)
        if found is None:
            raise UpstreamGarbage(self._options.upstream, f"names no entity tag for {path!r}")
        return found

    async def _behind_redirect(self, path: str, document: Document, bearer: Bearer, page: RepoPage) -> HubFile | None:
        """A small file's metadata are on the answer behind the hub's own relative redirect."""
        location = document.header("location") or ""
        if not location.startswith("/") or location.startswith("//"):
            return None
        answer = await self._upstream.ask(bearer.on(Ask(location, "HEAD", first_only=not page.public)))
        return file_from_headers(path, answer) if answer.status == 200 else None


def _superseded(grant: Grant, page: RepoPage) -> bool:
    """Whether the hub has shown the page to be public since it refused; a region block is not seen on a page."""
    return page.public and page.document.fetched_at > grant.at and grant.cause != "region"
