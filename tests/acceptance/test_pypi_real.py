"""A real dependency tree from the real registry, by clients in a network namespace in which nothing but the mirror can be reached.

Needs root, iproute2 and the registry. Where that is not to be had the test fails and says so, unless
`ENTREPOT_WITHOUT_NETNS=1` states that this machine is known to be without.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from tests.support.clients import Said, run
from tests.support.mirror import MirrorProcess, clean_environment

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

TREE = "datasets"
"""What is installed: some thirty packages, wheels of 50 MB among them."""
PROBE = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=4).close()
except OSError as error:
    print("unreachable:", error)
else:
    print("reached")
"""


# --- what this machine's pip is told about the registry ---------------------------------------------------------------------


@dataclass(frozen=True)
class Registry:
    """Where packages come from here: `base` + `index` + name; `origins` are those of the files; `ca` a private CA."""

    base: str
    index: str
    origins: tuple[str, ...]
    ca: str | None
    proxy: str | None


def pip_setting(key: str) -> str | None:
    done = subprocess.run([sys.executable, "-m", "pip", "config", "get", f"global.{key}"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def registry() -> Registry:
    """The registry that pip is configured for, else PyPI; the files' origins as its own pages name them."""
    simple = os.environ.get("PIP_INDEX_URL") or pip_setting("index-url") or "https://pypi.org/simple"
    ca = os.environ.get("PIP_CERT") or pip_setting("cert") or os.environ.get("SSL_CERT_FILE")
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy") or pip_setting("proxy")
    simple = simple.rstrip("/") + "/"
    parts = urlsplit(simple)
    context = ssl.create_default_context(cafile=ca) if ca else ssl.create_default_context()
    request = urllib.request.Request(urljoin(simple, "idna/"), headers={"Accept": "application/vnd.pypi.simple.v1+json, text/html;q=0.1"})
    with urllib.request.urlopen(request, timeout=60, context=context) as answer:
        page, final = answer.read().decode(), answer.url
        json_page = answer.headers.get_content_type().endswith("json")
    urls = [row["url"] for row in json.loads(page)["files"]] if json_page else re.findall(r'href="([^"#]+)', page)
    origins = {f"{found.scheme}://{found.netloc}" for found in (urlsplit(urljoin(final, url)) for url in urls)}
    mount, _, last = parts.path.rstrip("/").rpartition("/")
    return Registry(f"{parts.scheme}://{parts.netloc}{mount}", f"/{last}/", tuple(sorted(origins)), ca, proxy)


# --- a place with one way out -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """A network namespace joined to this machine by one cable; `here` is our end's address, and there is no other route."""

    name: str
    here: str

    def run(self, command: list[str | Path], environ: Mapping[str, str], cwd: Path, timeout: float = 200) -> Said:
        return run(["ip", "netns", "exec", self.name, *command], environ, cwd, timeout)

    def reaches(self, host: str, port: int) -> bool:
        said = self.run([sys.executable, "-c", PROBE, host, str(port)], clean_environment(), Path("/"))
        assert said.code == 0, said.text
        assert said.out.startswith(("reached", "unreachable")), said.text
        return said.out.startswith("reached")


def ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"no network namespace can be made here (root and iproute2 are needed): ip {' '.join(arguments)}: {done.stderr}")


@contextmanager
def lonely_place() -> Iterator[Place]:
    number = random.SystemRandom().randrange(4, 60_000)
    name, ours, theirs = f"entrepot-{os.getpid()}", f"en{number}h", f"en{number}c"
    # 198.18.0.0/15 is for tests of network devices (RFC 2544): nothing else on this machine lies there.
    block = f"198.18.{number // 256}.{number % 256 // 4 * 4}"
    head, _, last = block.rpartition(".")
    here, there = f"{head}.{int(last) + 1}", f"{head}.{int(last) + 2}"
    ip("netns", "add", name)
    try:
        ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
        ip("addr", "add", f"{here}/30", "dev", ours)
        ip("link", "set", ours, "up")
        ip("-n", name, "addr", "add", f"{there}/30", "dev", theirs)
        ip("-n", name, "link", "set", theirs, "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield Place(name, here)
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)  # takes the cable along
        subprocess.run(["ip", "link", "del", ours], check=False, capture_output=True)


@contextmanager
def listening(host: str) -> Iterator[int]:
    """A server that is not the mirror."""
    with socket.create_server((host, 0)) as server:
        threading.Thread(target=lambda: _accept(server), daemon=True).start()
        yield int(server.getsockname()[1])


def _accept(server: socket.socket) -> None:
    try:
        while True:
            server.accept()[0].close()
    except OSError:
        return


def own_address() -> str:
    """An address of this machine that is neither loopback nor the cable's: where its way out begins."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("203.0.113.1", 9))  # sends nothing
        return str(probe.getsockname()[0])


def reached_from_here(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=20).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """The namespace. Fails, and never skips by itself, where it cannot be made."""
    if os.environ.get("ENTREPOT_WITHOUT_NETNS") == "1":
        pytest.skip("ENTREPOT_WITHOUT_NETNS=1: this machine is said to have no network namespaces")
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.fail("this test needs root and iproute2 to make a network namespace; set ENTREPOT_WITHOUT_NETNS=1 to go without", pytrace=False)
    with lonely_place() as made:
        yield made


@pytest.mark.proves("A real tree of dependencies, with nothing but the mirror in reach", "pip", "works")
@pytest.mark.proves("A real tree of dependencies, with nothing but the mirror in reach", "uv", "works")
def test_a_real_tree_is_installed_by_clients_that_reach_nothing_else(place: Place, tmp_path: Path) -> None:
    """pip and then uv install a real dependency tree through the mirror; the registry, another server and this machine are out of their reach."""
    source = registry()
    host = urlsplit(source.base)
    row: dict[str, Any] = {"upstreams": [source.base], "index": source.index, "origins": list(source.origins)}
    outbound = {key: value for key, value in (("ca", source.ca), ("proxy", source.proxy)) if value}
    with socket.create_server((place.here, 0)) as probe:
        port = int(probe.getsockname()[1])
    listen = {"host": place.here, "public_url": f"http://{place.here}:{port}"}
    mirror = MirrorProcess(tmp_path / "mirror", {"hubs": {"pypi": row}, "outbound": outbound, "listen": listen}, port=port)
    mirror.start()
    try:
        assert place.reaches(place.here, mirror.port)
        with listening(own_address()) as other:
            assert reached_from_here(own_address(), other)
            assert not place.reaches(own_address(), other)
        if source.proxy is None:
            outside = (host.hostname or "", host.port or (443 if host.scheme == "https" else 80))
            assert reached_from_here(*outside), f"{source.base} cannot be reached from this machine at all"
            assert not place.reaches(*outside)

        index = f"{mirror.url}/pypi/simple/"
        common = {**clean_environment(), "HOME": str(tmp_path), "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1"}
        common = {key: value for key, value in common.items() if not key.lower().endswith("_proxy")}
        direct = place.run(
            [sys.executable, "-m", "pip", "download", "--no-deps", "--retries", "0", "--timeout", "4", "idna"],
            {**common, "PIP_INDEX_URL": source.base + source.index}, tmp_path,
        )  # fmt: skip
        assert direct.code != 0, direct.text

        by_pip = place.run(
            [sys.executable, "-m", "pip", "install", "--target", "by-pip", "--no-cache-dir", "--no-compile", "--trusted-host", place.here, TREE],
            {**common, "PIP_INDEX_URL": index}, tmp_path,
        )  # fmt: skip
        assert by_pip.code == 0, by_pip.text[-3000:]
        installed = re.search(r"Successfully installed (.*)", by_pip.out)
        assert installed is not None
        names = {word.rpartition("-")[0].replace("_", "-").lower() for word in installed[1].split()}
        assert {TREE, "pyarrow", "huggingface-hub", "numpy"} <= names

        by_uv = place.run(
            [Path(sys.prefix) / "bin" / "uv", "pip", "install", "--target", "by-uv", "--no-cache", TREE],
            {**common, "UV_DEFAULT_INDEX": index}, tmp_path,
        )  # fmt: skip
        assert by_uv.code == 0, by_uv.text[-3000:]
        probe_import = f"import sys; sys.path.insert(0, {str(tmp_path / 'by-uv')!r}); import {TREE}; print({TREE}.__version__)"
        assert run([sys.executable, "-I", "-c", probe_import], common, tmp_path).code == 0

        recorded = {event["decision"]["project"] for event in mirror.events() if event.get("decision")}
        assert {f"pkg:pypi/{name}" for name in names} <= recorded
        assert mirror.command("ledger", "verify").returncode == 0
    finally:
        mirror.stop()
