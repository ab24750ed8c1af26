"""Look-ups in the catalogue."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.core.facts import Publisher
from mirror.core.nouns import HUGGINGFACE, PYPI, Kind, Project
from mirror.decode import load_yaml
from mirror.lists.loading import parse_catalogue
from mirror.policy.catalogue import Catalogue, Stated
from tests.catalogue.packs import ACME, build


def model(name):
    return Project(HUGGINGFACE, Kind.MODEL, name)


def package(name):
    return Project(PYPI, Kind.PACKAGE, name)


def test_a_hugging_face_project_is_its_owners_in_any_case():
    """The owner's handle decides, case-folded; a stranger is unknown."""
    catalogue = build(ACME)
    publisher, grade = catalogue.publisher_of(model("ACME/solid-7b"))
    assert (publisher.id, grade) == ("acme", "B")
    assert catalogue.publisher_of(model("acme-impostor/solid-7b")) is None


def test_a_pypi_project_is_known_by_its_exact_name_and_a_glob_is_only_a_hint():
    """Exact names give the entry's grade or their own, in any PEP 503 spelling; a glob gives D; handles give nothing."""
    catalogue = build(ACME)
    assert catalogue.publisher_of(package("acme.sdk"))[1] == "B"
    assert catalogue.publisher_of(package("ACME_old"))[1] == "C"
    assert catalogue.publisher_of(package("acme-anything"))[1] == "D"
    assert catalogue.publisher_of(package("acme")) is None
    assert catalogue.publisher_of(package("globex")) is None


def test_the_glob_with_the_longest_literal_start_wins():
    """Of two hints the more specific one speaks."""
    catalogue = build("""
version: 1
publishers:
  - {id: a, entity: A, kind: company, packages: ["acme-*"]}
  - {id: b, entity: B, kind: company, packages: ["acme-cloud-*", "*-x?"]}
""")
    assert catalogue.publisher_of(package("acme-cloud-storage"))[0].id == "b"
    assert catalogue.publisher_of(package("acme-storage"))[0].id == "a"
    assert catalogue.publisher_of(package("thing-x1"))[0].id == "b"
    assert catalogue.publisher_of(package("thing-x12")) is None


def test_entities_are_found_by_id_name_and_alias_in_any_unicode_form():
    """Id before name before alias; NFKC and case do not matter; a shared name gives all who bear it."""
    catalogue = build(
        ACME, "version: 1\npublishers:\n  - {id: initech, entity: ＡＣＭＥ ＬＡＢＳ  LTD, kind: company, aliases: [globex]}\n"
    )
    assert catalogue.entity("globex").id == "globex"
    assert {one.id for one in catalogue.entities("acme labs ltd")} == {"acme", "initech"}
    assert catalogue.entity("阿克米").id == "acme"
    assert catalogue.entity("nobody") is None


def test_countries_come_from_every_parent_with_the_weaker_grade_and_without_operations():
    """A subsidiary is also of its parents' seats, as `ultimate-parent`; where the parent merely operates does not count."""
    catalogue = build(ACME)
    told = [(c.code, c.role, c.confidence) for c in catalogue.countries_of(catalogue.by_id("acme"))]
    assert told == [("GB", "headquarters", "A"), ("NO", "ultimate-parent", "B")]
    assert [c.code for c in catalogue.countries_of(catalogue.by_id("globex"))] == ["NO", "SG"]
    weak = build(ACME, "version: 1\npublishers:\n  - {id: acme, confidence: C}\n")
    assert weak.countries_of(weak.by_id("acme"))[1].confidence == "C"


def test_half_is_a_parent_and_less_is_not():
    """An owner of exactly half counts, one of less does not, and an unknown share does not."""
    text = """
version: 1
publishers:
  - {id: a, entity: A, kind: company, owners: [{id: b, share: 0.5}, {id: c, share: 0.4999}, {id: d}]}
  - {id: b, entity: B, kind: company, owners: [{id: e, share: 1}]}
  - {id: c, entity: C, kind: company}
  - {id: d, entity: D, kind: company}
  - {id: e, entity: E, kind: company, countries: [{code: FR}]}
"""
    catalogue = build(text)
    assert [one.id for one in catalogue.parents_of(catalogue.by_id("a"))] == ["b", "e"]
    assert [c.code for c in catalogue.countries_of(catalogue.by_id("a"))] == ["FR"]


@settings(max_examples=100, deadline=None)
@given(edges=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_going_up_ends_even_where_the_catalogue_was_never_checked(edges):
    """`parents_of` visits every ancestor once on any graph, loops included."""
    above = dict(edges)
    stated = [
        Stated(Publisher(str(n), str(n), "company", parent=str(above[n]) if n in above else None)) for n in range(7)
    ]
    catalogue = Catalogue(stated)
    for start in range(7):
        seen, at = [], start
        while (at := above.get(at)) is not None and at not in seen and at != start:
            seen.append(at)
        assert [one.id for one in catalogue.parents_of(catalogue.by_id(str(start)))] == [str(n) for n in seen]


def test_the_digest_covers_the_content_and_not_the_order():
    """Shuffled files and entries have one digest; any changed fact has another."""
    raw = load_yaml(ACME, "x")
    entries = list(raw["publishers"])
    random.Random(7).shuffle(entries)
    same = parse_catalogue([[("b", {"version": 1, "publishers": entries[:1]}), ("a", {"version": 1, "publishers": entries[1:]})]])
    assert same.digest == build(ACME).digest
    assert build(ACME.replace("code: GB", "code: IE")).digest != build(ACME).digest
    assert build(ACME.replace("confidence: C}", "confidence: D}")).digest != build(ACME).digest


def test_search_puts_the_exact_before_the_prefix_before_the_rest():
    """Search looks at ids, names, aliases, handles and projects; nothing found is an empty answer."""
    catalogue = build(ACME, "version: 1\npublishers:\n  - {id: zz, entity: The acme club, kind: community}\n")
    assert [one.id for one in catalogue.search("acme")] == ["acme", "zz"]
    assert [one.id for one in catalogue.search("ACME-research")] == ["acme"]
    assert catalogue.search("umbrella") == ()
    assert catalogue.search("  ") == ()
