"""Git, git-lfs, registry manifests and writes on the stand-in hub."""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from . import access
from .gitobjects import pack, pkt, pkt_lines
from .hub_files import sign
from .wire import Call, Reply, json_reply, text_reply

if TYPE_CHECKING:
    from .hub import StandInHub
    from .world import Repo

_LFS = "application/vnd.git-lfs+json"


def git(hub: StandInHub, call: Call, repo: Repo, rest: list[str]) -> Reply:
    """`info/refs`, `git-upload-pack` and the LFS batch of one repository; contents need the right to read."""
    refused = access.readable(call, repo, hub.region)
    if refused is not None:
        return refused
    match rest:
        case ["info", "refs"] if call.param("service") == "git-upload-pack":
            return _advert(repo)
        case ["git-upload-pack"]:
            return _upload_pack(call, repo)
        case ["info", "lfs", "objects", "batch"]:
            return _batch(hub, call, repo)
        case _:
            return access.refusal(call, 404, "Not found")


def _refs(repo: Repo) -> dict[str, str]:
    named = {f"refs/heads/{name}": oid for name, oid in repo.branches.items()}
    named |= {f"refs/tags/{name}": oid for name, oid in repo.git_tags.items()}
    named |= {f"refs/convert/{name}": oid for name, oid in repo.converts.items()}
    return named | {f"refs/pr/{name}": oid for name, oid in repo.pull_requests.items()}


def _advert(repo: Repo) -> Reply:
    """The version-0 advertisement (a client that offers version 2 falls back)."""
    rows = [("HEAD", repo.head), *sorted(_refs(repo).items())]
    out = pkt(b"# service=git-upload-pack\n") + b"0000"
    for number, (name, oid) in enumerate(rows):
        abilities = b"\0symref=HEAD:refs/heads/main agent=git/standin" if number == 0 else b""
        out += pkt(f"{oid} {name}".encode() + abilities + b"\n")
    reply = Reply(200, out + b"0000")
    return reply.with_headers(
        {"Content-Type": "application/x-git-upload-pack-advertisement", "Cache-Control": "no-cache"}
    )


def _upload_pack(call: Call, repo: Repo) -> Reply:
    body = gzip.decompress(call.body) if call.body[:2] == b"\x1f\x8b" else call.body  # the server may have done it already
    wants = [line.split()[1].decode() for line in pkt_lines(body) if line.startswith(b"want ")]
    objects: dict[str, tuple[str, bytes]] = {}
    for want in wants:
        for commit in repo.history(repo.commits[want]) if want in repo.commits else []:
            objects[commit.id] = ("commit", commit.body)
            objects |= {oid: ("tree", tree) for oid, tree in commit.trees.items()}
            objects |= {file.oid: ("blob", file.in_git) for file in commit.files.values()}
    content = pkt(b"ERR upload-pack: not our ref\n") if not objects else pkt(b"NAK\n") + pack(objects.values())
    return Reply(200, content).with_headers({"Content-Type": "application/x-git-upload-pack-result"})


def _batch(hub: StandInHub, call: Call, repo: Repo) -> Reply:
    asked = json.loads(call.body or b"{}")
    files = {file.sha256: (path, file) for one in repo.commits.values() for path, file in one.files.items() if file.lfs}
    rows: list[dict[str, Any]] = []
    for wanted in asked.get("objects", []):
        row = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] in files:
            path, file = files[wanted["oid"]]
            href = sign(hub, call, repo, path, file)
            row |= {"authenticated": True, "actions": {"download": {"href": href, "expires_in": hub.cdn_url_life}}}
        else:
            row["error"] = {"code": 404, "message": "Object does not exist on the server"}
        rows.append(row)
    reply = json_reply({"transfer": "basic", "objects": rows, "hash_algo": "sha256"})
    return reply.with_headers({"Content-Type": _LFS})


def manifest(hub: StandInHub, call: Call) -> Reply:
    """`/v2/ID/manifests/TAG` and `/v2/ID/blobs/sha256:...`; `ggufFile` only for a llama.cpp User-Agent."""
    segments = [unquote(part) for part in call.path.split("/")[2:]]
    if segments in ([], [""]):
        return json_reply({})
    repo = hub.world.find("models", "/".join(segments[:2]))
    refused = access.visible(call, hub.world, repo)
    if refused is not None or repo is None or len(segments) != 4:
        return refused or access.refusal(call, 404, "Repository not found", "RepoNotFound")
    refused = access.readable(call, repo, hub.region)
    if refused is not None:
        return refused
    files = {path: file for path, file in repo.commits[repo.head].files.items() if path.endswith(".gguf")}
    made = {f"sha256:{hashlib.sha256(data).hexdigest()}": data for data in _made(repo)}
    if segments[2] == "blobs" and segments[3] in made:
        return Reply(200, made[segments[3]], ranged=True).with_headers({"Content-Type": "application/octet-stream"})
    if segments[2] == "blobs":
        found = [pair for pair in files.items() if f"sha256:{pair[1].sha256}" == segments[3]]
        if not found:
            return access.refusal(call, 404, "Blob not found")
        return text_reply("", 307, Location=sign(hub, call, repo, *found[0]))
    tag = segments[3].lower()
    chosen = next(((p, f) for p, f in files.items() if tag == "latest" or tag in p.lower()), None)
    if chosen is None:
        return access.refusal(call, 400, "The specified tag is not a valid quantization scheme.")
    digest, size = f"sha256:{chosen[1].sha256}", len(chosen[1].data)
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": digest, "size": size}
    config, params = ({"digest": name, "size": len(data)} for name, data in made.items())
    layers = [layer, {"mediaType": "application/vnd.ollama.image.params", **params}]
    answer: dict[str, Any] = {"schemaVersion": 2, "layers": layers}
    answer["config"] = {"mediaType": "application/vnd.docker.container.image.v1+json", **config}
    answer["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json"
    if "llama-cpp" in call.headers.get("User-Agent", ""):
        answer["ggufFile"] = {"rfilename": chosen[0], "blobId": digest, "size": size}
    return json_reply(answer)


def _made(repo: Repo) -> tuple[bytes, bytes]:
    """The configuration and the parameters of an image: what the hub makes itself, and no file of the repository."""
    about = {"model_format": "gguf", "model_family": "llama", "repo": repo.name}
    return json.dumps(about).encode(), json.dumps({"stop": ["<|end|>"], "repo": repo.name}).encode()


def accept_write(hub: StandInHub, call: Call) -> Reply:
    """Say yes to every write without doing it: a leak through a mirror is then visible in `hub.writes`."""
    zeros = "0" * 40
    commit = {"commitOid": zeros, "commitUrl": f"{hub.url}/acme/x/commit/{zeros}", "hookOutput": "", "success": True}
    return json_reply(commit | {"url": f"{hub.url}/acme/x", "name": "acme/x", "files": []})
