"""`mirror env`: what each client must set, and which hosts to close."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import click

from mirror import config as configuration
from mirror.cli.client_settings import WHY, Command, Setting, commands, default_url, firewall, settings
from mirror.core.errors import InputError, Problem


@click.command(name="env")
@click.option("--url", default=None, help="The mirror's URL as clients see it; else listen.public_url, else the listen address.")
@click.option("--ca", default=None, help="Where a private CA's PEM file lies on the client's machine.")
@click.option("--shell", type=click.Choice(["sh", "fish", "powershell", "json"]), default="sh", show_default=True)
@click.option("--firewall", "as_firewall", is_flag=True, help="List the hosts to close for clients instead.")
@click.option("--json", "as_json", is_flag=True, help="As --shell json.")
@click.pass_obj
def command(config_path: Path | None, url: str | None, ca: str | None, shell: str, as_firewall: bool, as_json: bool) -> None:
    """Print what pip, uv, poetry, huggingface_hub, transformers, datasets and git must set.

    In a POSIX shell: eval "$(mirror env)".
    """
    config = configuration.load(config_path, os.environ)
    shell = "json" if as_json else shell
    if as_firewall:
        _print_firewall(firewall(config), as_json=shell == "json")
        return
    base = checked_url(url) if url is not None else default_url(config)
    found, lines = list(settings(base, config, ca)), list(commands(base, config))
    if shell == "json":
        rows = {one.name: {"value": one.value, "add": one.add, "tool": one.tool, "why": one.why} for one in found}
        once = [{"tool": one.tool, "command": one.line, "why": one.why} for one in lines]
        click.echo(json.dumps({"url": base, "environment": rows, "commands": once}, indent=2))
        return
    for line in rendered(found, lines, shell):
        click.echo(line)
    if base.startswith("https://") and ca is None and config.listen.tls.cert is not None:
        click.echo("mirror: if the certificate is from a private CA, say --ca /path/on/the/client.pem", err=True)


def rendered(found: list[Setting], lines: list[Command], shell: str) -> Iterator[str]:
    """The settings in the language of `shell`, each with the reason above it; commands as comments at the end."""
    write = _WRITERS[shell]
    for one in found:
        yield f"# {one.tool}: {one.why}"
        yield write(one)
    if lines:
        yield "# Once, by hand:"
    for line in lines:
        yield f"#   {line.line}    # {line.tool}: {line.why}"


def _sh(one: Setting) -> str:
    if one.value is None:
        return f"unset {one.name}"
    value = shlex.quote(one.value)
    return f'export {one.name}="${{{one.name}:+${one.name},}}"{value}' if one.add else f"export {one.name}={value}"


def _fish(one: Setting) -> str:
    if one.value is None:
        return f"set -e {one.name}"
    value = "'" + one.value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if one.add:
        return f"set -q {one.name}; and set -gx {one.name} ${one.name},{value}; or set -gx {one.name} {value}"
    return f"set -gx {one.name} {value}"


def _powershell(one: Setting) -> str:
    if one.value is None:
        return f"Remove-Item Env:{one.name} -ErrorAction SilentlyContinue"
    value = "'" + one.value.replace("'", "''") + "'"
    if one.add:
        return f"$env:{one.name} = (@($env:{one.name}, {value}) | Where-Object {{ $_ }}) -join ','"
    return f"$env:{one.name} = {value}"


_WRITERS: dict[str, Callable[[Setting], str]] = {"sh": _sh, "fish": _fish, "powershell": _powershell}


def checked_url(url: str) -> str:
    """`--url` as an origin without a trailing slash. Raises `InputError`."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[A-Za-z0-9.:_\[\]-]+", parts.netloc) or parts.path.strip("/") or parts.query:
        raise InputError([Problem("--url", "", f"expected an origin such as https://mirror.corp, found {url!r}")])
    return f"{parts.scheme}://{parts.netloc}"


def _print_firewall(groups: dict[str, tuple[str, ...]], *, as_json: bool) -> None:
    if as_json:
        for group, hosts in groups.items():
            for host in hosts:
                click.echo(json.dumps({"group": group, "host": host, "why": WHY[group]}))
        return
    for group, hosts in groups.items():
        click.echo(f"# {group}: {WHY[group]}")
        for host in hosts:
            click.echo(host)
    if sys.stdout.isatty():
        click.echo("mirror: close these by name (DNS, SNI); their addresses are shared with others. Then: mirror doctor --egress", err=True)
