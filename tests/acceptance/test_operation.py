"""What an operator relies on: drain, health, metrics, logs, TLS, proxies on both sides, time limits, crashes, and rules that change."""

from __future__ import annotations

import hashlib
import http.client
import http.server
import json
import socket
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.clients import HUB_0_36, HubClient, environment, pip, uv
from tests.support.mirror import MirrorProcess, running_mirror, until, upstream_config
from tests.support.standin import ALICE, StandInHub, StandInIndex

pytestmark = pytest.mark.acceptance

BIG = bytes(range(256)) * 4 * 3000  # 3 MB
GET = "import sys; from huggingface_hub import hf_hub_download; print(hf_hub_download(sys.argv[1], sys.argv[2]))"


@pytest.fixture(autouse=True)
def faultless(hub: StandInHub) -> Iterator[None]:
    """Each test begins and ends with an upstream without faults."""
    yield
    hub.faults.clear()


@pytest.fixture(scope="module", autouse=True)
def big(hub: StandInHub) -> None:
    """A repository per test that needs a cold large file."""
    for name in ("drain", "crash"):
        hub.add_repo("model", f"acme/{name}", {"config.json": b"{}"}, {"big.weights": name.encode() + BIG})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def begun(mirror: MirrorProcess, target: str) -> http.client.HTTPResponse:
    """A download whose head has arrived and whose body is still coming."""
    connection = http.client.HTTPConnection("127.0.0.1", mirror.port, timeout=60)
    connection.request("GET", target)
    response = connection.getresponse()
    assert response.status == 200
    return response


def accepts(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


# --- stopping, crashing --------------------------------------------------------------------------------------------------


def test_a_download_under_way_ends_well_when_the_mirror_is_stopped(hub: StandInHub, tmp_path: Path) -> None:
    """On SIGTERM nothing new is accepted and readiness is refused, the download that runs arrives whole, and the exit code is 0."""
    admin = free_port()
    with running_mirror(tmp_path, hub, listen={"admin": f"127.0.0.1:{admin}"}) as mirror:
        hub.faults.add("throttle", "*", origin="cdn", rate=800_000)
        response = begun(mirror, "/acme/drain/resolve/main/big.weights")
        ready = f"http://127.0.0.1:{admin}/-/health/ready"
        assert json.load(urllib.request.urlopen(ready, timeout=10))["status"] == "ready"
        ended: list[int] = []
        stopping = threading.Thread(target=lambda: ended.append(mirror.stop()))
        stopping.start()
        refused = 0
        while stopping.is_alive() and not refused:
            try:
                urllib.request.urlopen(ready, timeout=10).close()
            except urllib.error.HTTPError as error:
                refused = error.code
        while accepts(mirror.port):  # readiness is refused first; the door closes behind it
            assert stopping.is_alive()
        assert refused == 503
        assert response.read() == b"drain" + BIG
        stopping.join(45)
        assert ended == [0]


def test_a_killed_mirror_goes_on_where_it_was(hub: StandInHub, tmp_path: Path) -> None:
    """After kill -9 in the middle of a transfer the next mirror asks the CDN for the rest only, and the client gets the right bytes."""
    with running_mirror(tmp_path, hub) as mirror:
        slow = hub.faults.add("throttle", "*", origin="cdn", rate=600_000)
        response = begun(mirror, "/acme/crash/resolve/main/big.weights")
        assert len(response.read(1_200_000)) == 1_200_000
        until(mirror.has_blocks)
        mirror.kill()
        response.close()
        hub.faults.remove(slow)
        hub.requests.clear()
        mirror.start()
        whole = mirror.get("/acme/crash/resolve/main/big.weights")
        assert whole.body == b"crash" + BIG
        asked = [call.headers.get("Range") for call in hub.requests.where(origin="cdn", method="GET")]
        assert asked
        assert all(row and int(row.removeprefix("bytes=").partition("-")[0]) > 0 for row in asked), asked
        assert mirror.command("ledger", "verify").returncode == 0


# --- what is told --------------------------------------------------------------------------------------------------------


def test_health_metrics_and_one_line_a_request(hub: StandInHub, index: StandInIndex, tmp_path: Path) -> None:
    """Ready with the hub down; metrics name no repository, package, user or token; each answer's request id is on exactly one log line."""
    with running_mirror(tmp_path, hub, index) as mirror:
        asked = [
            mirror.get("/acme/gated-auto/resolve/main/config.json", headers={"Authorization": f"Bearer {ALICE}"}),
            mirror.get("/api/models/acme/tiny-bert"),
            mirror.get("/pypi/simple/acme-lib/"),
            mirror.get("/acme/tiny-bert/resolve/main/absent.txt"),
            mirror.get("/api/whoami-v2", headers={"Authorization": f"Bearer {ALICE}"}),
        ]
        hub.go_down()
        try:
            assert mirror.get("/-/health/live").status == 200
            assert mirror.get("/-/health/ready").status == 200
        finally:
            hub.come_back()
        metrics = mirror.get("/-/metrics").body.decode()
        assert "# TYPE" in metrics
        for word in ("tiny-bert", "acme", "gated", "alice", "127.0.0.1", ALICE):
            assert word not in metrics, word
        lines = [json.loads(line) for line in mirror.log_lines() if line.startswith("{")]
        for answer in asked:
            of = [row for row in lines if row.get("id") == answer.headers["X-Request-Id"]]
            assert [row["event"] for row in of] == ["request"]
            assert of[0]["status"] == answer.status
        assert ALICE not in mirror.log.read_text()


def test_own_pages_live_on_the_admin_address(hub: StandInHub, tmp_path: Path) -> None:
    """With `listen.admin` metrics and readiness are served there only; liveness and the page of a decision stay; no hub is behind it."""
    admin = free_port()
    policy = 'version: 1\nrules:\n  - {id: no, when: {artifact: ["acme/tiny-bert"]}, effect: deny}\n'
    with running_mirror(tmp_path, hub, policy=policy, listen={"admin": f"127.0.0.1:{admin}"}) as mirror:
        for path, public in (("/-/metrics", 404), ("/-/health/ready", 404), ("/-/health/live", 200)):
            assert mirror.get(path).status == public, path
            with urllib.request.urlopen(f"http://127.0.0.1:{admin}{path}", timeout=10) as answer:
                assert answer.status == 200
        refused = mirror.get("/api/models/acme/tiny-bert")
        assert mirror.get(f"/-/blocked/{refused.headers['X-Mirror-Decision']}").status == 200
        with pytest.raises(urllib.error.HTTPError) as none:
            urllib.request.urlopen(f"http://127.0.0.1:{admin}/api/models/globex/solid-7b", timeout=10)
        assert none.value.code == 404


# --- TLS, and proxies on both sides --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Authority:
    """A certificate authority of our own, and a certificate for localhost. All are paths of PEM files."""

    ca: Path
    cert: Path
    key: Path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Made afresh: nothing on this machine trusts it."""
    folder = tmp_path_factory.mktemp("ca")
    now, name = datetime.now(UTC), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Acme test authority")])
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def certificate(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder().subject_name(subject).issuer_name(name).public_key(public)
            .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=2))
        )  # fmt: skip

    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    ca = (
        certificate(name, ca_key.public_key()).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False).sign(ca_key, hashes.SHA256())
    )  # fmt: skip
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    leaf = (
        certificate(subject, key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False).sign(ca_key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    (folder / "cert.pem").write_bytes(leaf.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return Authority(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")


def test_clients_speak_tls_with_a_private_authority(hub: StandInHub, index: StandInIndex, authority: Authority, tmp_path: Path) -> None:
    """Over TLS both generations of huggingface_hub, pip and uv work with the variables that `mirror env` names, and not without the CA."""
    port = free_port()
    listen = {"public_url": f"https://localhost:{port}", "tls": {"cert": str(authority.cert), "key": str(authority.key)}}
    mirror = MirrorProcess(tmp_path / "mirror", {**upstream_config(hub, index), "listen": listen}, port=port)
    mirror.start()
    try:
        url, ca = f"https://localhost:{port}", str(authority.ca)
        trust = {"SSL_CERT_FILE": ca, "REQUESTS_CA_BUNDLE": ca, "PIP_CERT": ca}
        for count, python in enumerate((Path(sys.executable), environment("hub-0.36", HUB_0_36))):
            client = HubClient(python, url, tmp_path / f"home-{count}", extra=trust)
            said = client.python_says(GET, "acme/tiny-bert", "model.safetensors")
            assert said.code == 0, said.text
        (tmp_path / "p").mkdir()
        said = pip(f"{url}/pypi/simple/", tmp_path / "p", "download", "--no-deps", "acme-lib", **trust)
        assert said.code == 0, said.text
        said = uv(f"{url}/pypi/simple/", tmp_path / "p", "pip", "install", "--target", "site", "acme-lib", **trust)
        assert said.code == 0, said.text
        said = pip(f"{url}/pypi/simple/", tmp_path / "p", "download", "--no-deps", "--retries", "0", "acme-app", PIP_CERT="", SSL_CERT_FILE="")
        assert said.code != 0
        assert "certificate" in said.text.lower()
    finally:
        mirror.stop()


def test_a_trusted_proxys_word_decides_the_group(hub: StandInHub, tmp_path: Path) -> None:
    """X-Forwarded-For and the group header count from a trusted proxy only, the right-most untrusted hop being the client."""
    policy = 'version: 1\nrules:\n  - {id: lab, when: {artifact: ["acme/*"]}, for: {groups: [lab]}, effect: deny}\n'
    clients = {"header": "X-Groups", "groups": {"lab": {"subnets": ["10.8.0.0/16"], "header": ["grp-lab"]}}}
    target = "/api/models/acme/tiny-bert"
    inside, spoofed = {"X-Forwarded-For": "10.8.1.1"}, {"X-Forwarded-For": "10.8.1.1, 192.0.2.9"}
    with running_mirror(tmp_path / "behind", hub, policy=policy, clients=clients, listen={"trusted_proxies": ["127.0.0.0/8"]}) as mirror:
        assert mirror.get(target).status == 200
        assert mirror.get(target, headers=inside).status == 403
        assert mirror.get(target, headers={"X-Forwarded-For": "192.0.2.9, 10.8.1.1, 127.0.0.2"}).status == 403
        assert mirror.get(target, headers=spoofed).status == 200
        assert mirror.get(target, headers={"X-Groups": "grp-lab"}).status == 403
    with running_mirror(tmp_path / "open", hub, policy=policy, clients=clients) as mirror:
        for headers in (inside, {"X-Groups": "grp-lab"}):
            assert mirror.get(target, headers=headers).status == 200


class ForwardProxy(http.server.BaseHTTPRequestHandler):
    """An outbound proxy: GET and HEAD by absolute URL, and CONNECT. It alone knows where `*.example` is."""

    routes: dict[str, tuple[str, int]] = {}
    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        parts = urlsplit(self.path)
        if parts.hostname not in self.routes:
            self.send_error(502)
            return
        onward = http.client.HTTPConnection(*self.routes[parts.hostname], timeout=20)
        headers = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
        onward.request(self.command, parts.path + (f"?{parts.query}" if parts.query else ""), headers=headers)
        answer = onward.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        if self.command != "HEAD" and not answer.getheader("Content-Length"):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def do_CONNECT(self) -> None:
        self.asked.append(f"CONNECT {self.path}")
        host = self.path.partition(":")[0]
        if host not in self.routes:
            self.send_error(502)
            return
        with socket.create_connection(self.routes[host], timeout=20) as onward:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=pour, args=(onward, self.connection), daemon=True)
            back.start()
            pour(self.connection, onward)
            back.join(20)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing: standard error belongs to the test's report."""


def pour(source: socket.socket, target: socket.socket) -> None:
    """Bytes from one socket to the other until one end closes."""
    try:
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def test_the_way_out_is_the_outbound_proxy(hub: StandInHub, tmp_path: Path) -> None:
    """With `outbound.proxy` every request goes through it, for a name that nothing else resolves, and no client credential is added on the way."""
    where = urlsplit(hub.url)
    handler = type("Proxy", (ForwardProxy,), {"routes": {"hub.example": ("127.0.0.1", where.port), "127.0.0.1": ("127.0.0.1", urlsplit(hub.cdn_url).port)}, "asked": []})
    with serving(handler) as port:
        hubs = {"huggingface": {"upstreams": ["http://hub.example"], "origins": [hub.cdn_url]}}
        with running_mirror(tmp_path, hub, outbound={"proxy": f"http://127.0.0.1:{port}"}, hubs=hubs) as mirror:
            got = mirror.get("/acme/tiny-bert/resolve/main/model.safetensors")
            assert got.status == 200, got.body
            tiny = hub.repo("acme/tiny-bert")
            assert got.body == tiny.commits[tiny.head].files["model.safetensors"].data
        assert any(row.startswith("GET http://hub.example/") for row in handler.asked), handler.asked
        assert any(row.startswith(f"GET {hub.cdn_url}/") for row in handler.asked), handler.asked


@contextmanager
def tls_in_front(port: int, authority: Authority) -> Iterator[int]:
    """A TLS end in front of a plain server on loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.cert, authority.key)
    listening = socket.create_server(("127.0.0.1", 0))

    def one(client: socket.socket) -> None:
        try:
            with context.wrap_socket(client, server_side=True) as inner, socket.create_connection(("127.0.0.1", port), 20) as onward:
                back = threading.Thread(target=pour, args=(onward, inner), daemon=True)
                back.start()
                pour(inner, onward)
                back.join(20)
        except OSError:
            pass  # a client that does not trust us

    def accept() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        listening.close()


def test_an_upstream_with_a_private_authority(hub: StandInHub, authority: Authority, tmp_path: Path) -> None:
    """An https upstream of a private CA is read through a CONNECT proxy once `outbound.ca` names it; without it: 503 that says TLS."""
    with tls_in_front(urlsplit(hub.url).port or 0, authority) as port:
        handler = type("Proxy", (ForwardProxy,), {"routes": {"localhost": ("127.0.0.1", port)}, "asked": []})
        hubs = {"huggingface": {"upstreams": [f"https://localhost:{port}"], "origins": [hub.cdn_url]}}
        with serving(handler) as proxy:
            out = {"proxy": f"http://127.0.0.1:{proxy}", "ca": str(authority.ca)}
            with running_mirror(tmp_path / "trusting", hub, hubs=hubs, outbound=out) as mirror:
                assert mirror.get("/api/models/acme/tiny-bert").json()["id"] == "acme/tiny-bert"
            assert f"CONNECT localhost:{port}" in handler.asked
        with running_mirror(tmp_path / "doubting", hub, hubs=hubs) as mirror:
            refused = mirror.get("/api/models/acme/tiny-bert")
            assert refused.status == 503
            assert "TLS failed" in refused.json()["detail"]


def test_each_upstream_has_its_own_time_limit(hub: StandInHub, index: StandInIndex, tmp_path: Path) -> None:
    """A hub that needs 2 s is 503 where its `timeouts.read` is 1 s, while the index, just as slow, keeps the default and is served."""
    hub.faults.add("latency", "/api/models/*", seconds=2.0)
    index.faults.add("latency", "/simple/*", seconds=2.0)
    try:
        with running_mirror(tmp_path, hub, index, hubs={"huggingface": {"timeouts": {"read": "1s"}}}) as mirror:
            late = mirror.get("/api/models/acme/tiny-bert")
            assert late.status == 503
            assert "did not answer in time" in late.json()["detail"]
            assert mirror.get("/pypi/simple/acme-lib/").status == 200
    finally:
        index.faults.clear()


# --- rules that change ---------------------------------------------------------------------------------------------------


def test_rules_are_read_again_and_a_bad_file_changes_nothing(hub: StandInHub, tmp_path: Path) -> None:
    """A changed policy applies to what is cached already, without a restart; a bad one is reported with every place, and the last good one stays."""
    target = "/acme/tiny-bert/resolve/main/config.json"
    with running_mirror(tmp_path, hub) as mirror:
        pid = mirror.pid
        assert mirror.get(target).status == 200
        mirror.set_policy('version: 1\nrules:\n  - {id: no, when: {artifact: ["acme/tiny-bert"]}, effect: deny}\n')
        assert mirror.get(target).status == 403
        digest = mirror.get("/-/health/ready").json()["policy"]["digest"]
        mirror.set_policy("version: 1\nrules:\n  - {id: no, when: {origin: [XX]}, effect: deny, colour: red}\n")
        state = mirror.get("/-/health/ready").json()["policy"]
        assert state["digest"] == digest
        assert state["problems"] > 0
        assert mirror.get(target).status == 403
        said = mirror.log.read_text()
        assert "rules[0].when.origin" in said
        assert "rules[0].colour" in said
        assert mirror.pid == pid


def test_the_clock_changes_a_verdict_with_nothing_edited(hub: StandInHub, tmp_path: Path) -> None:
    """A warm file that was served is refused once its exception has expired, and one that was refused is served past its rule's `until`."""
    soon = datetime.now(UTC) + timedelta(seconds=6)
    at = soon.strftime("%Y-%m-%dT%H:%M:%SZ")
    policy = f"""
version: 1
rules:
  - {{id: embargo, when: {{artifact: ["globex/solid-7b"]}}, effect: deny, until: {at}}}
  - {{id: house, when: {{artifact: ["acme/tiny-bert"]}}, effect: deny}}
exceptions:
  - {{id: EX-1, rule: house, scope: {{artifact: "acme/tiny-bert"}}, reason: "ticket 1", requested_by: u1, approved_by: [u2], expires: {at}}}
"""
    excepted, embargoed = "/acme/tiny-bert/resolve/main/config.json", "/globex/solid-7b/resolve/main/config.json"
    with running_mirror(tmp_path, hub, policy=policy) as mirror:
        first = (mirror.get(excepted).status, mirror.get(excepted).status, mirror.get(embargoed).status)
        assert datetime.now(UTC) < soon, "this machine needed six seconds to start; the test proves nothing"
        assert first == (200, 200, 403)
        while datetime.now(UTC) <= soon:
            time.sleep(0.1)
        assert mirror.get(excepted).status == 403
        assert mirror.get(embargoed).status == 200


def test_bytes_are_the_hubs_through_everything(hub: StandInHub, tmp_path: Path) -> None:
    """A range of a file that is cached and one of a file that is not give the same bytes as the whole."""
    tiny = hub.repo("acme/tiny-bert")
    data = tiny.commits[tiny.head].files["model.safetensors"].data
    with running_mirror(tmp_path, hub) as mirror:
        cold = mirror.get("/acme/tiny-bert/resolve/main/model.safetensors", headers={"Range": "bytes=1000-1999"})
        assert (cold.status, cold.body) == (206, data[1000:2000])
        whole = mirror.get("/acme/tiny-bert/resolve/main/model.safetensors")
        assert hashlib.sha256(whole.body).hexdigest() == hashlib.sha256(data).hexdigest()
        warm = mirror.get("/acme/tiny-bert/resolve/main/model.safetensors", headers={"Range": "bytes=-500"})
        assert (warm.status, warm.body) == (206, data[-500:])
