"""Which form a client gets."""

import pytest

from mirror.core.accept import coding
from mirror.hubs.pypi.negotiation import content_type

JSON, HTML, V1 = "application/vnd.pypi.simple.v1+json", "text/html", "application/vnd.pypi.simple.v1+html"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", HTML),
        ("*/*", HTML),
        (f"{JSON}, {V1};q=0.1, text/html;q=0.01", JSON),
        (f"{JSON}, {V1};q=0.2, text/html;q=0.01", JSON),
        (f"{JSON}, */*;q=0.1", JSON),
        (f"{JSON}, text/html", HTML),
        ("application/vnd.pypi.simple.latest+json", JSON),
        (f"text/html;q=0, {V1};q=0.5", V1),
        ("image/png", HTML),
        ("application/*", V1),
        (f"{JSON};q=0", HTML),
        (f"{JSON};q=abc, {V1};q=0.1", V1),
        (f"*/*, text/html;q=0.1, {JSON};q=0.5", V1),
        (";;,,;q=1", HTML),
    ],
)
def test_pages_are_negotiated_as_pypi_does(accept, expected):
    """Weights decide, HTML wins ties and stands where nothing matches: never 406 (the first rows are pip's, uv's, Poetry's)."""
    assert content_type(accept) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [("", "identity"), ("gzip, deflate", "gzip"), ("gzip, deflate, zstd", "zstd"), ("identity", "identity"), ("gzip;q=0", "identity"),
     ("*", "zstd"), ("zstd;q=0, *", "gzip"), ("gzip;q=0.1, identity", "identity"), ("br", "identity")],
)  # fmt: skip
def test_codings_are_negotiated(header, expected):
    """Zstd where the client has it (uv, Poetry), gzip otherwise (pip), identity where it is preferred."""
    assert coding(header) == expected
