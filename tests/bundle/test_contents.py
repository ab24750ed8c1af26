"""Rows of bundles: one form, nothing that an index must not hold, and what is new in them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.bundle import acquired, contents
from mirror.bundle.contents import (
    AcquisitionRow,
    EntryRow,
    HubRow,
    PageRow,
    entry_of,
    entry_row,
    grant_row,
    line,
    lines,
    our_hubs,
    page_of,
    page_row,
    read,
    title,
)
from mirror.bundle.faults import BundleFault
from mirror.bundle.oci import Part
from mirror.bundle.sent import SentBook, bundle_name, delta, merged, rights_ended, without_refused
from mirror.core.acquisitions import Acquisition, LicenceText, acquisition_from
from mirror.core.errors import InputError
from mirror.core.nouns import Artifact, Blob, Digest, Document, DocumentKey, Entry, Kind, Project
from mirror.core.ports import Grant

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
TINY = Project("huggingface", Kind.MODEL, "acme/tiny", "hf", "6512bd43d9caa6e02c990b0a")
HEX = "a" * 64


def entry(path="config.json", digest=HEX) -> Entry:
    return Entry(Artifact(TINY, "c" * 40, path), Blob(Digest("sha256", digest), 3), (("etag", '"x"'),), NOW, Digest("sha256", digest), "gated")


def page(body=b"{}", target="/api/models/acme/tiny?blobs=true") -> Document:
    import hashlib

    return Document(DocumentKey("hf", target), 200, (("content-type", "application/json"),), body, Digest("sha256", hashlib.sha256(body).hexdigest()), NOW, timedelta(minutes=5))


def test_rows_come_back_as_the_nouns_they_were():
    """An entry and a page that go through a bundle are what they were, on the receiver's own hub."""
    row, told = entry_row(entry()), page_row(page(), "", str(TINY))
    back = read(lines([row, told]), "contents")
    assert set(back) == {row, told}
    hubs = {"hf": "ours"}
    assert entry_of(row, hubs, NOW).artifact.identity == "ours:model:6512bd43d9caa6e02c990b0a@" + "c" * 40 + "#config.json"
    assert entry_of(row, {"hf": "hf"}, NOW) == entry()
    assert page_of(told, b"{}", {"hf": "hf"}) == page()


FAULTS = {
    "no JSON": (b"{", "is no JSON"),
    "unknown kind": (b'{"row":"secret"}', "is no row that this release knows"),
    "no object": (b"[]", "is no row that this release knows"),
    "unknown key": (json.dumps({**json.loads(line(HubRow("a", "pypi", ""))), "more": 1}).encode(), "more"),
    "not SHA-256": (line(replace(entry_row(entry()), digest="sha1:" + "a" * 40)), "is no SHA-256"),
    "header with a line end": (line(replace(entry_row(entry()), headers=(("etag", "x\r\nset-cookie: y"),))), "hold what no header field can"),
    "scope of a person": (line(replace(page_row(page(), "", "x"), scope="0123abcd")), "neither empty nor 'service'"),
    "text that is no SHA-256": (line(replace(acquired.acquisition_row(Acquisition(entry().artifact, Digest("sha256", HEX), 3, NOW, "", public=True), entry().artifact), evidence=("x",))), "hold what is no SHA-256"),
    "negative": (line(replace(entry_row(entry()), size=-1)), "is out of range"),
}


@pytest.mark.parametrize(("data", "said"), FAULTS.values(), ids=FAULTS)
def test_rows_that_no_index_may_hold_are_named(data, said):
    """Each fault in contents is told with its line, and all lines' faults at once."""
    with pytest.raises(InputError) as caught:
        read(line(HubRow("a", "pypi", "")) + data.rstrip(b"\n") + b"\n" + data, "contents")
    assert said in str(caught.value)
    assert "line 2" in str(caught.value)
    assert "line 3" in str(caught.value)


@given(st.binary(max_size=400))
def test_no_bytes_make_the_reader_fail_otherwise(data):
    """Whatever bytes stand there, reading gives rows or problems."""
    try:
        read(data, "contents")
    except InputError as error:
        assert error.problems


def test_a_delta_has_what_is_new_and_counts_on_the_rest():
    """Times alone make nothing new; bytes that the receiver has under another name are counted on and not carried; hubs are always told."""
    hub, old, seen = HubRow("hf", "huggingface", ""), entry_row(entry()), page_row(page(), "", str(TINY))
    again = [hub, replace(old, stored_at=5), replace(seen, fetched_at=5)]
    assert delta(again, [hub, old, seen]).rows == (hub,)
    other, fresh = entry_row(entry("other.json")), entry_row(entry("new.json", "b" * 64))
    found = delta([*again, other, fresh], [hub, old, seen])
    assert found.rows == (hub, other, fresh)
    assert (found.fresh, found.required) == ({"b" * 64}, (HEX,))
    assert set(merged([hub, old], [replace(old, stored_at=7), fresh])) == {hub, replace(old, stored_at=7), fresh}


def came(path="config.json", text="e" * 64, **changes) -> Acquisition:
    made = Acquisition(entry(path).artifact, Digest("sha256", HEX), 3, NOW, "https://hub.example", public=True, licenses=("mit",), texts=(LicenceText("LICENSE", text),), evidence=("d" * 64,))
    return replace(made, **changes)


def acquisition(*given, **changes) -> AcquisitionRow:
    return acquired.acquisition_row(came(*given, **changes), entry(*given[:1]).artifact)


def test_how_a_file_came_is_the_word_of_whose_transfer_it_was():
    """An acquisition that goes through a bundle is what it was, but for its sender: the exporter, or from whom that had it; its event gives all of it back."""
    for before, sender in (("", "hq.example"), ("far.example", "far.example")):
        row = acquisition(sender=before, bundle="old" if before else "")
        assert read(lines([row]), "contents") == (row,)
        found = acquired.acquisition_of(row, {"hf": "ours"}, "hq.example", "lab 1 of hq.example")
        assert found == came(artifact=replace(came().artifact, project=replace(TINY, hub="ours")), sender=sender, bundle="lab 1 of hq.example")
        [event] = acquired.news([found, found], frozenset([found.artifact.identity]), [], NOW + timedelta(days=9))
        back = acquisition_from(event.subject, event.at, dict(event.detail))
        assert (back.at, back.sender, back.bundle, back.texts) == (NOW, sender, "lab 1 of hq.example", came().texts)
        assert acquired.news([found], frozenset(), [], NOW) == acquired.news([found], frozenset([found.artifact.identity]), [found], NOW) == []
    assert "sender" not in dict(came().detail())


def test_licence_texts_go_once_and_are_no_files():
    """A text that came with an earlier acquisition is counted on; the same bytes as a file are carried all the same, because a receiver has them in its archive only."""
    one, two = acquisition("a"), acquisition("b")
    assert delta([one, two], [one]).rows == (two,)
    assert (delta([one, two], [one]).fresh, delta([one, two], [one]).required) == (frozenset(), ("e" * 64,))
    both = delta([one, two, entry_row(entry("LICENSE", "e" * 64))], [one])
    assert (both.fresh, both.required) == ({"e" * 64}, ())
    assert delta([two], [entry_row(entry("LICENSE", "e" * 64))]).fresh == {"e" * 64}
    names = [str(entry(part).artifact) for part in "a"]
    assert without_refused([entry_row(entry("a")), one, two], names) == (two,)


def test_no_bomb_is_a_licence():
    """Bytes that a bundle calls a licence text and that are longer than any that is kept are a fault of the bundle."""
    part = {"e" * 64: Part(Digest("sha256", "e" * 64), 256 * 1024 + 1, contents.LICENCE, "licences/x")}
    with pytest.raises(BundleFault, match="none has more than 262144"):
        acquired.texts_of([acquisition()], part)
    assert acquired.texts_of([acquisition()], {}) == {"e" * 64}


def test_what_a_receiver_refused_it_lacks():
    """Refused files, and pages of projects of which it took nothing, count as not sent."""
    one, two, told = entry_row(entry("a")), entry_row(entry("b")), page_row(page(), "", str(TINY))
    names = {part: str(Artifact(TINY, "c" * 40, part)) for part in "ab"}
    assert without_refused([one, two, told], [names["a"]]) == (two, told)
    assert without_refused([one, two, told], names.values()) == ()


def test_rights_end_where_the_hub_ends_them():
    """A right that was stated and is withheld now is carried as a refusal; one that is only no longer wanted is left as it was."""
    given = grant_row(Grant("service", "x", allowed=True, public=False, at=NOW, cause="bundle"), TINY)
    for name in ("acme/tiny@main", "pkg:huggingface/acme/tiny@" + "c" * 40 + "#config.json"):
        [ended] = rights_ended([given], [], [name], 7)
        assert (ended.allowed, ended.status, ended.at, ended.project) == (False, 403, 7, given.project)
    assert rights_ended([given], [], ["acme/tiny-bert@main"], 7) == rights_ended([given], [given], ["acme/tiny@main"], 7) == ()


def test_hubs_are_found_by_name_then_by_dialect():
    """The sender's hub is ours of the same name and dialect, else our only one of its dialect, else none."""
    rows = [HubRow("hf", "huggingface", ""), HubRow("private", "pypi", "")]
    assert our_hubs(rows, {"hf": "huggingface", "pypi": "pypi"}) == {"hf": "hf", "private": "pypi"}
    assert our_hubs(rows, {"hf": "pypi", "a": "huggingface", "b": "huggingface"}) == {"private": "hf"}


def test_titles_climb_nowhere():
    """Whatever a file is called, its title stays below its project."""
    for path in ("../../etc/passwd", "a/../b", ".hidden", "con:1", 'x"y', "日本/語"):
        parts = title(Artifact(TINY, "c" * 40, path)).split("/")
        assert not {"", ".", ".."} & set(parts)
        assert parts[:3] == ["huggingface", "models", "acme"]


def test_names_and_numbers_of_bundles(tmp_path):
    """A series is named by plain letters; what was never sent is not found."""
    assert bundle_name("Lab 7 / weekly") == "lab-7-weekly"
    with pytest.raises(InputError):
        bundle_name("///")
    assert (SentBook(tmp_path, "x").last, SentBook(tmp_path, "x").get(1), SentBook(tmp_path, "x").find(HEX)) == (0, None, None)


def test_every_kind_of_row_is_known_by_its_word():
    """A row's word leads to its type, and no two share one."""
    assert {"hub", "entry", "page", "grant", "place", "pin", "list", "evidence", "acquisition"} == set(contents._KINDS)
    assert contents._KINDS["entry"] is EntryRow
    assert contents._KINDS["page"] is PageRow
