"""Countries by address, from a file in MaxMind's format."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from mirror.core.errors import InputError
from mirror.reply.geoip import GeoBook
from tests.support.mmdb import database

ROWS = {
    "192.0.2.0/24": {"country": {"iso_code": "CN"}, "registered_country": {"iso_code": "US"}},
    "198.51.100.0/25": {"registered_country": {"iso_code": "US"}},
    "203.0.113.0/24": {"country_code": "de", "country": "Germany"},
    "198.51.100.128/25": {"country": "FR"},
    "2001:db8::/32": {"country": {"iso_code": "GB"}},
    "2001:db9::/32": {"country": {"iso_code": "XX"}},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "countries.mmdb"
    path.write_bytes(database(ROWS))
    return path


@pytest.mark.parametrize(("address", "country"), [
    ("192.0.2.7", "CN"), ("198.51.100.7", None), ("203.0.113.9", "DE"), ("198.51.100.200", "FR"), ("2001:db8::1", "GB"), ("2001:db9::1", None),
    ("10.0.0.1", None), ("::1", None),
])  # fmt: skip
def test_the_country_of_an_address(file: Path, address: str, country: str | None) -> None:
    """Where the address is, in each of the forms that such files have; not where it was registered, and no invented code."""
    assert GeoBook(file).country(ipaddress.ip_address(address)) == country


def test_a_new_edition_is_taken_and_a_broken_one_is_not(file: Path) -> None:
    """A file that changes is read anew; one that is broken is named once, and the last good one stays in use."""
    book, here = GeoBook(file), ipaddress.ip_address("192.0.2.7")
    assert not book.refresh()
    file.write_bytes(database({**ROWS, "192.0.2.0/24": {"country": {"iso_code": "JP"}}, "100.64.0.0/10": {"country": {"iso_code": "US"}}}))
    assert book.refresh()
    assert book.country(here) == "JP"
    file.write_bytes(b"half a fi")
    with pytest.raises(InputError, match="no database in MaxMind's format"):
        book.refresh()
    assert not book.refresh()
    assert book.country(here) == "JP"
    file.unlink()
    with pytest.raises(InputError):
        book.refresh()
    assert book.country(here) == "JP"


def test_a_file_that_is_none_stops_the_start(tmp_path: Path) -> None:
    """Nobody runs with a database of addresses that cannot be read."""
    (tmp_path / "x").write_bytes(b"<html>sign in to download</html>")
    with pytest.raises(InputError, match="no database"):
        GeoBook(tmp_path / "x")
