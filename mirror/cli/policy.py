"""`mirror policy`: whether the rules are sound and their own tests hold; the commands beside these lie in `policy_*`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirror.cli import activation, policy_import, policy_past
from mirror.cli.policy_explain import COMMANDS as EXPLAINING
from mirror.cli.policy_inputs import CONFIG, JSON, epoch_or_exit, in_words, json_lines, level_of, row_of
from mirror.cli.upcoming import upcoming

if TYPE_CHECKING:
    from mirror.policy.epoch import Epoch

_PATH = click.argument("path", required=False, type=click.Path(path_type=Path))


@click.group()
def policy() -> None:
    """Check, test and explain the rules. Nothing here needs the server or the network."""


@policy.command()
@_PATH
@CONFIG
@JSON
def check(path: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Check a policy file or folder (else the configured one): every fault at once.

    Exit 2 for a file that cannot be used, 1 where its own tests do not hold or a legal rule names no law.
    """
    epoch = epoch_or_exit(config_path, path, as_json)
    rules = epoch.policy
    failures = _failures(epoch)
    warnings = [{"level": level_of(problem), **row_of(problem)} for problem in rules.warnings]
    failed = [{"level": "test", "source": one.source, "place": one.place, "message": str(one)} for one in failures]
    wrong = bool(failed) or any(row["level"] == "error" for row in warnings)
    if as_json:
        json_lines([*warnings, *failed])
    else:
        for row in (*warnings, *failed):
            click.echo(in_words(row), err=True)
        counts = {"rule": len(rules.rules), "exception": sum(map(len, rules.exceptions.values())), "test": len(rules.tests)}
        told = ", ".join(f"{count} {what}{'' if count == 1 else 's'}" for what, count in counts.items())
        click.echo(f"{told}, digest {rules.digest[:12]}")
        if not wrong:
            click.echo("sound")
    sys.exit(1 if wrong else 0)


@policy.command()
@_PATH
@CONFIG
@JSON
def test(path: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Run the policy's own tests. Exit 1 where one does not hold."""
    epoch = epoch_or_exit(config_path, path, as_json)
    failures = _failures(epoch)
    broken = {(one.source, one.place): one for one in failures}
    for one in epoch.policy.tests:
        failure = broken.get((one.source, one.place))
        if as_json:
            row: dict[str, Any] = {"test": one.name, "source": one.source, "place": one.place, "holds": failure is None}
            if failure is not None:
                row |= {"expected": failure.expected, "found": failure.found, "sentence": failure.sentence}
            json_lines([row])
        elif failure is None:
            click.echo(f"ok      {one.name}")
        else:
            click.echo(f"FAILED  {one.name}\n        expected {failure.expected}; found {failure.found}\n        {failure.sentence}")
    if not as_json:
        click.echo(f"{len(epoch.policy.tests) - len(failures)} of {len(epoch.policy.tests)} tests hold")
    sys.exit(1 if failures else 0)


def _failures(epoch: Epoch) -> list[Any]:
    from mirror.policy.compile import reference_time
    from mirror.policy.evaluate import run_tests

    return run_tests(epoch.policy, epoch.catalogue, epoch.lineage, reference_time(epoch.policy))


for _command in (*EXPLAINING, *policy_past.COMMANDS, *policy_import.COMMANDS, *activation.COMMANDS, upcoming):
    policy.add_command(_command)

#: What `mirror.cli.main` loads.
command = policy
