"""Lists from files: editions, guards, what the configuration says of a list."""

from __future__ import annotations

from datetime import date, timedelta
from hashlib import sha256

import pytest

from mirror.core.errors import InputError
from mirror.lists.draft import domain_of
from mirror.lists.guards import read_guards, trips
from mirror.lists.official import load_list, read_edition
from mirror.policy.entries import ListEntry
from tests.lists.rows import EXTRACTS, FILES, row


def write(path, count):
    path.write_text("name\n" + "".join(f"Umbrella Unit {n}\n" for n in range(count)))
    return path


def test_a_strangers_mail_address_at_somebodys_site_is_not_that_body():
    """OFAC's entry 30518 has an address at google.com: mail there names nobody, the site itself and any other domain do."""
    assert [domain_of(one) for one in ("a@google.com", "https://www.google.com/about", "a@acme.example")] == ["", "google.com", "acme.example"]


def test_the_edition_is_the_date_and_the_digest(tmp_path):
    """The date that the list states, else the one in its file's name, then digits of the SHA-256: two editions of a day are two."""
    file = write(tmp_path / "house-2026-11-20.csv", 3)
    digest = sha256(file.read_bytes()).hexdigest()
    dated = load_list("house", row("csv", file, meaning="blocked-party", direction="inbound", jurisdictions=("US",), basis="policy 7"))
    assert (dated.name, dated.edition, dated.digest) == ("house", f"2026-11-20.{digest[:12]}", digest)
    assert (dated.meaning, dated.direction, dated.jurisdictions, dated.basis) == ("blocked-party", "inbound", {"US"}, "policy 7")
    plain = load_list("house", row("csv", write(tmp_path / "house.csv", 3)))
    assert (plain.edition, plain.direction) == (digest[:12], "both")
    stated = load_list("uk", row("uk_sanctions", EXTRACTS / "uk_sanctions.xml"))
    assert stated.edition.startswith("2026-08-22.")


def test_several_files_are_one_edition_and_any_of_them_changes_it(tmp_path):
    """OFAC's four files have one digest, which another alternate name changes; other formats take one file."""
    paths = [tmp_path / name for name in FILES["ofac_csv"]]
    for path in paths:
        path.write_bytes((EXTRACTS / path.name).read_bytes())
    before = read_edition("sdn", row("ofac_csv", *paths))
    paths[2].write_bytes(paths[2].read_bytes().replace(b"NATIONAL BANK OF CUBA", b"NATIONAL BANK OF QUBA"))
    after = read_edition("sdn", row("ofac_csv", *paths))
    assert before.digest != after.digest
    assert before.content != after.content
    with pytest.raises(InputError, match="un takes one file, found 2"):
        read_edition("un", row("un", "a.xml", "b.xml"))


def test_an_unknown_loader_names_those_that_exist(tmp_path):
    """A format of a later release is an error of the configuration, not an empty list."""
    with pytest.raises(InputError, match=r"lists.sdn: loader: unknown loader 'seco_xml'; there are: csv, ofac_csv, ofac_xml, csl_csv, eu_fsf, uk_sanctions, un, opensanctions"):
        load_list("sdn", row("seco_xml", write(tmp_path / "a.csv", 1)))


def test_a_missing_file_is_named_and_a_fetched_list_has_none(tmp_path):
    """A list that is not there is an input error with its path; one that is fetched says how."""
    with pytest.raises(InputError, match="gone.csv: No such file"):
        load_list("house", row("csv", tmp_path / "gone.csv"))
    with pytest.raises(InputError, match="`mirror list refresh sdn`"):
        load_list("sdn", row("csv", "https://lists.example/sdn.csv"))


def test_guards_trip_at_their_boundary_and_all_are_told():
    """Too few, shrunk, fields not filled, of an earlier date: each alone; at the boundary itself nothing trips."""
    guards = read_guards({"min": 95, "max_shrink": "5%", "fill": {"country": "50%", "web": 0.1}}, "x")
    entries = [ListEntry(str(n), "x", country="GB" if n % 2 else "", web=("x.example",) if n % 10 == 0 else ()) for n in range(100)]

    def told(some, **settings):
        return [str(one) for one in trips(guards, some, settings.pop("stated", None), "list.csv", **settings)]

    assert told(entries[:96], before=100) == []
    assert told(entries[:95], before=100) == ["list.csv: 47 of 95 entries have 'country', fewer than guards.fill.country 50%"]
    assert told(entries[:94], before=100) == [
        "list.csv: has 94 entries, fewer than guards.min 95", "list.csv: has 94 entries after 100: beyond guards.max_shrink 5%",
    ]  # fmt: skip
    assert told([*entries[1::2], *entries[1::2]])[0].startswith("list.csv: 0 of 100 entries have 'web'")
    old, new = date(2026, 11, 19), date(2026, 11, 20)
    assert told(entries, stated=old, before_stated=new) == ["list.csv: is of 2026-11-19, older than the edition in force, which is of 2026-11-20"]
    assert told(entries, stated=new, before_stated=new) == []


def test_a_list_that_trips_a_guard_does_not_load(tmp_path):
    """Without an edition that could stay in force, the guard is the error."""
    with pytest.raises(InputError, match="has 3 entries, fewer than guards.min 4"):
        load_list("house", row("csv", write(tmp_path / "a.csv", 3), guards={"min": 4}))


def test_guards_as_written():
    """Percent and share, minutes to weeks, fields; unknown guards, fields and nonsense are told together."""
    guards = read_guards({"min": 7_000, "max_shrink": 0.05, "max_age": "7d", "fill": {"aliases": "33%"}}, "sdn")
    assert (guards.min, guards.max_shrink, guards.max_age, guards.fill) == (7_000, 0.05, timedelta(days=7), (("aliases", 0.33),))
    with pytest.raises(InputError) as caught:
        read_guards({"min": -1, "max_shrink": "500%", "max_age": "soon", "max": 3, "fill": {"colour": "5%", "web": True}}, "sdn")
    assert {problem.place for problem in caught.value.problems} == {
        "guards.min", "guards.max_shrink", "guards.max_age", "guards.max", "guards.fill.colour", "guards.fill.web",
    }  # fmt: skip


def test_a_list_is_in_force_between_its_dates_only(tmp_path):
    """`from` inclusive, `until` exclusive; both are moments at which decisions end."""
    one = load_list("house", row("csv", write(tmp_path / "a.csv", 1), since=date(2026, 6, 30), until=date(2027, 6, 30)))
    days = [date(2026, 6, 29), date(2026, 6, 30), date(2027, 6, 29), date(2027, 6, 30)]
    assert [bool(one.screen(None, ["Umbrella Unit 0"], on=day)) for day in days] == [False, True, True, False]
    assert [moment.date() for moment in one.boundaries] == [date(2026, 6, 30), date(2027, 6, 30)]
    assert one.under(None).screen(None, ["Umbrella Unit 0"], on=days[0]) == ()


CROWD = "name,type,programme\nUmbrella,company,EL\nJane Roe,individual,EL\nStar,vessel,MEU\nUntyped,,MEU\n"


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({}, "Umbrella, Jane Roe, Star, Untyped"),
        ({"subjects": ("organization",)}, "Umbrella, Untyped"),
        ({"subjects": ("individual", "vessel")}, "Jane Roe, Star, Untyped"),
        ({"only": ("el*",)}, "Umbrella, Jane Roe"),
        ({"only": ("MEU",), "subjects": ("organization",)}, "Untyped"),
    ],
)
def test_subjects_and_only_choose_entries(tmp_path, settings, left):
    """Types by name, what has none always; programmes by glob. A plain list is taken whole."""
    (tmp_path / "a.csv").write_text(CROWD)
    assert ", ".join(one.name for one in read_edition("a", row("csv", tmp_path / "a.csv", **settings)).entries) == left


def test_an_official_list_gives_its_organisations_unless_persons_are_asked_for(tmp_path):
    """Who publishes is a body; persons are an opt-in, and a choice that leaves nothing is an error."""
    data = (EXTRACTS / "ofac_consolidated.xml").read_text().replace("<sdnType>Entity", "<sdnType>Individual", 1)
    (tmp_path / "a.xml").write_text(data)
    assert len(read_edition("a", row("ofac_xml", tmp_path / "a.xml")).entries) == 3
    assert len(read_edition("a", row("ofac_xml", tmp_path / "a.xml", subjects=("organization", "individual"))).entries) == 4
    with pytest.raises(InputError, match="none of its 4 is left by `subjects` and `only`"):
        read_edition("a", row("ofac_xml", tmp_path / "a.xml", only=("SDGT",)))
