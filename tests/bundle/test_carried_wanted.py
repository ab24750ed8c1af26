"""A bundle of everything that `mirror sync` takes, with the word of how each file came: from one mirror to another, as people carry it."""

from __future__ import annotations

import json
import os
from hashlib import sha256

import pytest

from mirror.bundle.layout import BundleReader
from mirror.core import dsse
from mirror.trust.keyfiles import read_key
from tests.bundle.test_carried import enrolled, here, take, until
from tests.cli.test_sync_sources import CATALOGUE, POLICY, locked
from tests.support.mirror import ALLOW_ALL, running_mirror
from tests.support.standin import running_hub, running_index

TERMS = b"Globex licence: for everybody.\n"


@pytest.fixture(scope="module")
def hq(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hq")
    (folder / "house.yaml").write_text(CATALOGUE)
    with running_hub() as hub, running_index() as index:
        hub.add_repo("model", "globex/small", {"config.json": b"{}", "LICENSE": TERMS, **{f"{n}.txt": b"%d" % n for n in range(30)}})
        hub.add_repo("model", "globex/other", {"config.json": b"{}", "LICENSE": TERMS}, lfs={"w.safetensors": os.urandom(5000), "w.bin": os.urandom(50)})
        with running_mirror(folder, hub, index, POLICY, catalogue=["house.yaml"]) as mirror:
            mirror.index = index
            yield here(mirror)


@pytest.fixture(scope="module")
def lab(hq, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    with running_mirror(folder / "m", policy=ALLOW_ALL, network="offline", trust={"verify": [str(enrolled(hq, folder / "cards"))]}) as mirror:
        yield here(mirror)


def export(hq, name: str, *more: str) -> tuple[int, dict]:
    done = hq.command("bundle", "export", "-o", str(hq.folder / name), "--json", *more, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout)


def rows_of(bundle) -> list[dict]:
    with BundleReader(bundle) as reader:
        return [json.loads(line) for part in reader.parts.values() if part.title == "contents.jsonl" for line in reader.read(part).splitlines()]


def entries(bundle) -> set[str]:
    return {f"{row['artifact']['name']}/{row['artifact']['path']}" for row in rows_of(bundle) if row["row"] == "entry"}


def test_small_files_and_how_they_came(hq, lab):
    """A bundle of small files that nobody asked for before has all of them, each with the record of its transfer; its receiver shows that as its sender's, licence text included."""
    (hq.folder / "small.yaml").write_text("version: 1\nname: small\nmodels: [{id: globex/small}]\n")
    code, told = export(hq, "small.tar", "small.yaml")
    assert (code, told["left_out"], told["notes"]) == (0, [], [])
    assert entries(hq.folder / "small.tar") == {f"globex/small/{path}" for path in ("config.json", "LICENSE", *(f"{n}.txt" for n in range(30)))}
    done = lab.command("bundle", "import", str(hq.folder / "small.tar"))
    assert f"fingerprint {dsse.fingerprint(read_key(hq.folder / 'data' / 'signing.key', lambda: '').public_key())}" in done.stdout

    def shown(mirror) -> dict[str, dict]:
        lines = mirror.command("cache", "show", "globex/small", "--json", check=False).stdout.splitlines()
        return {row["artifact"]: row for row in map(json.loads, lines)}

    until(lambda: len(shown(lab)) == 32)
    ours, theirs = shown(hq), shown(lab)
    origin = json.loads(hq.command("bundle", "verify", str(hq.folder / "small.tar"), "--key", str(lab.folder.parent / "cards"), "--json").stdout)["sender"]
    for name, row in theirs.items():
        assert (row.pop("sender"), row.pop("bundle"), row.pop("acquired_at")[:19] + "Z") == (origin, f"small 1 of {origin}", row["at"])
        assert row == ours[name]
        assert row["public"] and [text["path"] for text in row["texts"]] == ["LICENSE"]
    digest = sha256(TERMS).hexdigest()
    assert digest in next(iter(theirs.values()))["texts"][0]["sha256"]
    kept = (lab.folder / "data" / "evidence" / digest[:2] / digest).read_bytes()
    assert kept.startswith(b"entrepot-evidence 1 ") and b" licence " in kept.splitlines()[0]
    plain = lab.command("cache", "show", "globex/small").stdout
    assert f"as {origin} has it; told by bundle small 1 of {origin}" in plain
    # Once more brings nothing new to the record.
    before = len([event for event in lab.events() if event["kind"] == "acquired"])
    assert take(lab, hq.folder / "small.tar", "--allow-rollback")[0] == 0
    assert before == len([event for event in lab.events() if event["kind"] == "acquired"]) == 32
    assert export(hq, "small-2.tar", "small.yaml", "--since", "1")[0] == 0
    assert {row["row"] for row in rows_of(hq.folder / "small-2.tar")} == {"hub"}  # nothing but where they are


def test_locks_ancestors_and_what_was_used(hq, lab, tmp_path):
    """One export takes a lock file and a model up to the root of its lineage, another what was used from a country, whole; each answers at the receiver."""
    uv, _ = locked(tmp_path / "p", hq.index)
    (hq.folder / "lab.yaml").write_text(f'version: 1\nname: lab\nmodels: [{{id: hooli/solid-7b-merge, allow: ["*.json"], ignore: ["*.bin"], ancestors: true}}]\npackages: [{{lock: {uv}}}]\n')
    code, told = export(hq, "lab.tar", "lab.yaml")
    assert (code, {one["rule"] for one in told["left_out"]}) == (1, {"initech"})
    assert any(note.startswith("initech/solid-7b-chat: wanted as an ancestor") for note in told["notes"])
    found = entries(hq.folder / "lab.tar")
    assert {"acme-lib/acme_lib-2.1-py3-none-any.whl", "acme-sdist/acme_sdist-1.0.tar.gz", "globex/solid-7b/model.safetensors", "hooli/solid-7b-merge/config.json"} <= found
    assert hq.get("/globex/other/resolve/main/config.json").status == 200
    code, told = export(hq, "used.tar", "--used", "90d", "--origin", "US", "--publisher", "globex", "--preserve")
    assert (code, told["name"]) == (0, "used-90d")
    used = entries(hq.folder / "used.tar")
    assert {"globex/other/config.json", "globex/other/w.safetensors"} <= used and "globex/other/w.bin" not in used
    assert not [name for name in used if not name.startswith("globex/")]
    for name in ("lab.tar", "used.tar"):
        assert take(lab, hq.folder / name)[0] == 0
    assert lab.get("/globex/solid-7b/resolve/main/model.safetensors").status == lab.get("/globex/other/resolve/main/w.safetensors").status == 200
    assert lab.get("/pypi/simple/acme-sdist/").status == 200


def test_options_that_mean_nothing_together(hq):
    """Options of a recall with content, those that narrow nothing, and two ways at once are an error that makes no bundle."""
    for wrong in (
        ["small.yaml", "--all"], ["--all", "--ancestors"], ["--all", "--origin", "US"], ["small.yaml", "--reason", "x"], ["small.yaml", "--publisher", "globex", "--reason", "x"],
        ["--recall", "acme/*", "--reason", "x", "--model", "acme/tiny-bert"], ["--recall", "*", "--reason", "x"], ["small.yaml", "--yes"], [],
    ):
        assert hq.command("bundle", "export", "-o", str(hq.folder / "none.tar"), *wrong, check=False).returncode == 2, wrong
    assert not (hq.folder / "none.tar").exists()
