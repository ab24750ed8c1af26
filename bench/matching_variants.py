# ruff: noqa: RUF001 - look-alike letters are the subject
"""Names as people, forgers and typists change them: one class of change each, from fixed seeds."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

Variant = Callable[[random.Random, str], str]


_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_LOOK = {"a": "аα", "c": "с", "e": "е", "i": "іι", "o": "оο", "p": "рρ", "x": "х", "y": "у", "s": "ѕ", "A": "АΑ", "B": "ВΒ", "C": "С", "E": "ЕΕ", "H": "НΗ",
         "I": "ІΙ", "K": "КΚ", "M": "МΜ", "N": "Ν", "O": "ОΟ", "P": "РΡ", "S": "Ѕ", "T": "ТΤ", "X": "ХΧ", "Y": "УΥ", "Z": "Ζ"}  # fmt: skip
_UNSEEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u180e"
_CYRILLIC = (
    ("shch", "щ"), ("zh", "ж"), ("kh", "х"), ("ts", "ц"), ("ch", "ч"), ("sh", "ш"), ("yu", "ю"), ("ya", "я"), ("a", "а"), ("b", "б"), ("v", "в"),
    ("g", "г"), ("d", "д"), ("e", "е"), ("z", "з"), ("i", "и"), ("y", "й"), ("k", "к"), ("l", "л"), ("m", "м"), ("n", "н"), ("o", "о"), ("p", "п"),
    ("r", "р"), ("s", "с"), ("t", "т"), ("u", "у"), ("f", "ф"), ("h", "х"), ("c", "к"), ("j", "дж"), ("q", "к"), ("w", "в"), ("x", "кс"),
)  # fmt: skip
_SPELLINGS = (("kh", "h"), ("zh", "j"), ("ya", "ia"), ("yu", "iu"), ("iy", "y"), ("ts", "tz"), ("q", "k"), ("ph", "f"), ("oo", "u"), ("ee", "i"),
              ("y", "i"), ("w", "v"), ("sh", "ch"), ("dj", "j"), ("ei", "ey"), ("ou", "u"))  # fmt: skip
_TITLES = ("Group", "International", "Trading", "Global", "Services", "Holdings", "The", "Company", "Industries", "Limited", "Enterprises")
_CITIES = ("Shenzhen", "Beijing", "Shanghai", "Moscow", "Tehran", "Dubai", "Hong Kong", "Istanbul", "Guangzhou", "Minsk")
_FORMS = ("Ltd", "Ltd.", "Limited", "LLC", "L.L.C.", "Inc.", "Co., Ltd.", "GmbH", "S.A.", "S.r.l.", "B.V.", "OOO", "JSC", "PJSC", "Pte. Ltd.", "Sdn Bhd",
          "Pvt. Ltd.", "FZE", "FZCO", "A.S.", "d.o.o.", "s.r.o.", "Sp. z o.o.", "Ltd. Sti.", "Oy", "AB", "Kft", "SARL", "Pty Ltd", "K.K.")  # fmt: skip
_SHORT = {"international": "Intl", "university": "Univ", "institute": "Inst", "technology": "Tech", "company": "Co", "manufacturing": "Mfg", "corporation": "Corp",
          "national": "Natl", "department": "Dept", "association": "Assn", "engineering": "Eng", "limited": "Ltd", "center": "Ctr", "general": "Gen",
          "industries": "Ind", "construction": "Constr", "development": "Dev", "services": "Svcs", "research": "Res", "management": "Mgmt"}  # fmt: skip
_NUMBERS = {"1": "One", "2": "Two", "3": "Three", "4": "Four", "5": "Five", "6": "Six", "7": "Seven", "8": "Eight", "9": "Nine", "10": "Ten",
            "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "first": "1st", "second": "2nd", "third": "3rd"}  # fmt: skip


def _typo(rnd: random.Random, name: str) -> str:
    """One slip, two in names beyond sixteen letters: a letter wrong, missing, doubled or in its neighbour's place."""
    for _ in range(2 if len(name) > 16 else 1):
        places = [at for at, letter in enumerate(name[:-1]) if letter.isalpha() and name[at + 1].isalpha()]
        if not places:
            return name
        at, kind = rnd.choice(places), rnd.randrange(4)
        middle = (rnd.choice(_LETTERS) + name[at + 1], name[at + 1], name[at] * 2 + name[at + 1], name[at + 1] + name[at])[kind]
        name = name[:at] + middle + name[at + 2 :]
    return name


def _order(rnd: random.Random, name: str) -> str:
    words = name.replace(",", "").split()
    shuffled = words[:]
    while len(set(words)) > 1 and shuffled == words:
        rnd.shuffle(shuffled)
    return " ".join(shuffled)


def _added(rnd: random.Random, name: str) -> str:
    word = rnd.choice(_TITLES)
    return f"{word} {name}" if rnd.random() < 0.4 else f"{name} {word}"


def _dropped(rnd: random.Random, name: str) -> str:
    words = name.split()
    if len(words) < 3:
        return name
    del words[rnd.randrange(len(words))]
    return " ".join(words)


def _cut(rnd: random.Random, name: str) -> str:
    return name[: max(4, round(len(name) * rnd.uniform(0.6, 0.9)))].rstrip()


def _homoglyphs(rnd: random.Random, name: str) -> str:
    places = [at for at, letter in enumerate(name) if letter in _LOOK]
    letters = list(name)
    for at in rnd.sample(places, min(len(places), rnd.randint(1, 5))):
        letters[at] = rnd.choice(_LOOK[name[at]])
    return "".join(letters)


def _invisible(rnd: random.Random, name: str) -> str:
    for _ in range(rnd.randint(1, 4)):
        at = rnd.randrange(1, len(name))
        name = name[:at] + rnd.choice(_UNSEEN) + name[at:]
    return name


def _cyrillic(rnd: random.Random, name: str) -> str:
    lower = name.lower()
    for latin, letter in _CYRILLIC:
        lower = lower.replace(latin, letter)
    return lower


def _respelt(rnd: random.Random, name: str) -> str:
    lower = name.lower()
    found = [(one, other) for pair in _SPELLINGS for one, other in (pair, pair[::-1]) if one in lower]
    for one, other in rnd.sample(found, min(2, len(found))):
        lower = lower.replace(one, other, 1)
    return lower


def _accents(rnd: random.Random, name: str) -> str:
    table = dict(zip("aeiouncszAEIOUNCSZ", "áéíóúñçšžÁÉÍÓÚÑÇŠŽ", strict=True))
    return "".join(table.get(letter, letter) if rnd.random() < 0.5 else letter for letter in name)


def _hyphens(rnd: random.Random, name: str) -> str:
    return name.replace("-", " ") if "-" in name else name.replace(" ", "-", 1)


def _joined(rnd: random.Random, name: str) -> str:
    words = name.split()
    if len(words) < 2:
        return name
    at = rnd.randrange(len(words) - 1)
    return " ".join([*words[:at], words[at] + words[at + 1], *words[at + 2 :]])


def _split(rnd: random.Random, name: str) -> str:
    words = name.split()
    long = [at for at, word in enumerate(words) if len(word) > 6 and word.isalpha()]
    if not long:
        return name
    at = rnd.choice(long)
    cut = rnd.randrange(3, len(words[at]) - 2)
    return " ".join([*words[:at], words[at][:cut], words[at][cut:], *words[at + 1 :]])


def _ampersand(rnd: random.Random, name: str) -> str:
    return name.replace("&", "and") if "&" in name else name.replace(" AND ", " & ").replace(" and ", " & ")


def _words(table: dict[str, str]) -> Variant:
    return lambda rnd, name: " ".join(table.get(word.lower().strip(".,"), word) for word in name.split())


def _width(rnd: random.Random, name: str) -> str:
    wide = "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in name)
    return rnd.choice((wide, name.swapcase(), name.title()))


CLASSES: dict[str, Variant] = {
    "typos": _typo, "order": _order, "added words": _added, "dropped words": _dropped, "truncation": _cut, "homoglyphs": _homoglyphs,
    "invisible characters": _invisible, "transliteration": _cyrillic, "respelling": _respelt, "diacritics": _accents, "case and width": _width,
    "hyphenation": _hyphens, "words run together": _joined, "words split": _split, "ampersand": _ampersand, "abbreviations": _words(_SHORT),
    "numerals": _words(_NUMBERS), "legal form": lambda rnd, name: f"{name} {rnd.choice(_FORMS)}",
    "city before": lambda rnd, name: f"{rnd.choice(_CITIES)} {name}", "typo and order": lambda rnd, name: _order(rnd, _typo(rnd, name)),
}  # fmt: skip


def variants(kind: str, names: Sequence[tuple[str, str]], seed: int = 3) -> Iterator[tuple[str, str]]:
    """(entry, variant) of each (entry, name) that the class changes."""
    rnd = random.Random(f"{seed} {kind}")
    for entry, name in names:
        changed = CLASSES[kind](rnd, name)
        if changed != name:
            yield entry, changed
