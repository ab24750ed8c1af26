"""The page of routes is the table that the product runs by."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.routes import PAGE, page, tables, template


async def test_the_page_is_the_running_table(tmp_path: Path):
    """docs/protocols/routes.md names every row of every dialect, in order, with methods, path and handling."""
    assert PAGE.read_text(encoding="utf-8") == page(await tables(tmp_path)), "python -m tests.conformance.routes writes it anew"


@pytest.mark.parametrize(
    ("pattern", "shown"),
    [
        (r"/api/(?P<plural>models|datasets)/(?P<repo>[^/]+(?:/[^/]+)?)/refs", "/api/(models, datasets)/{repo}/refs"),
        (r"/v2/(?P<repo>x)/blobs/sha256(?::|%3[Aa])(?P<digest>[0-9a-f]{64})", "/v2/x/blobs/sha256(:, %3…){digest}"),
        (r"/simple/(?P<name>[^/]+)(?P<slash>/?)", "/simple/{name}{slash}"),
        (r"/(?:pypi)?/(?!(?:simple|x)/)(?P<n>y)/json/?", "/[pypi]/y/json[/]"),
        (r"/n/(?P<number>[0-9]+)\.parquet", "/n/{number}.parquet"),
    ],
)
def test_a_pattern_reads_as_a_path(pattern: str, shown: str):
    """Groups become names, what may be absent stands in brackets, conditions on the rest disappear."""
    assert template(pattern) == shown
