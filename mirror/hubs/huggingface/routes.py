"""The table of routes of this dialect (`docs/protocols/huggingface.md` explains each row).

Rows are tried in order. Verbs stand before the bare repository, because an old single name followed by a verb
(`/api/models/gpt2/refs`) looks like a name of two parts. What is in no row, writes among it, goes to
`RefusedRoutes.unknown`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mirror.hubs.huggingface.paths import API_REPO, REPO
from mirror.reply.routing import Handling, Route, route

if TYPE_CHECKING:
    from mirror.hubs.huggingface.files import FileRoutes
    from mirror.hubs.huggingface.refused import RefusedRoutes
    from mirror.hubs.huggingface.views import ViewRoutes

_READ: Final = "GET HEAD"
_REV: Final = r"(?P<rev>[^/]+)"
_PATH: Final = r"(?P<path>.+)"


def table(files: FileRoutes, views: ViewRoutes, refused: RefusedRoutes) -> tuple[Route, ...]:
    """All rows, first match wins."""
    content, facts, identity = Handling.CONTENT, Handling.FACTS, Handling.IDENTITY
    cache = r"/api/resolve-cache/(?P<plural>models|datasets|spaces|kernels)/(?P<repo>[^/]+(?:/[^/]+)?)"
    return (
        route("agent-harnesses", _READ, r"/api/agent-harnesses", Handling.LISTING, views.agent_harnesses),
        route("whoami", _READ, r"/api/whoami-v2", identity, views.whoami),
        route("telemetry", "GET HEAD POST", r"/(?:api/telemetry|v1/telemetry)(?:/.*)?", Handling.SINK, refused.telemetry),
        route("buckets", "GET HEAD POST", r"/(?:api/)?buckets(?:/.*)?", Handling.REFUSED, refused.buckets),
        route("git", "GET HEAD POST", rf"/{REPO}/(?P<what>info/refs|git-upload-pack|git-receive-pack)", Handling.REFUSED, refused.git),
        route("lfs", "GET HEAD POST", rf"/{REPO}/info/lfs/.*", Handling.REFUSED, refused.lfs),
        route("resolve-cache", _READ, rf"{cache}/{_REV}/{_PATH}", content, files.resolve_cache),
        route("xet-token", _READ, rf"{API_REPO}/xet-(?:read|write)-token(?:/.*)?", Handling.REFUSED, refused.xet),
        route("tree", _READ, rf"{API_REPO}/tree/{_REV}(?:/(?P<path>.*))?", facts, views.tree),
        route("paths-info", "POST", rf"{API_REPO}/paths-info/{_REV}", facts, views.paths_info),
        route("refs", _READ, rf"{API_REPO}/refs", facts, views.refs),
        route("commits", _READ, rf"{API_REPO}/commits/{_REV}", facts, views.commits),
        route("auth-check", _READ, rf"{API_REPO}/auth-check", identity, views.auth_check),
        route("info-revision", _READ, rf"{API_REPO}/revision/{_REV}", facts, views.information),
        route("info", _READ, rf"{API_REPO}", facts, views.information),
        route("listing", _READ, r"/api/(?P<plural>models|datasets|spaces|kernels)", Handling.LISTING, views.listing),
        route("resolve", _READ, rf"/(?!api/){REPO}/resolve/{_REV}/{_PATH}", content, files.resolve),
        route("raw", _READ, rf"/(?!api/){REPO}/raw/{_REV}/{_PATH}", content, files.raw),
    )
