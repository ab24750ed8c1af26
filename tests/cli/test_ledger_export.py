"""`mirror ledger export` over a real ledger."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from mirror.audit import verify_decision
from mirror.audit.segments import segments
from mirror.cli.main import root
from tests.audit.test_record import validator
from tests.support.past import CONTRACT, VISITOR, past


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A start and a stop, four answers a minute apart from 09:01 on, and the repeat of one."""
    folder = tmp_path_factory.mktemp("export")

    async def live():
        async with past(folder, signed=True) as one:
            for name in ("globex/solid#model.safetensors", "acme/tiny#x.pkl"):
                for actor in (CONTRACT, VISITOR):
                    await one.ask(name, actor)

    asyncio.run(live())
    return folder


def run(home, *arguments):
    return CliRunner().invoke(root, ["-c", str(home / "mirror.yaml"), "ledger", "export", *map(str, arguments)])


def sealed(home):
    return [line for one in segments(home / "data" / "ledger") for line in one.path.read_text().splitlines()]


def test_json_lines_are_the_sealed_records(home, tmp_path):
    """Without a span everything, byte for byte as it lies in the ledger; with one the records from its first moment to before its last."""
    done = run(home, "-o", tmp_path / "all.jsonl")
    assert (done.exit_code, (tmp_path / "all.jsonl").read_text().splitlines()) == (0, sealed(home))
    part = run(home, "--since", "2026-11-01T09:02", "--until", "2026-11-01T09:04")
    wanted = [line for line in sealed(home) if '"at":"2026-11-01T09:02' in line or '"at":"2026-11-01T09:03' in line]
    assert part.stdout.splitlines() == wanted
    assert len(wanted) == 2
    assert "10.8.0.7" not in done.output


def test_csv_has_a_row_a_record_with_its_hashes(home):
    """The flat form has a line of names, the columns of `query --csv`, and leaf and prev, with which each row can be found in the ledger."""
    rows = list(csv.DictReader(io.StringIO(run(home, "--format", "csv").stdout)))
    records = [json.loads(line) for line in sealed(home)]
    assert [(row["seq"], row["leaf"], row["prev"], row["kind"]) for row in rows] == [(str(one["seq"]), one["leaf"], one["prev"], one["kind"]) for one in records]
    assert {row["actor"] for row in rows} == {""}
    assert {"u:1", "u:2"} <= {row["actor"] for row in csv.DictReader(io.StringIO(run(home, "--format", "csv", "--personal").stdout))}


def test_personal_parts_are_joined_only_where_asked(home):
    """With --personal a line is an event of the published schema with name and address."""
    rows = [json.loads(line) for line in run(home, "--personal").stdout.splitlines()]
    schema: Draft202012Validator = validator("event.json")
    for row in rows:
        schema.validate(row)
    assert {"10.8.0.7", "10.9.0.4"} <= {row["actor"]["address"] for row in rows}


def test_each_proof_holds_by_itself(home, tmp_path):
    """With --proofs each line is a proof that the stand-alone verifier accepts, with the personal part where that was asked for."""
    lines = run(home, "--proofs", "--personal", "--since", "2026-11-01T09:01").stdout.splitlines()
    assert len(lines) == len([line for line in sealed(home) if json.loads(line)["at"] >= "2026-11-01T09:01"])
    for line in lines:
        proof = json.loads(line)
        verify_decision.check(proof, None)
        assert proof["record"] in sealed(home)
    (tmp_path / "one.json").write_text(lines[0])
    done = subprocess.run([sys.executable, "-I", "-S", verify_decision.__file__, str(tmp_path / "one.json")], capture_output=True, text=True, check=False)
    assert (done.returncode, "asked by" in done.stdout) == (0, True), done.stderr
    changed = json.loads(lines[0])
    changed["path"][0] = "0" * 64
    with pytest.raises(verify_decision.Wrong):
        verify_decision.check(changed, None)


def test_what_cannot_be_used_is_said_at_once(home, tmp_path):
    """Every bad option is named with its place, nothing is written, and a place without a ledger is named."""
    done = run(home, "--since", "soon", "--until", "never", "--proofs", "--format", "csv", "-o", tmp_path / "x")
    assert [problem.place for problem in done.exception.problems] == ["--proofs", "--since", "--until"]
    assert not list(tmp_path.iterdir())
    (tmp_path / "mirror.yaml").write_text("data: nowhere\n")
    assert "there is no ledger here" in str(run(tmp_path).exception)
