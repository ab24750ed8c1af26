"""Lists that are cut, bent, blown up or something else altogether: one clear error that names file and line, never half a list."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.core.errors import InputError
from mirror.lists import material
from mirror.lists.formats import LOADERS
from mirror.lists.material import Part, unpacked
from mirror.lists.official import edition_of
from tests.lists.rows import row, sample

XML = ("ofac_xml", "eu_fsf", "uk_sanctions", "un")
TABLES = ("ofac_csv", "csl_csv", "opensanctions")
OFFICIAL = (*XML, *TABLES)


def fault(loader: str, data: bytes, name: str = "list.dat") -> str:
    """The one error of a file in the place of a sample's first."""
    with pytest.raises(InputError) as caught:
        LOADERS[loader]([Part(name, data), *sample(loader)[1:]])
    [problem] = caught.value.problems
    assert problem.source.startswith((name, *(part.name for part in sample(loader)[1:])))
    return str(problem)


@pytest.mark.parametrize("loader", XML)
def test_xml_that_ends_early_is_refused_wherever_it_was_cut(loader):
    """From the first byte to the last but the closing bracket: not one prefix of the file loads, and the line of the end is named."""
    data = sample(loader)[0].data.rstrip()
    for at in [*range(0, len(data) - 1, max(1, len(data) // 60)), len(data) - 1]:
        assert fault(loader, data[:at]).startswith("list.dat: line "), at


@pytest.mark.parametrize("loader", TABLES)
def test_a_table_that_ends_within_a_row_is_refused(loader):
    """Cut in the middle of its last row: too few cells or an open quote, with the line."""
    data = sample(loader)[0].data.rstrip(b"\x1a\r\n")
    last = data.rindex(b"\n") + 1
    for at in range(last + 2, len(data) - 1, 3):
        told = fault(loader, data[:at])
        assert "list.dat: line " in told, told


def test_ofac_xml_that_lacks_entries_says_so_itself():
    """Entries taken out cleanly are told by the count that the file states."""
    data = sample("ofac_xml")[0].data
    start, stop = data.index(b"  <sdnEntry>"), data.index(b"</sdnEntry>") + len(b"</sdnEntry>\n")
    assert fault("ofac_xml", data[:start] + data[stop:]) == "list.dat: holds 3 entries and says of itself that it has 4"


@pytest.mark.parametrize("loader", OFFICIAL)
def test_another_coding_is_refused_and_a_byte_order_mark_and_crlf_are_nothing(loader):
    """Latin-1 bytes under UTF-8 are named with their line; BOM and CRLF change no entry."""
    [first, *rest] = sample(loader)
    lines = first.data.split(b"\n")
    bent = b"\n".join([*lines[:1], lines[1].replace(b"a", b"\xe4", 1).replace(b"A", b"\xc4", 1), *lines[2:]])
    assert "line 2" in fault(loader, bent)
    whole = LOADERS[loader]([first, *rest]).entries
    plain = first.data.replace(b"\r\n", b"\n")
    for variant in (b"\xef\xbb\xbf" + plain, plain.replace(b"\n", b"\r\n"), plain):
        assert LOADERS[loader]([Part("x", variant), *rest]).entries == whole


@pytest.mark.parametrize("loader", TABLES)
def test_wrong_delimiters_and_too_many_columns_are_refused(loader):
    """Semicolons, tabs, a hundred thousand columns, a line without end, NUL bytes, and a web page: one error each, with its line."""
    data = sample(loader)[0].data
    lines = data.split(b"\n")
    broad = b"\n".join([lines[0], b",".join([b"x"] * 100_000), *lines[1:]])
    for bent in (data.replace(b",", b";"), data.replace(b",", b"\t"), broad, lines[0] + b"\n" + b"x" * 3_000_000, data[:40] + b"\0" + data[41:], b"<html>\n<p>Moved</p>\n"):
        assert "list.dat: line " in fault(loader, bent)
    assert fault(loader, b"") == "list.dat: is empty"


LAUGHS = b'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol">' + b"".join(
    b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9)
) + b"]><%s>&j;</%s>"


@pytest.mark.parametrize("loader", XML)
def test_entities_are_refused_before_anything_is_expanded(loader):
    """Billion laughs, external entities, parameter entities: the document type declaration itself is the error."""
    root = {"ofac_xml": b"sdnList", "eu_fsf": b"export", "uk_sanctions": b"Designations", "un": b"CONSOLIDATED_LIST"}[loader]
    for attack in (
        LAUGHS % (root, root),
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><%s>&e;</%s>' % (root, root),
        b'<!DOCTYPE x [<!ENTITY %% p SYSTEM "http://127.0.0.1/x"> %%p;]><%s/>' % root,
        b'<!DOCTYPE x SYSTEM "http://127.0.0.1/x.dtd"><%s/>' % root,
    ):
        assert fault(loader, attack) == "list.dat: line 1: has a document type declaration, which no list has: refused"
    assert "undefined entity" in fault(loader, b"<%s>\n&nbsp;</%s>" % (root, root))


@pytest.mark.parametrize("loader", XML)
def test_xml_of_another_kind_or_shape_is_refused(loader):
    """Another root, elements nested without end, unknown codings, a record with elements without end, an element with text without end."""
    assert "begins with <html> where <" in fault(loader, b"<html/>")
    good = sample(loader)[0].data
    name = {"ofac_xml": b"sdnEntry", "eu_fsf": b"sanctionEntity", "uk_sanctions": b"Designation", "un": b"ENTITY"}[loader]
    found = re.search(b"<" + name + b"[ >]", good)
    start = found.start()
    for stuffing, told in (
        (b"<a>" * 40 + b"</a>" * 40, "nested deeper"), (b"<a/>" * 100_001, "more than 100000 elements"), (b"<a>" + b"x" * 1_100_000 + b"</a>", "more than 1048576 characters"),
    ):  # fmt: skip
        assert told in fault(loader, good[:start] + b"<%s>%s</%s>" % (name, stuffing, name) + good[start:])
    assert "line 1: not readable as XML" in fault(loader, b'<?xml version="1.0" encoding="utf-7"?>' + good.partition(b"?>")[2])


def test_an_entry_without_a_name_or_twice_is_told_with_its_line():
    """What cannot be screened is a change of the format, not an entry to be passed over."""
    good = sample("uk_sanctions")[0].data
    line = good[: good.index(b"<UniqueID>BEL0111")].count(b"\n") + 1
    assert fault("uk_sanctions", good.replace(b"Name6", b"Name9").replace(b"NameNonLatinScript", b"Script")) == "list.dat: line 3: entry 'BEL0065' has no name"
    assert fault("uk_sanctions", good.replace(b"BEL0111", b"BEL0065")) == f"list.dat: line {line}: entry 'BEL0065' stands twice"


def zipped(**files: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return made.getvalue()


def test_a_zip_archive_of_one_list_is_read_and_anything_else_is_refused():
    """Publishers' archives load; several files, damage, encryption, an archive in an archive and a bomb are one error each."""
    [part] = sample("uk_sanctions")
    edition = edition_of("uk", row("uk_sanctions"), [Part("uk.zip", zipped(uk=part.data))])
    assert edition.entries == LOADERS["uk_sanctions"]([part]).entries
    bomb = zipped(uk=b" " * 60_000_000)
    assert len(bomb) < 100_000
    locked = bytearray(zipped(uk=part.data))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(signature) + offset] |= 1
    for data, told in (
        (zipped(a=b"1", b=b"2"), "is a ZIP archive of 2 files where one list is expected"), (zipped(), "no readable ZIP archive"), (bomb, "unpacks to more than"),
        (zipped(uk=part.data)[:-30], "no readable ZIP archive"), (bytes(locked), "no readable ZIP archive"),
        (zipped(uk=zipped(uk=part.data)), "uk.zip!uk: line 1: not readable as XML"),
    ):  # fmt: skip
        with pytest.raises(InputError) as caught:
            edition_of("uk", row("uk_sanctions"), [Part("uk.zip", data if data[:2] == b"PK" and len(data) > 30 else b"PK\x03\x04")])
        [problem] = caught.value.problems
        assert told in str(problem)
        assert str(problem).startswith("uk.zip")


def test_a_bomb_is_not_unpacked():
    """Reading stops at a hundred times the archive's own size: of 50 MB no more than a few are ever in memory."""
    bomb = Part("x", zipped(a=b"\0" * 50_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"unpacks to more than \d{1,7} bytes"):
            unpacked(bomb)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


PIECES = st.sampled_from([b"<", b">", b"</", b"&", b"]]>", b"<!DOCTYPE", b"\0", b"\xff", b'"', b",", b"\n", b"-0-", b"\xef\xbb\xbf", b"<sdnEntry>", b"\x1a", b"{", b"}"])


@pytest.mark.parametrize("loader", OFFICIAL)
def test_any_damage_gives_entries_or_one_placed_error(loader):
    """Bytes replaced anywhere in a good file: sound entries, or exactly one problem that names a file."""
    [first, *rest] = sample(loader)

    @settings(max_examples=40, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.integers(0, len(first.data)), st.integers(0, 9), PIECES | st.binary(max_size=4)), min_size=1, max_size=4))
    def holds(edits):
        data = first.data
        for at, gone, piece in edits:
            data = data[:at] + piece + data[at + gone :]
        try:
            entries = LOADERS[loader]([unpacked(Part("list.dat", data)), *rest]).entries
        except InputError as error:
            [problem] = error.problems
            assert problem.source.startswith("list.dat") or problem.source in {part.name for part in rest}
        else:
            assert all(entry.id and entry.name and len(entry.country) in (0, 2) for entry in entries)
            assert len({entry.id for entry in entries}) == len(entries)

    holds()


BIG = """
import io, resource, sys
from mirror.lists.material import Part
from mirror.lists.formats import LOADERS
record = "<sdnEntry><uid>%d</uid><lastName>UMBRELLA TRADING %d HOLDING COMPANY</lastName><sdnType>Entity</sdnType><programList><program>HOUSE</program></programList>" + \\
    "<idList><id><uid>1</uid><idType>Tax ID No.</idType><idNumber>%08d</idNumber></id></idList><akaList>" + \\
    "<aka><uid>1</uid><type>a.k.a.</type><category>strong</category><lastName>UMBRELLA %d</lastName></aka>" * 3 + "</akaList><remarks>" + "x" * 800 + "</remarks></sdnEntry>\\n"
data = ("<sdnList>" + "".join(record % ((n,) * 6) for n in range(20_000)) + "</sdnList>").encode()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = LOADERS["ofac_xml"]([Part("big.xml", data)])
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(data), len(found.entries), (after - before) // 1024)
"""


def test_a_list_as_large_as_the_largest_needs_little_memory_to_load():
    """30 MB of OFAC's XML with 20,000 entries: reading it takes less than 100 MB beside the file itself."""
    done = subprocess.run([sys.executable, "-c", BIG], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    size, entries, more = map(int, done.stdout.split())
    assert size > 28_000_000
    assert entries == 20_000
    assert more < 100


def test_what_is_larger_than_any_list_is_not_read(tmp_path, monkeypatch):
    """A file beyond the bound is refused by its size alone."""
    monkeypatch.setattr(material, "MAX_BYTES", 1000)
    (tmp_path / "big.csv").write_bytes(b"x" * 1001)
    with pytest.raises(InputError, match=r"big.csv: is larger than 1000 bytes"):
        material.read_file(tmp_path / "big.csv")
