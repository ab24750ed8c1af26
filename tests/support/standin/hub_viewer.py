"""The dataset viewer of the stand-in hub, an origin of its own as on the real one: it names files, and shows rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from . import access
from .wire import Call, Reply, json_reply

if TYPE_CHECKING:
    from .hub import StandInHub
    from .world import Repo

PUBLIC = "https://huggingface.co"
_DONE = {"partial": False, "pending": [], "failed": []}


def viewer(hub: StandInHub, call: Call) -> Reply:
    """`/info`, `/parquet`, `/splits`, `/size`, `/is-valid`, `/rows`, …, for datasets that everybody may read."""
    repo = hub.world.find("datasets", call.param("dataset"))
    if repo is None or (repo.private or repo.gated) and not access.allowed(call, repo):
        reply = json_reply({"error": "The dataset does not exist, or is not accessible without authentication."}, 401)
        return reply.with_headers({"X-Error-Code": "ExternalUnauthenticatedError"})
    told = _told(call.path.strip("/"), repo)
    if told is None:
        return json_reply({"error": "Not found."}, 404)
    return json_reply(told).with_headers({"X-Revision": repo.head})


def _told(what: str, repo: Repo) -> dict[str, Any] | None:
    match what:
        case "info":
            features = {"text": {"dtype": "string", "_type": "Value"}}
            return {"dataset_info": {"default": {"features": features, "dataset_name": repo.name}}, **_DONE}
        case "parquet":
            return {"parquet_files": _files(repo), **_DONE}
        case "splits":
            return {"splits": [{"dataset": repo.name, "config": "default", "split": "train"}], "pending": [], "failed": []}
        case "is-valid":
            return {"preview": True, "viewer": True, "search": False, "filter": False, "statistics": False}
        case "size":
            return {"size": {"dataset": {"dataset": repo.name, "num_rows": 400}}, **_DONE}
        case "rows" | "first-rows" | "search" | "filter":
            return {"features": [], "rows": [{"row_idx": 0, "row": {"text": "CANARY-must-not-leave-row"}}]}
        case _:
            return None


def _files(repo: Repo) -> list[dict[str, Any]]:
    """Links name the public hub, whatever the stand-in's own address is; one leads elsewhere."""
    commit = repo.resolve("refs/convert/parquet")
    rows = []
    for path in sorted(commit.files) if commit else []:
        config, split, name = path.split("/")
        url = f"{PUBLIC}/datasets/{repo.name}/resolve/refs%2Fconvert%2Fparquet/{quote(path)}"
        about = {"dataset": repo.name, "config": config, "split": split, "filename": name, "size": len(commit.files[path].data)}
        rows.append({**about, "url": url})
    return [*rows, {"dataset": repo.name, "config": "x", "split": "x", "filename": "x", "size": 1, "url": "https://evil.example/x.parquet"}]
