"""Sums of the ledger as one page to be mailed or printed: HTML that holds everything, runs nothing and fetches nothing. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from html import escape
from typing import TYPE_CHECKING, Final

from mirror.core.canonical import instant
from mirror.core.questions import OUTCOMES, Summed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

_COLOURS: Final = {"allowed": "#3b6ea5", "refused": "#b3372f", "held": "#d29a1f", "steered": "#7a62a8", "hub": "#7d7d7d"}
_MEANING: Final = {
    "allowed": "served, with or without a warning", "refused": "denied by a rule, and routes and writes that are refused to all",
    "held": "in review or quarantine", "steered": "pages that left something out", "hub": "refused by the hub itself",
}  # fmt: skip
_TITLES: Final = {"rule": "By rule", "country": "By country of the client", "publisher": "By publisher", "group": "By group"}
_NONE: Final = {"rule": "no rule took part", "country": "country unknown", "publisher": "publisher unknown", "group": "in no group"}
#: How many bars a chart over time has at most before it goes over to weeks, then months; rows of a table.
_DAYS, _WEEKS, _ROWS = 100, 110, 25
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 940, 150, 64, 22
#: Widths of a bar in a table and of a date, in pixels.
_BAR, _DATE = 260, 70
_STYLE: Final = """
:root{color-scheme:light}
body{font:15px/1.45 system-ui,"Segoe UI",Helvetica,Arial,sans-serif;color:#1c2430;background:#fff;max-width:960px;margin:0 auto;padding:28px 20px 40px}
h1{font-size:25px;margin:0 0 2px}h2{font-size:17px;margin:30px 0 8px;padding-top:12px;border-top:1px solid #dde2e8}
p{margin:4px 0}.quiet{color:#5b6674}.cards{display:flex;gap:10px;margin:18px 0 4px;flex-wrap:wrap}
.card{border:1px solid #dde2e8;border-top:4px solid #1c2430;border-radius:4px;padding:8px 14px;flex:1 1 120px}
.card b{display:block;font-size:22px;font-variant-numeric:tabular-nums}.card span{color:#5b6674;font-size:13px}
table{border-collapse:collapse;width:100%;font-size:13.5px}th{font-weight:600;text-align:right;color:#5b6674;padding:3px 8px;border-bottom:1px solid #c8d0d9}
td{text-align:right;padding:3px 8px;border-bottom:1px solid #edf0f3;font-variant-numeric:tabular-nums}
th:first-child,td:first-child{width:190px;text-align:left;overflow-wrap:anywhere;padding-left:0}td.bar{padding:3px 4px;width:264px}
dl{display:grid;grid-template-columns:150px 1fr;gap:3px 14px;margin:8px 0;font-size:14px}dt{color:#5b6674}dd{margin:0;overflow-wrap:anywhere}
svg{display:block;max-width:100%;height:auto}svg text{font:11.5px system-ui,"Segoe UI",Helvetica,Arial,sans-serif;fill:#5b6674}
.key{display:inline-block;width:11px;height:11px;border-radius:2px;margin:0 5px 0 14px;vertical-align:-1px}.key:first-child{margin-left:0}
@media print{body{padding:0;font-size:12px}h2{break-after:avoid}tr,svg,.card{break-inside:avoid}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""


@dataclass(frozen=True, slots=True)
class Report:
    """What a page is made from: sums by `core.questions.BY` (days among them), the conditions asked with, and the ledger's head.

    `records` and `leaf` are the head's; `indexed` of its records are what the sums are over.
    """

    sums: Mapping[str, Sequence[Summed]]
    where: Mapping[str, str]
    made: datetime
    records: int
    leaf: str
    indexed: int
    ledger: str
    version: str


def page(report: Report) -> str:
    """The whole page. Every text that others chose is escaped; a policy in it forbids scripts and anything from elsewhere."""
    days = report.sums["day"]
    return "\n".join((
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f'<meta name="viewport" content="width=device-width"><title>Requests and answers, {escape(_period(report))}</title><style>{_STYLE}</style></head><body>',
        f'<h1>Requests and how they were answered</h1><p class="quiet">{escape(_period(report))}{_filtered(report)}</p>',
        _cards(days),
        *(_over_time(days) if days else ["<p>No answer in the ledger meets these conditions.</p>"]),
        *(_section(by, found) for by, found in report.sums.items() if by != "day" and found),
        _origin(report),
        "</body></html>\n",
    ))  # fmt: skip


def _period(report: Report) -> str:
    days = report.sums["day"]
    begin, end = report.where.get("since", "")[:10] or "the beginning", report.where.get("until", "")[:10]
    told = f"{begin} to {f'before {end}' if end else report.made.date().isoformat()}"
    return told + (f" (answers from {days[0].term} to {days[-1].term})" if days else "")


def _conditions(report: Report) -> str:
    return ", ".join(f"{key} {value or '(none)'}" for key, value in report.where.items() if key not in ("since", "until"))


def _filtered(report: Report) -> str:
    told = _conditions(report)
    return f"; only <b>{escape(told)}</b>" if told else ""


def _total(found: Sequence[Summed], word: str) -> int:
    return sum(one.requests.get(word, 0) for one in found)


def _cards(days: Sequence[Summed]) -> str:
    counts = {word: _total(days, word) for word in OUTCOMES}
    events = sum(sum(one.events.values()) for one in days)
    cards = [f'<div class="card"><b>{sum(counts.values()):,}</b><span>requests, in {events:,} events</span></div>']
    cards += [
        f'<div class="card" style="border-top-color:{_COLOURS[word]}"><b>{count:,}</b><span>{word}</span></div>'
        for word, count in counts.items() if count or word in OUTCOMES[:3]
    ]  # fmt: skip
    return f'<div class="cards">{"".join(cards)}</div>'


# --- over time -------------------------------------------------------------------------------------------------------


def _over_time(days: Sequence[Summed]) -> Iterator[str]:
    word, bins = _bins(days)
    yield f"<h2>By {word}</h2>"
    yield f"<p>{_legend(['allowed'])}</p>"
    yield _columns(bins, ("allowed",), f"Allowed requests by {word}")
    others = [outcome for outcome in OUTCOMES[1:] if any(outcome in counts for _, counts in bins)]
    if others:
        yield f'<p>{_legend(others)} <span class="quiet">(another scale)</span></p>'
        yield _columns(bins, others, f"Other requests by {word}")


def _bins(days: Sequence[Summed]) -> tuple[str, list[tuple[date, dict[str, int]]]]:
    """Every day, week (from Monday) or month between the first and the last answer, empty ones too."""
    first, last = date.fromisoformat(days[0].term), date.fromisoformat(days[-1].term)
    span = (last - first).days + 1
    word, begin = ("day", _day) if span <= _DAYS else ("week", _week) if span <= 7 * _WEEKS else ("month", _month)
    found: dict[date, dict[str, int]] = {begin(first + timedelta(days=n)): {} for n in range(span)}
    for one in days:
        counts = found[begin(date.fromisoformat(one.term))]
        for outcome, requests in one.requests.items():
            counts[outcome] = counts.get(outcome, 0) + requests
    return word, sorted(found.items(), key=lambda item: item[0])


def _day(day: date) -> date:
    return day


def _week(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _month(day: date) -> date:
    return day.replace(day=1)


def _columns(bins: Sequence[tuple[date, Mapping[str, int]]], words: Sequence[str], label: str) -> str:
    top = max([sum(counts.get(word, 0) for word in words) for _, counts in bins], default=0) or 1
    ticks = _ticks(top)
    scale = _HEIGHT / max(top, ticks[-1])
    step = (_WIDTH - _LEFT) / len(bins)
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + _BOTTOM + 8}" width="{_WIDTH}" role="img" aria-label="{escape(label)}">']
    for tick in ticks:
        y = 8 + _HEIGHT - tick * scale
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e3e7ec"/><text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:,}</text>')
    for place, (_, counts) in enumerate(bins):
        y = 8.0 + _HEIGHT
        for word in words:
            height = counts.get(word, 0) * scale
            y -= height
            if height:
                x, width = _LEFT + place * step + step * 0.1, min(step * 0.8, 40)
                parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{max(height, 0.6):.1f}" fill="{_COLOURS[word]}"/>')
    every = max(1, -(-len(bins) // 10))
    named = [place for place in range(0, len(bins), every) if _LEFT + place * step + _DATE <= _WIDTH]
    dates = [f'<text x="{_LEFT + place * step + step * 0.1:.1f}" y="{_HEIGHT + _BOTTOM + 4}">{bins[place][0].isoformat()}</text>' for place in named]
    return "".join([*parts, *dates, "</svg>"])


def _ticks(top: int) -> list[int]:
    """Three to five round numbers from 0 to `top` or just above."""
    step = 1
    for factor in (1, 2, 5) * 18:
        if top / (step * factor) <= 4:
            step *= factor
            break
        if factor == 5:
            step *= 10
    return list(range(0, -(-top // step) * step + 1, step))


def _legend(words: Sequence[str]) -> str:
    return "".join(f'<span class="key" style="background:{_COLOURS[word]}"></span>{word}' for word in words)


# --- by anything else ------------------------------------------------------------------------------------------------


def _section(by: str, found: Sequence[Summed]) -> str:
    found = sorted(found, key=lambda one: not one.term)  # what has no name comes last and does not set the scale
    top = max([sum(one.requests.values()) for one in found if one.term], default=0) or 1
    present = [word for word in OUTCOMES if _total(found, word)]
    more = [one for one in found if one.term][_ROWS:]
    shown = [one for one in found if one not in more]
    head = "".join(f"<th>{word}</th>" for word in present)
    rows = "".join(_row(one, one.term or _NONE[by], present, top) for one in shown)
    rest = f'<p class="quiet">and {len(more)} more with {sum(sum(one.requests.values()) for one in more):,} requests</p>' if more else ""
    both = "; an event of two counts under both" if by in ("rule", "group") else ""
    return (
        f'<h2>{_TITLES[by]}</h2><p class="quiet">{_legend(present)} &nbsp; requests, most first{both}</p>'
        f'<table><thead><tr><th>{by}</th><th></th><th>requests</th>{head}<th>events</th></tr></thead><tbody>{rows}</tbody></table>{rest}'
    )


def _row(one: Summed, name: str, words: Sequence[str], top: int) -> str:
    quiet: Callable[[str], str] = (lambda text: text) if one.term else (lambda text: f'<span class="quiet">{text}</span>')
    counts = "".join(f"<td>{one.requests.get(word, 0):,}</td>" for word in words)
    requests = sum(one.requests.values())
    return f'<tr><td>{quiet(escape(name))}</td><td class="bar">{_bar(one, top) if one.term else ""}</td><td>{requests:,}</td>{counts}<td>{sum(one.events.values()):,}</td></tr>'


def _bar(one: Summed, top: int) -> str:
    parts, x = [], 0.0
    for word in OUTCOMES:
        if requests := one.requests.get(word, 0):
            width = max(requests * _BAR / top, 1.0)  # what is there is seen
            parts.append(f'<rect x="{x:.1f}" y="0" width="{width:.1f}" height="13" fill="{_COLOURS[word]}"/>')
            x += width
    told = ", ".join(f"{word} {one.requests[word]:,}" for word in OUTCOMES if one.requests.get(word))
    return f'<svg viewBox="0 0 {_BAR + 4} 13" width="{_BAR + 4}" height="13" role="img" aria-label="{escape(told)}">{"".join(parts)}</svg>'


# --- made from -------------------------------------------------------------------------------------------------------


def _origin(report: Report) -> str:
    missing = report.records - report.indexed
    rows = {
        "Period": _period(report) + ", UTC",
        "Conditions": _conditions(report) or "none",
        "Ledger": (f"{report.ledger}, " if report.ledger else "") + f"{report.records:,} records, the last with leaf {report.leaf or '(none)'}",
        "Counted": f"the first {report.indexed:,} of them" + (f"; {missing:,} came while this was made" if missing > 0 else ""),
        "Made": f"{instant(report.made)} by Entrepôt {report.version}, mirror ledger query --report",
    }
    told = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in rows.items())
    words = "; ".join(f"<b>{word}</b>: {_MEANING[word]}" for word in OUTCOMES)
    return (
        f"<h2>What this was made from</h2><dl>{told}</dl>"
        f'<p class="quiet">Requests are answers, repeats counted; HEAD requests and parts of files are among them, so they are not downloads. {words}. '
        "Publishers and rules are those of each decision, as known then. The sums are over the index, a copy of the ledger; "
        "<i>mirror ledger verify</i> checks the ledger itself against the leaf above. Permissions whose retention has ended are in it as they were counted: under no rule, and not where a condition asks for what was not counted.</p>"
    )
