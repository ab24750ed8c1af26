"""How much of what is used the shipped catalogue knows, counted by `bench.coverage` over the lists of bench/names."""

from __future__ import annotations

import re

from bench.coverage import RESULT, ROOT, Names, coverage, report, shipped
from mirror.core.nouns import HUGGINGFACE, PYPI
from mirror.lists.loading import load_catalogue

PACK = """version: 1
publishers:
  - {id: acme, entity: Acme Ltd, kind: company, confidence: B, handles: {huggingface: [acme]}, countries: [{code: "GB", source: "https://acme.example", confidence: B}]}
  - {id: globex, entity: Globex Inc, kind: company, confidence: C, handles: {huggingface: [globex]}, countries: [{code: "US", source: unverified, confidence: C}]}
  - {id: initech, entity: Initech Ltd, kind: company, parent: globex, confidence: C, handles: {huggingface: [initech]}, countries: []}
  - {id: umbrella, entity: Umbrella Corp, kind: company, confidence: C, handles: {huggingface: [umbrella]}, projects: {pypi: [umbrella]}, packages: ["umbrella-*"], countries: []}
  - {id: hobby, entity: Hobby project, kind: community, confidence: C, handles: {huggingface: [hobby]}, countries: []}
  - {id: repacker, entity: Re Packer, kind: company, role: repackager, confidence: C, handles: {huggingface: [repacker]}, countries: [{code: "FR", source: x, confidence: B}]}
  - {id: contested, entity: Contested, kind: company, confidence: D, handles: {huggingface: [contested]}, countries: [{code: "FR", source: x, confidence: D}]}
"""


def test_nine_of_ten_of_the_most_used_are_known():
    """At least 90 % of the 300 hub owners that most tools name, and of the 500 most downloaded PyPI projects, have an entry of grade C or better."""
    owners, projects, _ = shipped()
    for listed, size in ((owners, 300), (projects, 500)):
        found = coverage(load_catalogue(), listed)
        assert found["names"] == len(set(listed.names)) == size
        assert found["known"] >= 0.9 * size, found["unknown"]


def test_the_written_result_is_that_of_the_shipped_catalogue():
    """bench/results/coverage.txt and the table of docs/catalogue.md are what is counted today; `python -m bench.coverage --write` brings the first up to date."""
    head, _, text = RESULT.read_text("utf-8").partition("\n")
    assert head.startswith("# python -m bench.coverage, 20")
    assert text == report(load_catalogue(), shipped())
    table = (ROOT / "docs" / "catalogue.md").read_text("utf-8").partition("| list | known |")[2].split("\n\n")[0]
    assert [int(cell) for cell in re.findall(r"\| (\d+), ", table)] == [coverage(load_catalogue(), one)["known"] for one in shipped()]


def test_a_count_tells_apart_what_is_known_of_whom(tmp_path):
    """A country with a source, one without, the lineage's, nobody's and one not found are different; a hint and a contested link are not known."""
    (tmp_path / "pack.yaml").write_text(PACK, "utf-8")
    catalogue = load_catalogue((str(tmp_path / "pack.yaml"),))
    found = coverage(catalogue, Names("x", HUGGINGFACE, ("Acme", "globex", "initech", "umbrella", "hobby", "repacker", "contested", "stranger"), (1, 1, 1, 1, 1, 1, 1, 13)))
    assert found["origin"] == {
        "country with a source": 1, "country unverified": 2, "country not found": 1, "nobody's country": 1, "repackager: by lineage": 1,
    }  # fmt: skip
    assert (found["names"], found["known"], found["unknown"], found["downloads_known"]) == (8, 6, ["contested", "stranger"], 0.3)
    assert coverage(catalogue, Names("x", PYPI, ("Umbrella", "umbrella-tools")))["unknown"] == ["umbrella-tools"]
