"""The dataset viewer, which clients look for under `datasets-server.` before the hub's own name (facts 4, "datasets").

What it tells of a dataset as a whole is passed on when the dataset is admitted; of its list of Parquet files, those are
left out that are denied. What shows rows is refused: a row says nothing of the file that it came from, so no rule could
judge it. The viewer is another origin than the hub's, so it is asked in nobody's name (P5), and has nothing to say of
what not everybody may read. The `datasets` library does without it where it gets no 200 with its commit in `X-Revision`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from mirror.core.decision import EventKind
from mirror.core.errors import HubSaysNo, Malformed, NotHere, UpstreamGarbage
from mirror.core.nouns import Kind
from mirror.core.ports import Ask
from mirror.hubs.huggingface.derived import converted_path, keep_converted
from mirror.hubs.huggingface.documents import load_json, says_no
from mirror.hubs.huggingface.paths import Repo, is_commit, parse_query, parse_repo
from mirror.hubs.huggingface.replies import ROWS_OFF, json_page, say
from mirror.hubs.huggingface.rewrite import without_xet

if TYPE_CHECKING:
    from aiohttp import web

    from mirror.hubs.huggingface.documents import RepoPage
    from mirror.hubs.huggingface.hub import HuggingFaceHub
    from mirror.reply.routing import Call

Warned = tuple[str, str] | None

_ASKED: Final = ("dataset", "config", "split")
_WORD: Final = re.compile(r"[^\x00-\x1f\x7f]{1,512}")


class ViewerRoutes:
    """Handlers of the viewer's routes."""

    def __init__(self, hub: HuggingFaceHub) -> None:
        """Routes of one instance."""
        self._hub = hub

    async def about(self, call: Call) -> web.StreamResponse:
        """`/info`, `/is-valid`, `/splits`, `/size`: what is told of a dataset, a configuration or a split."""
        page, warning, asked = await self._admitted(call)
        told, headers = await self._told(page, call.match["what"], asked)
        return json_page(call, without_xet(told), headers, warning)

    async def parquet(self, call: Call) -> web.StreamResponse:
        """`/parquet`: the files of the conversion, with links to us and without those that are denied."""
        page, warning, asked = await self._admitted(call)
        told, headers = await self._told(page, "parquet", asked)
        rows = told.get("parquet_files")
        if isinstance(rows, list):
            turned = [row for row in (self._turned(call, page, row) for row in rows) if row is not None]
            kept, left_out = await keep_converted(self._hub, call, page, [(row, (path,)) for path, row in turned])
            told, warning = told | {"parquet_files": kept}, left_out or warning
        return json_page(call, without_xet(told), headers, warning)

    async def contents(self, call: Call) -> web.StreamResponse:
        """`/rows`, `/first-rows`, `/search`, `/filter` and the like: refused, on the record."""
        await self._hub.gateway.note(EventKind.ROUTE_REFUSED, call.actor, call.info, f"{self._hub.name}:datasets-server{call.raw_path[:500]}")
        return say(403, "Not mirrored", ROWS_OFF, "mirror-rows", "GatedRepo")

    async def _admitted(self, call: Call) -> tuple[RepoPage, Warned, dict[str, str]]:
        """The dataset's page once the house and the hub have said yes, a warning, and what was asked."""
        hub, asked = self._hub, parse_asked(call.query)
        page = await hub.pages.repository(parse_repo(quote(asked["dataset"], safe="/"), Kind.DATASET), None, call.actor.credential)
        warning = await hub.admit_project(call, page)
        await hub.admit_rights(call, page)
        if hub.options.datasets_server is None:
            raise HubSaysNo(404, "", "This mirror knows no dataset viewer (hubs.NAME.datasets_server).", "other")
        if not page.public:
            text = f"The dataset viewer is asked in nobody's name, and {page.project.name} is not for everybody: load its files instead."
            raise HubSaysNo(404, "", text, "other")
        if hub.gateway.offline:
            raise NotHere(f"What the dataset viewer says of {page.project.name}", offline=True)
        return page, warning, asked | {"dataset": page.project.name}

    async def _told(self, page: RepoPage, what: str, asked: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
        """The viewer's answer, and the commit that it is about. Never kept: what it says changes with each commit."""
        target = f"{self._hub.options.datasets_server}/{what}?{urlencode(asked, quote_via=quote)}"
        answer = await self._hub.upstream.ask(Ask(target, headers={"Accept": "application/json"}, first_only=True))
        if answer.status >= 400:
            raise says_no(answer)
        told = load_json(answer, answer.upstream)
        if answer.status != 200 or not isinstance(told, dict):
            raise UpstreamGarbage(answer.upstream, f"answered /{what} with {answer.status} and no object")
        revision = answer.header("x-revision") or ""
        return told, {"X-Revision": revision} if is_commit(revision) else {}

    def _turned(self, call: Call, page: RepoPage, row: Any) -> tuple[str, dict[str, Any]] | None:
        """(path, row with its link leading here); None for a row that leads anywhere but to a file of the conversion."""
        url = row.get("url") if isinstance(row, dict) else None
        try:
            path = converted_path(url, Repo.of(page.project)) if isinstance(url, str) else None
        except Malformed:
            path = None
        if path is None or not isinstance(url, str):
            return None
        return path, row | {"url": call.public_url + call.mount + urlsplit(url).path}


def parse_asked(query: str) -> dict[str, str]:
    """`dataset`, and `config` and `split` if they are there. Raises `Malformed` where a name is missing, twice there or empty.

    Whatever else a query has is not sent on.
    """
    try:
        pairs = parse_qsl(parse_query(query), keep_blank_values=True, max_num_fields=20, errors="strict")
    except ValueError as error:
        raise Malformed("the query cannot be read") from error
    asked = {name: value for name, value in pairs if name in _ASKED}
    if "dataset" not in asked or sum(name in _ASKED for name, _ in pairs) != len(asked):
        raise Malformed("the query must name one dataset, and each of config and split once at most")
    if not all(_WORD.fullmatch(value) for value in asked.values()):
        raise Malformed("the query names a dataset, a configuration or a split that is none")
    return asked
