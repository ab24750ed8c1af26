"""The repository API of the stand-in hub: information, tree, paths-info, refs, commits, Xet tokens."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, quote, unquote, urlencode

from . import access, hub_cas, hub_events
from .wire import Call, Reply, compress, json_reply, text_reply
from .world import Commit, File, Repo

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from .hub import StandInHub

VERBS: Final = frozenset(
    {
        *("revision", "tree", "paths-info", "refs", "commits", "auth-check", "xet-read-token", "treesize", "parquet"),
        *("safetensors-metadata", "resolve", "commit", "preupload", "branch", "tag", "like", "settings", "discussions"),
        *("logs", "events", "metrics"),
        *("runtime", "xet-write-token", "super-squash", "lfs-files", "croissant", "compare", "scan"),
    }
)
TREE_PAGE: Final = 1000
TREE_PAGE_EXPANDED: Final = 50


def about(hub: StandInHub, call: Call, repo: Repo, rest: list[str]) -> Reply:
    """`/api/T/ID[/verb/...]`; `rest` holds the raw segments after the name."""
    verb, arguments = (rest[0], [unquote(part) for part in rest[1:]]) if rest else ("", [])
    if verb in {"", "revision"}:
        commit = repo.resolve("/".join(arguments) if verb else "main")
        if commit is None:
            return access.bad_revision(call, "/".join(arguments))
        return compress(call, json_reply(information(hub, call, repo, commit)))
    match verb:
        case "auth-check":
            return access.readable(call, repo, "") or text_reply("OK")
        case "refs":
            return json_reply(refs(call, repo))
        case "treesize" | "tree" | "paths-info" | "commits" | "xet-read-token" | "safetensors-metadata":
            return _of_revision(hub, call, repo, verb, arguments)
        case "parquet":
            return _parquet(hub, call, repo, arguments)
        case "discussions":
            return json_reply({"discussions": [], "count": 0, "start": 0})
        case "logs" | "events" | "metrics" if repo.kind == "spaces":
            return hub_events.stream(hub, call, repo)
        case "runtime":
            return json_reply({"stage": "RUNNING", "hardware": {"current": "cpu-basic", "requested": "cpu-basic"}})
        case _:
            return access.refusal(call, 404, "Sorry, we can't find the page you are looking for.")


def _of_revision(hub: StandInHub, call: Call, repo: Repo, verb: str, arguments: list[str]) -> Reply:
    revision = arguments[0] if arguments else "main"
    if verb in {"commits", "xet-read-token", "safetensors-metadata"}:
        refused = access.readable(call, repo, hub.region)
        if refused is not None:
            return refused
    commit = repo.resolve("main" if verb == "safetensors-metadata" else revision)
    if commit is None:
        return access.bad_revision(call, revision)
    match verb:
        case "tree":
            return tree(hub, call, repo, commit, "/".join(arguments[1:]))
        case "treesize":
            return json_reply({"path": "/", "size": sum(len(file.data) for file in commit.files.values())})
        case "paths-info":
            return paths_info(call, hub, commit)
        case "commits":
            return commits(hub, call, repo, commit)
        case "xet-read-token":
            return hub_cas.token(hub, repo, commit)
        case _:
            return _safetensors(call, commit, "/".join(arguments))


def stamp(at: datetime) -> str:
    """A time as the hub writes it: UTC with milliseconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def base_models(repo: Repo) -> tuple[str, list[str]] | None:
    """The relation and the parents' names that the tags state."""
    found = [tag.split(":") for tag in repo.tags if tag.startswith("base_model:")]
    names = [parts[-1] for parts in found if len(parts) == 2]  # base_model:NAME
    relation = next((parts[1] for parts in found if len(parts) == 3), "finetune")
    return (relation, names) if names else None


def information(hub: StandInHub, call: Call, repo: Repo, commit: Commit) -> dict[str, Any]:
    """The repository information; with `expand` only `_id`, `id` and what was asked for."""
    common: dict[str, Any] = {
        "_id": repo.hub_id,
        "id": repo.name,
        "author": repo.author,
        "private": repo.private,
        "disabled": bool(repo.disabled),
        "gated": repo.gated,
        "downloads": repo.downloads,
        "likes": repo.likes,
        "tags": [*repo.tags, *(["region:us"] if "region:us" not in repo.tags else [])],
        "sha": commit.id,
        "lastModified": stamp(repo.modified),
        "createdAt": stamp(repo.created),
        "cardData": repo.card,
        "usedStorage": sum(len(file.data) for file in commit.files.values()),
        "siblings": siblings(call, commit),
    }
    if repo.kind == "models":
        common["modelId"] = repo.name
        common["spaces"] = []
    if repo.kind == "spaces":
        common |= {"sdk": "gradio", "runtime": {"stage": "RUNNING", "hardware": {"current": "cpu-basic"}}}
    common |= repo.extra
    expand = call.params("expand", "expand[]")
    if expand:
        common |= _expandable(hub, repo)
        return {key: common[key] for key in ("_id", "id", *expand) if key in common}
    if call.truthy("securityStatus"):
        common["securityRepoStatus"] = {"scansDone": True, "filesWithIssues": _suspicious(commit)}
    return common


def _expandable(hub: StandInHub, repo: Repo) -> dict[str, Any]:
    """Keys that only come when `expand` names them."""
    more: dict[str, Any] = {"xetEnabled": hub.xet, "downloadsAllTime": repo.downloads * 10, "trendingScore": 1}
    stated = base_models(repo)
    if stated is not None:
        parents = [(name, hub.world.find("models", name)) for name in stated[1]]
        known = [{"_id": parent.hub_id, "id": parent.name} for _, parent in parents if parent is not None]
        more["baseModels"] = {"relation": stated[0], "models": known}
    counts: dict[str, int] = {}
    for other in hub.world.repos.values():
        relation = base_models(other)
        if relation is not None and repo.name in relation[1]:
            counts[relation[0]] = counts.get(relation[0], 0) + 1
    more["childrenModelCount"] = counts
    more["safetensors"] = {"parameters": {"F32": 128}, "total": 128}
    return more


def _suspicious(commit: Commit) -> list[dict[str, str]]:
    return [{"path": path, "level": "unsafe"} for path in commit.files if path.endswith((".pkl", ".pickle"))]


def siblings(call: Call, commit: Commit) -> list[dict[str, Any]]:
    """All files of a commit; sizes and digests only with `blobs=true`."""
    rows: list[dict[str, Any]] = []
    for path, file in sorted(commit.files.items()):
        row: dict[str, Any] = {"rfilename": path}
        if call.truthy("blobs"):
            row |= {"blobId": file.oid, "size": len(file.data)}
            if file.lfs:
                row["lfs"] = {"sha256": file.sha256, "size": len(file.data), "pointerSize": len(file.in_git)}
        rows.append(row)
    return rows


def entry(hub: StandInHub, commit: Commit, path: str, file: File | None, *, expand: bool) -> dict[str, Any]:
    """One row of a tree or of paths-info; `file` is None for a folder."""
    if file is None:
        row: dict[str, Any] = {"type": "directory", "oid": commit.folders[path], "size": 0, "path": path}
    else:
        row = {"type": "file", "oid": file.oid, "size": len(file.data), "path": path}
        if file.lfs:
            row["lfs"] = {"oid": file.sha256, "size": len(file.data), "pointerSize": len(file.in_git)}
            if hub.xet:
                row["xetHash"] = file.xet
    if expand:
        row["lastCommit"] = {"id": commit.id, "title": commit.title, "date": stamp(commit.at)}
        if file is not None:
            row["securityFileStatus"] = hub.scans[path] if path in hub.scans else scan_status(path)
    return row


def scan_status(path: str) -> dict[str, Any]:
    """The summary and the scanners' own parts, as the hub writes them since October 2024; pickles are unsafe."""
    pickle = path.endswith((".pkl", ".pickle"))
    told = [{"module": "os", "name": "system", "safety": "dangerous"}] if pickle else []
    return {
        "status": "unsafe" if pickle else "safe",
        "protectAiScan": {"status": "unscanned", "message": None, "reportLink": "https://protectai.example/x"},
        "avScan": {"status": "safe", "message": "No security issues detected", "version": "1.4.3/27745"},
        "pickleImportScan": {"status": "unsafe" if pickle else "unscanned", "pickleImports": told, "version": "0.0.0"},
        "virusTotalScan": {"status": "unscanned"},
        "jFrogScan": {"status": "unscanned", "message": "Not a machine-learning model", "reportLink": "", "reportLabel": ""},
    }


def tree(hub: StandInHub, call: Call, repo: Repo, commit: Commit, folder: str) -> Reply:
    """`/api/T/ID/tree/REV[/FOLDER]`: 1,000 rows a page, 50 with `expand`; the next page's URL is absolute."""
    folder = folder.strip("/")
    if folder and folder not in commit.folders:
        return access.refusal(call, 404, f'{folder} does not exist on "{call.segments[call.segments.index("tree") + 1]}"', "EntryNotFound")
    start, deep = (f"{folder}/" if folder else ""), call.truthy("recursive")
    inside = [path for path in (*commit.folders, *commit.files) if path.startswith(start)]
    names = sorted(path for path in inside if deep or "/" not in path[len(start) :])
    expand = call.truthy("expand")
    most = TREE_PAGE_EXPANDED if expand else TREE_PAGE
    page, link = paged(hub, call, names, min(int(call.param("limit") or most), most))
    reply = json_reply([entry(hub, commit, path, commit.files.get(path), expand=expand) for path in page])
    return compress(call, reply.with_headers(link | {"X-Repo-Commit": commit.id}))


def paged(hub: StandInHub, call: Call, rows: Sequence[Any], limit: int) -> tuple[Sequence[Any], dict[str, str]]:
    """One page by the call's opaque cursor, and the absolute `Link` to the next one on the hub's own host."""
    at = 0
    if cursor := call.param("cursor"):
        at = int(json.loads(base64.urlsafe_b64decode(cursor))["at"])
    page, stop = rows[at : at + limit], at + limit
    if stop >= len(rows):
        return page, {}
    following = base64.urlsafe_b64encode(json.dumps({"at": stop}).encode()).decode()
    kept = [(key, value) for key, value in call.query if key not in {"cursor", "limit"}]
    query = urlencode([*kept, ("limit", str(limit)), ("cursor", following)])
    return page, {"Link": f'<{hub.url}{call.path}?{query}>; rel="next"'}


def paths_info(call: Call, hub: StandInHub, commit: Commit) -> Reply:
    """`POST /api/T/ID/paths-info/REV`, a form or JSON; unknown paths are left out."""
    if "json" in call.headers.get("Content-Type", ""):
        asked = json.loads(call.body or b"{}")
        paths, expand = asked.get("paths", []), bool(asked.get("expand"))
    else:
        form = parse_qs(call.body.decode(), keep_blank_values=True)
        paths, expand = form.get("paths", []), form.get("expand", ["false"])[0].lower() == "true"
    wanted = [paths] if isinstance(paths, str) else [path.strip("/") for path in paths]
    known = [path for path in wanted if path in commit.files or path in commit.folders]
    return compress(call, json_reply([entry(hub, commit, p, commit.files.get(p), expand=expand) for p in known]))


def refs(call: Call, repo: Repo) -> dict[str, Any]:
    """Branches, converts, tags and, if asked for, pull requests."""

    def rows(table: dict[str, str], prefix: str) -> list[dict[str, str]]:
        return [{"name": name, "ref": f"{prefix}{name}", "targetCommit": oid} for name, oid in table.items()]

    answer = {
        "branches": rows(repo.branches, "refs/heads/"),
        "converts": rows(repo.converts, "refs/convert/"),
        "tags": rows(repo.git_tags, "refs/tags/"),
    }
    if call.truthy("include_prs"):
        answer["pullRequests"] = rows(repo.pull_requests, "refs/pr/")
    return answer


def commits(hub: StandInHub, call: Call, repo: Repo, commit: Commit) -> Reply:
    """`/api/T/ID/commits/REV?p=&limit=`: newest first, the total in `X-Total-Count`."""
    line = repo.history(commit)
    limit, page = int(call.param("limit") or 50), int(call.param("p") or 0)
    rows = []
    for one in line[page * limit : (page + 1) * limit]:
        row = {"id": one.id, "title": one.title, "message": "", "date": stamp(one.at)}
        row |= {"authors": [{"user": "acme-bot", "avatar": "/avatars/0.svg"}]}  # type: ignore[dict-item]
        if "formatted" in call.params("expand", "expand[]"):
            row |= {"formatted": {"title": one.title, "message": ""}}  # type: ignore[dict-item]
        rows.append(row)
    reply = json_reply(rows).with_headers({"X-Total-Count": str(len(line))})
    if (page + 1) * limit < len(line):
        following = urlencode({"p": page + 1, "limit": limit})
        reply.headers["Link"] = f'<{hub.url}{call.path}?{following}>; rel="next"'
    return reply


def _safetensors(call: Call, commit: Commit, path: str) -> Reply:
    file = commit.files.get(path)
    if file is None:
        return access.not_found(call, commit.id)
    size = int.from_bytes(file.data[:8], "little")
    return json_reply(json.loads(file.data[8 : 8 + size]))


def _parquet(hub: StandInHub, call: Call, repo: Repo, arguments: list[str]) -> Reply:
    """`/api/datasets/ID/parquet[/config[/split[/n.parquet]]]`: absolute URLs, or a redirect to refs/convert/parquet."""
    refused = access.readable(call, repo, hub.region)
    if refused is not None:
        return refused
    commit = repo.resolve("refs/convert/parquet")
    paths = sorted(commit.files) if commit else []
    table: dict[str, Any] = {}
    for path in (path for path in paths if path.count("/") == 2):  # config/split/0000.parquet
        config, split, name = path.split("/")
        number = int(name.removesuffix(".parquet"))
        url = f"{hub.url}/api/datasets/{repo.name}/parquet/{quote(config)}/{quote(split)}/{number}.parquet"
        table.setdefault(config, {}).setdefault(split, []).append(url)
    if len(arguments) == 3:
        number = int(arguments[2].removesuffix(".parquet"))
        inner = f"{arguments[0]}/{arguments[1]}/{number:04}.parquet"
        where = f"{hub.url}/datasets/{repo.name}/resolve/refs%2Fconvert%2Fparquet/{inner}"
        return text_reply(f"Found. Redirecting to {where}", 302, Location=where)
    for key in arguments:
        table = table[key] if isinstance(table, dict) and key in table else {}
    return json_reply(table)
