"""File routes of the stand-in hub: resolve, resolve-cache, raw, and the CDN behind them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlencode

from . import access
from .wire import Call, Reply, compress, json_reply, text_reply

if TYPE_CHECKING:
    from .hub import StandInHub
    from .world import Commit, File, Repo

XET_JSON: Final = "application/vnd.xet-fileinfo+json"
_TEXTS: Final = (".json", ".txt", ".md", ".py", ".yaml", ".csv", ".jinja", ".gitattributes", ".jsonl")
_TYPES: Final = {".json": "application/json", ".md": "text/markdown", ".csv": "text/csv", ".html": "text/html"}


def resolve(hub: StandInHub, call: Call, repo: Repo, revision: str, path: str) -> Reply:
    """`/{P}ID/resolve/REV/FILE`: 307 to resolve-cache, 302 to the CDN, or 200 for small files that are not public."""
    found = locate(hub, call, repo, revision, path)
    if isinstance(found, Reply):
        return found
    commit, file = found
    if file.lfs:
        return _large(hub, call, repo, commit, path, file)
    if repo.private or repo.gated:
        return small(call, repo, commit, path, file)
    tail = quote(path, safe="/")
    asked = f"{quote(call.path, safe='')}=&etag=%22{file.oid}%22"
    where = f"/api/resolve-cache/{repo.kind}/{repo.name}/{commit.id}/{tail}?{asked}"
    reply = text_reply(f"Temporary Redirect. Redirecting to {where}", 307, Location=where, Vary="Origin, Accept")
    return reply.with_headers(_about(repo, commit, path))


def locate(hub: StandInHub, call: Call, repo: Repo, revision: str, path: str) -> tuple[Commit, File] | Reply:
    """The commit and file of a content request, or the refusal."""
    refused = access.readable(call, repo, hub.region)
    if refused is not None:
        return refused
    commit = repo.resolve(revision)
    if commit is None:
        return access.bad_revision(call, revision)
    file = commit.files.get(path)
    return access.not_found(call, commit.id) if file is None else (commit, file)


def _about(repo: Repo, commit: Commit, path: str) -> dict[str, str]:
    name = path.rpartition("/")[2]
    ascii_name = name.encode("ascii", "replace").decode().replace('"', "_")
    return {
        "X-Repo-Commit": commit.id,
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(name)}; filename=\"{ascii_name}\";",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }


def small(call: Call, repo: Repo, commit: Commit, path: str, file: File) -> Reply:
    """A git file's bytes; text is compressed, and then has neither a length nor ranges, when the client accepts gzip."""
    kind = next((v for k, v in _TYPES.items() if path.endswith(k)), "text/plain; charset=utf-8")
    reply = Reply(200, file.data, ranged=True).with_headers(_about(repo, commit, path))
    reply.with_headers({"ETag": f'"{file.oid}"', "Content-Type": kind, "Vary": "Origin"})
    return compress(call, reply) if path.endswith(_TEXTS) else reply


def _large(hub: StandInHub, call: Call, repo: Repo, commit: Commit, path: str, file: File) -> Reply:
    refresh = f"{hub.url}/api/{repo.kind}/{repo.name}/xet-read-token/{commit.id}"
    links = f'<{refresh}>; rel="xet-auth", <{hub.cas_url}/v1/reconstructions/{file.xet}>; rel="xet-reconstruction-info"'
    xet = {"X-Xet-Hash": file.xet, "Link": links} if hub.xet else {}
    linked = {"X-Linked-Size": str(len(file.data)), "X-Linked-ETag": f'"{file.sha256}"', "Vary": "Origin, Accept"}
    if xet and XET_JSON in call.headers.get("Accept", "") and call.method == "GET":
        about = {"hash": file.xet, "refreshUrl": refresh, "size": len(file.data), "etag": f'"{file.sha256}"'}
        rebuild = f"{hub.cas_url}/v1/reconstructions/{file.xet}"
        reply = json_reply({**about, "reconstructionUrl": rebuild, "fileHash": file.xet})
        return reply.with_headers(linked | xet | {"Content-Type": XET_JSON, "X-Repo-Commit": commit.id})
    reply = text_reply("Found. Redirecting to the CDN", 302, Location=sign(hub, call, repo, path, file))
    reply.with_headers(_about(repo, commit, path))
    return reply.with_headers(linked | xet)


def sign(hub: StandInHub, call: Call, repo: Repo, path: str, file: File) -> str:
    """A signed CDN URL in the shape of the real ones, good for `hub.cdn_url_life` seconds."""
    where = f"/xet-bridge-us/{repo.hub_id}/{file.xet}"
    hub.cdn_files[where] = file
    expires = int(hub.clock()) + hub.cdn_url_life
    user = hub.world.tokens.get(call.token or "", "public")
    policy = base64.b64encode(json.dumps({"Statement": [{"Resource": where}]}).encode()).decode().replace("=", "_")
    query = {
        "X-Xet-Cas-Uid": user,
        "response-content-disposition": _about_name(path),
        "Expires": str(expires),
        "Policy": policy,
        "Signature": _signature(hub, where, expires),
        "Key-Pair-Id": "K2STANDIN00000",
    }
    return f"{hub.cdn_url}{where}?{urlencode(query)}"


def _about_name(path: str) -> str:
    return f"inline; filename*=UTF-8''{quote(path.rpartition('/')[2])};"


def _signature(hub: StandInHub, where: str, expires: int) -> str:
    key = f"{hub.seed}:{hub.cdn_generation}".encode()
    return hmac.new(key, f"{where}:{expires}".encode(), hashlib.sha256).hexdigest()


def cdn(hub: StandInHub, call: Call) -> Reply:
    """The CDN: signed URLs only, 400 for an Authorization header, ranges, and an ETag that is not the SHA-256."""
    if "Authorization" in call.headers:
        code = "<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed</Message></Error>"
        return text_reply(code, 400, Content_Type="application/xml")
    file = hub.cdn_files.get(call.path)
    expires = call.param("Expires")
    good = expires.isdigit() and hmac.compare_digest(call.param("Signature"), _signature(hub, call.path, int(expires)))
    if file is None or not good or int(expires) < hub.clock() or call.method not in {"GET", "HEAD"}:
        return text_reply("<Error><Code>AccessDenied</Code></Error>", 403, Content_Type="application/xml")
    headers = {
        "Content-Type": "application/octet-stream",
        "ETag": f'"{file.cdn_etag}"',
        "Last-Modified": "Fri, 01 Mar 2024 10:00:00 GMT",
        "Content-Disposition": call.param("response-content-disposition"),
        "Cache-Control": "public, max-age=604800, immutable, s-maxage=604800",
        "X-Cache": "Hit from cloudfront",
        "Via": "1.1 standin.cloudfront.example (CloudFront)",
        "Age": "1234",
        "Access-Control-Allow-Origin": "*",
    }
    return Reply(200, file.data, ranged=True).with_headers(headers)


def resolve_cache(hub: StandInHub, call: Call) -> Reply:
    """`/api/resolve-cache/T/ID/<commit>/FILE`: 400 without a full commit, 404 for another repository's commit."""
    segments = call.path.split("/")[3:]
    kind, rest = segments[0], segments[1:]
    at = next((i for i in (1, 2) if hub.world.find(kind, unquote("/".join(rest[:i])))), None)
    repo = hub.world.find(kind, unquote("/".join(rest[:at]))) if at else None
    refused = access.visible(call, hub.world, repo)
    if refused is not None or repo is None or at is None:
        return refused or access.refusal(call, 404, "Repository not found", "RepoNotFound")
    revision, path = unquote(rest[at]) if len(rest) > at else "", unquote("/".join(rest[at + 1 :]))
    if len(revision) != 40:
        return access.refusal(call, 400, "Invalid commit hash")
    if revision not in repo.commits:
        return access.refusal(call, 404, f"Invalid rev id: {revision}", "RevisionNotFound")
    found = locate(hub, call, repo, revision, path)
    return found if isinstance(found, Reply) else small(call, repo, found[0], path, found[1])


def raw(hub: StandInHub, call: Call, repo: Repo, revision: str, path: str) -> Reply:
    """`/{P}ID/raw/REV/FILE`: what git holds, so a large file's pointer."""
    found = locate(hub, call, repo, revision, path)
    if isinstance(found, Reply):
        return found
    commit, file = found
    reply = Reply(200, file.in_git, ranged=True).with_headers(_about(repo, commit, path))
    reply.with_headers({"ETag": f'"{file.oid}"', "Content-Type": "text/plain; charset=utf-8", "Vary": "Origin"})
    return compress(call, reply)
