"""The list of all projects (`/simple/`): upstream's own JSON as it is, or HTML written here from its names."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any, Final

from packaging.utils import canonicalize_name

from mirror.core.errors import UpstreamGarbage
from mirror.hubs.pypi.anchors import read_html
from mirror.hubs.pypi.documents import HTML, HTML_V1, JSON_V1, decode_object
from mirror.hubs.pypi.paths import project_name

if TYPE_CHECKING:
    from mirror.core.nouns import Document


def listing(document: Document, wanted: str, base: str, upstream: str) -> bytes:
    """The list in the form `wanted` (one of `negotiation.OFFERS`). `base` is the public origin with the mount.

    JSON from upstream is passed on byte for byte: it is inert in a browser under the headers of our pages. Markup never is.
    Raises `UpstreamGarbage`.
    """
    media = (document.header("content-type") or HTML).partition(";")[0].strip().lower()
    if media in (JSON_V1, "application/json"):
        return document.body if wanted == JSON_V1 else _html(_names_of_json(document.body, upstream), base)
    if media not in (HTML, HTML_V1):
        raise UpstreamGarbage(upstream, f"the list of projects is {media[:60]!r}")
    names = [name for name in read_html(document.body, upstream).projects if project_name(name) is not None]
    if wanted == JSON_V1:
        model: dict[str, Any] = {"meta": {"api-version": "1.0"}, "projects": [{"name": name} for name in names]}
        return json.dumps(model, separators=(",", ":")).encode()
    return _html(names, base)


def _names_of_json(body: bytes, upstream: str) -> list[str]:
    projects = decode_object(body, upstream).get("projects")
    if not isinstance(projects, list):
        raise UpstreamGarbage(upstream, "projects is missing or not a list")
    names = (entry.get("name") for entry in projects if isinstance(entry, dict))
    return [name for name in names if isinstance(name, str) and project_name(name) is not None]


def _html(names: list[str], base: str) -> bytes:
    href: Final = escape(base, quote=True)
    rows = "".join(f'<a href="{href}/simple/{canonicalize_name(name)}/">{escape(name)}</a><br>\n' for name in names)
    head = '<!DOCTYPE html>\n<html>\n<head>\n<meta name="pypi:repository-version" content="1.0">\n<title>Simple index</title>\n'
    return f"{head}</head>\n<body>\n{rows}</body>\n</html>\n".encode()
