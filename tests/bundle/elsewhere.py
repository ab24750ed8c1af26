"""The same mirror, but in a laboratory: `running_laboratory` stands in for `running_mirror` in tests that were written for a mirror with a network.

A mirror in front of the stand-ins asks for all that they have and exports it; the one that the test gets has imported it, in a namespace without any
route, and is configured as the test says. The test itself, and every client that it starts, has to be there too (`Place.entered`).
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import mirror
from tests.bundle.place import Laboratory, Place, lonely_place
from tests.bundle.test_carried import enrolled, here
from tests.support.mirror import ALLOW_ALL, running_mirror
from tests.support.standin import ALICE
from tests.support.standin.defaults import MANY

KINDS = ("models", "datasets", "spaces")
#: Of a stand-in index, what resolves.
RELEASES = ("acme-app==1.0", "acme-app==2.0", "acme-lib==1.0", "acme-lib==1.1", "acme-lib==2.1", "foo-bar-baz", "acme-attested", "acme-big", "evil-thing")


def everything(hub: Any, index: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """A wanted list of all that the stand-ins have, each repository at all that leads anywhere in it, and under these other names."""
    wants: dict[str, Any] = {"version": 1, "name": "everything"}
    for (kind, _), repo in hub.world.repos.items() if hub is not None else ():
        if kind in KINDS and not repo.disabled and len(repo.commits[repo.head].files) < MANY:
            revisions = [*repo.branches, *repo.git_tags, *(f"refs/convert/{one}" for one in repo.converts), *(f"refs/pr/{one}" for one in repo.pull_requests)]
            wants.setdefault(kind, []).extend({"id": repo.name, "revision": one} for one in revisions)
    if hub is not None:
        wants["models"] += [{"id": name} for name in names]
    if index is not None:
        wants["packages"] = [{"requirement": one, "python": ["3.11"], "platforms": ["linux"]} for one in RELEASES]
    return wants


def of_this_tree(folder: Path) -> Path:
    """The command `mirror` of this tree, whatever is installed and wherever it is run."""
    program = folder / "bin" / "mirror"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{Path(mirror.__file__).parents[1]}" exec "{sys.executable}" -m mirror.cli.main "$@"\n')
    program.chmod(0o755)
    return program


@contextmanager
def moved(module: ModuleType, names: tuple[str, ...] = ()) -> Iterator[Place]:
    """A place without any route in which the mirrors of this test module are from now on; repositories go there under these `names` too."""
    with lonely_place() as made, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "running_mirror", partial(running_laboratory, made, names=names))
        yield made


@contextmanager
def running_laboratory(
    place: Place, folder: Path, hub: Any = None, index: Any = None, policy: str = ALLOW_ALL, *, names: tuple[str, ...] = (), **config: Any
) -> Iterator[Laboratory]:
    """See `running_mirror`. Everything is imported before `policy` is in force, so that tests may change it as they do elsewhere."""
    program = of_this_tree(folder)
    lent = {"huggingface": {"token": ALICE}} if hub is not None else {}
    with running_mirror(folder / "sender", hub, index, ALLOW_ALL, hubs=lent) as sender:
        here(sender)
        (sender.folder / "wants.yaml").write_text(yaml.safe_dump(everything(hub, index, names)))
        token = ["--token", ALICE] if hub is not None else []
        told = sender.command("bundle", "export", "wants.yaml", "-o", str(folder / "bundle"), "--form", "dir", "--json", *token, check=False)
        assert told.returncode in (0, 1), told.stderr
        cards, port = enrolled(sender, folder / "cards"), sender.port
    lab = Laboratory(place, program, folder / "lab", config.get("listen", {}).pop("port", port))
    lab.folder.mkdir()
    for file in folder.glob("*.yaml"):
        shutil.copy(file, lab.folder)
    listen = {"host": "127.0.0.1", "port": lab.port, **config.pop("listen", {})}
    views = {"views": {"people": "open"}, "reserve": "1MiB", **config.pop("ledger", {})}
    config.pop("hubs", None)  # how the hub is reached: it is not
    written = {"network": "offline", "data": "data", "policy": {"path": "policy.yaml"}, "store": {"min_free": "1MiB"}, "trust": {"verify": [str(cards)]}}
    (lab.folder / "mirror.yaml").write_text(yaml.safe_dump({**written, **config, "listen": listen, "ledger": views}, sort_keys=False))
    lab.policy_path.write_text(ALLOW_ALL)
    done = json.loads(lab.command("bundle", "import", str(folder / "bundle"), "--json").stdout)
    assert done["refused"] == []
    lab.policy_path.write_text(policy)
    for one in (hub, index):
        if one is not None:
            one.requests.clear()
    lab.start()
    try:
        yield lab
    finally:
        lab.stop()
