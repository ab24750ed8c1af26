"""`mirror policy import`: the filters of other mirrors as a policy file, and what of them no rule can say."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mirror.cli.policy_inputs import JSON, give_up
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from mirror.lists.filters import Draft

_OUTPUT: Final = click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the policy here, not over a file; else standard output.")
_FILE: Final = click.argument("file", type=click.Path(path_type=Path))


@click.group("import")
def import_() -> None:
    """Make a policy file from the filters of another mirror. Exit 1 where a line is not in it; each is told, with the reason."""


@import_.command()
@_FILE
@_OUTPUT
@JSON
def denylist(file: Path, output: Path | None, as_json: bool) -> None:
    """From names or patterns, one a line: `evil-*` and `evil==1.0` are on PyPI, `acme/*` on Hugging Face, `pkg:…` as it stands."""
    from mirror.lists import filters

    _imported(file, filters.denylist, output, as_json=as_json)


@import_.command()
@_FILE
@_OUTPUT
@JSON
def bandersnatch(file: Path, output: Path | None, as_json: bool) -> None:
    """From a bandersnatch.conf: the filters that it enables, for PyPI alone."""
    from mirror.lists import filters

    _imported(file, filters.bandersnatch, output, as_json=as_json)


def _imported(file: Path, read: Callable[[str, str], Draft], output: Path | None, *, as_json: bool) -> None:
    from mirror.lists.filters import yaml_of
    from mirror.policy.catalogue import Catalogue
    from mirror.policy.compile import compile_policy
    from mirror.policy.lineage import Lineage

    try:
        draft = read(_text(file), file.name)
        text = yaml_of(draft)
        compile_policy([(str(output or "policy"), text)], Catalogue([]), Lineage([]), {})
        if output is not None:
            _write(output, text)
    except InputError as error:
        give_up(error.problems, as_json)
    if as_json:
        left = [{"line": one.line, "text": one.text, "why": one.why} for one in draft.left_out]
        click.echo(json.dumps({"rules": draft.rules, "said": draft.said, "left_out": left, "policy": text}, ensure_ascii=False))
    else:
        if output is None:
            click.echo(text, nl=False)
        for one in draft.left_out:
            click.echo(f"{file}: line {one.line}: {one.text}: left out: {one.why}", err=True)
        click.echo(f"{draft.said} lines in {len(draft.rules)} rules, {len(draft.left_out)} left out", err=True)
    sys.exit(1 if draft.left_out else 0)


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError([Problem(str(file), "", error.strerror or "cannot be read")]) from None
    except UnicodeDecodeError as error:
        raise InputError([Problem(str(file), f"byte {error.start}", "not UTF-8")]) from None


def _write(output: Path, text: str) -> None:
    try:
        with output.open("x", encoding="utf-8") as there:
            there.write(text)
    except OSError as error:
        raise InputError([Problem(str(output), "", error.strerror or "cannot be written")]) from None


COMMANDS = (import_,)
