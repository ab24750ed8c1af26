"""Legal forms taken off the ends of names, and what a word may be that everybody has: marks, each found once a word."""

from __future__ import annotations

from collections import defaultdict
from functools import cache, lru_cache
from itertools import pairwise
from typing import Final

from mirror.policy.letters import plain
from mirror.policy.name_words import COMMON, IDLE, NUMBERS, SAME, TOGETHER
from mirror.policy.remembered import Remembered

#: What a word calls for: a name none of whose words does is read without any of that. The rare ones last: numbers below
#: 257 are the same objects for all words.
FORM, SLIP, MEANT, NUMBER, IDLER, HALF, LETTER, WITHIN, LONG, ALIAS, PLACE, OPENING, ALONE = (1 << bit for bit in range(13))
#: A legal form at an end; words apart or together that should not be; words that mean others or nothing; further names.
FORMAL, TORN, MEANING, ASIDE = FORM | SLIP, LONG | HALF | PLACE | LETTER | ALONE, MEANT | NUMBER | IDLER, ALIAS | LETTER


def _marks(word: str) -> int:
    """What a word, as `letters.plain` leaves it, calls for: the sum of the constants above."""
    found = _known_marks().get(word, 0)
    if not found & FORM and word not in COMMON and slips(word):
        found |= SLIP
    if (word[-3:] in _LAST_LETTERS or word[:3] in _FIRST_LETTERS) and word not in SAME and len(parted(word)) > 1:
        found |= LONG
    if word[0].isdigit():
        found |= NUMBER
    if len(word) == 1:
        found |= ALONE if word.isdigit() else LETTER
    return found | ALIAS * (word[:3] in _ALIASES)


#: Word -> its marks.
MARKS: Final = Remembered(_marks)


@cache
def _known_marks() -> dict[str, int]:
    """What words call for that stand in one of the tables."""
    found: dict[str, int] = {}
    # Beginnings and ends of words that everybody has which are no words themselves: of two neighbours that are one, one is such.
    halves = {half for word in _untorn() for at in range(1, len(word)) for half in (word[:at], word[at:])}
    halves -= {*SAME, *SAME.values(), *COMMON, *IDLE, *_form_words()}
    numbers = {*NUMBERS, *_ROMAN, *(word for word, meant in SAME.items() if meant in NUMBERS)}
    places = {name.rsplit(maxsplit=1)[-1] for name in TOGETHER if not name.startswith("united")} | {"united"}
    opening = {form.split()[0] for form in _forms() if form.count(" ") >= _WITHIN_AT_LEAST - 1}
    tables = {
        FORM: _form_words() | ANYWHERE, WITHIN: ANYWHERE, HALF: halves, MEANT: SAME, IDLER: IDLE, NUMBER: numbers, ALIAS: _ALIASES, PLACE: places,
        OPENING: opening,
    }  # fmt: skip
    for mark, words in tables.items():
        for word in words:
            found[word] = found.get(word, 0) | mark
    return found


_ALIASES: Final = frozenset({"aka", "fka", "nka", "dba", "known", "formerly", "as"})
_ROMAN: Final = frozenset({"v", "x"})


# --- words torn and words run together ------------------------------------------------------------------------------------


def mended(words: list[str], called_for: int) -> list[str]:
    """Places of several words as one; words that everybody has put together where a space tore them (`indu stries`), parted where one is missing."""
    if called_for & PLACE:
        words = _places_together(words)
    if called_for & LONG:
        words = [part for word in words for part in (parted(word) if word not in SAME else (word,))]
    return _joined(words)


def _places_together(words: list[str]) -> list[str]:
    found: list[str] = []
    at = 0
    while at < len(words):
        for parts, together in _places().get(words[at], ()):
            if words[at : at + len(parts)] == parts:
                found.append(together)
                at += len(parts)
                break
        else:
            found.append(words[at])
            at += 1
    return found


@cache
def _places() -> dict[str, list[tuple[list[str], str]]]:
    """First word -> the words of a place and it as one, longest first."""
    found: defaultdict[str, list[tuple[list[str], str]]] = defaultdict(list)
    for name in sorted(TOGETHER, key=len, reverse=True):
        found[name.split()[0]].append((name.split(), TOGETHER[name]))
    return dict(found)


@lru_cache(maxsize=4096)
def parted(word: str) -> tuple[str, ...]:
    """A word from which words of legal forms are split off: `companylimited`, `starcompany`."""
    if word.endswith(_GLUED_BEHIND) or word.startswith(_GLUED_BEFORE):
        for part in (*_GLUED_BEHIND, *_GLUED_BEFORE):
            if part in _GLUED_BEHIND and word.endswith(part) and len(word) > len(part) + 2:
                return (*parted(word[: -len(part)]), part)
            if part in _GLUED_BEFORE and word.startswith(part) and len(word) > len(part) + 2:
                return (part, *parted(word[len(part) :]))
    if len(word) > _PARTED and (word.endswith(_PARTING) or word.startswith(_PARTING)):
        for part in _PARTING:
            if word != part and (word.startswith(part) or word.endswith(part)):
                head, tail = (part, word[len(part) :]) if word.startswith(part) else (word[: -len(part)], part)
                if len(head) > 2 and len(tail) > 2:
                    return (*parted(head), *parted(tail))
    return (word,)


def _joined(words: list[str]) -> list[str]:
    known = _untorn()
    for at, (one, other) in enumerate(pairwise(words)):
        if one + other in known:
            return [*words[:at], one + other, *_joined(words[at + 2 :])]
    return words


@cache
def _untorn() -> frozenset[str]:
    """The longer words that everybody has."""
    return frozenset(word for word in (*SAME, *COMMON, *form_parts()) if len(word) >= _TORN)


#: Letters beyond which a word may be two, and what is then split off.
_PARTED: Final = 9
_PARTING: Final = ("limited", "company", "corporation", "liability", "incorporated", "obshchestvo")
#: Short forms with which no word ends, and with which none begins: a space is missing.
_GLUED_BEHIND: Final = ("gmbh", "dmcc", "pjsc", "ojsc", "cjsc", "jsc", "fzco", "llc", "llp", "fze", "ltd", "plc")
_GLUED_BEFORE: Final = ("pjsc", "ojsc", "cjsc", "jsc", "ooo", "llc")
#: How they end and begin: a word that does neither is not looked at further.
_LAST_LETTERS: Final = frozenset(part[-3:] for part in (*_GLUED_BEHIND, *_PARTING))
_FIRST_LETTERS: Final = frozenset(part[:3] for part in (*_GLUED_BEFORE, *_PARTING))
#: Letters of a word that is looked for in two.
_TORN: Final = 7


# --- legal forms ------------------------------------------------------------------------------------------------------

#: What stays of a name, the kind of the form that was taken off, and its words.
Cut = tuple[list[str], frozenset[str], tuple[str, ...]]


def without_forms(words: list[str], called_for: int) -> tuple[list[str], frozenset[str], tuple[str, ...]]:
    """Legal forms taken off as long as something stays: (the rest, kinds of forms, the words taken off).

    Longest first at both ends; within the name those that are nothing else, of one word or of three and more.
    `called_for` are the words' marks: without `SLIP` no misspelt form is looked for, without `OPENING` none of three words within.
    """
    endings, beginnings = _trees()
    kinds, rest, off = _NONE, words, _NO_WORDS
    while (size := len(rest)) > 1:
        found, back, kind, node = 0, 1, _NONE, endings.get(rest[-1])
        while node is not None:
            here, below = node
            if here:
                found, kind = back, here
            back += 1
            node = below.get(rest[-back]) if back < size else None
        if found and not called_for & SLIP:
            off += tuple(rest[-found:])
            kinds = kinds | kind if kinds else kind
            rest = rest[:-found]
            continue
        cut = (rest[:-found], kind, tuple(rest[-found:])) if found else None
        if called_for & SLIP:
            cut = _misspelt_before(rest, cut)
        if cut is None and rest[0] in beginnings:
            cut = _form_at_start(rest)
        if cut is None and called_for & OPENING and size > _SHORTEST_WITHIN:
            cut = _form_within(rest)
        if cut is None:
            break
        rest, kind, taken = cut
        off += taken
        kinds |= kind
    if called_for & WITHIN and len(rest) > 2 and not ANYWHERE.isdisjoint(rest[1:]):
        within = [word for word in rest[1:] if word in ANYWHERE]
        off += tuple(within)
        kinds = kinds.union(_forms().get(word, "LLC") for word in within)
        rest = [rest[0], *(word for word in rest[1:] if word not in ANYWHERE)]
    return rest, kinds, off


#: Words of a name at most in which no form of three stands between two others, and words of such a form at least.
_SHORTEST_WITHIN: Final = 4
_WITHIN_AT_LEAST: Final = 3


def _form_within(words: list[str]) -> Cut | None:
    """A form of three words or more in the midst of a name: behind a city, before a branch."""
    beginnings = _trees()[1]
    for at in range(1, len(words) - 3):
        if words[at] in beginnings and (cut := _form_at_start(words[at:])) and len(cut[2]) >= _WITHIN_AT_LEAST:
            return [*words[:at], *cut[0]], cut[1], cut[2]
    return None


class _Kinds(dict[str, frozenset[str]]):
    """One set a kind: most names have one form, and share it."""

    def __missing__(self, kind: str) -> frozenset[str]:
        self[kind] = frozenset({kind})
        return self[kind]


_KINDS: Final = _Kinds()
_NONE: Final[frozenset[str]] = frozenset()
_NO_WORDS: Final[tuple[str, ...]] = ()


def _misspelt_before(words: list[str], cut: Cut | None) -> Cut | None:
    """`cut`, or a misspelt form that takes more off: `joynt stock company` is more than a company."""
    if cut is None:
        return _misspelt(words)
    longer = _misspelt(words) if len(cut[2]) < _WITHIN_AT_LEAST else None
    return longer if longer and len(longer[0]) < len(cut[0]) else cut


def _misspelt(words: list[str]) -> Cut | None:
    """A form at the end with one letter wrong in one of its words: `joynt stock company`, `aktiengeselschaft`."""
    known = _form_words()
    for back in range(1, min(4, len(words) - 1) + 1):
        word = words[-back]
        if word in known or len(word) < _MENDED_AMONG - 1:
            continue
        for meant in () if word in COMMON else SLIPS[word]:
            for form, kind in _forms_with().get((meant, back), ()):
                count = len(form)
                if count < len(words) and [*words[-count:-back], meant] == [*form[: count - back + 1]] and words[len(words) - back + 1 :] == [*form[count - back + 1 :]]:
                    return words[:-count], kind, form
        break
    return None


@cache
def _forms_with() -> dict[tuple[str, int], list[tuple[tuple[str, ...], frozenset[str]]]]:
    """A word and its place from the end -> forms with it there, longest first, long enough to be told with a slip."""
    found: defaultdict[tuple[str, int], list[tuple[tuple[str, ...], frozenset[str]]]] = defaultdict(list)
    for form, kind in _forms().items():
        words = tuple(form.split())
        if len(words) <= _LONGEST and (len(words) > 2 or len(form) >= _MENDED_ALONE):
            for back, word in enumerate(reversed(words[-4:]), 1):
                found[word, back].append((words, _KINDS[kind]))
    for forms in found.values():
        forms.sort(key=lambda one: -len(one[0]))
    return dict(found)


def slips(word: str) -> tuple[str, ...]:
    """Words of legal forms from which `word` differs by a letter too many, too few, wrong or turned with its neighbour.

    A slip leaves half of the letters at one end as they are: nearly all words begin and end like no word of a form.
    """
    size = len(word)
    table = _form_slips()
    if not _MENDED_AMONG - 1 <= size < len(table):
        return ()
    heads, tails = table[size]
    near = (size - 1) // 2
    alike = heads.get(word[:near], ()) + tails.get(word[-near:], ())
    if not alike:
        return ()
    from rapidfuzz.distance.OSA import distance  # a mirror without lists compares no names

    return tuple(sorted({meant for meant in alike if distance(word, meant, score_cutoff=1) == 1}))


#: Word -> words of legal forms that it may be misspelt.
SLIPS: Final = Remembered(slips)


def _form_at_start(words: list[str]) -> Cut | None:
    found, kind = 0, _NONE
    below = _trees()[1]
    for count in range(1, len(words)):
        if (node := below.get(words[count - 1])) is None:
            break
        here, below = node
        if here:
            found, kind = count, here
    return (words[found:], kind, tuple(words[:found])) if found else None


# Made when the first name is read: most commands read none.


@cache
def _forms() -> dict[str, str]:
    from mirror.policy.legal_forms import FORMS

    found: dict[str, str] = {}
    for form, kind in FORMS.items():
        found.setdefault(plain(form), kind)
    return found


#: Word -> the kind of the form that is whole with it (none: nothing is yet), and how forms go on behind it.
Tree = dict[str, tuple[frozenset[str], "Tree"]]


def _tree(forms: dict[str, str], step: int) -> Tree:
    """Forms word by word, from the front (step 1) or from the back (-1)."""
    root: Tree = {}
    for form, kind in forms.items():
        below, words = root, form.split()[::step]
        for word in words[:-1]:
            below = below.setdefault(word, (_NONE, {}))[1]
        below[words[-1]] = _KINDS[kind], below.get(words[-1], (_NONE, {}))[1]
    return root


@cache
def _trees() -> tuple[Tree, Tree]:
    """Forms as they end names, and as they begin them."""
    behind = {form: kind for form, kind in _forms().items() if form not in _NEVER_LAST and form.count(" ") < _LONGEST}
    # Before the name, two letters are more often an initialism than a form, but for those that usually stand there.
    before = {form: kind for form, kind in _forms().items() if (len(form) > 2 or form in _LEADING) and form.count(" ") < _LONGEST}
    return _tree(behind, -1), _tree(before, 1)


@cache
def _form_words() -> frozenset[str]:
    return frozenset(word for form in _forms() for word in form.split())


@cache
def form_parts() -> frozenset[str]:
    """Words that are legal forms, or parts of one and hardly anything else: out of their place they still say little."""
    return frozenset(word for word in _forms() if " " not in word) | frozenset(
        "joint stock liability limited company open closed public private cv rl s otvetstvennostyu ogranichennoy obshchestvo aktsionernoe "
        "gesellschaft sociedad anonima societe haftung beschrankter".split()
    )


@cache
def _form_slips() -> list[tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]]:
    """By the number of letters of a word: how it begins, how it ends -> words of forms of about as many that do so too."""
    meant = sorted(word for word in _form_words() if len(word) >= _MENDED_AMONG and word.isascii())
    table: list[tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]] = [({}, {}) for _ in range(max(map(len, meant)) + 2)]
    for word in meant:
        for size in range(len(word) - 1, len(word) + 2):
            heads, tails = table[size]
            near = (size - 1) // 2
            heads[word[:near]] = (*heads.get(word[:near], ()), word)
            tails[word[-near:]] = (*tails.get(word[-near:], ()), word)
    return table


@cache
def forms_unspaced() -> tuple[str, ...]:
    """Forms written without a space before them in Chinese, Japanese and Korean, longest first."""
    return tuple(sorted((form for form in _forms() if ord(form[0]) > 0x2E80 or 0x1100 <= ord(form[0]) < 0x1200), key=len, reverse=True))


_LONGEST: Final = 7
#: Letters that a misspelt word of a form has at least: within a form of three words, and of a form as a whole.
_MENDED_AMONG: Final = 7
_MENDED_ALONE: Final = 7
_LEADING: Final = frozenset({"ao", "ab", "pt", "as", "oy", "sc", "ip", "cv"})
#: Forms that at the end of a name are more often a numeral, a word or a place.
_NEVER_LAST: Final = frozenset({"ii", "in", "im", "is", "at", "pr", "pe", "pp", "ps", "et", "ei", "da", "va", "al"})
#: Forms that are nothing else, wherever they stand: `Acme Ltd (Hong Kong)`.
ANYWHERE: Final = frozenset(
    "ltd limited llc llp gmbh inc incorporated plc jsc ojsc pjsc cjsc ooo oao zao pao pte pty pvt sarl srl spa bvba fzco fze "
    "bhd sdn ltda kft zrt doo sro".split()
)
