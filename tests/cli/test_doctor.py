"""`mirror doctor` against servers that are a mirror, are none, or are a way round one."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mirror.cli.doctor_clients import Examination, clients
from mirror.cli.doctor_wire import Wire, hub_file, index_page
from tests.support import preloaded
from tests.support.mirror import running_mirror
from tests.support.standin import running_hub, running_index

PLAIN = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def doctor(*line: str, **environ: str) -> tuple[int, list[dict[str, str]]]:
    """Exit code and findings of `mirror doctor --json`."""
    done = preloaded.run(["doctor", "--json", *line], cwd=Path.cwd(), env={**PLAIN, **environ}, timeout=120)
    assert "Traceback" not in done.stderr
    return done.returncode, [json.loads(row) for row in done.stdout.splitlines()]


class Answers(BaseHTTPRequestHandler):
    """Plays a mirror, sound but for what `faults` says."""

    faults: frozenset[str] = frozenset()
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""

    def do_HEAD(self) -> None:
        """As GET."""
        self.do_GET()

    def do_GET(self) -> None:
        """Health, one file, one page."""
        url = f"http://{self.headers['Host']}"
        if self.path.startswith("/-/health/"):
            return self.reply(503 if "unready" in self.faults and "ready" in self.path else 200, b"{}")
        if "refused" in self.faults:
            headers = {"X-Mirror-Decision": "01J", "Cache-Control": "no-store", "Link": f'<{url}/-/blocked/01J>; rel="blocked-by"'}
            body_type = "text/html" if "replaced" in self.faults else "application/problem+json"
            return self.reply(451, b"", {**headers, "Content-Type": body_type})
        if self.path.startswith("/acme/x/resolve/main/"):
            headers = {"ETag": '"abc"', "X-Repo-Commit": "0" * 40}
            if "commit" in self.faults:
                del headers["X-Repo-Commit"]
            if "xet" in self.faults:
                headers["Link"] = '<https://cas.example/x>; rel="xet-auth"'
            return self.reply(200, b"{}", headers)
        where = "https://files.example" if "elsewhere" in self.faults else url
        page = {"meta": {"api-version": "1.0"}, "name": "six", "files": [{"filename": "six-1.whl", "url": f"{where}/packages/six-1.whl", "hashes": {}}]}
        return self.reply(200, json.dumps(page).encode(), {"Cache-Control": "private, no-cache"})

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """One answer."""
        self.send_response(status, "Blocked by policy rule 'x'" if status == 451 else None)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def answering() -> Iterator[type[Answers]]:
    """The class whose `faults` decide, with `url` set to where it listens."""
    handler = type("Handler", (Answers,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def examine(handler: type[Answers], *faults: str) -> tuple[int, dict[str, str], list[dict[str, str]]]:
    """Exit code, worst status by check, all findings."""
    handler.faults = frozenset(faults)
    environ = {"HF_ENDPOINT": handler.url, "PIP_INDEX_URL": f"{handler.url}/pypi/simple/", "UV_DEFAULT_INDEX": f"{handler.url}/pypi/simple/"}
    code, found = doctor("--url", handler.url, "--wire-only", "--model", "acme/x", **environ)
    order = ["skip", "ok", "warn", "fail"]
    worst: dict[str, str] = {}
    for row in found:
        worst[row["check"]] = max(worst.get(row["check"], "skip"), row["status"], key=order.index)
    return code, worst, found


def test_a_sound_mirror_passes(answering: type[Answers]):
    """A mirror that answers as it should gives nothing but ok, and exit code 0."""
    code, worst, _ = examine(answering)
    assert code == 0
    assert set(worst.values()) == {"ok"}
    assert {"reach the mirror", "readiness", "hub: file", "hub: no way round", "index: page", "index: no way round"} <= set(worst)


@pytest.mark.parametrize(
    ("fault", "check"),
    [("unready", "readiness"), ("commit", "hub: file"), ("xet", "hub: no way round"), ("elsewhere", "index: no way round")],
)
def test_each_fault_is_found_and_comes_with_advice(answering: type[Answers], fault: str, check: str):
    """A fault makes its own check fail, with a hint, and the command end with 1."""
    code, worst, found = examine(answering, fault)
    assert code == 1
    assert [name for name, status in worst.items() if status == "fail"] == [check]
    assert all(row["hint"] for row in found if row["status"] == "fail")


def test_a_refusal_is_no_fault_but_a_silenced_one_is(answering: type[Answers]):
    """A refusal by policy is something to look at; one whose body a proxy replaced is a failure."""
    code, worst, _ = examine(answering, "refused")
    assert (code, worst["hub: file"], worst["refusals"]) == (0, "warn", "ok")
    code, worst, _ = examine(answering, "refused", "replaced")
    assert (code, worst["refusals"]) == (1, "fail")


def test_a_shell_that_leads_elsewhere_is_told(answering: type[Answers]):
    """Missing and second indexes in this shell's environment are pointed out."""
    code, found = doctor("--url", answering.url, "--wire-only", "--model", "acme/x", HF_ENDPOINT="", PIP_EXTRA_INDEX_URL="https://x.example")
    checks = {row["check"]: row["status"] for row in found}
    assert code == 0
    assert checks["this shell: HF_ENDPOINT"] == checks["this shell: PIP_EXTRA_INDEX_URL"] == "warn"


def test_nobody_there_is_one_failure():
    """Without a mirror the first check fails with a hint and nothing else is tried."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        code, found = doctor("--url", url)
    assert (code, [row["status"] for row in found]) == (1, ["fail"])
    assert "mirror serve" in found[0]["hint"]


def test_the_hub_itself_is_no_mirror():
    """Asked of a hub and an index directly, the redirects, Xet headers and foreign file hosts are failures."""
    context = ssl.create_default_context()
    with running_hub() as hub, running_index() as index:
        weights = list(hub_file(Wire(hub.url, context), "acme/tiny-bert", "model.safetensors"))
        page = list(index_page(Wire(index.url, context), index.simple_url, "acme-lib"))
    assert "fail" in {one.status for one in weights}
    assert [one.check for one in page if one.status == "fail"] == ["index: no way round"]


def test_the_installed_clients_really_run():
    """huggingface_hub, pip, uv and git each do one real thing in front of a hub and an index, and say so."""
    with running_hub() as hub, running_index() as index:
        settings = {"HF_ENDPOINT": hub.url, "PIP_INDEX_URL": index.simple_url, "UV_DEFAULT_INDEX": index.simple_url}
        what = Examination(hub.url, index.simple_url, "acme/tiny-bert", "config.json", "acme-lib", settings)
        found = {one.check: one for one in clients(what)}
    assert {"pip download"} <= {name for name, one in found.items() if one.status == "ok"}, found
    assert not [one for one in found.values() if one.status == "fail"], found
    assert {one.status for one in found.values()} <= {"ok", "skip"}
    if shutil.which("git"):
        assert found["git ls-remote"].status == "ok"


def test_a_client_that_fails_is_quoted():
    """What a client says when it cannot get a package stands in the finding."""
    with running_index() as index:
        settings = {"PIP_INDEX_URL": index.simple_url, "UV_DEFAULT_INDEX": index.simple_url}
        found = [one for one in clients(Examination(None, index.simple_url, "", "", "no-such-thing", settings)) if one.status != "skip"]
    assert found
    assert all(one.status == "fail" and "no-such-thing" in one.detail for one in found), found


def test_a_laboratory_that_has_not_the_example_is_not_at_fault(tmp_path: Path):
    """Of a mirror with `network: offline` doctor skips what no bundle has brought, with the laboratory's advice, and fails nothing."""
    with running_mirror(tmp_path / "lab", network="offline") as mirror:
        done = mirror.command("doctor", "--json", "--url", mirror.url, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stdout
    skipped = {one["check"]: one["hint"] for one in found if one["status"] == "skip" and "the mirror is offline" in one["detail"]}
    assert set(skipped) == {"hub: file", "index: page"}
    assert all("mirror bundle list" in hint for hint in skipped.values())
    assert "fail" not in {one["status"] for one in found}


@pytest.mark.acceptance
def test_a_real_mirror_passes_with_the_real_clients(tmp_path: Path):
    """The mirror as a process in front of a hub and an index satisfies every check and every installed client."""
    with running_hub() as hub, running_index() as index:
        urls = {**hub.urls(), **index.urls()}
        rows = {
            "huggingface": {"upstreams": [urls["hub"]], "origins": [urls["hub"], urls["cdn"]]},
            "pypi": {"upstreams": [urls["index"]], "origins": [urls["files"]]},
        }
        (tmp_path / "mirror.yaml").write_text(json.dumps({"listen": {"port": 0}, "hubs": rows}))
        line = [sys.executable, "-m", "mirror.cli.main", "serve"]
        with subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=PLAIN, text=True) as serving:
            try:
                url = re.search(r"ready on (\S+)", serving.stdout.readline())[1]
                environ = {"HF_ENDPOINT": url, "PIP_INDEX_URL": f"{url}/pypi/simple/", "UV_DEFAULT_INDEX": f"{url}/pypi/simple/"}
                code, found = doctor("--url", url, "--model", "acme/tiny-bert", "--package", "acme-lib", **environ)
            finally:
                serving.terminate()
                serving.wait(40)
    # git may be refused by the mirror as such: that is told, and is no failure.
    assert {row["check"] for row in found if row["status"] not in ("ok", "skip")} <= {"git ls-remote"}, found
    assert not [row for row in found if row["status"] == "fail"], found
    assert {"hub: no way round", "index: no way round", "pip download"} <= {row["check"] for row in found if row["status"] == "ok"}
    assert code == 0


# --- a way round --------------------------------------------------------------------------------------------------


@pytest.fixture
def hub_outside(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A TLS server on loopback that plays a hub: `host:port`, and the PEM file that makes it trusted."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hub.example")])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(start).not_valid_after(start + dt.timedelta(days=36500))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (tmp_path / "ca.pem").write_bytes(pem)
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "both.pem").write_bytes(pem + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}", tmp_path / "ca.pem"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def proxy() -> Iterator[str]:
    """An HTTP proxy on loopback that lets everybody CONNECT anywhere."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(1)
            host, _, port = head.split()[1].decode().rpartition(":")
            outside = socket.create_connection((host, int(port)))
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            for pair in ((client, outside), (outside, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_a_reachable_hub_fails(hub_outside: tuple[str, Path]):
    """A hub that answers TLS straight from this machine makes `doctor --egress` end with 1."""
    host, ca = hub_outside
    code, found = doctor("--egress", "--host", host, "--ca", str(ca))
    assert code == 1
    assert [(row["status"], row["check"]) for row in found] == [("fail", f"{host} direct")]


def test_closed_ways_pass():
    """A refused connection, a name that does not resolve and a server that hangs up at TLS are closed ways."""
    with socket.socket() as closed, socket.create_server(("127.0.0.1", 0)) as hanging:
        closed.bind(("127.0.0.1", 0))
        threading.Thread(target=lambda: hanging.accept()[0].close(), daemon=True).start()
        hosts = [f"127.0.0.1:{closed.getsockname()[1]}", "no-such-host.invalid", f"127.0.0.1:{hanging.getsockname()[1]}"]
        code, found = doctor("--egress", *(part for host in hosts for part in ("--host", host)))
    assert (code, [row["status"] for row in found]) == (0, ["ok"] * 3)


def test_a_stranger_in_the_hubs_place_is_something_to_look_at(hub_outside: tuple[str, Path]):
    """A server whose certificate is not trusted is a warning, neither a hub nor a closed way."""
    code, found = doctor("--egress", "--host", hub_outside[0])
    assert (code, found[0]["status"]) == (0, "warn")


def test_a_way_through_the_proxy_fails_too(hub_outside: tuple[str, Path], proxy: str):
    """A hub that the machine's own HTTP proxy lets through is reachable round the mirror."""
    host, ca = hub_outside
    code, found = doctor("--egress", "--host", host, "--ca", str(ca), HTTPS_PROXY=proxy)
    assert code == 1
    assert {(row["status"], row["check"]) for row in found} == {("fail", f"{host} direct"), ("fail", f"{host} by HTTPS_PROXY")}


def test_a_host_that_is_none_is_bad_input():
    """--host takes a name with an optional port; anything else ends with 2."""
    for host in ("https://huggingface.co", "x:0", "x:99999", ""):
        assert doctor("--egress", "--host", host)[0] == 2
