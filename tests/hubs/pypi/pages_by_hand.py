"""Project pages of an invented index, built by hand for the pure tests."""

from __future__ import annotations

import json
from typing import Any

from mirror.hubs.pypi.documents import Page, decode_page

PAGE_URL = "https://index.acme.example/simple/acme-tools/"
FILES = "https://files.acme.example"
SHA = "a" * 64


def file(name: str, number: int = 1, **members: Any) -> dict[str, Any]:
    """One entry of `files`, complete as PyPI's are."""
    entry = {
        "filename": name,
        "url": f"{FILES}/packages/{number:02x}/bb/{'c' * 60}/{name}",
        "hashes": {"sha256": SHA},
        "size": 100,
        "upload-time": "2026-01-02T03:04:05.678901Z",
        "requires-python": ">=3.8",
        "yanked": False,
        "core-metadata": False,
        "data-dist-info-metadata": False,
        "provenance": None,
    }
    return entry | members


def raw_page(*files: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A page of the project acme-tools."""
    return {
        "meta": {"api-version": "1.4", "_last-serial": 7},
        "name": "acme-tools",
        "versions": ["1.0", "2.0", "2.1"],
        "files": list(files),
        "project-status": {"status": "active"},
    } | members


def page(*files: dict[str, Any], **members: Any) -> Page:
    """The same, decoded."""
    return decode_page(json.dumps(raw_page(*files, **members)).encode(), PAGE_URL, "acme-tools", "https://index.acme.example")


WHEEL = "acme_tools-1.0-py3-none-any.whl"
SDIST = "acme_tools-1.0.tar.gz"
NEWER = "acme_tools-2.0-py3-none-any.whl"
