"""The plain CSV list: what it takes, and that a file with one fault is refused whole."""

from datetime import date

import pytest

from mirror.core.errors import InputError
from mirror.lists import csv_plain

FULL = (
    "name,aliases,weak_aliases,country,programme,listed_on,until,id,web,type,source\r\n"
    '"Umbrella, Inc.",Umbrella Corp; Umbrella 傘,UMB,gb,HOUSE-1,2025-01-16,,U-1,umbrella.example,Company,https://x.example\r\n'
    "Initech GmbH,,,,,,,,,,\r\n"
)


def faults(data):
    with pytest.raises(InputError) as caught:
        csv_plain.read(data if isinstance(data, bytes) else data.encode(), "list.csv")
    return [str(problem) for problem in caught.value.problems]


def test_every_column_arrives_and_blanks_are_absent():
    """Quoting, several aliases in one cell, dates, case of country and type; an entry without id is named by its line."""
    umbrella, initech = csv_plain.read(FULL.encode("utf-8-sig"), "list.csv")
    assert umbrella.name == "Umbrella, Inc."
    assert umbrella.aliases == ("Umbrella Corp", "Umbrella 傘")
    assert umbrella.weak_aliases == ("UMB",)
    assert (umbrella.country, umbrella.type, umbrella.id) == ("GB", "company", "U-1")
    assert (umbrella.listed_on, umbrella.until) == (date(2025, 1, 16), None)
    assert (umbrella.web, umbrella.programme) == (("umbrella.example",), "HOUSE-1")
    assert (initech.id, initech.country, initech.aliases) == ("line-3", "", ())


def test_identifiers_are_folded_and_must_tell():
    """`kind:number` with a known kind; short registration numbers take the row's country along, or are refused without one."""
    [entry] = csv_plain.read(b"name,country,identifiers\nUmbrella,GB,LEI:2138 00WSGIIZCXF1P572; reg:123-456; reg:91.110000-AB\n", "x")
    assert entry.identifiers == ("lei:213800wsgiizcxf1p572", "reg:gb123456", "reg:91110000ab")
    assert [text.partition(" is not")[0] for text in faults("name,identifiers\nUmbrella,reg:123456; tax:99999999\n")] == [
        "list.csv: line 2: identifiers: 'reg:123456'", "list.csv: line 2: identifiers: 'tax:99999999'",
    ]  # fmt: skip


def test_name_alone_is_enough():
    """Only the column `name` is required."""
    assert [entry.name for entry in csv_plain.read(b"name\nUmbrella\n\nInitech\n", "x")] == ["Umbrella", "Initech"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf  \n", "is empty"),
        (b"name\n", "has a header but no entries"),
        (b"names,country\nUmbrella,GB\n", "unknown column 'names'"),
        (b"country\nGB\n", "the column 'name' is missing"),
        (b"name,name\na,b\n", "column 'name' appears twice"),
        (b"name\nUmbr\xe9lla\n", "line 2: is not UTF-8 (byte 9: 0xe9)"),
        ("name\nUmbrella\n".encode("utf-16"), "is not UTF-8"),
        (b"name\nUmb\0rella\n", "line 2: holds a NUL"),
        (b"PK\x03\x04\x00\x00name", "holds a NUL"),
        (b'name,country\nUmbrella,GB\n"Init', "not readable as CSV: unexpected end of data"),
        (b"name,country\nUmbrella,GB\nInit", "line 3: has 1 cells where the header has 2: a truncated"),
        (b"name\n" + b"x" * 200_000 + b"\n", "not readable as CSV: field larger than field limit"),
        (b"<html><body>Moved</body></html>\n", "unknown column"),
    ],
)
def test_what_is_not_a_list_is_refused_with_the_reason(data, told):
    """Empty, truncated, binary, wrongly encoded and foreign files give an error that names the fault."""
    assert any(told in text for text in faults(data)), faults(data)


def test_all_faults_of_all_rows_are_told_with_line_and_column():
    """One pass lists each bad cell; a duplicate id names both lines."""
    found = faults(
        "name,country,listed_on,until,type,id\n"
        "Umbrella,XX,2025-13-01,,company,1\n"
        ",GB,,,ship,2\n"
        "Initech,GB,2025-01-02,2025-01-01,company,3\n"
        "Globex,GB,20250102,,company,3\n"
        "Acme,GB,,,company,3\n"
    )
    assert [text.removeprefix("list.csv: ").partition(": '")[0].partition(": is")[0] for text in found] == [
        "line 2: country", "line 2: listed_on", "line 3: name", "line 3: type",
        "line 4: until: 2025-01-01 is not after 'listed_on' 2025-01-02", "line 5: listed_on", "line 5: id",
        "line 6: id",
    ]  # fmt: skip


def test_a_file_of_nothing_but_faults_is_not_read_to_its_end():
    """A million bad rows give about a hundred problems, not a million."""
    found = faults("name,country\n" + "a,XX\n" * 5_000)
    assert len(found) == csv_plain.MAX_PROBLEMS + 1
    assert "not read further" in found[-1]
