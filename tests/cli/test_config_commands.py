"""`mirror config check|show|schema`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import jsonschema
import yaml

from tests.support import preloaded


def mirror(folder: Path, *line: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """One command, to its end."""
    return preloaded.run(line, cwd=folder, env={**os.environ, **environ})


def test_show_gives_what_is_in_force(tmp_path: Path):
    """`show` prints file, environment and defaults laid over each other, as YAML and as JSON, without secrets."""
    (tmp_path / "mirror.yaml").write_text("store: {quota: 1GiB}\nhubs: {huggingface: {token: tok-hidden}}\n")
    done = mirror(tmp_path, "config", "show", MIRROR_LISTEN__PORT="9191")
    values = yaml.safe_load(done.stdout)
    assert (values["store"]["quota"], values["listen"]["port"], values["lineage"]["patience"]) == (2**30, 9191, "8s")
    assert "tok-hidden" not in done.stdout
    as_json = mirror(tmp_path, "config", "show", "--json", MIRROR_LISTEN__PORT="9191")
    assert json.loads(as_json.stdout) == values


def test_check_names_the_file_and_what_is_probably_not_meant(tmp_path: Path):
    """A sound file that would turn every client away, or put nobody into a group, gets notes, exit code 0."""
    groups = "clients: {header: X-Groups, groups: {a: {subnets: [10.0.0.0/8], tokens: [t], header: [g], hub_token: true}}}\n"
    (tmp_path / "mirror.yaml").write_text("listen: {host: 0.0.0.0}\n" + groups)
    done = mirror(tmp_path, "config", "check")
    assert done.returncode == 0
    assert done.stdout.startswith(f"{tmp_path / 'mirror.yaml'}: sound\n")
    for note in ("listen.public_url is null", "clients.header is believed only from", "a group has hub_token, and no hub has a token"):
        assert f"note: {note}" in done.stdout
    assert json.loads(mirror(tmp_path, "config", "check", "--json").stdout)["sound"] is True
    (tmp_path / "mirror.yaml").write_text(groups.replace("header: X-Groups, ", ""))
    assert "nobody is in it by that" in mirror(tmp_path, "config", "check").stdout
    (tmp_path / "mirror.yaml").write_text("clients: {groups: {a: {header: [g]}}}\n")  # no other way into the group
    assert (done := mirror(tmp_path, "config", "check")).returncode == 2
    assert "clients.groups.a.header: clients.header names no header" in done.stderr


FAULTS = """
listen: {port: abc, workers: 0, admin: "127.0.0.1:8080"}
hubs:
  huggingface: {mount: /hf, grants: {online: soon}}
  torch: {dialect: pypi, mount: /torch}
  "with.point": {dialect: nosuch, mount: /torch}
lists: {house: {loader: csv, source: gone.csv, meaning: m, direction: both}}
clients:
  groups: {x: {subnets: [10.0.0.0/99]}, y: {subnets: [10.1.0.0/16]}, z: {subnets: [10.1.0.0/16]}}
  limits: {groups: {x: {requests: 5, per: 1m}, nobody: {requests: 5, per: 1m}}}
trust: {verify: [gone]}
data: one
data: two
"""


def test_check_names_faults_of_shape_and_contradictions_at_once(tmp_path: Path):
    """A row with a fault in its shape is left out; of all others whatever contradicts is told in the same run, and nothing that follows from the fault."""
    (tmp_path / "mirror.yaml").write_text(FAULTS)
    done = mirror(tmp_path, "config", "check", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 2
    assert sorted(row["place"] for row in rows) == [
        "clients.groups.x.subnets[0]", "clients.groups.z.subnets", "clients.limits.groups.nobody", "hubs.huggingface.grants.online",
        "hubs.torch.upstreams", "hubs.with.point.dialect", "line 13", "listen.port", "listen.workers", "lists.house.source", "trust.verify[0]",
    ]  # fmt: skip
def test_the_configuration_option_stands_on_the_root(tmp_path: Path):
    """`mirror -c FILE config check` reads that file and no other."""
    (tmp_path / "mirror.yaml").write_text("broken: [\n")
    (tmp_path / "other.yaml").write_text("")
    assert mirror(tmp_path, "config", "check").returncode == 2
    assert mirror(tmp_path, "-c", "other.yaml", "config", "check").returncode == 0


def test_schema_is_one(tmp_path: Path):
    """`schema` prints a JSON Schema by which the shown values hold."""
    schema = json.loads(mirror(tmp_path, "config", "schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(mirror(tmp_path, "config", "show", "--json").stdout), schema)


def test_check_gives_its_problems_as_json_lines(tmp_path: Path):
    """`check --json` prints each problem of an unusable file as an object with its place, exit code 2."""
    (tmp_path / "mirror.yaml").write_text("listen: {port: x}\nfoo: 1\n")
    done = mirror(tmp_path, "config", "check", "--json")
    assert done.returncode == 2
    assert {json.loads(line)["place"] for line in done.stdout.splitlines()} == {"listen.port", "foo"}
