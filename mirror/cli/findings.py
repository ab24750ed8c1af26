"""What a check found, and how a list of findings is printed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import click

_COLOURS: Final = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "bright_black"}


@dataclass(frozen=True, slots=True)
class Finding:
    """`hint` says what to do about it; empty where nothing need be done."""

    status: Literal["ok", "warn", "fail", "skip"]
    check: str
    detail: str
    hint: str = ""


def report(findings: Iterable[Finding], *, as_json: bool) -> int:
    """Print each finding as it comes; gives the exit code: 1 if one failed."""
    failed = warned = 0
    for one in findings:
        failed += one.status == "fail"
        warned += one.status == "warn"
        if as_json:
            click.echo(json.dumps(dataclasses.asdict(one), ensure_ascii=False))
            continue
        click.echo(f"{click.style(f'{one.status:<4}', fg=_COLOURS[one.status])}  {one.check:<26}  {one.detail}")
        if one.hint:
            click.echo(f"{'':34}-> {one.hint}")
    if not as_json:
        click.echo(f"{failed} failed, {warned} to look at" if failed or warned else "all is well")
    return 1 if failed else 0
