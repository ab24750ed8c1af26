"""Countries as rules name them: ISO 3166-1 alpha-2 codes, and sets of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Officially assigned codes (ISO 3166-1, state of 2026; no user-assigned ones such as XK).
CODES: Final = frozenset(
    """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ
    CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR
    GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP
    KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT
    MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW
    SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG
    UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
    """.split()
)

_EU: Final = frozenset("AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK".split())

#: Sets that every policy knows: the Union of 27, and with Iceland, Liechtenstein and Norway the Economic Area.
BUILT_IN: Final[Mapping[str, frozenset[str]]] = {"EU": _EU, "EEA": _EU | {"IS", "LI", "NO"}}

_HINTS: Final = {"UK": "; the United Kingdom is GB", "EL": "; Greece is GR", "XK": " (it is user-assigned)"}


def resolve(word: object, sets: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The countries that one word of a policy stands for: a code in either case, or the exact name of a set.

    Raises `ValueError` with the message a person gets.
    """
    if isinstance(word, bool):
        raise ValueError(f"{str(word).lower()} is not a country; write NO in quotes for Norway")  # noqa: TRY004 - reported like every other bad value
    if not isinstance(word, str):
        raise ValueError(f"{word!r} is not an ISO 3166-1 code")  # noqa: TRY004 - reported like every other bad value
    if word in sets:
        return sets[word]
    code = word.strip().upper()
    if code in CODES:
        return frozenset({code})
    if code in BUILT_IN:
        return BUILT_IN[code]
    if len(word) > 2 or not word.isalpha():
        raise ValueError(f"{word!r} is neither an ISO 3166-1 code nor a set")
    raise ValueError(f"{word!r} is not an ISO 3166-1 code{_HINTS.get(code, '')}")


def build_sets(raw: Mapping[str, Sequence[object]]) -> tuple[dict[str, frozenset[str]], list[tuple[str, str]]]:
    """The policy's own sets with the built-in ones, and the faults as (place below `sets`, message).

    A set may name codes, built-in sets and other sets; a set that contains itself is a fault. A name that is a
    country's code is a fault, because `origin: [US]` must mean one thing.
    """
    done: dict[str, frozenset[str]] = dict(BUILT_IN)
    faults: list[tuple[str, str]] = []
    for name in raw:
        if name.upper() in CODES:
            faults.append((name, f"{name!r} is the code of a country and cannot name a set"))
        elif name in BUILT_IN:
            faults.append((name, f"{name!r} is built in"))
    for name in raw:
        _build(name, raw, done, faults, ())
    return done, faults


def _build(
    name: str, raw: Mapping[str, Sequence[object]], done: dict[str, frozenset[str]],
    faults: list[tuple[str, str]], above: tuple[str, ...],
) -> frozenset[str]:
    if name in done:
        return done[name]
    if name in above:
        faults.append((name, f"contains itself: {' > '.join((*above, name))}"))
        return frozenset()
    found: set[str] = set()
    for position, word in enumerate(raw[name]):
        if isinstance(word, str) and word in raw and word not in done:
            found |= _build(word, raw, done, faults, (*above, name))
            continue
        try:
            found |= resolve(word, done)
        except ValueError as error:
            faults.append((f"{name}[{position}]", str(error)))
    done[name] = frozenset(found)
    return done[name]
