"""The upstreams as one process: stand-in hub and index with the measurements' content, and the content server.

`python -m bench.contest.origin '{"amounts": {...}, "rate": 0, "trip": 0}'` prints one JSON line of URLs and stays until it
is stopped.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from datetime import UTC, datetime, timedelta

from bench.contest import content
from bench.contest.far import Contents, relay
from tests.support.standin.dist import Meta
from tests.support.standin.gitobjects import commit_body, git_oid, tree_objects
from tests.support.standin.hub import StandInHub
from tests.support.standin.index import StandInIndex
from tests.support.standin.packages import Dist
from tests.support.standin.world import Commit, File

_AT = datetime(2025, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)
_CARD = {"license": "apache-2.0", "language": ["en"], "pipeline_tag": "text-generation"}
_TAGS = ["transformers", "safetensors", "license:apache-2.0", "text-generation"]


class Hub(StandInHub):
    """The stand-in hub with files that are nowhere, and with addresses that a relay and the content server stand on."""

    front = back = ""

    @property
    def url(self):
        return self.front or self.origins["hub"].url

    @property
    def cdn_url(self):
        return self.back

    def add_bulks(self, name, bulks):
        """One more commit on `name` with these large files."""
        repo = self.repo(name)
        held = dict(repo.commits[repo.head].files)
        for path, bulk in bulks.items():
            file = File(bulk, lfs=True)
            sha = bulk.sha256
            # Digests are computed once and kept in the instance; here they are known without the bytes.
            file.__dict__.update(sha256=sha, xet=xet_name(bulk), cdn_etag=xet_name(bulk)[::-1])
            held[path] = file
        at = repo.created + timedelta(hours=1)
        root, trees, folders = tree_objects({path: file.oid for path, file in held.items()})
        body = commit_body(root, repo.head, "Add weights", int(at.timestamp()))
        made = Commit(git_oid("commit", body), "Add weights", at, repo.head, held, root, trees, folders, body)
        repo.commits[made.id] = made
        repo.branches["main"] = made.id


def xet_name(bulk):
    """The name of a large file on the content server."""
    return content.hashlib.sha256(b"xet " + bulk.label.encode()).hexdigest()


def hub_of(amounts):
    """(the hub, large files by their names on the content server)."""
    hub = Hub()
    hub.recording, hub.xet = False, False
    about = {"card": _CARD, "tags": _TAGS}
    readme = {"README.md": b"---\nlicense: apache-2.0\n---\n# A model\n"}
    hub.add_repo("model", content.MODELS["small"], {"config.json": content.config(), **readme}, **about)
    for what in ("many", "few"):
        hub.add_repo("model", content.MODELS[what], content.many(amounts, what) | readme, **about)
    for what in ("big", "cold", "first"):  # with a configuration: no header of weights is read to find the parents
        hub.add_repo("model", content.MODELS[what], {"config.json": content.config(), **readme}, **about)
    big = {"model.safetensors": content.big(amounts)}
    cold = {f"cold-{n:03}.safetensors": content.cold(amounts, n) for n in range(amounts.cold_files)}
    first = {f"first-{n:03}.safetensors": content.first(amounts, n) for n in range(amounts.first_files)}
    hub.add_bulks(content.MODELS["big"], big)
    hub.add_bulks(content.MODELS["first"], first)
    hub.add_bulks(content.MODELS["cold"], cold)
    return hub, {xet_name(bulk): bulk for bulk in (*big.values(), *cold.values(), *first.values())}


def index_of(amounts):
    """The index: a small project, one with thousands of files, one large wheel."""
    index = StandInIndex()
    index.recording = False
    for version in ("1.0", "1.1"):
        index.add_release(
            "acme-small", version, sdist=True, upload_time=_AT, requires_python=">=3.9", license_expression="MIT"
        )
    index.add_release("acme-wheel", "1.0", size_pad=amounts.wheel, upload_time=_AT, license_expression="MIT")
    project = index.project("acme-large")
    publisher = {"kind": "GitHub", "repository": "acme/large", "workflow": "release.yml"}
    maker = content.random.Random(22)
    for number in range(amounts.page):
        version = f"{number // 300}.{number // 30 % 10}.{number // 6 % 5}"
        name = f"acme_large-{version}-cp3{8 + number % 6}-cp3{8 + number % 6}-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
        about = Meta("acme-large", version, requires_python=">=3.8", license_expression="MIT")
        made = Dist(
            name, maker.randbytes(40 + number % 900), version, _AT + timedelta(hours=number // 6), about.text(), ">=3.8",
            number % 600 == 0 and "a defect", publisher if number % 2 else None,
        )  # fmt: skip
        project.metas[version] = about
        project.files.append(made)
        index.shelf.by_path[made.path] = made
    return index


async def main(options):
    """Serve until SIGTERM."""
    amounts = content.Amounts(**options["amounts"])
    hub, bulks = hub_of(amounts)
    contents = Contents(bulks, options["rate"], options["trip"])
    index = index_of(amounts)
    await hub.start()
    await index.start()
    hub.back, near = contents.url, hub.origins["hub"].url
    relaying = None
    if options["trip"]:
        hub.front, relaying = await relay(hub.origins["hub"].port, options["trip"])
    print(
        json.dumps({"hub": hub.url, "near": near, "cdn": contents.url, "index": index.url, "files": index.files_url}),
        flush=True,
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    if relaying is not None:
        relaying.close()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
