"""What the matcher was not set by: aliases of other authorities' lists, other bodies that share words, and halves of the labelled pairs.

Words and rules were found on OFAC names and on half A of the labelled pairs; half B and the lists of the UN, the UK and the
EU were only measured.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from mirror.policy.names import Name, parse
from mirror.policy.screening import ListEntry, ScreeningList, similarity

REVIEW, HIT = 8_000, 9_200


def halves(count: int) -> tuple[list[int], list[int]]:
    """The numbers of `count` rows in two halves: A, which was in view, and B."""
    order = list(range(count))
    random.Random(99).shuffle(order)
    return order[: count // 2], order[count // 2 :]


def aliases_report(houses: Sequence[ScreeningList]) -> Iterator[str]:
    """Of each list: whether a strong alias, as listed, finds its entry among the primary names of all entries."""
    yield "aliases as listed, against the primary names of their list (organisations; Latin letters, and other scripts):"
    for house in houses:
        entries = [entry for entry in house.entries if entry.type != "individual"]
        bare = ScreeningList("bare", "bench", [ListEntry(entry.id, entry.name) for entry in entries], "", "both")
        for label, latin in (("Latin", True), ("other", False)):
            asked = [(entry.id, alias) for entry in entries for alias in entry.aliases if _latin(alias) is latin]
            if len(asked) < 20:
                continue
            asked = random.Random(5).sample(asked, min(800, len(asked)))
            found = [{match.entry: match.score for match in bare.screen(None, (alias,))} for _, alias in asked]
            own = [scores.get(entry, 0) for (entry, _), scores in zip(asked, found, strict=True)]
            wrong = sum(score >= REVIEW for (entry, _), scores in zip(asked, found, strict=True) for other, score in scores.items() if other != entry)
            yield (f"  {house.name:<10} {label} {len(asked):5d}  review {_share(own, REVIEW):.3f}  hit {_share(own, HIT):.3f}"
                   f"  other entries a question {wrong / len(asked):.3f}")  # fmt: skip


def others_report(houses: Sequence[ScreeningList]) -> Iterator[str]:
    """Of each list: different entries that share a word, and entries that stand beside each other in the order of letters."""
    yield "different entries of one list (some are branches and parents of one another), share called alike:"
    for house in houses:
        names = {entry.id: parse(entry.name) for entry in house.entries if entry.type != "individual"}
        ordered = sorted(names.values(), key=lambda name: name.solid)
        for label, pairs in (("sharing a word", _sharing(names)), ("neighbours", [*pairwise(ordered)])):
            scores = [similarity(one, other) for one, other in pairs if one.solid != other.solid]
            if len(scores) >= 100:
                yield f"  {house.name:<10} {label:<14} {len(scores):5d}  review {_share(scores, REVIEW):.4f}  hit {_share(scores, HIT):.4f}"


def _sharing(names: dict[str, Name]) -> list[tuple[Name, Name]]:
    """Up to four pairs of entries for each word of four letters or more that several have, 6,000 in all."""
    by_word = defaultdict(list)
    for entry, name in sorted(names.items()):
        for word in sorted(set(name.tokens)):
            if len(word) > 3:
                by_word[word].append(entry)
    rnd = random.Random(5)
    pairs = {tuple(sorted(rnd.sample(entries, 2))) for _, entries in sorted(by_word.items()) if len(entries) > 1 for _ in range(4)}
    chosen = sorted(pairs)
    rnd.shuffle(chosen)
    return [(names[one], names[other]) for one, other in chosen[:6_000]]


def _latin(text: str) -> bool:
    return not any(ord(letter) > 0x24F and letter.isalpha() for letter in text)


def _share(scores: Sequence[int], least: int) -> float:
    return sum(score >= least for score in scores) / max(1, len(scores))
