"""How well the matcher finds names, and how fast: `python -m bench.matching [LISTS] [--names 1500]`.

LISTS is a folder with official lists in the formats of `mirror.lists` (`ofac/sdn.csv`, `ofac/alt.csv`, ...): they are not in
this repository, see docs/screening.md. Without it only the labelled pairs of tests/data are measured.

Everything is generated from fixed seeds. Words and weights were set by hand with the errors on OFAC's names and on the
labelled pairs in view, so those are no held-out figures; the folds choose a threshold each, which is reported beside the one
that the product uses. `matching_held` measures what was not in view.
"""

from __future__ import annotations

import argparse
import csv
import math
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from bench.matching_held import aliases_report, halves, others_report
from bench.matching_variants import CLASSES, variants
from mirror.policy import form_ends, sounds, words_alike
from mirror.policy.names import parse
from mirror.policy.screening import MATCHER, ListEntry, ScreeningList, similarity

ROOT = Path(__file__).resolve().parent.parent
PAIRS = ROOT / "tests" / "data" / "name_bench_organisations.csv"
REVIEW, HIT = 8_000, 9_200


# --- labelled pairs ---------------------------------------------------------------------------------------------------


def labelled() -> list[tuple[int, bool]]:
    """(score, whether the two names mean one body) of every labelled pair."""
    with PAIRS.open(encoding="utf-8", newline="") as file:
        return [(similarity(parse(row["name1"]), parse(row["name2"])), row["is_match"] == "true") for row in csv.DictReader(file)]


def f1(scored: Sequence[tuple[int, bool]], threshold: int = REVIEW) -> float:
    """F1 of calling a pair one body from `threshold` up."""
    right = sum(score >= threshold and true for score, true in scored)
    wrong = sum((score >= threshold) != true for score, true in scored)
    return 2 * right / (2 * right + wrong) if right else 0.0


def folds(scored: Sequence[tuple[int, bool]], count: int = 5) -> tuple[list[float], list[float], list[int]]:
    """F1 of each fold at the product's own threshold, and at the one that is best on the other folds (and that one)."""
    order = list(range(len(scored)))
    random.Random(7).shuffle(order)
    own, chosen, thresholds = [], [], []
    for fold in range(count):
        held = [scored[at] for at in order[fold::count]]
        others = [scored[at] for number in range(count) if number != fold for at in order[number::count]]
        best = max(range(7_000, 9_600, 50), key=lambda threshold: f1(others, threshold))
        own.append(f1(held))
        chosen.append(f1(held, best))
        thresholds.append(best)
    return own, chosen, thresholds


def resampled(scored: Sequence[tuple[int, bool]], times: int = 2_000) -> tuple[float, float]:
    """The 95 % interval of F1 by resampling pairs (percentile bootstrap)."""
    rnd = random.Random(11)
    found = sorted(f1(rnd.choices(scored, k=len(scored))) for _ in range(times))
    return found[int(0.025 * times)], found[int(0.975 * times)]


# --- lists --------------------------------------------------------------------------------------------------------


def ofac(folder: Path) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Primary names of organisations, and strong aliases, by entry, of OFAC's CSV files (no header, `-0- ` is nothing)."""
    primary, aliases = {}, {}
    for file in ("sdn.csv", "cons_prim.csv"):
        if (folder / file).exists():
            with (folder / file).open(encoding="utf-8", errors="replace", newline="") as rows:
                primary |= {row[0]: row[1] for row in csv.reader(rows) if len(row) > 3 and row[2].strip() == "-0-"}
    for file in ("alt.csv", "cons_alt.csv"):
        if (folder / file).exists():
            with (folder / file).open(encoding="utf-8", errors="replace", newline="") as rows:
                for row in csv.reader(rows):
                    if len(row) > 3 and row[0] in primary:
                        aliases.setdefault(row[0], []).append(row[3])
    return primary, aliases


def as_list(primary: dict[str, str], aliases: dict[str, list[str]]) -> ScreeningList:
    """The entries as one screening list."""
    entries = [ListEntry(entry, name, tuple(aliases.get(entry, ()))) for entry, name in primary.items()]
    return ScreeningList("ofac", "bench", entries, "blocked-party", "both")


def recall(house: ScreeningList, asked: Sequence[tuple[str, str]]) -> tuple[float, float, float]:
    """Of (entry, name): the share found from `REVIEW` up, from `HIT` up, and how many entries a question brings up for review."""
    reviewed = hit = alerts = 0
    for entry, name in asked:
        found = house.screen(None, (name,))
        alerts += sum(match.score >= REVIEW for match in found)
        best = max((match.score for match in found if match.entry == entry), default=0)
        reviewed += best >= REVIEW
        hit += best >= HIT
    count = max(1, len(asked))
    return reviewed / count, hit / count, alerts / count


# --- the report ---------------------------------------------------------------------------------------------------------


def pairs_report() -> Iterator[str]:
    """The labelled pairs: F1, folds and interval, and the processor time of a pair."""
    scored = labelled()
    own, chosen, thresholds = folds(scored)
    low, high = resampled(scored)
    half = 2.776 * statistics.stdev(own) / math.sqrt(len(own))
    right = sum(score >= REVIEW and true for score, true in scored)
    said, true = sum(score >= REVIEW for score, _ in scored), sum(true for _, true in scored)
    yield f"labelled pairs of organisations: {len(scored)} ({true} one body, {len(scored) - true} not)"
    yield f"  F1 at review (0.80), nothing chosen: {f1(scored):.3f}  precision {right / said:.3f}  recall {right / true:.3f}  95 % bootstrap {low:.3f} to {high:.3f}"
    yield f"  five folds at 0.80: {' '.join(f'{one:.3f}' for one in own)}  mean {statistics.mean(own):.3f} +- {half:.3f} (t, 95 %)"
    yield f"  five folds, threshold from the other four: {' '.join(f'{one:.3f}' for one in chosen)}  mean {statistics.mean(chosen):.3f}  thresholds {thresholds}"
    for label, half in zip("AB", halves(len(scored)), strict=True):
        yield f"  half {label} at 0.80: {f1([scored[at] for at in half]):.3f}"
    with PAIRS.open(encoding="utf-8", newline="") as file:
        rows = [(row["name1"], row["name2"]) for row in csv.DictReader(file)]
    parsed = [(parse(one), parse(other)) for one, other in rows]
    yield f"  a pair, names read: {_median(lambda: [similarity(*pair) for pair in parsed]) / len(rows) * 1e6:.1f} us"

    yield f"  a pair, from two texts: {_median(lambda: _from_texts(rows)) / len(rows) * 1e6:.1f} us"


def random_pairs_report(folder: Path) -> Iterator[str]:
    """The processor time of two names that are read and compared for the first time: what words cost that nobody had before is in it."""
    primary, aliases = ofac(folder)
    names = [*primary.values(), *(name for row in aliases.values() for name in row)]
    random.Random(13).shuffle(names)
    pairs = [*zip(names[0::2], names[1::2], strict=False)]
    for remembered in (form_ends.MARKS, words_alike.TRAITS, words_alike.MEANINGS):
        remembered.clear()
    for cached in (words_alike.alike, sounds.sound, sounds.bones):
        cached.cache_clear()
    _from_texts(pairs[:50])  # tables are made when the first name is read
    first = _timed(lambda: _from_texts(pairs[50:2_050])) / 2_000
    rest = [_timed(lambda at=at: _from_texts(pairs[at : at + 1_000])) / 1_000 for at in range(2_050, len(pairs) - 1_000, 1_000)]
    yield f"pairs of {len(names)} OFAC names, each once: the first 2,000 {first * 1e6:.1f} us a pair, then {statistics.median(rest) * 1e6:.1f} us (median of thousands)"


def _from_texts(pairs: Sequence[tuple[str, str]]) -> None:
    """Reads and compares: nothing is remembered of whole names."""
    for one, other in pairs:
        similarity(parse.__wrapped__(one), parse.__wrapped__(other))


def ofac_report(folder: Path, names: int) -> Iterator[str]:
    """Recall by class of change, over primary names and over aliases."""
    primary, aliases = ofac(folder)
    rnd = random.Random(5)
    house = as_list(primary, aliases)
    bare = as_list(primary, {})
    yield f"OFAC: {len(primary)} organisations, {sum(map(len, aliases.values()))} aliases; {names} names a class"
    known = [(entry, name) for entry, row in aliases.items() for name in row]
    sample = rnd.sample(known, min(names, len(known)))
    review, hit, alerts = recall(bare, sample)
    yield f"  {'alias -> primary name, as listed':<34} review {review:.3f}  hit {hit:.3f}  entries a question {alerts:.2f}"
    akin = [(entry, name) for entry, name in sample if similarity(parse(name), parse(primary[entry])) >= REVIEW]
    yield f"  {'':<34} (of these the two names are alike at all: {len(akin) / max(1, len(sample)):.3f}; the index finds {recall(bare, akin)[0]:.3f} of them)"
    mains = rnd.sample(sorted(primary.items()), min(names, len(primary)))
    for kind in CLASSES:
        for label, chosen in (("primary", mains), ("alias", sample)):
            asked = list(variants(kind, chosen))
            if len(asked) >= 20:
                review, hit, alerts = recall(house, asked)
                yield f"  {kind:<22} {label:<8} {len(asked):5d}  review {review:.3f}  hit {hit:.3f}  entries a question {alerts:.2f}"


def speed_report(folder: Path) -> Iterator[str]:
    """One name against 40,000, the time to build (processor time, for machines are shared) and the memory."""
    primary, aliases = ofac(folder)
    names = [*primary.values(), *(name for row in aliases.values() for name in row)]
    rnd = random.Random(9)
    words = sorted({word for name in names for word in name.split()})
    while len(names) < 40_000:
        names.append(" ".join(rnd.choices(words, k=rnd.randint(2, 4))))
    before = _rss()
    start = time.process_time()
    house = ScreeningList("forty", "bench", [ListEntry(str(at), name) for at, name in enumerate(names)], "", "both")
    built, grown = time.process_time() - start, _rss() - before
    asked = rnd.sample(names, 300)
    asked = [variant for kind in ("typos", "dropped words", "order") for _, variant in variants(kind, [("", name) for name in asked[:100]])] + asked[100:]
    house.screen(None, ("warm up",))
    times = []
    for name in asked:
        start = time.process_time()
        house.screen(None, (name,))
        times.append((time.process_time() - start) * 1e3)
    times.sort()
    yield f"one name against {len(names)}: median {statistics.median(times):.2f} ms, mean {statistics.mean(times):.2f} ms, 95th percentile {times[int(0.95 * len(times))]:.2f} ms"
    yield f"  built in {built:.2f} s; memory of the list with its entries {grown:.0f} MB (whole process {_rss():.0f} MB)"


def catalogue_report(houses: Sequence[ScreeningList]) -> Iterator[str]:
    """The catalogue's legal entities against every list that is there: what would be a hit, what a review."""
    from mirror.lists.loading import load_catalogue

    catalogue = load_catalogue()
    yield f"catalogue: {len(catalogue.publishers)} publishers against {', '.join(f'{one.name} ({len(one.entries)})' for one in houses)}"
    for countries in (True, False):
        found = []
        for publisher in catalogue.publishers:
            home = tuple(country.code for country in catalogue.countries_of(publisher)) if countries else ()
            for house in houses:
                matches = house.screen(None, (publisher.entity,), countries=home)
                found += [(match.score, publisher, match) for match in matches if match.score >= REVIEW]
        yield f"  by legal name, {'with' if countries else 'without'} countries: {sum(s >= HIT for s, _, _ in found)} hits, {sum(s < HIT for s, _, _ in found)} reviews"
        for score, publisher, match in sorted(found, key=lambda row: (-row[0], row[1].id)):
            yield f"    {score} {publisher.id}: {publisher.entity} | {match.list} {match.entry} {match.name}"


def extracts(folder: Path) -> Iterator[ScreeningList]:
    """Every list of `folder`, read by the product's own loaders."""
    from mirror.lists.formats import LOADERS
    from mirror.lists.material import Part

    sources = {
        "ofac-sdn": ("ofac_csv", ["ofac/sdn.csv", "ofac/alt.csv", "ofac/add.csv"]), "ofac-cons": ("ofac_csv", ["ofac/cons_prim.csv", "ofac/cons_alt.csv"]),
        "csl": ("csl_csv", ["csl/consolidated_sample.csv"]), "un": ("un", ["un/un_consolidated_entities.xml"]),
        "uk": ("uk_sanctions", ["uk/UK-Sanctions-List_sample.xml"]), "eu": ("eu_fsf", ["eu/eu_fsf_sample.xml"]),
    }  # fmt: skip
    for name, (loader, files) in sources.items():
        parts = [Part(Path(file).name, (folder / file).read_bytes()) for file in files if (folder / file).exists()]
        if parts:
            yield ScreeningList(name, "bench", LOADERS[loader](parts).entries, "blocked-party", "both")


def _median(run: Callable[[], object], times: int = 7) -> float:
    return statistics.median(_timed(run) for _ in range(times))


def _timed(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def _rss() -> float:
    """Megabytes resident now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def lists_reports(folder: Path) -> Iterator[Iterator[str]]:
    """What is measured on every list that is there."""
    houses = [*extracts(folder)]
    yield aliases_report(houses)
    yield others_report(houses)
    yield catalogue_report(houses)


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lists", nargs="?", type=Path)
    parser.add_argument("--names", type=int, default=1_500)
    asked = parser.parse_args()
    print(f"matcher {MATCHER}, {datetime.now(UTC):%Y-%m-%d}, Python {sys.version.split()[0]}")
    reports: Iterable[Iterator[str]] = [pairs_report()]
    if asked.lists:
        folder, lists = asked.lists / "ofac", asked.lists
        reports = chain([speed_report(folder), random_pairs_report(folder), *reports, ofac_report(folder, asked.names)], lists_reports(lists))
    for report in reports:
        for line in report:
            print(line, flush=True)


if __name__ == "__main__":
    main()
