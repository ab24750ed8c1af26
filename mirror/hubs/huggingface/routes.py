"""The table of routes of this dialect (`docs/protocols/huggingface.md` explains each row).

Rows are tried in order. Verbs stand before the bare repository, because an old single name followed by a verb
(`/api/models/gpt2/refs`) looks like a name of two parts. What is in no row, writes among it, goes to
`RefusedRoutes.unknown`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.hubs.huggingface.paths import API_REPO, REPO
from mirror.reply.routing import Handling, Route, route

if TYPE_CHECKING:
    from mirror.hubs.huggingface.derived import DerivedRoutes
    from mirror.hubs.huggingface.directory import DirectoryRoutes
    from mirror.hubs.huggingface.events import EventRoutes
    from mirror.hubs.huggingface.files import FileRoutes
    from mirror.hubs.huggingface.git import GitRoutes
    from mirror.hubs.huggingface.lfs import LfsRoutes
    from mirror.hubs.huggingface.refused import RefusedRoutes
    from mirror.hubs.huggingface.registry import RegistryRoutes
    from mirror.hubs.huggingface.viewer import ViewerRoutes
    from mirror.hubs.huggingface.views import ViewRoutes
    from mirror.hubs.huggingface.xet_facade import XetRoutes

_READ: Final = "GET HEAD"
_REV: Final = r"(?P<rev>[^/]+)"
_PATH: Final = r"(?P<path>.+)"
_NAME: Final = r"(?P<repo>[^/]+(?:/[^/]+)?)"


@dataclass(frozen=True, slots=True)
class Handlers:
    """Who answers the rows."""

    files: FileRoutes
    views: ViewRoutes
    lfs: LfsRoutes
    registry: RegistryRoutes
    derived: DerivedRoutes
    directory: DirectoryRoutes
    events: EventRoutes
    git: GitRoutes
    xet: XetRoutes
    refused: RefusedRoutes


def table(by: Handlers) -> tuple[Route, ...]:
    """All rows, first match wins."""
    return (*_apart(by), *_store(by), *_about_repositories(by), *_pages_of_files(by))


def viewer_table(viewer: ViewerRoutes) -> tuple[Route, ...]:
    """The rows under the label `datasets-server`: what is told of a dataset, and what shows rows of its files."""
    rows = r"/(?:rows|first-rows|search|filter|statistics|opt-in-out-urls|presidio-entities)"
    return (
        route("viewer-parquet", _READ, r"/parquet", Handling.FACTS, viewer.parquet),
        route("viewer", _READ, r"/(?P<what>info|is-valid|splits|size)", Handling.FACTS, viewer.about),
        route("viewer-rows", _READ, rows, Handling.REFUSED, viewer.contents),
    )


def _apart(by: Handlers) -> tuple[Route, ...]:
    """What is about no repository, and the protocols of git and of container registries."""
    refused, listing, facts = by.refused, Handling.LISTING, Handling.FACTS
    lfs, registry = rf"/{REPO}/info/lfs", r"/v2/(?P<repo>[^/]+(?:/[^/]+)?)"
    owner, segments = r"/api/(?:users|organizations)/(?P<name>[^/]+)/overview", r"(?P<name>[^/]+(?:/[^/]+)?)"
    return (
        route("agent-harnesses", _READ, r"/api/agent-harnesses", listing, by.views.agent_harnesses),
        route("whoami", _READ, r"/api/whoami-v2", Handling.IDENTITY, by.views.whoami),
        route("overview", _READ, owner, listing, by.directory.named),
        route("collections", _READ, rf"/api/collections(?:/{segments})?", listing, by.directory.named),
        route("papers", _READ, r"/api/(?:daily_papers|papers(?:/(?P<name>[^/]+))?)", listing, by.directory.named),
        route("paper", _READ, r"/papers/(?P<name>[^/]+)\.md", listing, by.directory.paper),
        route("vocabulary", _READ, r"/api/(?:(?:models|datasets|spaces)-tags-by-type|tasks)", listing, by.directory.vocabulary),
        route("telemetry", "GET HEAD POST", r"/(?:api/telemetry|v1/telemetry)(?:/.*)?", Handling.SINK, refused.telemetry),
        route("buckets", "GET HEAD POST", r"/(?:api/)?buckets(?:/.*)?", Handling.REFUSED, refused.buckets),
        route("git", "GET HEAD POST", rf"/{REPO}/(?P<what>info/refs|git-upload-pack|git-receive-pack)", Handling.CONTENT, by.git.serve),
        route("lfs", "POST", rf"{lfs}/objects/batch", facts, by.lfs.batch),
        route("lfs-other", "GET HEAD POST", rf"{lfs}/.*", Handling.REFUSED, refused.lfs),
        route("registry", _READ, r"/v2/?", listing, by.registry.version),
        route("registry-manifest", _READ, rf"{registry}/manifests/(?P<tag>[^/]+)", facts, by.registry.manifest),
        route("registry-blob", _READ, rf"{registry}/blobs/sha256(?::|%3[Aa])(?P<digest>[0-9a-f]{{64}})", Handling.CONTENT, by.registry.blob),
    )


def _store(by: Handlers) -> tuple[Route, ...]:
    """The mirror as a Xet store: below an address of its own, which clients learn with their token.

    hf_xet 1.2 asks for no version, older ones for one `reconstruction`.
    """
    file = r"(?P<hash>[0-9a-f]{64})"
    content, seals = Handling.CONTENT, by.xet.seals
    return (
        route("xet-reconstruction", "GET", rf"/api/xet/(?P<version>v1/|v2/)?reconstructions?/{file}", content, by.xet.reconstruction, seals.by_token),
        route("xet-xorb", "GET", rf"/api/xet/xorbs/{file}/(?P<number>[0-9]{{1,9}})", content, by.xet.xorb, seals.by_address),
    )


def _about_repositories(by: Handlers) -> tuple[Route, ...]:
    views, derived, refused = by.views, by.derived, by.refused
    content, facts, identity = Handling.CONTENT, Handling.FACTS, Handling.IDENTITY
    parquet = r"/api/(?P<plural>datasets)/(?P<repo>[^/]+(?:/[^/]+)?)/parquet"
    cache = r"/api/resolve-cache/(?P<plural>models|datasets|spaces|kernels)/(?P<repo>[^/]+(?:/[^/]+)?)"
    return (
        route("resolve-cache", _READ, rf"{cache}/{_REV}/{_PATH}", content, by.files.resolve_cache),
        route("xet-token", _READ, rf"{API_REPO}/xet-read-token/{_REV}", facts, by.xet.token),
        route("xet-no-token", _READ, rf"{API_REPO}/xet-(?:read|write)-token(?:/.*)?", Handling.REFUSED, refused.xet),
        route("tree", _READ, rf"{API_REPO}/tree/{_REV}(?:/(?P<path>.*))?", facts, views.tree),
        route("paths-info", "POST", rf"{API_REPO}/paths-info/{_REV}", facts, views.paths_info),
        route("refs", _READ, rf"{API_REPO}/refs", facts, views.refs),
        route("commits", _READ, rf"{API_REPO}/commits/{_REV}", facts, views.commits),
        route("auth-check", _READ, rf"{API_REPO}/auth-check", identity, views.auth_check),
        route("safetensors", _READ, rf"{API_REPO}/safetensors-metadata/{_PATH}", content, derived.safetensors),
        route("parquet-file", _READ, rf"{parquet}/(?P<config>[^/]+)/(?P<split>[^/]+)/(?P<number>[0-9]+)\.parquet", content, derived.parquet_file),
        route("parquet", _READ, rf"{parquet}(?P<within>(?:/[^/]+){{0,2}})", facts, derived.parquet),
        route("events", "GET", rf"/api/(?P<plural>spaces)/{_NAME}/(?P<what>logs/(?:run|build)|events|metrics)", facts, by.events.stream),
        route("runtime", _READ, r"/api/(?P<plural>spaces)/(?P<repo>[^/]+(?:/[^/]+)?)/runtime", facts, derived.runtime),
        route("info-revision", _READ, rf"{API_REPO}/revision/{_REV}", facts, views.information),
        route("info", _READ, rf"{API_REPO}", facts, views.information),
        route("listing", _READ, r"/api/(?P<plural>models|datasets|spaces|kernels)", Handling.LISTING, views.listing),
    )


def _pages_of_files(by: Handlers) -> tuple[Route, ...]:
    rows = (("resolve", Handling.CONTENT, by.files.resolve), ("raw", Handling.CONTENT, by.files.raw), ("blob", Handling.FACTS, by.derived.blob_page))
    return tuple(route(verb, _READ, rf"/(?!api/){REPO}/{verb}/{_REV}/{_PATH}", handling, handler) for verb, handling, handler in rows)
