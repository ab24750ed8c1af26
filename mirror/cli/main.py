"""`mirror`: one group, its commands loaded when they are used.

Exit codes: 0 fine, 1 the thing checked does not hold, 2 unusable input. An `InputError` from anywhere is printed one
problem a line.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from mirror import __version__
from mirror.core.errors import InputError, MirrorError

COMMANDS: Final = {
    "serve": ("mirror.cli.serve:command", "Serve the mirror."),
    "init": ("mirror.cli.init:command", "Write a commented mirror.yaml and policy.yaml to start from."),
    "config": ("mirror.cli.config_:command", "Check, show or describe the configuration."),
    "env": ("mirror.cli.env:command", "Print what each client must set, and which hosts to close."),
    "doctor": ("mirror.cli.doctor:command", "Drive the running mirror with the clients that are installed here."),
    "policy": ("mirror.cli.policy:command", "Check, test and explain the policy."),
    "publisher": ("mirror.cli.publisher:command", "Look into the publisher catalogue, or check it."),
    "catalogue": ("mirror.cli.catalogue:command", "Refresh the signed pack of publishers, see how it stands and what changed."),
    "list": ("mirror.cli.list_:command", "Fetch official lists, see how they stand and what changed."),
    "screen": ("mirror.cli.screen:command", "Screen names, the catalogue or past traffic against the configured lists."),
    "ledger": ("mirror.cli.ledger:command", "Read, verify and prove the record of decisions."),
    "hold": ("mirror.cli.hold:command", "Keep what a matter needs from being deleted."),
    "audit": ("mirror.cli.audit:command", "Put together what an auditor needs: a signed pack that is checked by Python alone."),
    "backup": ("mirror.cli.backup:backup", "Copy ledger, evidence, index and keys to a folder."),
    "restore": ("mirror.cli.backup:restore", "Verify a backup and put it back."),
    "token": ("mirror.cli.token:command", "Make, list and revoke credentials for the mirror itself."),
    "waiver": ("mirror.cli.waiver:command", "Ask for exceptions from a rule, and approve or reject them."),
    "review": ("mirror.cli.review:command", "See what is held for a person, and release or reject it."),
    "key": ("mirror.cli.key:command", "Make, rotate and list the keys with which people sign."),
    "cache": ("mirror.cli.cache:command", "Look at what is stored; keep it, remove it, hash it again."),
    "sync": ("mirror.cli.sync:command", "Fetch what is wanted before anybody asks for it, and keep it."),
    "bundle": ("mirror.cli.bundle:command", "Carry what is stored to a mirror without a network: export, verify, import."),
    "lock": ("mirror.cli.lock:command", "Turn lock files that were made elsewhere to the mirror."),
}


class Commands(click.Group):
    """A group that imports a command's module only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which a person meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        also_behind(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `--help`, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def also_behind(command: click.Command) -> None:
    """Let `-c FILE` stand behind a command as well as before it."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            also_behind(below)
    elif not any("--config" in parameter.opts for parameter in command.params):
        command.params.append(
            click.Option(
                ["-c", "--config"], type=click.Path(path_type=Path, dir_okay=False), expose_value=False,
                callback=_named_behind, help="The configuration file.",
            )
        )  # fmt: skip


def _named_behind(ctx: click.Context, _option: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.obj = value


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="mirror", message="%(prog)s %(version)s")
@click.option(
    "-c", "--config", "config", type=click.Path(path_type=Path, dir_okay=False), default=None,
    help="The configuration file; else $MIRROR_CONFIG, else ./mirror.yaml.",
)  # fmt: skip
@click.pass_context
def root(ctx: click.Context, config: Path | None) -> None:
    """Entrepôt: a policy-enforcing caching mirror in front of Hugging Face and PyPI."""
    ctx.obj = config


def main(arguments: Sequence[str] | None = None) -> Any:
    """Run the command line and exit."""
    try:
        sys.exit(root.main(args=list(arguments) if arguments is not None else None, standalone_mode=False) or 0)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except InputError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        sys.exit(2)
    except MirrorError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(0)


if __name__ == "__main__":
    main()
