"""`mirror doctor`: does the mirror work from here, with the clients that are here; and is there a way round it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click

from mirror import config as configuration
from mirror.cli.client_settings import default_url, firewall, hub_url, index_url, settings
from mirror.cli.doctor_clients import Examination, clients, surroundings
from mirror.cli.doctor_wire import Wire, health, hub_file, index_page
from mirror.cli.egress import egress, environment_proxies, split_host
from mirror.cli.env import checked_url
from mirror.cli.findings import Finding, report
from mirror.config import Config
from mirror.core.errors import InputError, Problem

_GIT = "git ls-remote"


@click.command(name="doctor")
@click.option("--url", default=None, help="The mirror's URL; else listen.public_url, else the listen address.")
@click.option("--ca", default=None, type=click.Path(path_type=Path, dir_okay=False), help="A PEM file to trust, for a private CA.")
@click.option("--model", default="openai-community/gpt2", show_default=True, help="A public model to ask for.")
@click.option("--file", "file", default="config.json", show_default=True, help="A small file of that model.")
@click.option("--package", default="six", show_default=True, help="A small Python package to ask for.")
@click.option("--wire-only", is_flag=True, help="Run no client.")
@click.option("--egress", "as_egress", is_flag=True, help="Instead: fail if a hub is reachable round the mirror. Run it on a client.")
@click.option("--host", "hosts", multiple=True, help="With --egress: try these (NAME or NAME:PORT) instead of the hubs' hosts.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines.")
@click.pass_context
def command(
    ctx: click.Context, url: str | None, ca: Path | None, model: str, file: str, package: str, wire_only: bool,
    as_egress: bool, hosts: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Drive the running mirror as clients do. Exit 1 if something fails."""
    config = configuration.load(ctx.obj, os.environ)
    context = _trusting(ca)
    if as_egress or hosts:
        ctx.exit(report(_egress(hosts, config, context), as_json=as_json))
    base = checked_url(url) if url is not None else default_url(config)
    wanted = {one.name: one.value for one in settings(base, config, str(ca) if ca else None) if one.value is not None}
    has_hub = any(row.dialect == "huggingface" for row in config.hubs.values())
    what = Examination(hub_url(base, config) if has_hub else None, index_url(base, config), model, file, package, wanted)
    ctx.exit(report(_examine(base, context, what, wire_only=wire_only, offline=config.network == "offline"), as_json=as_json))


def _examine(base: str, context: ssl.SSLContext, what: Examination, *, wire_only: bool, offline: bool) -> Iterator[Finding]:
    wire = Wire(base, context)
    for one in health(wire):
        yield one
        if one.status == "fail":
            return
    asked = what
    if what.endpoint is not None:
        found = list(hub_file(Wire(what.endpoint, context), what.model, what.file, offline=offline))
        yield from found
        if any(one.status == "skip" for one in found):  # no client can have it either
            asked = replace(asked, endpoint=None)
    if what.index is not None:
        found = list(index_page(wire, what.index, what.package, offline=offline))
        yield from found
        if any(one.status == "skip" for one in found):
            asked = replace(asked, index=None)
    yield from surroundings(what, os.environ)
    if not wire_only:
        yield from (one for one in clients(asked) if not (offline and one.check == _GIT))  # a pack is never kept


def _egress(hosts: tuple[str, ...], config: Config, context: ssl.SSLContext) -> Iterator[Finding]:
    named = hosts or tuple(host for group in firewall(config).values() for host in group if "*" not in host)
    problems = []
    for host in named:
        try:
            split_host(host)
        except ValueError as error:
            problems.append(Problem("--host", "", str(error)))
    if problems:
        raise InputError(problems)
    return egress(named, environment_proxies(os.environ), context)


def _trusting(ca: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except (OSError, ssl.SSLError) as error:
            raise InputError([Problem("--ca", "", f"{str(ca)!r} holds no PEM certificate ({error})")]) from None
    return context
