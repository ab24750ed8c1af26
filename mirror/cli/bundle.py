"""`mirror bundle`: what crosses the air gap. Each command is a file of its own, loaded when it is used."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any, Final

import click

COMMANDS: Final = {
    "export": ("mirror.cli.bundle_export:command", "Make a signed bundle of what is wanted, or a signed recall."),
    "verify": ("mirror.cli.bundle_verify:command", "Check a bundle with nothing but the sender's public key."),
    "import": ("mirror.cli.bundle_import:command", "Take in a bundle under this mirror's own policy."),
    "list": ("mirror.cli.bundle_list:command", "What was sent from here and received here, and recalls in force."),
    "recalls": ("mirror.cli.bundle_recalls:recalls", "List what senders took back."),
    "lift": ("mirror.cli.bundle_recalls:lift", "End a recall here, on the record."),
    "bootstrap": (
        "mirror.cli.bundle_bootstrap:command",
        "Put together how the mirror itself arrives where there is no network.",
    ),
}


class BundlePath(click.Path):
    """A bundle that is there: a folder, a tar, any volume, or the name that volumes have in common."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, exists=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; of `NAME`, where only `NAME.001` is there, the latter."""
        first = f"{value}.001"
        return super().convert(first if not os.path.lexists(value) and Path(first).is_file() else value, param, ctx)


class Commands(click.Group):
    """A group that imports a command's module only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        from mirror.cli.main import also_behind

        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        found: click.Command = getattr(importlib.import_module(module), attribute)
        also_behind(found)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `--help`, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command("bundle", cls=Commands)
def command() -> None:
    """Export, verify and import bundles, which carry the mirror's content to where there is no network."""
