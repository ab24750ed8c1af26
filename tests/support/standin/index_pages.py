"""The pages of the stand-in index: simple JSON and HTML, legacy JSON, provenance; shapes and keys as PyPI sends them."""

from __future__ import annotations

import hashlib
import html
import json
from typing import TYPE_CHECKING, Any, Final

from packaging.version import InvalidVersion, Version

from .dist import Meta, normalised
from .wire import Call, Reply

if TYPE_CHECKING:
    from datetime import datetime

    from .packages import Dist, Project, Shelf

JSON: Final = "application/vnd.pypi.simple.v1+json"
HTML: Final = "application/vnd.pypi.simple.v1+html"
OFFERS: Final = ("text/html", HTML, JSON)  # in the order that settles ties
API_VERSION: Final = "1.4"


def negotiated(call: Call) -> str:
    """Warehouse's choice: the highest weight wins, text/html on ties and when nothing matches (never 406)."""
    weights = {offer: _weight(call.headers.get("Accept", "*/*"), offer) for offer in OFFERS}
    best = max(OFFERS, key=lambda offer: weights[offer])  # max keeps the first of equals
    return best if weights[best] > 0 else "text/html"


def _weight(accept: str, offer: str) -> float:
    found: tuple[int, float] = (-1, 0.0)
    for part in accept.split(","):
        media, *parameters = [piece.strip().lower() for piece in part.split(";")]
        exact = {"*/*": 0, f"{offer.partition('/')[0]}/*": 1, offer: 2}.get(media, -1)
        try:
            weight = next((float(p[2:]) for p in parameters if p.startswith("q=")), 1.0)
        except ValueError:
            weight = 0.0
        if exact > found[0]:
            found = (exact, weight)
    return found[1] if found[0] >= 0 else 0.0


def _order(version: str) -> tuple[int, Version | str]:
    try:
        return (1, Version(version))
    except InvalidVersion:
        return (0, version)


def versions(project: Project) -> list[str]:
    """All versions with a file, oldest first."""
    return sorted({file.version for file in project.files}, key=_order)


def stamp(at: datetime) -> str:
    """An upload time as PEP 700 wants it: UTC with microseconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def simple_json(project: Project, files_url: str, index_url: str) -> bytes:
    """The PEP 691 page of a project with every key that PyPI sends (api-version 1.4)."""
    shown = [] if project.status == "quarantined" else project.files
    rows = [_json_row(project, file, files_url, index_url) for file in shown]
    page = {  # no `alternate-locations`: PyPI does not emit PEP 708
        "files": rows,
        "meta": {"_last-serial": project.serial, "api-version": API_VERSION},
        "name": _normal(project),
        "project-status": {"status": project.status},
        "versions": versions(project) if shown else [],
    }
    return json.dumps(page, separators=(",", ":")).encode()


def _normal(project: Project) -> str:
    return normalised(project.name)


def _json_row(project: Project, file: Dist, files_url: str, index_url: str) -> dict[str, Any]:
    metadata = {"sha256": _sha256(file.metadata)} if file.metadata is not None else False
    return {
        "core-metadata": metadata,
        "data-dist-info-metadata": metadata,
        "filename": file.filename,
        "hashes": {"sha256": file.sha256},
        "provenance": _provenance_url(project, file, index_url),
        "requires-python": file.requires_python,
        "size": len(file.data),
        "upload-time": stamp(file.uploaded),
        "url": f"{files_url}{file.path}",
        "yanked": file.yanked,
    }


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _provenance_url(project: Project, file: Dist, index_url: str) -> str | None:
    if file.publisher is None:
        return None
    return f"{index_url}/integrity/{_normal(project)}/{file.version}/{file.filename}/provenance"


def simple_html(project: Project, files_url: str, index_url: str) -> bytes:
    """The PEP 503 page of a project: no sizes and no upload times, as frozen by PEP 833."""
    name = html.escape(_normal(project))
    rows = []
    for file in [] if project.status == "quarantined" else project.files:
        marks = {"data-requires-python": file.requires_python}
        if file.metadata is not None:
            digest = f"sha256={_sha256(file.metadata)}"
            marks |= {"data-dist-info-metadata": digest, "data-core-metadata": digest}
        if file.yanked:
            marks["data-yanked"] = file.yanked if isinstance(file.yanked, str) else ""
        marks["data-provenance"] = _provenance_url(project, file, index_url)
        text = "".join(f' {key}="{html.escape(value)}"' for key, value in marks.items() if value is not None)
        rows.append(f'<a href="{files_url}{file.path}#sha256={file.sha256}"{text} >{file.filename}</a><br />\n')
    head = (
        f'<!DOCTYPE html>\n<html>\n  <head>\n    <meta name="pypi:repository-version" content="{API_VERSION}">\n'
        f'    <meta name="pypi:project-status" content="{project.status}">\n'
        f"    <title>Links for {name}</title>\n  </head>\n  <body>\n    <h1>Links for {name}</h1>\n"
    )
    return f"{head}{''.join(rows)}</body>\n</html>\n<!--SERIAL {project.serial}-->".encode()


def all_projects(shelf: Shelf, kind: str) -> bytes:
    """`/simple/`: every project that is not quarantined."""
    names = sorted(name for name, project in shelf.projects.items() if project.status != "quarantined")
    if kind == JSON:
        rows = [{"_last-serial": shelf.projects[name].serial, "name": shelf.projects[name].name} for name in names]
        return json.dumps({"meta": {"_last-serial": 1, "api-version": API_VERSION}, "projects": rows}).encode()
    links = "".join(f'<a href="/simple/{name}/">{html.escape(name)}</a>\n' for name in names)
    return f"<!DOCTYPE html><html><head><title>Simple index</title></head><body>{links}</body></html>".encode()


def legacy(project: Project, version: str | None, files_url: str) -> dict[str, Any] | None:
    """`/pypi/{p}/json` (the newest version, with `releases`) and `/pypi/{p}/{v}/json`; None where PyPI says 404."""
    known = versions(project)
    if project.status == "quarantined" or not known:
        return None
    finals = [v for v in known if not Version(v).is_prerelease and any(not f.yanked for f in project.release(v))]
    shown = version or (finals or known)[-1]
    if shown not in known:
        return None
    meta = project.metas.get(shown) or Meta(project.name, shown)
    rows = [_legacy_row(file, files_url) for file in project.release(shown)]
    yanked = project.release(shown)[0].yanked
    answer: dict[str, Any] = {
        "info": {
            **{key: getattr(meta, key) for key in ("name", "version", "summary", "requires_python", "license")},
            **{key: getattr(meta, key) or "" for key in ("author", "author_email", "maintainer_email", "home_page")},
            "license_expression": meta.license_expression,
            "maintainer": "",
            "classifiers": list(meta.classifiers),
            "project_urls": meta.project_urls or None,
            "requires_dist": list(meta.requires) or None,
            "yanked": bool(yanked),
            "yanked_reason": yanked if isinstance(yanked, str) else None,
            "package_url": f"https://pypi.org/project/{_normal(project)}/",
        },
        "last_serial": project.serial,
        "ownership": {"organization": project.organization, "roles": project.roles},
        "urls": rows,
        "vulnerabilities": project.vulnerabilities,
    }
    if version is None:
        answer["releases"] = {v: [_legacy_row(file, files_url) for file in project.release(v)] for v in known}
    return answer


def _legacy_row(file: Dist, files_url: str) -> dict[str, Any]:
    return {
        "comment_text": None,
        "digests": {"blake2b_256": file.blake2, "md5": file.md5, "sha256": file.sha256},
        "downloads": -1,
        "filename": file.filename,
        "has_sig": False,
        "md5_digest": file.md5,
        "packagetype": file.kind,
        "python_version": "py3" if file.kind == "bdist_wheel" else "source",
        "requires_python": file.requires_python,
        "size": len(file.data),
        "upload_time": file.uploaded.strftime("%Y-%m-%dT%H:%M:%S"),
        "upload_time_iso_8601": stamp(file.uploaded),
        "url": f"{files_url}{file.path}",
        "yanked": bool(file.yanked),
        "yanked_reason": file.yanked if isinstance(file.yanked, str) else None,
    }


def provenance(file: Dist) -> Reply:
    """The PEP 740 document of one file (its signatures are stand-ins and verify nowhere)."""
    statement = {"envelope": {"signature": "c3RhbmQtaW4=", "statement": "c3RhbmQtaW4="}, "version": 1}
    bundle = {"attestations": [statement], "publisher": file.publisher}
    body = json.dumps({"attestation_bundles": [bundle], "version": 1}).encode()
    return Reply(200, body).with_headers({"Content-Type": "application/vnd.pypi.integrity.v1+json"})
