"""What the commands of `mirror policy` share: the rules that judge, moments, groups of options, and how they give up."""

from __future__ import annotations

import json
import os
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mirror.config import Config
    from mirror.policy.epoch import Epoch

CONFIG: Final = click.option(
    "-c", "--config", "config_path", type=click.Path(path_type=Path), help="Configuration file (else $MIRROR_CONFIG)."
)
JSON: Final = click.option("--json", "as_json", is_flag=True, help="JSON; a list becomes JSON Lines.")
_SPAN: Final = re.compile(r"([0-9]{1,5})\s*([hdwy])", re.IGNORECASE)
_HOURS: Final = {"h": 1, "d": 24, "w": 168}


def configured(config_path: Path | None, policy: Path | None = None) -> Config:
    """The configuration of this command line; where a `policy` is named beside it, its own need not be there. Raises `InputError`."""
    from mirror import config as configuration
    from mirror.config_mended import UnsoundConfig

    try:
        return configuration.load(config_path or click.get_current_context().find_object(Path), os.environ)
    except UnsoundConfig as error:
        others = [problem for problem in error.problems if policy is None or problem.place != "policy.path"]
        if others or error.rest is None:
            raise UnsoundConfig(others, error.rest) from None
        return error.rest


def epoch_of(config_path: Path | None, path: Path | None) -> Epoch:
    """Everything that judges, with the policy at `path` (else the configured one), also where only its own tests do not hold.

    Raises `InputError` with every problem.
    """
    from mirror.lists.editions import previews
    from mirror.policy.compile import FailedTest
    from mirror.policy.epoch import Epoch
    from mirror.proxy.rulebook import load_epoch

    loaded = configured(config_path, path)
    if path is not None and not path.exists():
        raise InputError([Problem(str(path), "", "no such file or folder")])
    groups = None if loaded.file is None else loaded.clients.groups  # without a configuration nobody knows the groups
    try:
        load_one = previews(loaded.data, kept_out, offline=loaded.network == "offline")
        return load_epoch(path if path is not None else loaded.policy.path, loaded.catalogue, loaded.lists, load_one=load_one, groups=groups)
    except InputError as error:
        first = error.problems[0]
        if all(isinstance(problem, FailedTest) for problem in error.problems) and isinstance(first, FailedTest) and first.whole:
            whole = first.whole
            return Epoch(0, whole.policy, whole.catalogue, whole.lineage, whole.lists)
        raise


def kept_out(name: str, problems: Sequence[Problem]) -> None:
    """Say on standard error that a list's newest edition judges nothing, as a server does in its log."""
    for problem in problems:
        click.echo(f"note: lists.{name}: its newest edition is kept out, the one in force is used: {problem}", err=True)


def epoch_or_exit(config_path: Path | None, path: Path | None, as_json: bool) -> Epoch:
    """`epoch_of`, or exit 2 with every problem."""
    try:
        return epoch_of(config_path, path)
    except InputError as error:
        give_up(error.problems, as_json, error.remarks)


def ledger_of(config: Config) -> Path:
    """The folder of the ledger. Raises `InputError` where there is none."""
    directory = config.ledger.path or config.data / "ledger"
    if not (directory / "head").exists():
        raise InputError([Problem(str(directory), "", "there is no ledger here")])
    return directory


def moment(text: str, option: str) -> datetime:
    """A date (its midnight UTC) or a time, UTC without an offset. Raises `InputError`."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InputError([Problem("", option, f"{text!r} is not a date or time")]) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def since(text: str, now: datetime) -> datetime | None:
    """`30d`, `12h`, `8w`, `5y` (by the calendar), a date or a time; None for `all`. Raises `InputError`."""
    if text == "all":
        return None
    if span := _SPAN.fullmatch(text.strip()):
        if span[2].lower() == "y":
            years = min(int(span[1]), now.year - 1)
            return now.replace(year=now.year - years, day=28 if (now.month, now.day) == (2, 29) else now.day)
        return now - timedelta(hours=int(span[1]) * _HOURS[span[2].lower()])
    try:
        return moment(text, "--since")
    except InputError:
        raise InputError([Problem("", "--since", f"{text!r} is neither a span such as 30d or 12h, nor a date, nor 'all'")]) from None


def row_of(problem: Problem) -> dict[str, str]:
    """A problem in plain values."""
    return {"source": problem.source, "place": problem.place, "message": problem.message}


def json_lines(rows: Iterable[dict[str, Any]]) -> None:
    """Print one object a line."""
    for row in rows:
        click.echo(json.dumps(row, ensure_ascii=False))


def give_up(problems: Iterable[Problem], as_json: bool, remarks: Iterable[Problem] = ()) -> NoReturn:
    """Exit 2: every problem and remark on standard error, as JSON Lines on standard output where asked."""
    told = [{"level": level_of(remark), **row_of(remark)} for remark in remarks]
    if as_json:
        json_lines([*({"level": "error", **row_of(problem)} for problem in problems), *told])
    else:
        for problem in problems:
            click.echo(str(problem), err=True)
        for row in told:
            click.echo(in_words(row), err=True)
    sys.exit(2)


def level_of(remark: Problem) -> str:
    """What a remark on a policy is: an error where a legal rule names no law, else a warning."""
    from mirror.policy.checks import Unfounded

    return "error" if isinstance(remark, Unfounded) else "warning"


def in_words(row: Mapping[str, str]) -> str:
    """A row with a level as people read it."""
    return f"{row['level']}: {row['source']}: {row['place']}: {row['message']}"
