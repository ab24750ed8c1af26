"""The stand-in for a Hugging Face hub: hub, CDN and Xet store on three origins, behaving as measured on the real one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from . import access, hub_api, hub_cas, hub_files, hub_git, hub_lists, hub_viewer
from .hub_directory import paper_text
from .hub_events import LiveLog
from .server import Origin, StandIn, running
from .wire import Call, Reply, text_reply
from .world import KINDS, Repo, World

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

_WARNING: Final = (
    "unauthenticated; Warning: You are sending unauthenticated requests to the HF Hub. "
    "Please set a HF_TOKEN to enable higher rate limits and faster downloads."
)


class StandInHub(StandIn):
    """An imitation hub. Build its content with `add_repo` (or `defaults.populate`), then start it.

    Attributes to change while it runs: `region` (the country every client seems to be in), `xet` (False: no file is on
    Xet), `list_page` (rows of a listing), `scans` (by path what `securityFileStatus` is instead of the usual; None tells nothing), `cdn_url_life` and `xet_token_life` (seconds), `clock` (Unix seconds), any attribute of a `Repo`, and `faults`.
    """

    def __init__(self, seed: int = 0, host: str = "127.0.0.1", ports: Mapping[str, int] | None = None) -> None:
        super().__init__(host)
        self.seed = seed
        self.world = World(seed)
        self.region = "US"
        self.xet = True
        self.list_page = 1000
        self.scans: dict[str, Any] = {}
        self.cdn_url_life = 3600
        self.cdn_generation = 0
        self.clock: Callable[[], float] = time.time
        self.cdn_files: dict[str, Any] = {}
        self.xet_token_life = 900
        self.xorb_url = ""  # where the Xet store says that its data lie; empty: with itself
        self.xet_tokens: dict[str, tuple[int, dict[str, Any]]] = {}
        self.xorbs: dict[str, tuple[Any, int]] = {}
        self.packed: dict[str, tuple[bytes, list[int]]] = {}
        self.log = LiveLog()
        self._served = 0
        wanted = dict(ports or {})
        answers: dict[str, Callable[[Call], Reply]] = {
            "hub": self._hub,
            "cdn": lambda call: hub_files.cdn(self, call),
            "cas": lambda call: hub_cas.answer(self, call),
            "viewer": lambda call: hub_viewer.viewer(self, call),
        }
        self.origins = {name: Origin(name, answer, self, wanted.get(name, 0)) for name, answer in answers.items()}

    @property
    def url(self) -> str:
        """The hub's own origin: what HF_ENDPOINT, or a mirror's upstream, is set to."""
        return self.origins["hub"].url

    @property
    def cdn_url(self) -> str:
        """The origin that large files are redirected to."""
        return self.origins["cdn"].url

    @property
    def cas_url(self) -> str:
        """The Xet origin; behind a mirror `requests.where(origin="cas")` holds nothing but what its own worker fetched."""
        return self.origins["cas"].url

    @property
    def viewer_url(self) -> str:
        """The dataset viewer's origin."""
        return self.origins["viewer"].url

    @property
    def writes(self) -> list[Call]:
        """Every call that would have changed something on a real hub."""
        return [call for call in self.requests if call.origin == "hub" and is_write(call)]

    def add_repo(
        self,
        kind: str,
        name: str,
        files: Mapping[str, bytes] | None = None,
        lfs: Mapping[str, bytes] | None = None,
        **options: Any,  # the attributes of Repo
    ) -> Repo:
        """A repository; see `World.add` for the options."""
        return self.world.add(kind, name, files, lfs, **options)

    def add_token(self, token: str, user: str) -> str:
        """A token the hub accepts. All others are answered 401, on public repositories too."""
        return self.world.add_token(token, user)

    def repo(self, name: str, kind: str = "models") -> Repo:
        """The repository of this name, to change it."""
        return self.world.repo(name, kind)

    def expire_signed_urls(self) -> None:
        """Every URL of the CDN and the Xet store handed out so far is answered 403 from now on."""
        self.cdn_generation += 1

    def behave(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Beside the faults: `region`, `xet`, `cdn_url_life`, `expire_signed_urls`, and `repos`.

        `repos` is a list of {name, kind?, set?: {attribute: value}, remove?: true, rename?: new name, push?: {path: text}}.
        """
        rest = dict(wanted)
        for key in ("region", "xet", "cdn_url_life"):
            if key in rest:
                setattr(self, key, rest.pop(key))
        if rest.pop("expire_signed_urls", False):
            self.expire_signed_urls()
        for change in rest.pop("repos", []):
            self._change(**change)
        return super().behave(rest)

    def _change(
        self,
        name: str,
        kind: str = "models",
        *,
        set: dict[str, Any] | None = None,  # noqa: A002 - the word in the control's JSON
        remove: bool = False,
        rename: str | None = None,
        push: dict[str, str] | None = None,
    ) -> None:
        repo = self.repo(name, kind)
        for key, value in (set or {}).items():
            setattr(repo, key, type(getattr(repo, key))(value) if key == "tokens_allowed" else value)
        if push:
            repo.push({path: text.encode() for path, text in push.items()})
        if rename:
            self.world.rename(repo.kind, repo.name, rename)
        if remove:
            self.world.remove(repo.kind, repo.name)

    def _hub(self, call: Call) -> Reply:
        self._served += 1
        reply = self._answer(call)
        pool, quota = ("api", 500) if call.path.startswith("/api/") else ("resolvers", 3000)
        if call.token is not None:
            quota *= 2
        left = max(quota - self._served, 1)
        common = {
            "RateLimit": f'"{pool}";r={left};t=173',
            "RateLimit-Policy": f'"fixed window";"{pool}";q={quota};w=300',
            "X-Request-Id": f"Root=1-{self._served:08x}-standin000000000000000000",
            "X-Powered-By": "huggingface-moon",
            "Access-Control-Allow-Origin": "https://huggingface.co",
            "Referrer-Policy": "strict-origin-when-cross-origin",
            "X-Cache": "Miss from cloudfront",
            "X-Amz-Cf-Id": f"{self._served:016x}==",
        }
        reply.with_headers(common)
        if "/resolve/" in call.path:
            reply.headers["Set-Cookie"] = "token=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; SameSite=None"
            if call.token is None:
                reply.headers["X-HF-Warning"] = _WARNING
        return reply

    def _answer(self, call: Call) -> Reply:
        if is_write(call):
            return hub_git.accept_write(self, call)
        if call.path.startswith("/api/resolve-cache/"):
            return hub_files.resolve_cache(self, call)
        if call.path.startswith("/api/"):
            return self._api(call)
        if call.path.startswith("/v2/"):
            return hub_git.manifest(self, call)
        return self._page(call)

    def _api(self, call: Call) -> Reply:
        parts = call.path.split("/")[2:]
        if parts[0] in KINDS and len(parts) == 1:
            return hub_lists.listing(self, call, parts[0])
        if parts[0] not in KINDS:
            return hub_lists.other(self, call)
        name, rest = split_name(parts[1:])
        repo = self.world.find(parts[0], name)
        refused = access.visible(call, self.world, repo)
        if refused is not None or repo is None:
            return refused or access.refusal(call, 404, "Repository not found", "RepoNotFound")
        if repo.name != name:
            return moved(call, "/".join(["/api", parts[0], repo.name, *rest]))
        return hub_api.about(self, call, repo, rest)

    def _page(self, call: Call) -> Reply:
        if call.path.startswith("/papers/"):
            return paper_text(call)
        parts = call.path.split("/")[1:]
        kind = parts[0] if parts[0] in KINDS and parts[0] != "models" else "models"
        name, rest = split_name(parts[1:] if kind != "models" else parts)
        git = name.endswith(".git") or rest[:1] in (["info"], ["git-upload-pack"])
        repo = self.world.find(kind, name.removesuffix(".git"))
        if not name:
            return text_reply("<!doctype html><title>stand-in hub</title>", Content_Type="text/html")
        refused = access.visible(call, self.world, repo)
        if refused is not None or repo is None:
            return refused or access.refusal(call, 404, "Repository not found", "RepoNotFound")
        if git:
            if repo.name != name.removesuffix(".git"):
                suffix = ".git" if name.endswith(".git") else ""
                return moved(call, "/" + "/".join([f"{repo.prefix}{repo.name}{suffix}", *rest]))
            return hub_git.git(self, call, repo, rest)
        if len(rest) >= 3 and rest[0] in {"resolve", "raw"}:  # verb, revision, path
            serve = hub_files.resolve if rest[0] == "resolve" else hub_files.raw
            return serve(self, call, repo, unquote(rest[1]), unquote("/".join(rest[2:])))
        if rest:
            return access.refusal(call, 404, "Sorry, we can't find the page you are looking for.")
        return text_reply(f"<!doctype html><title>{repo.name}</title>", Content_Type="text/html")


def split_name(parts: list[str]) -> tuple[str, list[str]]:
    """The repository's name and the raw segments after it; a verb in second place means a name of one segment."""
    decoded = [unquote(part) for part in parts[:2]]
    if len(decoded) < 2 or not decoded[1] or decoded[1] in {*hub_api.VERBS, "raw", "info", "git-upload-pack"}:
        return "".join(decoded[:1]), parts[1:]
    return "/".join(decoded), parts[2:]


def moved(call: Call, where: str) -> Reply:
    """The hub's answer to an old name or another case: 307, a relative Location, the query kept."""
    target = where + (f"?{call.query_string}" if call.query_string else "")
    return text_reply(f"Temporary Redirect. Redirecting to {target}", 307, Location=target)


def is_write(call: Call) -> bool:
    """Whether a real hub would change something: any method but GET and HEAD, except the reads made by POST."""
    if call.method in {"GET", "HEAD", "OPTIONS"}:
        return call.path.endswith("/info/refs") and call.param("service") == "git-receive-pack"
    if call.path.endswith("/info/lfs/objects/batch"):
        return b'"upload"' in call.body
    return not ("/paths-info/" in call.path or call.path.endswith("/git-upload-pack"))


def running_hub(hub: StandInHub | None = None, *, populated: bool = True) -> AbstractContextManager[StandInHub]:
    """A hub in its own thread for tests that are not asynchronous; with the default content unless told otherwise."""
    from .defaults import populate  # the default content builds on this module

    if hub is None:
        hub = StandInHub()
        if populated:
            populate(hub)
    return running(hub)
