"""A laboratory whose index is PostgreSQL: a bundle arrives there as it does beside SQLite, and can be asked about."""

from __future__ import annotations

import json

import pytest

from tests.bundle.test_carried import enrolled, here, take
from tests.support.mirror import ALLOW_ALL, MirrorProcess, running_mirror, until
from tests.support.postgresql import running_postgresql
from tests.support.standin import running_hub, running_index

pytestmark = [pytest.mark.torture, pytest.mark.timeout(300)]

WANTS = """
version: 1
name: lab
models: [{id: acme/tiny-bert}]
packages: [{requirement: "acme-app==1.0", python: ["3.11"], platforms: [linux]}]
"""


def test_a_receiver_with_postgresql(tmp_path):
    """What a bundle brings while no mirror runs, and a delta while two workers do, is served, pinned, on record and found by questions; what the receiver denies is not."""
    with running_postgresql() as url, running_hub() as hub, running_index() as index:
        with running_mirror(tmp_path / "hq", hub, index, ALLOW_ALL) as sender:
            here(sender)
            (sender.folder / "wants.yaml").write_text(WANTS)
            (sender.folder / "more.yaml").write_text(WANTS + "datasets: [{id: acme/reviews}]\n")
            sender.command("bundle", "export", "wants.yaml", "-o", str(tmp_path / "1.tar"))
            sender.command("bundle", "export", "more.yaml", "--since", "1", "-o", str(tmp_path / "2.tar"))
            targets = ["/acme/tiny-bert/resolve/main/model.safetensors", "/api/models/acme/tiny-bert/refs"]
            delta = ["/datasets/acme/reviews/resolve/main/data/train.csv", "/api/datasets/acme/reviews"]
            outside = {target: sender.get(target).body.replace(sender.url.encode(), b"") for target in targets + delta}
            cards = enrolled(sender, tmp_path / "cards")
        policy = 'version: 1\nrules: [{id: pickle, when: {file: ["*.bin"]}, effect: deny}]\n'
        config = {"network": "offline", "database": url, "trust": {"verify": [str(cards)]}, "listen": {"host": "127.0.0.1", "port": 0, "workers": 2}}
        lab = MirrorProcess(tmp_path / "lab", config, policy)
        (lab.folder / "mirror.yaml").write_text(json.dumps(lab.config))
        code, told = take(lab, tmp_path / "1.tar")
        assert (code, {row["rule"] for row in told["refused"]}) == (1, {"pickle"})
        lab.start()
        try:
            assert {target: lab.get(target).body.replace(lab.url.encode(), b"") for target in targets} == {target: outside[target] for target in targets}
            assert lab.get("/acme/tiny-bert/resolve/main/pytorch_model.bin").status == 403
            assert "no bundle has brought this file" in lab.get("/pypi/simple/acme-app/").body.decode()
            assert lab.get(delta[0]).status == 404
            code, told = take(lab, tmp_path / "2.tar")
            assert {row["name"].rpartition("#")[2] for row in told["refused"]} <= {"pytorch_model.bin"}
            for target in delta * 2:  # of both workers
                until(lambda target=target: lab.get(target).body.replace(lab.url.encode(), b"") == outside[target])
            pins = lab.command("cache", "pin", "--json").stdout.splitlines()
            assert any("acme/reviews" in json.loads(row)["pattern"] for row in pins)
            shown = until(lambda: lab.command("cache", "show", "acme/*", "--json", check=False).stdout.splitlines())
            assert all(json.loads(row)["sender"] for row in shown)
            asked = lab.command("ledger", "query", "--artifact", "pkg:huggingface/acme/tiny-bert", "--effect", "deny", "--json").stdout.splitlines()
            assert any("pytorch_model.bin" in row for row in asked)
            assert lab.command("ledger", "verify").returncode == 0
        finally:
            lab.stop()
        assert not (lab.folder / "data" / "index.sqlite").exists()
