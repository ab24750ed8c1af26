"""A score that changes is a new matcher: records cite the version beside the score, and users are told of changes."""

from __future__ import annotations

import csv
from hashlib import sha256
from pathlib import Path

from mirror.policy.names import parse
from mirror.policy.screening import MATCHER, similarity

PAIRS = Path(__file__).parent.parent / "data" / "name_bench_organisations.csv"
#: Version -> SHA-256 of the scores it gives to the labelled pairs and to each name with the next row's.
SCORES = {
    "tokens-2": "7336d530614166a8a7b5d86d0bb6ab22b3911cedab578517d992c7194481a86f",
    "tokens-3": "bb197b7256110e08a3af87c15ee3af8fa86c6bcaaa2d779c49f635b7c19c8c90",
    "tokens-4": "bb197b7256110e08a3af87c15ee3af8fa86c6bcaaa2d779c49f635b7c19c8c90",  # of domains, not of names: `ScreeningList`
}


def test_every_change_of_a_score_is_a_new_version():
    """The scores of 532 fixed pairs are those that `MATCHER` stands for; whoever changes one gives it a new name here."""
    with PAIRS.open(encoding="utf-8", newline="") as file:
        rows = [(row["name1"], row["name2"]) for row in csv.DictReader(file)]
    pairs = [*rows, *((one, other) for (one, _), (_, other) in zip(rows, rows[1:] + rows[:1], strict=True))]
    scores = ",".join(str(similarity(parse(one), parse(other))) for one, other in pairs)
    assert len(pairs) == 532
    assert sha256(scores.encode()).hexdigest() == SCORES[MATCHER]
