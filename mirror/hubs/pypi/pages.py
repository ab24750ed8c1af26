"""One filtered model of a project page, rendered as JSON and as HTML.

Both forms are made from the same dictionary, so neither can show what the other hides. No markup of upstream is ever
passed on: HTML is written here from decoded values, each one escaped.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from packaging.utils import canonicalize_version

from mirror.core.nouns import FileKind
from mirror.hubs.pypi.paths import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mirror.hubs.pypi.documents import Listed, Page

_HASH: Final = re.compile(r"[a-z0-9_]{2,16}")
_HEX: Final = re.compile(r"[0-9a-f]{8,128}")
NO_VERSION: Final = "Held: no rule can judge a file whose name does not carry this project's name and a listed version"


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found about one file: whether it is served and, if not, the sentence that says why."""

    file: Listed
    serves: bool
    sentence: str


def marks(judged: Sequence[Judged]) -> Mapping[str, str]:
    """Which files the page marks as yanked by us, with the reason: file name -> sentence.

    Nothing is marked where every file is refused: resolvers then try one, and print the refusal (a page of yanked files
    prints no reason in pip). Where a wheel of a release is refused the whole release is marked, because a hidden wheel
    makes installers build the sdist instead; a refused sdist alone leaves its wheels in place. Files whose name says
    nothing that a rule could trust are marked in any case.
    """
    nameless = {one.file.name: one.sentence for one in judged if one.file.distribution is None}
    refused = [one for one in judged if not one.serves and one.file.distribution is not None]
    if not refused or denied_whole(judged):
        return nameless
    releases: dict[str, str] = {}
    found = dict(nameless)
    for one in refused:
        found[one.file.name] = one.sentence
        made = one.file.distribution
        if made is not None and made.kind is not FileKind.SDIST:
            releases.setdefault(canonicalize_version(made.version), one.sentence)
    for one in judged:
        made = one.file.distribution
        if made is not None and one.file.name not in found:
            sentence = releases.get(canonicalize_version(made.version))
            if sentence is not None:
                found[one.file.name] = sentence
    return found


def denied_whole(judged: Sequence[Judged]) -> bool:
    """Whether no file of the project that a rule can judge is served."""
    able = [one for one in judged if one.file.distribution is not None]
    return bool(able) and not any(one.serves for one in able)


def filtered(page: Page, marked: Mapping[str, str], base: str) -> dict[str, Any]:
    """The page as this mirror shows it: a PEP 691 object. `base` is the public origin with the mount, no trailing slash."""
    model = dict(page.raw)
    model["meta"] = {**model["meta"], "api-version": page.api_version}
    model["name"] = page.project
    model["files"] = [_entry(file, page.project, marked.get(file.name), base) for file in page.files]
    return model


def _entry(file: Listed, project: str, reason: str | None, base: str) -> dict[str, Any]:
    entry = dict(file.raw)
    entry["url"] = base + quoted(file.path)
    if file.has_metadata:
        declared = next(entry[key] for key in ("core-metadata", "dist-info-metadata", "data-dist-info-metadata") if entry.get(key))
        # Both names: older clients know only the one that PEP 714 replaced.
        entry["core-metadata"] = entry["data-dist-info-metadata"] = declared
    if "provenance" in entry:
        entry["provenance"] = provenance_url(file, project, base)
    if reason is not None:
        entry["yanked"] = one_line(reason)
    return entry


def provenance_url(file: Listed, project: str, base: str) -> str | None:
    """The mirror's own Integrity API address of a file (PEP 740), None where upstream has none."""
    if file.provenance is None or file.distribution is None:
        return None
    version = quote(file.distribution.version, safe="!+.")
    return f"{base}/integrity/{project}/{version}/{quoted(file.name)}/provenance"


def one_line(text: str) -> str:
    """A reason as installers print it: one line, at most 500 characters, no control characters."""
    flat = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return flat if len(flat) <= 500 else flat[:497] + "..."


def as_json(model: Mapping[str, Any]) -> bytes:
    """The JSON form of a filtered model."""
    return json.dumps(model, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def as_html(model: Mapping[str, Any]) -> bytes:
    """The HTML form (PEP 503) of the same model; what HTML cannot carry (sizes, upload times) is left out (PEP 833)."""
    title = f"Links for {_text(model['name'])}"
    lines = [
        "<!DOCTYPE html>",
        "<html>",
        "<head>",
        f'<meta name="pypi:repository-version" content="{_text(model["meta"]["api-version"])}">',
        *_locations("pypi:tracks", model["meta"].get("tracks")),
        *_locations("pypi:alternate-locations", model.get("alternate-locations")),
        *_status(model.get("project-status")),
        f"<title>{title}</title>",
        "</head>",
        "<body>",
        f"<h1>{title}</h1>",
        *(_anchor(entry) for entry in model["files"]),
        "</body>",
        "</html>",
        "",
    ]
    return "\n".join(lines).encode("utf-8", "backslashreplace")


def _locations(name: str, urls: object) -> list[str]:
    """PEP 708: one element for each URL. They are text here; no link is made of them."""
    listed = urls if isinstance(urls, list) else []
    return [f'<meta name="{name}" content="{_text(url)}">' for url in listed if isinstance(url, str)]


def _status(status: object) -> list[str]:
    if not isinstance(status, dict):
        return []
    names = (("status", "pypi:project-status"), ("reason", "pypi:project-status-reason"))
    return [
        f'<meta name="{name}" content="{_text(status[key])}">' for key, name in names if isinstance(status.get(key), str)
    ]


def _anchor(entry: Mapping[str, Any]) -> str:
    attributes = [("href", entry["url"] + _fragment(entry.get("hashes")))]
    if isinstance(entry.get("requires-python"), str):
        attributes.append(("data-requires-python", entry["requires-python"]))
    if entry.get("core-metadata"):
        declared = _fragment(entry["core-metadata"]).removeprefix("#") or "true"
        attributes += [("data-dist-info-metadata", declared), ("data-core-metadata", declared)]
    if isinstance(entry.get("gpg-sig"), bool):
        attributes.append(("data-gpg-sig", str(entry["gpg-sig"]).lower()))
    yanked = entry.get("yanked", False)
    if isinstance(yanked, str) or yanked is True:
        attributes.append(("data-yanked", yanked if isinstance(yanked, str) else ""))
    if isinstance(entry.get("provenance"), str):
        attributes.append(("data-provenance", entry["provenance"]))
    written = " ".join(f'{name}="{_text(value)}"' for name, value in attributes)
    return f"<a {written}>{_text(entry['filename'])}</a><br>"


def _fragment(hashes: object) -> str:
    """`#sha256=…`, the strongest that is there and well-formed."""
    if not isinstance(hashes, dict):
        return ""
    sound = {
        name: value.lower()
        for name, value in hashes.items()
        if isinstance(value, str) and _HASH.fullmatch(name) and _HEX.fullmatch(value.lower())
    }
    if not sound:
        return ""
    name = "sha256" if "sha256" in sound else min(sound)
    return f"#{name}={sound[name]}"


def _text(value: str) -> str:
    """Escaped for text and for a double-quoted attribute; control characters other than space never reach a browser."""
    return escape("".join(character if character.isprintable() else " " for character in value), quote=True)
