"""Sinks to a real rsyslog, over TCP and TLS."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mirror.audit.receivers import StreamReceiver, Writing
from mirror.audit.segments import read_head
from mirror.audit.sinks import Sink
from mirror.audit.streams import Identity
from tests.acceptance.test_client_certificates import issuer
from tests.audit.ocsf_schema import faults
from tests.audit.samples import SteppingClock
from tests.audit.test_sinks import FAST, fill, in_order, running, until

RSYSLOGD = shutil.which("rsyslogd") or shutil.which("rsyslogd", path="/usr/sbin")
pytestmark = pytest.mark.skipif(
    RSYSLOGD is None or not list(Path("/usr/lib").glob("*/rsyslog/lmnsd_ossl.so")), reason="rsyslog and rsyslog-openssl are not installed"
)


@dataclass
class Rsyslog:
    """One rsyslogd on loopback: `tcp` and `tls` are its ports, `ca` its authority. What it receives it writes as fields it has parsed."""

    folder: Path
    tcp: int
    tls: int
    ca: Path
    identity: Path

    def received(self, port: str) -> list[list[str]]:
        """Severity, host, app-name, message id, structured data and text of what came to `tcp` or `tls`."""
        path = self.folder / f"{port}.log"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [line.split("\t") for line in lines]


@pytest.fixture(scope="module")
def rsyslog(tmp_path_factory) -> Iterator[Rsyslog]:
    folder = tmp_path_factory.mktemp("rsyslog")
    ours = issuer(folder / "pki", "Acme logs")
    server, _ = ours.issue("server", common="log", dns="localhost")
    client, _ = ours.issue("client", common="mirror", dns="mirror.acme.example")
    ca = folder / "pki" / "ca.pem"
    inputs = "".join(
        f'input(type="imtcp" address="127.0.0.1" port="0" listenPortFileName="{folder}/{name}.port" ruleset="{name}"{driver})\n'
        f'ruleset(name="{name}") {{ action(type="omfile" file="{folder}/{name}.log" template="fields") }}\n'
        for name, driver in (("tcp", ""), ("tls", ' streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/certvalid"'))
    )
    (folder / "rsyslog.conf").write_text(
        f'global(workDirectory="{folder}" maxMessageSize="256k" defaultNetstreamDriverCAFile="{ca}" '
        f'defaultNetstreamDriverCertFile="{server}" defaultNetstreamDriverKeyFile="{server}")\n'
        'module(load="imtcp")\ntemplate(name="fields" type="string" '
        'string="%syslogseverity%\\t%hostname%\\t%app-name%\\t%msgid%\\t%structured-data%\\t%msg%\\n")\n' + inputs
    )
    process = subprocess.Popen(
        [RSYSLOGD, "-n", "-f", folder / "rsyslog.conf", "-i", folder / "pid"], stdout=(folder / "out").open("w"), stderr=subprocess.STDOUT
    )
    try:
        deadline, ports = time.monotonic() + 30, [folder / "tcp.port", folder / "tls.port"]
        while not all(port.exists() and port.read_text().strip() for port in ports):
            assert time.monotonic() < deadline and process.poll() is None, (folder / "out").read_text()
            time.sleep(0.05)
        yield Rsyslog(folder, int(ports[0].read_text()), int(ports[1].read_text()), ca, client)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


async def test_a_real_rsyslog(tmp_path, rsyslog):
    """rsyslog takes every event over TCP and over TLS, parses our headers and structured data, and has OCSF that is valid; one without certificate it refuses."""
    def sink(name: str, port: int, form: str, identity: Identity | None = None) -> Sink:
        return Sink(name, tmp_path, StreamReceiver("localhost", port, Writing(form, "1.0", "mirror.acme.example"), identity), SteppingClock(), pace=FAST)

    known = Identity(rsyslog.ca, rsyslog.identity)
    sinks = [sink("tcp", rsyslog.tcp, "rfc5424"), sink("tls", rsyslog.tls, "ocsf", known), sink("nobody", rsyslog.tls, "cef", Identity(rsyslog.ca))]
    async with running(tmp_path, *sinks) as ledger:
        await fill(ledger, 700)
        await until(lambda: not sinks[0].lag and not sinks[1].lag and sinks[2].failing)
        assert sinks[2].lag == ledger.head.count
    count = read_head(tmp_path).count
    await until(lambda: min(len(rsyslog.received(port)) for port in ("tcp", "tls")) >= count)
    plain, secured = rsyslog.received("tcp"), rsyslog.received("tls")
    assert {tuple(row[1:3]) for row in plain + secured} == {("mirror.acme.example", "entrepot")}
    assert {row[3] for row in plain} == {"started", "refused", "allowed", "stopped"} == {row[3] for row in secured}
    refusal = next(row for row in plain if row[3] == "refused")
    assert refusal[0] == "3" and refusal[4].startswith("[event@32473 seq=") and 'rule="origin-cn"' in refusal[4] and "Blocked by policy rule" in refusal[5]
    assert in_order([{"seq": int(row[4].split('seq="')[1].split('"')[0])} for row in plain], count)
    events = [json.loads(row[5]) for row in secured]
    assert in_order([{"seq": event["metadata"]["sequence"]} for event in events], count)
    assert [fault for event in events[::50] for fault in faults(event)] == []
