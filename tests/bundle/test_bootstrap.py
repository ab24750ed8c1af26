"""How the mirror itself is put on a medium: where its wheels come from, and how its key is told. What becomes of it: test_laboratory.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mirror.bundle.bootstrap import Sender, Target, build
from mirror.cli.main import root
from mirror.core import dsse
from mirror.core.errors import InputError
from mirror.trust.keyfiles import write_key
from tests.bundle.carried import CREATED, KEY
from tests.support.mirror import running_mirror
from tests.support.standin import running_index

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def sender(tmp_path_factory) -> Path:
    """A mirror's configuration, with its key."""
    folder = tmp_path_factory.mktemp("sender")
    (folder / "policy.yaml").write_text("version: 1\n")
    (folder / "mirror.yaml").write_text("policy: {path: policy.yaml}\ndata: ./var\n")
    (folder / "var").mkdir()
    write_key(folder / "var" / "signing.key", KEY, None)
    return folder


def test_what_cannot_be_put_together_leaves_nothing(sender, tmp_path):
    """No key, a platform that is none, an index that gives nothing and a folder that is there are each one error, and no folder is left."""
    (tmp_path / "empty.yaml").write_text("data: ./nothing\n")
    done = CliRunner().invoke(
        root, ["-c", str(tmp_path / "empty.yaml"), "bundle", "bootstrap", "-o", str(tmp_path / "out")]
    )
    assert "there is no key yet" in str(done.exception)
    with pytest.raises(InputError, match="wheels"):
        build(
            tmp_path / "out",
            Sender(KEY, "acme"),
            [Target()],
            index="http://127.0.0.1:9/simple/",
            extras=(),
            now=CREATED,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["empty.yaml"]
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="is there already"):
        build(tmp_path / "out", Sender(KEY, "acme"), [Target()], index=None, extras=(), now=CREATED)


def test_wheels_come_through_the_mirror_where_it_runs(tmp_path):
    """A mirror that runs is where the wheels are asked for, and what it has not, or refuses, is not fetched from anywhere else."""
    with running_index() as index, running_mirror(tmp_path / "mirror", index=index) as mirror:
        done = mirror.command("bundle", "bootstrap", "-o", str(tmp_path / "out"), "--url", mirror.url, check=False)
        asked = {line["path"] for line in map(json.loads, mirror.log_lines()) if line.get("event") == "request"}
    assert done.returncode == 2
    assert "No matching distribution found" in done.stderr
    assert [path for path in asked if path.startswith("/pypi/simple/")]
    assert not (tmp_path / "out").exists()


def test_a_key_is_shown_for_the_telephone(sender, tmp_path):
    """`mirror key show` prints this mirror's key, or any public key in any form, with the same fingerprint; --card and --pem can be written into files."""

    def show(*words: object) -> str:
        done = CliRunner().invoke(root, ["-c", str(sender / "mirror.yaml"), "key", "show", *map(str, words)])
        assert done.exit_code == 0, done.output + repr(done.exception)
        return done.output

    own = show()
    assert own == f"key {dsse.key_id(KEY.public_key())}\nfingerprint {dsse.fingerprint(KEY.public_key())}\n"
    (tmp_path / "card.yaml").write_text(show("--card", "acme-mirror"))
    (tmp_path / "key.pem").write_text(show("--pem"))
    assert show(tmp_path / "card.yaml") == show(tmp_path / "key.pem") == own
    assert json.loads(show(tmp_path / "card.yaml", "--json"))["pem"] == (tmp_path / "key.pem").read_text()
    groups = dsse.fingerprint(KEY.public_key()).split()
    assert [len(group) for group in groups] == [5] * 8
    assert "".join(groups).isdecimal()
    done = CliRunner().invoke(root, ["-c", str(sender / "mirror.yaml"), "key", "show", "--card", "No Such Name"])
    assert isinstance(done.exception, InputError)
