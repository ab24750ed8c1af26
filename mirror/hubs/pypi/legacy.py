"""The legacy JSON of a project (`/pypi/{project}/json`), turned to this mirror and marked as the simple page is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_version

from mirror.hubs.pypi.documents import absolute
from mirror.hubs.pypi.pages import one_line
from mirror.hubs.pypi.paths import distribution, is_file_name, mirror_path, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping


def turned(
    raw: Mapping[str, Any], project: str, marked: Mapping[str, str], base: str, upstream: str
) -> dict[str, Any]:
    """The object with every file's URL on this mirror and the files in `marked` yanked with their reason.

    Every other key stays. Files whose link could not be served from here are left out. `upstream` is the URL that relative
    links are read against.
    """
    model = dict(raw)
    if isinstance(raw.get("urls"), list):
        model["urls"] = _files(raw["urls"], marked, base, upstream)
    if isinstance(raw.get("releases"), dict):
        model["releases"] = {
            version: _files(files, marked, base, upstream) if isinstance(files, list) else []
            for version, files in raw["releases"].items()
        }
    info = raw.get("info")
    if isinstance(info, dict) and isinstance(info.get("version"), str):
        reason = _reason(info["version"], project, marked)
        if reason is not None:
            model["info"] = {**info, "yanked": True, "yanked_reason": one_line(reason)}
    return model


def _files(files: list[Any], marked: Mapping[str, str], base: str, upstream: str) -> list[dict[str, Any]]:
    turned_files = []
    for entry in files:
        name, link = (entry.get("filename"), entry.get("url")) if isinstance(entry, dict) else (None, None)
        url = absolute(link, upstream) if isinstance(link, str) else None
        if url is None or not isinstance(name, str) or not is_file_name(name):
            continue
        mine = {**entry, "url": base + quoted(mirror_path(url, name))}
        if name in marked:
            mine |= {"yanked": True, "yanked_reason": one_line(marked[name])}
        turned_files.append(mine)
    return turned_files


def _reason(version: str, project: str, marked: Mapping[str, str]) -> str | None:
    wanted = canonicalize_version(version)
    for name, reason in marked.items():
        made = distribution(name, project)
        if made is not None and canonicalize_version(made.version) == wanted:
            return reason
    return None
