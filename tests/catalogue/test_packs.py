"""Packs as written: overlays, and every fault with its place."""

from datetime import date

import pytest

from mirror.core.errors import InputError
from mirror.decode import load_yaml
from mirror.lists.loading import load_catalogue, parse_catalogue
from tests.catalogue.packs import ACME, build


def problems(*texts):
    with pytest.raises(InputError) as caught:
        build(*texts)
    return [str(problem) for problem in caught.value.problems]


def test_a_whole_entry_is_read_into_the_noun():
    """Every key of SURFACE 5 arrives in the publisher, handles case-folded, projects normalised, shares in 1/10,000."""
    acme = build(ACME).by_id("acme")
    assert acme.handles == (("github", "acme-labs"), ("huggingface", "acme"), ("huggingface", "acme-research"))
    assert acme.projects == ("acme-sdk", "acme-old")
    assert acme.countries[0].as_of == date(2026, 1, 31)
    assert (acme.owners[0].id, acme.owners[0].share) == ("globex", 6_000)
    assert (acme.listings[0].since, acme.listings[0].until) == (date(2025, 1, 16), None)
    assert (acme.role, acme.parent, acme.aliases) == ("developer", "globex", ("Acme", "阿克米"))


def test_all_faults_of_all_packs_are_named_with_their_places():
    """Unknown key, bad country, truth value for a country, share, dates, kind: one error lists them all by place."""
    bad = """
version: 1
publishers:
  - {id: a, entity: A, kind: company, colour: red}
  - {id: b, entity: B, kind: firm, countries: [{code: XX}]}
  - {id: c, entity: C, kind: company, countries: [{code: GB}, {code: false}, {code: ZZ}],
     owners: [{id: d, share: 1.2}], listings: [{list: L, from: 2025-01-01, until: 2024-01-01}]}
  - {id: d, entity: D, kind: company, handles: {hugingface: [d]}}
  - {id: Ümläut, entity: E, kind: company}
  - {id: f, kind: company, packages: ["*"]}
"""
    worse = "version: 2\npublishers: []\n"
    strict = "version: 1\npublishers:\n" + "\n".join(bad.splitlines()[5:])
    found = "\n".join(problems(bad, worse) + problems(strict))
    for place in (
        "pack0.yaml: publishers[0].colour: unknown key 'colour'",
        "pack0.yaml: publishers[1].kind",
        "pack1.yaml: version",
        "pack0.yaml: publishers[0].countries[1].code: is a truth value",
        "write 'NO' in quotes",
        "pack0.yaml: publishers[0].countries[2].code: 'ZZ' is not an ISO 3166-1 alpha-2 code",
        "pack0.yaml: publishers[0].owners[0].share: 1.2 is not between 0 and 1",
        "pack0.yaml: publishers[0].listings[0].until: 2024-01-01 is not after",
        "pack0.yaml: publishers[1].handles.hugingface: unknown hub",
        "pack0.yaml: publishers[2].id",
        "pack0.yaml: publishers[3].entity: is required",
        "pack0.yaml: publishers[3].packages[0]: '*' would match every package",
    ):
        assert place in found, found


def test_what_only_the_whole_shows_is_found_too():
    """Duplicate handles and projects and unknown parents are named with both places."""
    found = "\n".join(
        problems("""
version: 1
publishers:
  - {id: a, entity: A, kind: company, handles: {huggingface: [Same]}, projects: {pypi: [Some.Thing]}}
  - {id: b, entity: B, kind: company, handles: {huggingface: [SAME]}, projects: {pypi: [some_thing]}, parent: nobody}
""")
    )
    assert "publishers[1].handles.huggingface: huggingface handle 'same' is already taken by 'a'" in found
    assert "publishers[1].projects: PyPI project 'some-thing' is already taken by 'a'" in found
    assert "publishers[1].parent: 'nobody' is no publisher" in found


def test_an_entry_that_cannot_be_read_hides_no_fault_of_the_others():
    """Beside a fault of shape everything else is told, doubts too; and nothing that is only missing because of it."""
    raw = load_yaml(
        """
version: 1
publishers:
  - {id: a, entity: A, kind: company, parent: nobody, owners: [{id: ghost, share: 0.2}]}
  - {id: b, entity: B, kind: firm}
  - {id: c, entity: C, kind: company, parent: b, countries: [{code: XX}]}
  - {id: d, entity: D, kind: company, parent: d}
""", "x")  # fmt: skip
    amending = load_yaml("version: 1\npublishers:\n  - {id: b, note: amended}\n", "x")
    with pytest.raises(InputError) as error:
        parse_catalogue([[("one.yaml", raw)], [("two.yaml", amending)]])
    assert sorted(problem.place for problem in error.value.problems) == [
        "publishers[0].parent", "publishers[1].kind", "publishers[2].countries[0].code", "publishers[3].parent",
    ]  # fmt: skip
    assert [doubt.place for doubt in error.value.remarks] == ["publishers[0].owners[0].id"]
    with pytest.raises(InputError) as error:  # whose ids are in a pack that is no pack, nobody knows
        parse_catalogue([[("one.yaml", raw), ("two.yaml", [])]])
    assert "publishers[0].parent" not in {problem.place for problem in error.value.problems}
def test_an_owner_whom_nobody_knows_is_a_doubt():
    """A pack may name an owner outside the catalogue: it loads, and `publisher check` names the place."""
    raw = load_yaml("version: 1\npublishers:\n  - {id: c, entity: C, kind: company, owners: [{id: nobody, share: 0.9}]}\n", "x")
    catalogue = parse_catalogue([[("x.yaml", raw)]])
    assert [str(doubt) for doubt in catalogue.doubts] == ["x.yaml: publishers[0].owners[0].id: 'nobody' is no publisher of the catalogue"]
    assert catalogue.parents_of(catalogue.publishers[0]) == ()


def test_one_id_twice_in_one_layer_is_an_error():
    """Two files of one folder may not state one id: which of them wins would be an accident."""
    raw = load_yaml("version: 1\npublishers:\n  - {id: a, entity: A, kind: company}\n", "x")
    with pytest.raises(InputError, match=r"two.yaml: publishers\[0\].id: 'a' is stated twice \(first: one.yaml"):
        parse_catalogue([[("one.yaml", raw), ("two.yaml", raw)]])


def test_loops_of_parents_and_majority_owners_are_refused_and_minority_loops_are_not():
    """Cross-holdings below half are legal; a company cannot be its own parent through others."""
    loop = """
version: 1
publishers:
  - {id: a, entity: A, kind: company, parent: b}
  - {id: b, entity: B, kind: company, owners: [{id: c, share: 0.5}]}
  - {id: c, entity: C, kind: company, parent: a}
"""
    assert ["form a loop: a -> b -> c -> a" in problem for problem in problems(loop)] == [True]
    assert build(loop.replace("share: 0.5", "share: 0.49")).by_id("a") is not None
    assert "a -> a" in problems("version: 1\npublishers:\n  - {id: a, entity: A, kind: company, parent: a}\n")[0]


def test_a_later_whole_entry_replaces_and_an_amendment_adds():
    """With `entity` an overlay replaces the entry; without it, keys replace keys and `+key` adds."""
    replaced = build(ACME, "version: 1\npublishers:\n  - {id: acme, entity: Acme Two, kind: nonprofit}\n").by_id("acme")
    assert (replaced.entity, replaced.handles, replaced.countries) == ("Acme Two", (), ())
    amended = build(
        ACME,
        """
version: 1
publishers:
  - id: acme
    note: checked by us
    +aliases: [Acme, Acme Ltd.]
    +handles: {huggingface: [acme-new], gitlab: [acme]}
    +countries: [{code: IE, role: registered}]
    web: [acme.test]
""",
    ).by_id("acme")
    assert amended.entity == "Acme Labs Ltd"
    assert amended.aliases == ("Acme", "阿克米", "Acme Ltd.")
    assert ("huggingface", "acme") in amended.handles
    assert {("huggingface", "acme-new"), ("gitlab", "acme")} < set(amended.handles)
    assert [country.code for country in amended.countries] == ["GB", "IE"]
    assert (amended.web, amended.note) == (("acme.test",), "checked by us")


def test_adding_to_nothing_and_adding_to_what_is_replaced_are_errors():
    """`+aliases` of an unknown id, or beside `aliases`, would not mean what it says."""
    unknown = "version: 1\npublishers:\n  - {id: umbrella, entity: U, kind: company, +aliases: [U]}\n"
    both = "version: 1\npublishers:\n  - {id: acme, aliases: [X], +aliases: [Y]}\n"
    assert any("there is no earlier 'umbrella' to add to" in text for text in problems(unknown))
    assert any("'aliases' and '+aliases'" in text for text in problems(ACME, both))


def test_files_and_folders_are_read_in_order_and_missing_ones_are_named(tmp_path):
    """A folder is one layer of its YAML files; paths are relative to the configuration; all missing ones are told."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "a.yaml").write_text(ACME, "utf-8")
    (tmp_path / "late.yaml").write_text("version: 1\npublishers:\n  - {id: acme, kind: university}\n", "utf-8")
    catalogue = load_catalogue(("ours", "late.yaml"), tmp_path)
    assert catalogue.by_id("acme").kind == "university"
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.yaml").write_bytes(b"version: 1\npublishers: [\xff]\n")
    with pytest.raises(InputError) as caught:
        load_catalogue(("ours", "gone", "empty", "bad.yaml"), tmp_path)
    told = "\n".join(str(problem) for problem in caught.value.problems)
    assert "gone: does not exist" in told
    assert "empty: holds no" in told
    assert "bad.yaml: is not UTF-8" in told


def test_former_and_native_names_find_whoever_was_renamed():
    """Both count as aliases in every look-up, an overlay may add to them, and they stay told apart for people."""
    pack = """version: 1
publishers:
  - {id: acme, entity: Acme Labs Ltd, kind: company, aliases: [Acme], former: [Acme Robots Ltd], native: [阿克米]}
"""
    overlay = "version: 1\npublishers: [{id: acme, +former: [Globex Robots]}]\n"
    catalogue = parse_catalogue([[("pack.yaml", load_yaml(pack, "pack.yaml"))], [("ours.yaml", load_yaml(overlay, "ours.yaml"))]])
    (acme,) = catalogue.publishers
    assert (acme.former, acme.native) == (("Acme Robots Ltd", "Globex Robots"), ("阿克米",))
    for name in ("Acme", "ACME robots ltd", "阿克米", "Globex Robots"):
        assert catalogue.entities(name) == (acme,), name
