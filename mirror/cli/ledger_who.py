"""`mirror ledger who`: under which pseudonyms somebody stands in the record, in each period of which there is a key."""

from __future__ import annotations

import ipaddress
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mirror.cli.views import closed, people_shown, view_option
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.config import Config

_COLUMNS: Final = ("pseudonym", "period", "since", "until")


@click.command()
@click.argument("subject")
@view_option
@click.option("-c", "--config", "path", type=click.Path(path_type=Path, dir_okay=False), help="The configuration file.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines.")
@click.pass_context
def who(ctx: click.Context, subject: str, view: str | None, path: Path | None, as_json: bool) -> None:
    """Say under which pseudonyms SUBJECT stands in the record: an address, or `-` for an Authorization value or certificate fingerprint on standard input.

    For `query --actor` and `erase --actor`, each period by itself. Holders of mirror tokens stand there as `m:<id>` throughout.
    """
    from mirror.cli.owner import configured

    config = configured(path or ctx.find_object(Path))
    if not people_shown(config, view, "ledger who", {}):
        raise closed("SUBJECT")
    for row in _rows(config, _subject(subject)):
        click.echo(json.dumps(row) if as_json else _said(row))


def _said(row: dict[str, Any]) -> str:
    if not row["since"]:  # before there were periods; nothing says when that ended
        return f"{row['pseudonym']}  {row['period']}  -  -"
    return "  ".join(str(row["until"] or "now" if name == "until" else row[name]) for name in _COLUMNS)


def _subject(text: str) -> tuple[tuple[str, ...], str]:
    """The letters under which it may stand, and the text that was hashed. Raises `InputError`."""
    if text == "-":
        read = sys.stdin.readline().strip()
        if not read:
            raise InputError([Problem("", "SUBJECT", "standard input has no line")])
        return ("t", "c"), read
    try:
        one = ipaddress.ip_address(text)
    except ValueError:
        raise InputError([Problem("", "SUBJECT", "is no address; give a credential on standard input, with `-`")]) from None
    return ("a",), str(getattr(one, "ipv4_mapped", None) or one)


def _rows(config: Config, subject: tuple[tuple[str, ...], str]) -> Iterator[dict[str, Any]]:
    from mirror.core.canonical import instant
    from mirror.durable import read_small
    from mirror.ledger_wiring import pseudonym_keys_of
    from mirror.trust.pseudonyms import pseudonym

    letters, text = subject
    first = config.data / "secret.key"  # before there were periods, the installation's own key was that of pseudonyms
    keys: list[tuple[int, str | None, str | None, bytes]] = [(0, None, None, read_small(first, 32))] if first.exists() else []
    keys += [(one.number, instant(one.since), instant(one.until) if one.until else None, one.key) for one in pseudonym_keys_of(config).periods()]
    for number, since, until, key in keys:
        for letter in letters:
            yield {"pseudonym": f"{letter}:{pseudonym(key, text)}", "period": number, "since": since, "until": until}
